"""Selects over assets. Each begins with who asks."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    or_,
    select,
    union,
)
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts.actor import Actor
from mediakeep.accounts.models import gone_users
from mediakeep.assets.models import Asset, AssetTag, Tag
from mediakeep.assets.text import fold
from mediakeep.collections.models import Campaign, Client, Project
from mediakeep.collections.service import KINDS, KindName, as_row_value
from mediakeep.db import Database, HotQuery
from mediakeep.db.base import as_public_id, table_of
from mediakeep.db.hot import Value
from mediakeep.db.ids import among, is_among
from mediakeep.errors import NotFound
from mediakeep.files.models import File
from mediakeep.index import query as index
from mediakeep.index.service import owner_scope

#: So many assets that hold a word are many.
_MANY = 5000

SortBy = Literal["created_at", "updated_at", "name", "size"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How a surface shows an asset: an SQL expression for its JSON, over Asset, File, Client, Campaign and Project.

    The database builds the text, which is several times cheaper than rows that become objects that become text. It
    may use the parameters `base` and `public_base`, those of `Told`. `metadata` is a member that is added here: what the owner
    wrote over what was read out of the file, and the file's location only for the owner.
    """

    json: ColumnElement[str]
    has_metadata: bool

    def __hash__(self) -> int:
        return id(self)


@dataclass(frozen=True, kw_only=True)
class Told:
    """Where callers are told to find assets: on this server, and the public ones on the CDN in front of it, if any."""

    base: str
    public_base: str


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a list is narrowed to; None and empty do not narrow. Collections are named by the ids that clients know."""

    client_id: str | None = None
    campaign_id: str | None = None
    persona_id: str | None = None
    project_id: str | None = None
    types: tuple[str, ...] = ()
    tag: str | None = None
    #: What to look for in names, descriptions and tags, in the language of `index.query`; words match as prefixes.
    q: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None

    def given(self) -> Iterator[tuple[str, Value]]:
        """Each parameter of the query, by its name."""
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, tuple):
                yield from ((f"{one.name}_{number}", item) for number, item in enumerate(value))
            elif value is not None:
                yield one.name, value


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which part of a list, in which order."""

    limit: int
    offset: int
    sort_by: SortBy = "created_at"
    descending: bool = True


def told_base() -> ColumnElement[str]:
    """Where the asset's bytes are told to be, for a `Shape`: a CDN may have only what anybody may have."""
    base, public_base = (bindparam(name, type_=Asset.name.type) for name in ("base", "public_base"))
    return case((Asset.visibility == "public", public_base), else_=base)


def visible(*, everyones: bool) -> list[ColumnElement[bool]]:
    """What every read begins with: the caller's own (parameter `owner_id`), or everybody's for an admin."""
    if everyones:
        return [not_gone()]
    return [Asset.owner_id == bindparam("owner_id", type_=Asset.owner_id.type), not_gone()]


def not_gone() -> ColumnElement[bool]:
    """Leaves out what belongs to a collection or to a user that is being deleted.

    There are hardly ever any: that is looked up once a statement, and spares the look at each row.
    """
    some_are_gone = [gone_users().exists()]
    belongs_to_none = [Asset.owner_id.not_in(gone_users())]
    for column, kind in KINDS.items():
        gone = select(kind.table.id).where(kind.table.gone_at.is_not(None))
        referring = getattr(Asset, column)
        some_are_gone.append(gone.exists())
        belongs_to_none.append(referring.is_(None) | referring.not_in(gone))
    none_is_gone = ~select(or_(*some_are_gone).label("some")).scalar_subquery()
    return none_is_gone | and_(*belongs_to_none)


async def list_json(
    database: Database,
    actor: Actor,
    filters: Filters,
    page: Page,
    *,
    shape: Shape,
    told: Told,
    everyones: bool = False,
) -> tuple[str, int]:
    """A page of assets as a JSON array, and how many there are in all.

    Somebody else's collection or tag gives an empty list. Raises `PermissionDenied` for `everyones` unless an admin asks.
    """
    if everyones:
        actor.require("admin")
    if any("\0" in value for _, value in filters.given() if isinstance(value, str)):
        return "[]", 0  # no text in the database holds one
    values = dict(parameters(filters), **vars(told), limit=page.limit, offset=page.offset)
    if not everyones:
        values["owner_id"] = actor.user_id
    matches: Literal["few", "many"] | None = None
    if filters.q is not None:
        scope = "" if everyones else owner_scope(actor.user_id)
        values["matching"] = _spelt(database, filters.q, scope)
        if not values["matching"]:
            return "[]", 0
        some = await database.fetch(_some_query(database.dialect_name), {**values, "most": _MANY})
        matches = "few" if len(some) < _MANY else "many"
    names = tuple(name for name, _ in filters.given())
    query, count = _list_queries(
        database.dialect_name, shape, names, page.sort_by, page.descending, everyones, matches
    )
    rows = await database.fetch(query, values)
    if rows or not page.offset:
        total = rows[0][0] if rows else 0
    else:  # past the end, where no row tells
        total = (await database.fetch(count, values))[0][0]
    return "[" + ",".join(_shown(row[1:], actor) for row in rows) + "]", total


