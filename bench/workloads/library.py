"""B8: all that a library of a million assets is asked, beside the same of ten thousand, on both engines."""

import asyncio
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_plus

from bench import tree
from bench.catalogue import Catalogue, Said, fill_postgresql, fill_sqlite
from bench.clients import get, read_http
from bench.processes import free_port, started
from bench.registry import Options, Outcome, Row, Workload, register
from bench.rounds import fresh_folder
from bench.subjects import add_account, run_command

_SMALL = 10_000
_LARGE = 1_000_000

_WARM = 3
_TIMES = 21

#: What is asked for at most, and what is quick enough whatever a small library takes.
_MOST_MS = 50.0
_FACTOR = 2.0
_QUICK_MS = 10.0

_POSTGRESQL = {"shared_buffers": "1GB", "autovacuum": "on"}


@dataclass(frozen=True, kw_only=True)
class _Server:
    address: tuple[str, int]
    headers: Mapping[str, str]
    said: Said


def _asks(said: Said, ask: Callable[[str], bytes]) -> dict[str, list[str]]:
    """Addresses for each kind of question; common words, large projects and the like, and rarer ones."""
    largest, others = said.projects[:1], said.projects[40:45]
    common, rare = said.words[:5], said.words[3000:3005]
    names = said.names[2000:2005]
    misspelt = [_misspelt(word) for word in common]
    project = f"/api/v1/projects/{largest[0]}"
    image = "/api/v2/assets?asset_type=image&limit=5"
    ids = [one["id"] for one in json.loads(ask(image))]
    found = json.loads(ask(f"{project}/assets?has_generations=true&limit=5"))["assets"]
    in_project = [one["id"] for one in found]
    half = said.size // 2

    def each(path: str, values: Sequence[object]) -> list[str]:
        return [path.format(quote_plus(str(value))) for value in values]

    v2, v1 = "/api/v2/assets?limit=50", f"{project}/assets?limit=50"
    search, everywhere = f"{project}/assets/search?q={{}}", "/api/v1/search?q={}"
    return {
        "assets, newest": [v2],
        "assets by name": [f"{v2}&sort_by=name&sort_order=asc"],
        "assets by size": [f"{v2}&sort_by=size"],
        "assets, 5,000 further on": [f"{v2}&offset=5000"],
        "assets, half way through": [f"{v2}&offset={half}"],
        "assets of a type": each(f"{v2}&asset_type={{}}", ["video", "image"]),
        "assets of the largest project": each(f"{v2}&projectId={{}}", largest),
        "assets of other projects": each(f"{v2}&projectId={{}}", others),
        "assets of a client": each(f"{v2}&clientId={{}}", said.clients[:5]),
        "assets with a common tag": each(f"{v2}&tag={{}}", said.tags[:5]),
        "assets with a rare tag": each(f"{v2}&tag={{}}", said.tags[1500:1505]),
        "images of a client with a common tag": each(
            f"{v2}&asset_type=image&clientId={said.clients[0]}&tag={{}}", said.tags[:5]
        ),
        "assets before a time": each(f"{v2}&created_before={{}}", [said.middle]),
        "assets, q: a common word": each(f"{v2}&q={{}}", common),
        "assets, q: a rare word": each(f"{v2}&q={{}}", rare),
        "assets, q: a name": each(f"{v2}&q={{}}", names),
        "assets, q: two beginnings": each(f"{v2}&q={{}}", [f"{one[:3]} {rare[0][:4]}" for one in common]),
        "legacy list": ["/legacy/api/v2/assets?limit=50"],
        "an asset": each("/api/v2/assets/{}/info", ids),
        "look-alikes of an asset": each("/api/v2/assets/{}/similar", ids),
        "same pictures": ["/api/v2/duplicates?distance=0"],
        "projects": ["/api/v1/projects"],
        "a project's assets": [v1],
        "a project's assets by generations": [f"{v1}&sort_by=generation_count"],
        "a project's assets by name": [f"{v1}&sort_by=name&sort_order=asc"],
        "a project's assets with generations": [f"{v1}&has_generations=true"],
        "a project's assets with a common tag": each(f"{v1}&tags={{}}", said.tags[:5]),
        "a project's assets with two tags": each(f"{v1}&tags={{}}", [",".join(said.tags[:2])]),
        "a project's assets, search": each(f"{v1}&search={{}}", [*common[:3], *rare[:3]]),
        "search a project: a common word": each(search, common),
        "search a project: a rare word": each(search, rare),
        "search a project: two words": each(search, [f"{common[0]} {word}" for word in common[1:]]),
        "search a project: a phrase": each(search, [f'"{common[1]} {common[0]}"']),
        "search a project: a beginning": each(search, [f"{word[:3]}*" for word in common]),
        "search a project, fuzzy": each(f"{search}&fuzzy=true", misspelt),
        "search a project, with a tag": each(f"{search}&tags={said.tags[0]}", common),
        "search all: a common word": each(everywhere, common),
        "search all: a rare word": each(everywhere, rare),
        "search all: a name": each(everywhere, names),
        "search all: two words": each(everywhere, [f"{common[0]} {word}" for word in common[1:]]),
        "search all: a beginning": each(everywhere, [f"{word[:3]}*" for word in common]),
        "search all, in names": each(f"{everywhere}&fields=name", common),
        "search all, fuzzy": each(f"{everywhere}&fuzzy=true", misspelt),
        "search all, fuzzy: a name": each(f"{everywhere}&fuzzy=true", [_misspelt(one) for one in names]),
        "tags of a project": [f"{project}/tags"],
        "statistics of a project": [f"{project}/stats"],
        "statistics of an asset": each("/api/v1/assets/{}/stats", in_project),
        "generations of an asset": each("/api/v1/assets/{}/generations", in_project),
        "media files": ["/media/files?limit=50"],
        "media files of a persona": each("/media/files?limit=50&persona_id={}", said.personas[:5]),
        "media files of a type": ["/media/files?limit=50&media_type=video"],
        "media statistics": ["/media/stats"],
        "personas": ["/personas"],
        "clients": ["/api/v2/clients"],
    }


