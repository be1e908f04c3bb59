"""Selects over assets. Each begins with who asks."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts.actor import Actor
from mediakeep.accounts.models import gone_users
from mediakeep.assets.models import Asset, AssetTag, OwnerCounter, Tag
from mediakeep.assets.text import fold
from mediakeep.collections.models import Campaign, Client, Project
from mediakeep.collections.service import KINDS, Kind, KindName, as_row_value
from mediakeep.db import Database, HotQuery
from mediakeep.db.base import as_public_id
from mediakeep.db.hot import Value
from mediakeep.db.ids import among, is_among
from mediakeep.errors import NotFound
from mediakeep.files.models import File

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
    belongs_to_none = [Asset.owner_id.not_in(gone_users())]
    for column, kind in KINDS.items():
        referring = getattr(Asset, column)
        belongs_to_none.append(referring.is_(None) | referring.not_in(_gone(kind)))
    return none_is_gone() | and_(*belongs_to_none)


def none_is_gone() -> ColumnElement[bool]:
    """Whether no collection and no user is being deleted."""
    some_are_gone = [gone_users().exists(), *(_gone(kind).exists() for kind in KINDS.values())]
    return ~select(or_(*some_are_gone).label("some")).scalar_subquery()


def _gone(kind: Kind) -> Select[int]:
    return select(kind.table.id).where(kind.table.gone_at.is_not(None))


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
    return shown_json(rows[0], actor)


async def json_by_id(
    database: Database, actor: Actor, asset_ids: Iterable[int], *, shape: Shape, told: Told
) -> dict[int, str]:
    """Assets as JSON by their row ids, those that are there; the caller has checked whose they are."""
    values = {**vars(told), "ids": among(asset_ids)}
    rows = await database.fetch(_by_id_query(shape), values)
    return {row[0]: shown_json(row[1:], actor) for row in rows}


async def show(session: AsyncSession, actor: Actor, asset_id: int, *, shape: Shape, told: Told) -> str:
    """An asset as JSON by its row id, as this transaction sees it; the caller has checked whose it is.

    Raises `NotFound` for one that has no image yet, which is in no list of this shape.
    """
    shown = await session.execute(_show_statement(shape), {**vars(told), "asset_id": asset_id})
    row = shown.one_or_none()
    if row is None:
        raise NotFound("Asset not found")
    return shown_json(row, actor)


async def count_by_collection(
    session: AsyncSession, kind: KindName, row_ids: Sequence[int]
) -> dict[int, int]:
    """How many assets deleting each of these collections would take along, by the counters."""
    table = KINDS[kind].table
    owners = list(await session.scalars(select(table.owner_id).where(table.id.in_(row_ids)).distinct()))
    wanted: dict[tuple[str, str], int] = {(kind, str(id_)): id_ for id_ in row_ids}
    wanted |= {("fileless", f"{kind}:{id_}"): id_ for id_ in row_ids}
    counts = await _sums(session, owners, wanted)
    if kind == "client_id":
        # An asset of a client's campaign goes with the client, and counts once if it belongs to both.
        campaigns = select(Campaign.id, Campaign.client_id).where(Campaign.client_id.in_(row_ids))
        of = {row.id: row.client_id for row in await session.execute(campaigns)}
        through = {("campaign_id", str(id_)): client_id for id_, client_id in of.items()}
        through |= {("fileless", f"campaign_id:{id_}"): client_id for id_, client_id in of.items()}
        both = {("pair", f"{client_id}:{id_}"): client_id for id_, client_id in of.items()}
        for sums, sign in (
            (await _sums(session, owners, through), 1),
            (await _sums(session, owners, both), -1),
        ):
            for id_, number in sums.items():
                counts[id_] = counts.get(id_, 0) + sign * number
    return counts


async def _sums(
    session: AsyncSession, owner_ids: Sequence[int], wanted: Mapping[tuple[str, str], int]
) -> dict[int, int]:
    """Owners' counters, by (dim, val), added up under what `wanted` has for them."""
    found: dict[int, int] = {}
    by_dim: dict[str, list[str]] = {}
    for dim, val in wanted:
        by_dim.setdefault(dim, []).append(val)
    for dim, vals in by_dim.items():
        sums = select(OwnerCounter.val, func.sum(OwnerCounter.n).label("n"))
        sums = sums.where(OwnerCounter.owner_id.in_(owner_ids), OwnerCounter.dim == dim)
        sums = sums.where(OwnerCounter.val.in_(vals)).group_by(OwnerCounter.val)
        for row in await session.execute(sums):
            id_ = wanted[dim, row.val]
            found[id_] = found.get(id_, 0) + int(row.n)
    return found


def shown_json(row: Sequence[Any], actor: Actor) -> str:
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
    narrowed = [condition_of(name, everyones=everyones) for name in names if not _is_other(name)]
    return [*narrowed, *of_types(names), *visible(everyones=everyones)]


def of_types(names: Sequence[str]) -> list[ColumnElement[bool]]:
    types = [bindparam(name, type_=Asset.type.type) for name in names if name.startswith("types_")]
    return [or_(*(Asset.type == one for one in types))] if types else []


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


def condition_of(name: str, *, everyones: bool) -> ColumnElement[bool]:
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
    owner_id = Asset.owner_id if everyones else bindparam("owner_id", type_=Asset.owner_id.type)
    return is_tagged(tag_of(owner_id, name))


def tag_of(owner_id: Any, name: str) -> ColumnElement[int]:
    """The row id of an owner's tag that the parameter `name` is, folded."""
    folded = Tag.folded == bindparam(name, type_=Tag.folded.type)
    return select(Tag.id).where(folded, Tag.owner_id == owner_id).scalar_subquery()


def is_tagged(tag_id: ColumnElement[int]) -> ColumnElement[bool]:
    # A value of each row, not EXISTS, which PostgreSQL turns into a join with all that have the tag.
    link = select(AssetTag.tag_id).where(AssetTag.tag_id == tag_id, AssetTag.asset_id == Asset.id)
    return link.correlate(Asset).scalar_subquery().is_not(None)


@lru_cache(maxsize=16)
def _show_statement(shape: Shape) -> Select[Any]:
    return joined(*columns_of(shape)).where(Asset.id == bindparam("asset_id", type_=Asset.id.type))


@lru_cache(maxsize=16)
def _by_id_query(shape: Shape) -> HotQuery:
    return HotQuery(joined(Asset.id, *columns_of(shape)).where(is_among(Asset.id, "ids"), not_gone()))


@lru_cache(maxsize=16)
def _one_query(shape: Shape, everyones: bool) -> HotQuery:
    mine = visible(everyones=everyones)
    asked = Asset.public_id == bindparam("public_id", type_=Asset.public_id.type)
    return HotQuery(joined(*columns_of(shape)).where(asked, *mine))


def columns_of(shape: Shape) -> list[Any]:
    return [
        Asset.owner_id,
        shape.json,
        *([cast(File.facts, Text), cast(Asset.metadata_, Text)] if shape.has_metadata else []),
    ]


def joined(*columns: Any) -> Select[Any]:
    statement: Select[Any] = select(*columns).select_from(Asset).join(File, File.id == Asset.file_id)
    return (
        statement.outerjoin(Client, Client.id == Asset.client_id)
        .outerjoin(Campaign, Campaign.id == Asset.campaign_id)
        .outerjoin(Project, Project.id == Asset.project_id)
    )