async def get_json(database: Database, actor: Actor, public_id: str, *, shape: Shape, told: Told) -> str:
    """One of the caller's assets as JSON; an admin may read anybody's. Raises `NotFound`."""
    values: dict[str, Value] = {
        "public_id": as_public_id(public_id),
        "owner_id": actor.user_id,
        **vars(told),
    }
    rows = await database.fetch(_one_query(shape, actor.is_admin), values)
    if not rows:
        raise NotFound("Asset not found")
    return _shown(rows[0], actor)


async def json_by_id(
    database: Database, actor: Actor, asset_ids: Iterable[int], *, shape: Shape, told: Told
) -> dict[int, str]:
    """Assets as JSON by their row ids, those that are there; the caller has checked whose they are."""
    values = {**vars(told), "ids": among(asset_ids)}
    rows = await database.fetch(_by_id_query(shape), values)
    return {row[0]: _shown(row[1:], actor) for row in rows}


async def show(session: AsyncSession, actor: Actor, asset_id: int, *, shape: Shape, told: Told) -> str:
    """An asset as JSON by its row id, as this transaction sees it; the caller has checked whose it is.

    Raises `NotFound` for one that has no image yet, which is in no list of this shape.
    """
    shown = await session.execute(_show_statement(shape), {**vars(told), "asset_id": asset_id})
    row = shown.one_or_none()
    if row is None:
        raise NotFound("Asset not found")
    return _shown(row, actor)


async def count_by_collection(
    session: AsyncSession, kind: KindName, row_ids: Sequence[int]
) -> dict[int, int]:
    """How many assets deleting each of these collections would take along; those with none are left out."""
    direct = select(getattr(Asset, kind).label("row_id"), Asset.id).where(getattr(Asset, kind).in_(row_ids))
    if kind == "client_id":
        # An asset of a client's campaign goes with the client, and counts once if it belongs to both.
        through = select(Campaign.client_id, Asset.id).join(Campaign, Campaign.id == Asset.campaign_id)
        belonging = union(direct, through.where(Campaign.client_id.in_(row_ids))).subquery()
    else:
        belonging = direct.subquery()
    counts = select(belonging.c.row_id, func.count().label("assets")).group_by(belonging.c.row_id)
    return {row.row_id: row.assets for row in await session.execute(counts)}


def _shown(row: Sequence[Any], actor: Actor) -> str:
    """The row's JSON with its metadata, from (owner, JSON[, facts, metadata])."""
    owner_id, text, *rest = row
    if not rest:
        return str(text)
    facts, own = rest
    if own != "{}" or owner_id != actor.user_id:
        merged = json.loads(facts) | json.loads(own)
        if owner_id != actor.user_id:
            merged.pop("location", None)
        facts = json.dumps(merged, ensure_ascii=False)
    return f'{text[:-1]}, "metadata": {facts}}}'


def conditions(names: Sequence[str], *, everyones: bool) -> list[ColumnElement[bool]]:
    """What every read begins with, and the filters of those names (`Filters.given`) but `q`; see `parameters`."""
    narrowed = [_condition(name, everyones=everyones) for name in names if not _is_other(name)]
    types = [bindparam(name, type_=Asset.type.type) for name in names if name.startswith("types_")]
    if types:
        narrowed.append(or_(*(Asset.type == one for one in types)))
    return [*narrowed, *visible(everyones=everyones)]


def parameters(filters: Filters) -> Iterator[tuple[str, Value]]:
    """The filters' values as the columns have them."""
    for name, value in filters.given():
        if name in KINDS:
            yield name, as_row_value(name, str(value))
        elif name == "tag":
            yield name, fold(str(value))
        elif name != "q":
            yield name, value


def _is_other(name: str) -> bool:
    return name == "q" or name.startswith("types_")


def _spelt(database: Database, q: str, scope: str) -> str:
    terms = index.parse(q, as_prefixes=True)
    fields: tuple[index.Field, ...] = ("name", "tags", "description")
    return index.spell(database.dialect_name, terms, fields=fields, scope=scope).matching if terms else ""


