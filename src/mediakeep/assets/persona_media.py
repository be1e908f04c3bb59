"""Selects over what belongs to personas: images and videos that have a file. Each begins with who asks.

Their ids are the rows' own, as clients know them; those that no row can have find nothing.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, cast, func, or_, select, tuple_

from mediakeep.accounts.actor import Actor
from mediakeep.assets.models import Asset, OwnerCounter
from mediakeep.assets.queries import Shape, none_is_gone, visible
from mediakeep.db import Database, HotQuery, as_time
from mediakeep.db.hot import Value
from mediakeep.files.models import File

MediaType = Literal["image", "video"]

#: Rows that are read at a time where a list is wanted whole.
CHUNK = 1000

_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class MediaFilters:
    """What a list is narrowed to; None does not narrow."""

    persona_id: int | None = None
    media_type: MediaType | None = None

    def values(self) -> dict[str, Value]:
        """The parameters of the query."""
        given: dict[str, Value] = {}
        if self.persona_id is not None:
            given["persona_id"] = _as_row_id(self.persona_id)
        if self.media_type is not None:
            given["media_type"] = self.media_type
        return given


@dataclass(kw_only=True)
class Totals:
    """How much there is; `per_persona` has those personas that have any."""

    files: int = 0
    images: int = 0
    videos: int = 0
    size: int = 0
    per_persona: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Found:
    """One of them: its public id, and the name that its file came with."""

    public_id: str
    file_name: str


async def list_json(
    database: Database,
    actor: Actor,
    filters: MediaFilters,
    *,
    shape: Shape,
    limit: int,
    offset: int,
    everyones: bool = False,
) -> list[str]:
    """A page of media files as JSON, newest first. Raises `PermissionDenied` for `everyones` unless an admin asks."""
    page = {"limit": limit, "offset": offset}
    return [row[2] for row in await _fetch(database, actor, filters, page, shape=shape, everyones=everyones)]


async def iter_json(
    database: Database,
    actor: Actor,
    filters: MediaFilters,
    *,
    shape: Shape,
    offset: int,
    everyones: bool = False,
) -> AsyncIterator[Sequence[str]]:
    """All from `offset` on in chunks of `CHUNK`, the last of which has fewer, or none.

    What comes and goes meanwhile does not shift the others.
    """
    page: dict[str, Value] = {"limit": CHUNK, "offset": offset}
    while True:
        rows = await _fetch(database, actor, filters, page, shape=shape, everyones=everyones)
        yield [row[2] for row in rows]
        if len(rows) < CHUNK:
            return
        created_at, last_id, _ = rows[-1]
        page = {"limit": CHUNK, "offset": 0, "after_time": as_time(created_at), "after_id": last_id}


async def count(database: Database, actor: Actor, filters: MediaFilters, *, everyones: bool = False) -> int:
    """How many a list has in all."""
    return sum(
        files
        for persona_id, media_type, files, _ in await _counted(database, actor, everyones=everyones)
        if filters.persona_id in {None, persona_id} and filters.media_type in {None, media_type}
    )


async def totals(database: Database, actor: Actor, *, everyones: bool = False) -> Totals:
    """How much there is in all. Raises `PermissionDenied` for `everyones` unless an admin asks."""
    found = Totals()
    for persona_id, media_type, files, size in await _counted(database, actor, everyones=everyones):
        found.files += files
        found.size += size
        found.per_persona[persona_id] = found.per_persona.get(persona_id, 0) + files
        if media_type == "image":
            found.images += files
        else:
            found.videos += files
    return found


async def _counted(database: Database, actor: Actor, *, everyones: bool) -> list[tuple[int, str, int, int]]:
    """Of each persona and type that there are: how many, and their bytes. From counters, unless something is going."""
    owner = _owner(actor, everyones=everyones)
    [(is_gone,)] = await database.fetch(_GOING, {})
    if is_gone:
        counted = await database.fetch(_totals_query(everyones), owner)
        return [(row[0], row[1], row[2], row[3]) for row in counted]
    rows = await database.fetch(_counters_query(everyones), owner)
    split = [(*val.split(":"), files, size) for val, files, size in rows]
    return [(int(persona_id), media_type, files, size) for persona_id, media_type, files, size in split]


async def find_json(database: Database, actor: Actor, media_id: int, *, shape: Shape) -> str | None:
    """One of the caller's media files as JSON, an admin's anybody's; None where there is none."""
    values: dict[str, Value] = {"media_id": _as_row_id(media_id), "owner_id": actor.user_id}
    rows = await database.fetch(_one_query(shape, actor.is_admin), values)
    return str(rows[0][0]) if rows else None


