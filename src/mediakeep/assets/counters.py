"""What each owner and each project has, counted: whatever changes something changes its counters, in the same transaction.

Of an owner's assets, those that lists show (they have a file) are counted by type (`listed`), by tag (`tag`) and by
each collection that they belong to (its column's name, and the row's id); `media` are the images and videos of personas
by persona and type. Those without a file are counted by collection alone (`fileless`), and what belongs to a client and
to a campaign by both (`pair`), so that what belongs to either can be told. Of a project, its image assets are counted
(`assets`), those with generations (`generated`), tags (`tag`) and generations (`status`, `model`, `day`, …), and all of its files (`files`).
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Insert,
    Select,
    String,
    bindparam,
    case,
    func,
    literal_column,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.assets.models import Asset, Generation, OwnerCounter, ProjectCounter
from mediakeep.assets.text import fold
from mediakeep.collections.service import KINDS
from mediakeep.db import do_last
from mediakeep.db.base import insert_on, table_of
from mediakeep.db.functions import zulu
from mediakeep.files.models import File

Scope = Literal["owner", "project"]

#: Which counter: whether an owner's or a project's, whose row id, what is counted, and which of it.
Key = tuple[Scope, int, str, str]

_NOTED = "assets.counters"

#: So many transactions can change a PostgreSQL counter at the same time, at best.
_SLOTS = 16


@dataclass(frozen=True, kw_only=True)
class Count:
    n: int = 0
    bytes: int = 0
    #: How a tag was last written.
    name: str | None = None


class Counts(dict[Key, Count]):
    """So many of each; differences as well."""

    def add(self, key: Key, n: int, bytes_: int = 0, name: str | None = None) -> None:
        before = self.get(key, Count())
        self[key] = Count(n=before.n + n, bytes=before.bytes + bytes_, name=name or before.name)

    def add_all(self, others: "Counts") -> "Counts":
        for key, count in others.items():
            self.add(key, count.n, count.bytes, count.name)
        return self


def of_asset(project_id: int | None, tags: Sequence[str], own_size: int | None, *, is_image: bool) -> Counts:
    """What an asset without generations adds to its project; `own_size` is that of the file it was uploaded with."""
    counts = Counts()
    if project_id is not None:
        if is_image:
            counts.add(("project", project_id, "assets", ""), 1)
            for tag in tags:
                counts.add(("project", project_id, "tag", fold(tag)), 1, name=tag)
        if own_size is not None:
            counts.add(("project", project_id, "files", ""), 1, own_size)
    return counts


def of_owner(
    owner_id: int,
    *,
    type: str,  # noqa: A002 the column's name
    file_id: int | None,
    size: int,
    tags: Sequence[str],
    belonging: Mapping[Any, int | None],
) -> Counts:
    """What an asset adds to its owner's counters; `belonging` are the row ids of its collections by their columns."""
    counts = Counts()
    collections = {kind: row_id for kind, row_id in belonging.items() if row_id is not None}
    if "client_id" in collections and "campaign_id" in collections:
        pair = f"{collections['client_id']}:{collections['campaign_id']}"
        counts.add(("owner", owner_id, "pair", pair), 1)
    if file_id is None:
        for kind, row_id in collections.items():
            counts.add(("owner", owner_id, "fileless", f"{kind}:{row_id}"), 1)
        return counts
    counts.add(("owner", owner_id, "listed", type), 1, size)
    for kind, row_id in collections.items():
        counts.add(("owner", owner_id, kind, str(row_id)), 1)
    for folded in {fold(tag) for tag in tags}:
        counts.add(("owner", owner_id, "tag", folded), 1)
    if type in {"image", "video"} and "persona_id" in collections:
        counts.add(("owner", owner_id, "media", f"{collections['persona_id']}:{type}"), 1, size)
    return counts


def of_owner_of(asset: Asset) -> Counts:
    """What an asset adds to its owner's counters."""
    belonging = {kind: getattr(asset, kind) for kind in KINDS}
    return of_owner(
        asset.owner_id,
        type=asset.type,
        file_id=asset.file_id,
        size=asset.size,
        tags=asset.tags,
        belonging=belonging,
    )


def of_generated(asset: Asset) -> Counts:
    """What an asset adds to its project by having generations at all."""
    counts = Counts()
    if asset.project_id is not None and asset.generation_count:
        counts.add(("project", asset.project_id, "generated", ""), 1)
    return counts


def of_generation(
    project_id: int | None, *, status: str, model: str, created_at: datetime, size: int | None
) -> Counts:
    """What a generation adds; `size` is that of its image. The days are those on which it was created."""
    counts = Counts()
    if project_id is not None:
        files = 0 if size is None else 1
        _add_generations(counts, project_id, status, model, f"{created_at:%Y-%m-%d}", 1, files, size or 0)
    return counts


async def weigh(session: AsyncSession, assets: Sequence[Asset]) -> Counts:
    """What assets that are locked add, with their generations. Asks nothing where uploads are all there is."""
    counts = Counts()
    for asset in assets:
        counts.add_all(of_owner_of(asset))
    counted = [asset for asset in assets if asset.project_id is not None]
    with_generations = [asset.id for asset in counted if asset.generation_count]
    sizes = await _own_sizes(session, with_generations)
    for asset in counted:
        counts.add_all(of_generated(asset))
        # Without generations, what is shown is the asset's own file.
        shown = None if asset.file_id is None else asset.size
        own = sizes.get(asset.id) if asset.generation_count else shown
        counts.add_all(of_asset(asset.project_id, asset.tags, own, is_image=asset.type == "image"))
    if with_generations:
        await _add_generations_of(session, with_generations, counts)
    return counts