@lru_cache(maxsize=256)
def _list_queries(
    dialect_name: str,
    shape: Shape,
    names: tuple[str, ...],
    sort_by: SortBy,
    descending: bool,
    everyones: bool,
    matches: Literal["few", "many"] | None,
) -> tuple[HotQuery, HotQuery]:
    """A page and the count. Of few `matches` each is looked at; for many the list is gone through in its order."""
    narrowed = [Asset.file_id.is_not(None), *conditions(names, everyones=everyones)]
    source: FromClause = table_of(Asset)
    if matches:
        engine = index.matching(dialect_name)
        if matches == "few":
            source = engine.source.join(Asset, Asset.id == engine.joined_id)
            narrowed.append(engine.condition)
        else:
            found = select(engine.asset_id).select_from(engine.source).where(engine.condition)
            narrowed.append(Asset.id.in_(found))
    columns = (getattr(Asset, sort_by), Asset.id)
    order = [column.desc() if descending else column.asc() for column in columns]
    count = select(func.count()).select_from(source).where(*narrowed)
    # The page's ids come from the index alone; only those rows are then read and joined.
    page = select(Asset.id).select_from(source).where(*narrowed).order_by(*order)
    page = page.limit(bindparam("limit", type_=File.id.type)).offset(bindparam("offset", type_=File.id.type))
    wanted = page.subquery()
    listed = _joined(count.scalar_subquery().label("total"), *_columns(shape))
    scans = matches is not None
    page_query = listed.join(wanted, wanted.c.id == Asset.id).order_by(*order)
    return HotQuery(page_query, is_scan=scans), HotQuery(count, is_scan=scans)


@lru_cache(maxsize=2)
def _some_query(dialect_name: str) -> HotQuery:
    matching = index.matching(dialect_name)
    found = select(matching.asset_id).select_from(matching.source).where(matching.condition)
    return HotQuery(found.limit(bindparam("most", type_=Asset.id.type)), is_scan=True)


def _condition(name: str, *, everyones: bool) -> ColumnElement[bool]:
    if name in KINDS:
        kind = KINDS[name]
        mine = select(kind.table.id).where(
            kind.public_id == bindparam(name, type_=kind.public_id.type), kind.table.gone_at.is_(None)
        )
        if not everyones:
            mine = mine.where(kind.table.owner_id == bindparam("owner_id", type_=Asset.owner_id.type))
        matches: ColumnElement[bool] = getattr(Asset, name) == mine.scalar_subquery()
        return matches
    if name == "tag":
        return has_tag(name, everyones=everyones)
    if name == "created_after":
        return Asset.created_at > bindparam(name, type_=Asset.created_at.type)
    return Asset.created_at < bindparam(name, type_=Asset.created_at.type)


def has_tag(name: str, *, everyones: bool) -> ColumnElement[bool]:
    """Whether the asset has the tag that the parameter `name` is, folded."""
    tagged = select(AssetTag.asset_id).join(Tag, Tag.id == AssetTag.tag_id)
    tagged = tagged.where(Tag.folded == bindparam(name, type_=Tag.folded.type))
    if not everyones:
        tagged = tagged.where(Tag.owner_id == bindparam("owner_id", type_=Asset.owner_id.type))
    return Asset.id.in_(tagged)


@lru_cache(maxsize=16)
def _show_statement(shape: Shape) -> Select[Any]:
    return _joined(*_columns(shape)).where(Asset.id == bindparam("asset_id", type_=Asset.id.type))


@lru_cache(maxsize=16)
def _by_id_query(shape: Shape) -> HotQuery:
    return HotQuery(_joined(Asset.id, *_columns(shape)).where(is_among(Asset.id, "ids"), not_gone()))


@lru_cache(maxsize=16)
def _one_query(shape: Shape, everyones: bool) -> HotQuery:
    mine = visible(everyones=everyones)
    asked = Asset.public_id == bindparam("public_id", type_=Asset.public_id.type)
    return HotQuery(_joined(*_columns(shape)).where(asked, *mine))


def _columns(shape: Shape) -> list[Any]:
    return [
        Asset.owner_id,
        shape.json,
        *([cast(File.facts, Text), cast(Asset.metadata_, Text)] if shape.has_metadata else []),
    ]


def _joined(*columns: Any) -> Select[Any]:
    statement: Select[Any] = select(*columns).select_from(Asset).join(File, File.id == Asset.file_id)
    return (
        statement.outerjoin(Client, Client.id == Asset.client_id)
        .outerjoin(Campaign, Campaign.id == Asset.campaign_id)
        .outerjoin(Project, Project.id == Asset.project_id)
    )