def _misspelt(word: str) -> str:
    return word[:2] + word[3:]


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The median milliseconds of each kind of question, and the cores that others kept busy meanwhile."""

    medians: dict[str, float]
    others: float


def _measure(server: _Server) -> _Found:
    """Ask one question at a time over one connection."""
    busy, own, began = tree.machine_cpu_seconds(), tree.family_cpu_seconds(os.getpid()), time.perf_counter()
    with closing(socket.create_connection(server.address, timeout=300)) as connection:

        def ask(path: str) -> bytes:
            connection.sendall(get(path, server.headers))
            return read_http(connection).body

        medians = {kind: _median_ms(ask, paths) for kind, paths in _asks(server.said, ask).items()}
    busy, own = tree.machine_cpu_seconds() - busy, tree.family_cpu_seconds(os.getpid()) - own
    return _Found(medians=medians, others=max(0.0, busy - own) / (time.perf_counter() - began))


def _median_ms(ask: Callable[[str], object], paths: Sequence[str]) -> float:
    for path in paths * _WARM:
        ask(path)
    took = []
    for at in range(_TIMES):
        began = time.perf_counter()
        ask(paths[at % len(paths)])
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


@contextmanager
def _serving(folder: Path, size: int, database_url: str) -> Iterator[_Server]:
    """A server of a library with so many assets; in SQLite without an address."""
    port, data = free_port(), folder / "data"
    environment = {"MEDIAKEEP_DATA": str(data), "MEDIAKEEP_PORT": str(port)}
    if database_url:
        environment |= {
            "MEDIAKEEP_DATABASE_URL": database_url,
            "MEDIAKEEP_SECRET_KEY": "only for measuring " * 3,
        }
    run_command(environment, "migrate")
    key = add_account(environment)
    catalogue = Catalogue(size, owner_id=1, dialect_name="postgresql" if database_url else "sqlite")
    if database_url:
        asyncio.run(fill_postgresql(database_url, catalogue.rows()))
    else:
        fill_sqlite(data / "mediakeep.db", catalogue.rows())
    run_command(environment, "recount", "--fix")
    command = [sys.executable, "-m", "mediakeep", "serve"]
    with started(command, environment, folder, port):
        headers = {"Authorization": f"Bearer {key}"}
        yield _Server(address=("127.0.0.1", port), headers=headers, said=catalogue.said)


def _library(options: Options) -> Outcome:
    from tests.servers.postgres import running_postgres

    sizes = (_SMALL, round(_LARGE * options.scale))
    rows: list[Row] = []
    found: list[_Found] = []
    with running_postgres(_POSTGRESQL, parent=Path(tempfile.gettempdir())) as server:
        for engine in ("SQLite", "PostgreSQL"):
            for size in sizes:
                url = server.create_database(f"b8_{size}") if engine == "PostgreSQL" else ""
                with fresh_folder(options.folder) as folder, _serving(folder, size, url) as serving:
                    found.append(_measure(serving))
            small, large = found[-2:]
            rows += [_row(engine, kind, ms, large.medians[kind]) for kind, ms in small.medians.items()]
    return Outcome(rows=rows, others=statistics.median(one.others for one in found))


def _row(engine: str, kind: str, small: float, large: float) -> Row:
    return Row(
        workload="B8",
        measured=f"{kind}, {engine}",
        ours=f"{large:.1f} ms",
        reference=f"{_SMALL:,} assets {small:.1f} ms",
        ratio=f"{large / small:.2f}",
        bar=f"≤ {_MOST_MS:g} ms, and ≤ {_FACTOR:g} × or ≤ {_QUICK_MS:g} ms",
        is_met=large <= _MOST_MS and (large <= _FACTOR * small or large <= _QUICK_MS),
    )


register(
    Workload(
        name="B8",
        title=f"what a library of {_LARGE:,} assets is asked, one question at a time, medians of {_TIMES}",
        run=_library,
    )
)