def note(session: AsyncSession, *, before: Counts | None = None, after: Counts | None = None) -> None:
    """Have the difference applied when the transaction ends: others wait for the counters, so they are locked last.

    A savepoint could not take it back.
    """
    assert not session.in_nested_transaction()
    before, after = before or Counts(), after or Counts()
    noted: Counts = session.info.setdefault(_NOTED, Counts())
    for key in before.keys() | after.keys():
        old, new = before.get(key, Count()), after.get(key, Count())
        name = new.name if new.name != old.name else None
        if new.n != old.n or new.bytes != old.bytes or name:
            noted.add(key, new.n - old.n, new.bytes - old.bytes, name)
    do_last(session, _apply)


def own_file_id() -> ColumnElement[int | None]:
    """The file that an asset was uploaded with. A server of the version before writes only what is shown."""
    uploaded = case((Asset.generation_count == 0, Asset.file_id))
    return func.coalesce(Asset.own_file_id, uploaded)


def day_of_generation() -> ColumnElement[str]:
    """The day on which a generation was created, in UTC, as YYYY-MM-DD."""
    return func.substr(zulu(Generation.created_at), literal_column("1"), literal_column("10"))


async def _apply(session: AsyncSession) -> None:
    noted: Counts = session.info.pop(_NOTED, Counts())
    # In one order for all, so that no two wait for each other.
    differing = [(key, noted[key]) for key in sorted(noted) if noted[key] != Count()]
    of_projects = [
        {
            "new_project_id": row_id,
            "new_dim": dim,
            "new_val": val,
            "new_name": count.name,
            "n_more": count.n,
            "bytes_more": count.bytes,
            "n_first": max(count.n, 0),
            "bytes_first": max(count.bytes, 0),
        }
        for (scope, row_id, dim, val), count in differing
        if scope == "project"
    ]
    dialect_name = session.get_bind().dialect.name
    slot = 0 if dialect_name == "sqlite" else random.randrange(_SLOTS)  # noqa: S311 nobody's secret
    of_owners = [
        {"owner_id": row_id, "dim": dim, "val": val, "slot": slot, "n": count.n, "bytes": count.bytes}
        for (scope, row_id, dim, val), count in differing
        if scope == "owner"
    ]
    if of_owners:
        await session.execute(_upsert_of_owner(dialect_name), of_owners)
    if of_projects:
        await session.execute(_upsert(dialect_name), of_projects)


@lru_cache
def _upsert_of_owner(dialect_name: str) -> Insert:
    """A slot may fall below 0: the sum counts."""
    table = table_of(OwnerCounter).c
    adding = insert_on(dialect_name, OwnerCounter)
    more = {column: table[column] + adding.excluded[column] for column in ("n", "bytes")}
    return adding.on_conflict_do_update(index_elements=["owner_id", "dim", "val", "slot"], set_=more)


@lru_cache
def _upsert(dialect_name: str) -> Insert:
    """Made once for each engine: building a statement costs more than running it."""
    table = table_of(ProjectCounter).c
    name = bindparam("new_name", type_=String())
    adding = insert_on(dialect_name, ProjectCounter).values(
        project_id=bindparam("new_project_id", type_=BigInteger()),
        dim=bindparam("new_dim"),
        val=bindparam("new_val"),
        name=name,
        n=bindparam("n_first", type_=BigInteger()),
        bytes=bindparam("bytes_first", type_=BigInteger()),
    )
    # Not below 0, whatever a server of the version before did not count; `mediakeep recount` finds it.
    more = {
        column: case((value < 0, 0), else_=value)
        for column in ("n", "bytes")
        for value in [table[column] + bindparam(f"{column}_more", type_=BigInteger())]
    }
    return adding.on_conflict_do_update(
        index_elements=["project_id", "dim", "val"], set_={**more, "name": func.coalesce(name, table.name)}
    )


async def _own_sizes(session: AsyncSession, asset_ids: Sequence[int]) -> dict[int, int]:
    if not asset_ids:
        return {}
    sizes = select(Asset.id, File.size).join(File, File.id == own_file_id())
    rows = await session.execute(sizes.where(Asset.id.in_(asset_ids)))
    return {row.id: row.size for row in rows}


async def _add_generations_of(session: AsyncSession, asset_ids: Sequence[int], counts: Counts) -> None:
    grouped = (Asset.project_id, Generation.status, Generation.model, day_of_generation())
    sums = (func.count(), func.count(File.id), func.coalesce(func.sum(File.size), 0))
    made: Select[*tuple[Any, ...]] = select(*grouped, *sums).join_from(
        Generation, Asset, Asset.id == Generation.asset_id
    )
    made = made.outerjoin(File, File.id == Generation.file_id)
    made = made.where(Generation.asset_id.in_(asset_ids)).group_by(*grouped)
    for row in await session.execute(made):
        _add_generations(counts, *row)


def _add_generations(
    counts: Counts, project_id: int, status: str, model: str, day: str, n: int, files: int, size: int
) -> None:
    counts.add(("project", project_id, "status", status), n)
    counts.add(("project", project_id, "day", day), n)
    if status in {"completed", "failed"}:
        counts.add(("project", project_id, f"day_{status}", day), n)
    if model:
        counts.add(("project", project_id, "model", model), n)
    if files:
        counts.add(("project", project_id, "files", ""), files, int(size))