async def find(database: Database, actor: Actor, media_id: int) -> Found | None:
    """One of the caller's media files, an admin's anybody's; None where there is none."""
    values: dict[str, Value] = {"media_id": _as_row_id(media_id), "owner_id": actor.user_id}
    rows = await database.fetch(_found_query(actor.is_admin), values)
    return Found(public_id=rows[0][0], file_name=rows[0][1]) if rows else None


async def _fetch(
    database: Database,
    actor: Actor,
    filters: MediaFilters,
    page: dict[str, Any],
    *,
    shape: Shape,
    everyones: bool,
) -> Sequence[Sequence[Any]]:
    """Rows of (time, id, JSON), newest first."""
    values = {**filters.values(), **page, **_owner(actor, everyones=everyones)}
    query = _page_query(shape, tuple(filters.values()), "after_id" in page, everyones)
    return await database.fetch(query, values)


def _owner(actor: Actor, *, everyones: bool) -> dict[str, Value]:
    if everyones:
        actor.require("admin")
        return {}
    return {"owner_id": actor.user_id}


def _as_row_id(given: int) -> int:
    return given if 0 < given <= _LARGEST_ID else 0


def _is_media(*, everyones: bool) -> list[ColumnElement[bool]]:
    """In the words of the index `ix_assets_persona_media`, which answers most of it alone."""
    types = or_(Asset.type == "image", Asset.type == "video")
    return [Asset.file_id.is_not(None), Asset.persona_id.is_not(None), types, *visible(everyones=everyones)]


def _narrowed(names: Sequence[str], *, everyones: bool) -> list[ColumnElement[bool]]:
    conditions = _is_media(everyones=everyones)
    if "persona_id" in names:
        conditions.append(Asset.persona_id == bindparam("persona_id", type_=Asset.id.type))
    if "media_type" in names:
        conditions.append(Asset.type == bindparam("media_type", type_=Asset.type.type))
    return conditions


@lru_cache(maxsize=32)
def _page_query(shape: Shape, names: tuple[str, ...], continues: bool, everyones: bool) -> HotQuery:
    conditions = _narrowed(names, everyones=everyones)
    if continues:
        last = tuple_(
            bindparam("after_time", type_=Asset.created_at.type), bindparam("after_id", type_=Asset.id.type)
        )
        conditions.append(tuple_(Asset.created_at, Asset.id) < last)
    order = (Asset.created_at.desc(), Asset.id.desc())
    # The page's ids come from the index alone; only those rows are then read and joined.
    page = select(Asset.id).where(*conditions).order_by(*order)
    page = page.limit(bindparam("limit", type_=Asset.id.type)).offset(
        bindparam("offset", type_=Asset.id.type)
    )
    wanted = page.subquery()
    listed = _with_file(Asset.created_at, Asset.id, shape.json).join(wanted, wanted.c.id == Asset.id)
    return HotQuery(listed.order_by(*order))


_GOING = HotQuery(select(~none_is_gone()))


@lru_cache(maxsize=2)
def _counters_query(everyones: bool) -> HotQuery:
    sums = (cast(func.sum(column), BigInteger) for column in (OwnerCounter.n, OwnerCounter.bytes))
    statement = select(OwnerCounter.val, *sums).where(OwnerCounter.dim == "media")
    if not everyones:
        statement = statement.where(OwnerCounter.owner_id == bindparam("owner_id", type_=Asset.owner_id.type))
    counted = statement.group_by(OwnerCounter.val).having(func.sum(OwnerCounter.n) > 0)
    return HotQuery(counted, is_scan=everyones)


@lru_cache(maxsize=2)
def _totals_query(everyones: bool) -> HotQuery:
    # PostgreSQL's sum of 64 bits is a decimal.
    columns = (Asset.persona_id, Asset.type, func.count(), cast(func.sum(Asset.size), BigInteger))
    statement = select(*columns).where(*_is_media(everyones=everyones))
    return HotQuery(statement.group_by(Asset.persona_id, Asset.type), is_scan=True)


@lru_cache(maxsize=4)
def _one_query(shape: Shape, everyones: bool) -> HotQuery:
    return HotQuery(_with_file(shape.json).where(_asked(), *_is_media(everyones=everyones)))


@lru_cache(maxsize=2)
def _found_query(everyones: bool) -> HotQuery:
    statement = select(Asset.public_id, Asset.file_name)
    return HotQuery(statement.where(_asked(), *_is_media(everyones=everyones)))


def _asked() -> ColumnElement[bool]:
    return Asset.id == bindparam("media_id", type_=Asset.id.type)


def _with_file(*columns: Any) -> Select[Any]:
    statement: Select[Any] = select(*columns).select_from(Asset).join(File, File.id == Asset.file_id)
    return statement
