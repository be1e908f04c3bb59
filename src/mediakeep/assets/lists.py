"""Pages of an owner's assets, by way of what leaves the fewest (`plans`). Each begins with who asks."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    Text,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    select,
)

from mediakeep.accounts.actor import Actor
from mediakeep.assets.models import Asset, AssetTag, OwnerCounter
from mediakeep.assets.plans import (
    IN_ORDER,
    NEWEST,
    best_way,
    best_way_with_words,
    count_matching,
    counted,
    fewest,
    newest_of,
    passed_over,
    total_of,
)
from mediakeep.assets.queries import (
    Filters,
    Page,
    Shape,
    SortBy,
    Told,
    columns_of,
    condition_of,
    is_tagged,
    joined,
    none_is_gone,
    not_gone,
    of_types,
    parameters,
    shown_json,
    tag_of,
)
from mediakeep.collections.service import KINDS
from mediakeep.db import Database, HotQuery
from mediakeep.db.base import table_of
from mediakeep.db.hot import Value
from mediakeep.files.models import File
from mediakeep.index import query as index
from mediakeep.index.service import owner_scope


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
    names = tuple(name for name, _ in filters.given())
    if not everyones:
        values["owner_id"] = actor.user_id
    if filters.q is not None:
        values["matching"] = _spelt(database, filters.q, "" if everyones else owner_scope(actor.user_id))
        if not values["matching"]:
            return "[]", 0
    way = _Way(names=names, sort_by=page.sort_by, descending=page.descending, everyones=everyones)
    known = None
    if names and not everyones:
        known = await _know(database, names, values)
        if known.is_empty:
            return "[]", 0
        values |= known.row_ids
        way = await _best(database, way, known, page, values)
    query, count = _list_queries(database.dialect_name, shape, way)
    rows = await database.fetch(query, values)
    if known and known.total is not None:
        total = known.total
    elif rows or not page.offset:
        total = rows[0][0] if rows else 0
    else:  # past the end, where no row tells
        total = (await database.fetch(count, values))[0][0]
    total = total_of(total, offset=page.offset, shown=len(rows), limit=page.limit)
    return "[" + ",".join(shown_json(row[1:], actor) for row in rows) + "]", total


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What an owner's counters and indexes say of a list before it is read."""

    #: Row ids of what the filters name, by parameter.
    row_ids: dict[str, Value]
    #: All that the owner has, and how many of it each filter leaves.
    owned: int
    left: dict[str, int]
    #: How many are in the list, where that is known.
    total: int | None

    @property
    def is_empty(self) -> bool:
        return any(value is None for value in self.row_ids.values())


async def _know(database: Database, names: tuple[str, ...], values: dict[str, Value]) -> _Known:
    named = tuple(name for name in names if name in KINDS or name == "tag")
    types = sum(name.startswith("types_") for name in names)
    [(is_gone, owned, *found)] = await database.fetch(_known_query(named, types), values)
    row_ids: dict[str, Value] = {f"{name}_row": found[2 * at] for at, name in enumerate(named)}
    left = {name: found[2 * at + 1] for at, name in enumerate(named)}
    if types:
        left["types"] = found[-1]
    total = next(iter(left.values())) if len(left) == 1 and len(names) == max(types, 1) else None
    return _Known(row_ids=row_ids, owned=owned, left=left, total=None if is_gone else total)


@lru_cache(maxsize=64)
def _known_query(named: tuple[str, ...], types: int) -> HotQuery:
    """One row: whether anything is being deleted, all that the owner has, and of each filter the row id and number."""
    columns: list[Any] = [~none_is_gone(), _owned()]
    for name in named:
        row_id = _row_id(name)
        val = bindparam("tag", type_=Text()) if name == "tag" else cast(row_id, OwnerCounter.val.type)
        columns += [row_id, _owned(OwnerCounter.dim == name, OwnerCounter.val == val)]
    if types:
        given = [bindparam(f"types_{at}", type_=Asset.type.type) for at in range(types)]
        columns.append(_owned(OwnerCounter.dim == "listed", OwnerCounter.val.in_(given)))
    return HotQuery(select(*columns))


def _owned(*those: ColumnElement[bool], everyones: bool = False) -> ColumnElement[int]:
    """The sum of the owner's counters; without conditions all assets that lists show."""
    is_listed = OwnerCounter.dim == literal_column("'listed'")  # as its index says
    wanted = list(those) or [is_listed]
    if not everyones:
        wanted.append(OwnerCounter.owner_id == bindparam("owner_id", type_=Asset.owner_id.type))
    total = select(cast(func.coalesce(func.sum(OwnerCounter.n), 0), BigInteger)).where(*wanted)
    return total.scalar_subquery()


def _row_id(name: str) -> ColumnElement[int]:
    """The row that a filter names, of the owner's and not being deleted."""
    owner_id = bindparam("owner_id", type_=Asset.owner_id.type)
    if name not in KINDS:
        return tag_of(owner_id, name)
    kind = KINDS[name]
    asked = kind.public_id == bindparam(name, type_=kind.public_id.type)
    mine = select(kind.table.id).where(asked, kind.table.gone_at.is_(None), kind.table.owner_id == owner_id)
    row_id: ColumnElement[int] = mine.scalar_subquery()
    return row_id


