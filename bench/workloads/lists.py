"""B7: the first page of a long list."""

import asyncio
import json
import shutil
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from bench import profiling
from bench.clients import get
from bench.figures import CPU_MS, RATE, Table
from bench.processes import SubjectFailed
from bench.profiling import Start
from bench.reading import Ask, Reading, fetch
from bench.registry import Options, Outcome, Workload, register
from bench.rounds import alternate, turn
from bench.subjects import Library, Shelf, mediakeep, plain

_ASSETS = 10_000
_LIMIT = 50
_CONNECTIONS = 8
_SECONDS = 5

# Of `plain`'s only table, a second between two.
_PLAIN_ROWS = """
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :number)
    INSERT INTO assets (name, media_type, stored_as, size, width, height, created_at)
    SELECT 'photo-' || n || '.jpg', 'image/jpeg', lower(hex(randomblob(16))) || '.jpg', 150000 + n, 1200, 800,
           strftime('%Y-%m-%d %H:%M:%f000', 'now', -n || ' seconds')
    FROM numbers
"""


def _page(path: str, shelf: Shelf) -> list[Ask]:
    """The request for the first page, which must always look the same."""
    answer = fetch(shelf, path)
    shown = json.loads(answer.body)
    if len(shown) != _LIMIT or len({one["id"] for one in shown}) != _LIMIT:
        raise SubjectFailed(f"the page has {len(shown)} assets")
    return [Ask(head=get(path, shelf.headers), body=answer.body)]


def _of_mediakeep(shelf: Shelf) -> list[Ask]:
    path = f"/api/v2/assets?limit={_LIMIT}"
    total = int(fetch(shelf, path).headers["x-total-count"])
    if total != _ASSETS:
        raise SubjectFailed(f"there are {total} assets")
    return _page(path, shelf)


def _of_plain(library: Library) -> list[Ask]:
    with closing(sqlite3.connect(library.folder / "plain.db")) as connection, connection:
        connection.execute(_PLAIN_ROWS, {"number": _ASSETS})
    return _page(f"/assets?limit={_LIMIT}", library)


def _fill(template: Path, data: Path) -> None:
    """Give a data folder its assets: made once, then copied."""
    if not template.is_dir():
        asyncio.run(_insert(data))
        shutil.copytree(data, template)
        return
    shutil.rmtree(data)
    shutil.copytree(template, data)


async def _insert(data: Path) -> None:
    from sqlalchemy import insert, select

    from mediakeep.accounts.models import User
    from mediakeep.assets.models import Asset
    from mediakeep.assets.recount import recount
    from mediakeep.db import open_database
    from mediakeep.files.models import File
    from mediakeep.settings import Settings

    database = open_database(Settings(data=data))
    now = datetime.now(UTC)
    try:
        async with database.write() as session:
            owner = await session.scalar(select(User.id))
            files = [_file(number) for number in range(_ASSETS)]
            ids = await session.scalars(insert(File).returning(File.id, sort_by_parameter_order=True), files)
            made = [
                _asset(number, owner=owner, file_id=file_id, at=now - timedelta(seconds=number))
                for number, file_id in enumerate(ids)
            ]
            await session.execute(insert(Asset), made)
        await recount(database, fix=True)
    finally:
        await database.close()


def _file(number: int) -> dict[str, object]:
    return {
        "public_id": str(uuid.uuid4()),
        "sha256": uuid.uuid4().hex * 2,
        "key": f"files/{uuid.uuid4()}",
        "format": "jpg",
        "media_type": "image/jpeg",
        "size": 150_000 + number,
        "width": 1200,
        "height": 800,
        "facts": {
            "color_space": "srgb",
            "dominant_color": "#3f5a6b",
            "thumbhash": "3hcOfZyBiobAaIeHh6iGd4Sv94eM",
        },
        "phash": number,
    }


def _asset(number: int, *, owner: int | None, file_id: int, at: datetime) -> dict[str, object]:
    name = f"photo-{number}.jpg"
    return {
        "public_id": str(uuid.uuid4()),
        "owner_id": owner,
        "file_id": file_id,
        "type": "image",
        "name": name,
        "file_name": name,
        "description": "",
        "folded": name,
        "tags": [],
        "metadata_": {},
        "visibility": "public",
        "size": 150_000 + number,
        "created_at": at,
        "updated_at": at,
    }


def _reading(prepare: Callable[[Library], list[Ask]], options: Options) -> Reading:
    seconds = max(1, round(_SECONDS * options.scale))
    return Reading(prepare=prepare, connections=_CONNECTIONS, seconds=seconds)


def _filled(options: Options) -> Start:
    return partial(mediakeep, prepare=partial(_fill, options.folder / "filled"))


def _lists(options: Options) -> Outcome:
    turns = {
        "ours": turn(_filled(options), _reading(_of_mediakeep, options).run),
        "plain": turn(plain, _reading(_of_plain, options).run),
    }
    found = alternate(options.rounds, options.folder, turns)
    table = Table(workload="B7", found=found, cpu=CPU_MS)
    rows = [
        table.against("plain", "pages a second", RATE, at_least=3),
        table.against("plain", "CPU of a page", CPU_MS),
    ]
    return Outcome(rows=rows, others=found.others)


def _profile(options: Options) -> None:
    profiling.profile(options.folder, _reading(_of_mediakeep, options).run, start=_filled(options))


register(
    Workload(
        name="B7",
        title=f"the newest {_LIMIT} of {_ASSETS:,} assets, authorised by an API key, {_CONNECTIONS} connections",
        run=_lists,
        profile=_profile,
    )
)