@dataclass(frozen=True, kw_only=True)
class _Way:
    """A list, and how it is found: `lead` and `count_lead` are ways of `plans`, of `plans`."""

    names: tuple[str, ...]
    sort_by: SortBy
    descending: bool
    everyones: bool
    lead: str = IN_ORDER
    count_lead: str = IN_ORDER
    #: Whether the caller knows the total.
    is_counted: bool = False


async def _best(database: Database, way: _Way, known: _Known, page: Page, values: dict[str, Value]) -> _Way:
    """The list with how its page is found, and how all that match are counted."""
    by_time = page.sort_by == "created_at"
    needed = page.offset + page.limit
    if any(name.startswith("created_") for name in way.names):
        needed *= 2  # nothing tells how many those are
    count_lead = fewest(known.left)
    if "q" in way.names:
        matching = None if by_time else await count_matching(database, values["matching"])
        end = page.offset + page.limit
        lead = best_way_with_words(known.owned, known.left, matching=matching, page_end=end, needed=needed)
        count_lead = count_lead if known.left else "q"
    else:
        lead = best_way(known.owned, known.left, needed=needed, ordered={*KINDS, "types"} if by_time else ())
    # There is one index for types, and it is in the order of time.
    lead, count_lead = (IN_ORDER if one == "types" else one for one in (lead, count_lead))
    return replace(way, lead=lead, count_lead=count_lead, is_counted=known.total is not None)


@lru_cache(maxsize=512)
def _list_queries(dialect_name: str, shape: Shape, way: _Way) -> tuple[HotQuery, HotQuery]:
    """A page, each row with the total unless that is known, and the total."""
    count = _count_of(dialect_name, way)
    columns = (getattr(Asset, way.sort_by), Asset.id)
    order = [column.desc() if way.descending else column.asc() for column in columns]
    # The page's ids come from the index alone; only those rows are then read and joined.
    if way.lead == NEWEST:
        found = _matching(dialect_name, way, way.lead, Asset.id, Asset.created_at)
        page = newest_of(found, dialect_name, way.descending)
    else:
        page = _matching(dialect_name, way, way.lead, Asset.id).order_by(*order)
    page = page.limit(bindparam("limit", type_=File.id.type)).offset(bindparam("offset", type_=File.id.type))
    wanted = page.subquery()
    total: ColumnElement[int] = literal_column("0") if way.is_counted else count.scalar_subquery()
    if way.lead == NEWEST:
        total = wanted.c.total
    listed = joined(total.label("total"), *columns_of(shape))
    page_query = listed.join(wanted, wanted.c.id == Asset.id).order_by(*order)
    is_scan = bool(way.names)
    return HotQuery(page_query, is_scan=is_scan), HotQuery(count, is_scan=is_scan)


def _count_of(dialect_name: str, way: _Way) -> Select[int]:
    live = counted(_matching(dialect_name, way, way.count_lead, literal_column("1").label("one")))
    if way.names:
        return live
    owned = _owned(everyones=way.everyones)
    return select(case((none_is_gone(), owned), else_=live.scalar_subquery()))


def _matching(dialect_name: str, way: _Way, lead: str, *columns: Any) -> Select[Any]:
    """The assets of a list, in no order, in a form that begins with `lead`."""
    source: FromClause = table_of(Asset)
    narrowed = [Asset.file_id.is_not(None), not_gone(), *of_types(way.names)]
    if not way.everyones:
        owner = Asset.owner_id if lead == IN_ORDER else passed_over(Asset.owner_id, dialect_name)
        narrowed.append(owner == bindparam("owner_id", type_=Asset.owner_id.type))
    for name in way.names:
        if name == "q":
            engine = index.matching(dialect_name)
            if lead in {"q", NEWEST}:
                source = engine.source.join(source, Asset.id == engine.joined_id)
                narrowed.append(engine.condition)
            else:
                found = select(engine.asset_id).select_from(engine.source).where(engine.condition)
                narrowed.append(Asset.id.in_(found))
        elif way.everyones or name.startswith("created_"):
            narrowed.append(condition_of(name, everyones=way.everyones))
        elif name == "tag":
            tag_id = bindparam("tag_row", type_=Asset.id.type)
            if lead == "tag":
                source = table_of(AssetTag).join(
                    source, Asset.id == passed_over(AssetTag.asset_id, dialect_name)
                )
                narrowed.append(AssetTag.tag_id == tag_id)
            else:
                narrowed.append(is_tagged(tag_id))
        elif name in KINDS:
            column = getattr(Asset, name)
            led = column if lead == name else passed_over(column, dialect_name)
            narrowed.append(led == bindparam(f"{name}_row", type_=Asset.id.type))
    return select(*columns).select_from(source).where(*narrowed)


def _spelt(database: Database, q: str, scope: str) -> str:
    terms = index.parse(q, as_prefixes=True)
    fields: tuple[index.Field, ...] = ("name", "tags", "description")
    return index.spell(database.dialect_name, terms, fields=fields, scope=scope).matching if terms else ""
