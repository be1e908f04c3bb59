"""Selects over the image assets of projects, which may have no file yet. Each begins with who asks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    bindparam,
    cast,
    exists,
    func,
    literal_column,
    select,
)

from mediakeep.accounts.actor import Actor
from mediakeep.accounts.models import gone_users
from mediakeep.assets.models import Asset, AssetTag, OwnerCounter, ProjectCounter
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
from mediakeep.assets.queries import Page, Shape, Told, is_tagged, none_is_gone, not_gone, tag_of
from mediakeep.assets.text import fold
from mediakeep.collections.models import Project
from mediakeep.db import Database, HotQuery
from mediakeep.db.base import as_public_id, table_of
from mediakeep.db.hot import Value
from mediakeep.errors import NotFound
from mediakeep.index import query as index
from mediakeep.index.service import project_scope

SortBy = Literal["created_at", "updated_at", "name", "generation_count"]


@dataclass(frozen=True, kw_only=True)
class ProjectFilters:
    """What a project's assets are narrowed to; None and empty do not narrow."""

    #: What name or description hold, in the language of `index.query`; words match as beginnings.
    search: str = ""
    tags: tuple[str, ...] = ()
    #: Whether one of the tags is enough.
    any_tag: bool = False
    has_generations: bool | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None

    def values(self) -> dict[str, Value]:
        """The parameters of the query."""
        given: dict[str, Value] = {f"tag_{n}": fold(one) for n, one in enumerate(self.tags)}
        times = {"created_after": self.created_after, "created_before": self.created_before}
        return given | {name: time for name, time in times.items() if time is not None}


async def find_project(database: Database, actor: Actor, public_id: str) -> int:
    """The row id of one of the actor's projects; an admin may read anybody's. Raises `NotFound`."""
    values: dict[str, Value] = {"public_id": as_public_id(public_id)}
    if not actor.is_admin:
        values["owner_id"] = actor.user_id
    rows = await database.fetch(_project_query(actor.is_admin), values)
    if not rows:
        raise NotFound("Project not found")
    return int(rows[0][0])


async def find_own_project(database: Database, actor: Actor, public_id: str) -> int:
    """As `find_project`, but an admin's own as well: for writing."""
    values: dict[str, Value] = {"public_id": as_public_id(public_id), "owner_id": actor.user_id}
    rows = await database.fetch(_project_query(False), values)
    if not rows:
        raise NotFound("Project not found")
    return int(rows[0][0])


async def list_json(
    database: Database,
    project_id: int,
    filters: ProjectFilters,
    page: Page,
    sort_by: SortBy,
    *,
    shape: Shape,
    told: Told,
) -> tuple[str, int]:
    """A page of a project's image assets as a JSON array, and how many there are in all (see `plans.total_of`)."""
    given = filters.values()
    if any("\0" in value for value in given.values() if isinstance(value, str)):
        return "[]", 0  # no text in the database holds one
    if filters.search.strip():
        terms = index.parse(filters.search, as_prefixes=True)
        if not terms:
            return "[]", 0
        scope = project_scope(project_id)
        spelt = index.spell(database.dialect_name, terms, fields=("name", "description"), scope=scope)
        given["matching"] = spelt.matching
    values = {**given, **vars(told), "project_id": project_id, "limit": page.limit, "offset": page.offset}
    way = _Way(
        names=tuple(given),
        tags=len(filters.tags),
        any_tag=filters.any_tag,
        has_generations=filters.has_generations,
        sort_by=sort_by,
        descending=page.descending,
    )
    known = await _know(database, way, values)
    if known.is_empty:
        return "[]", 0
    values |= known.row_ids
    matching = None
    if "matching" in given and sort_by != "created_at":
        matching = await count_matching(database, given["matching"])
    lead = _lead(known, way, page, matching=matching)
    way = replace(way, lead=lead, count_lead=_count_lead(known, way), is_counted=known.total is not None)
    query, count = _queries(database.dialect_name, shape, way)
    rows = await database.fetch(query, values)
    total = known.total
    if total is None:
        # Past the end no row tells.
        past_end = not rows and page.offset
        total = (await database.fetch(count, values))[0][0] if past_end else rows[0][0] if rows else 0
        total = total_of(total, offset=page.offset, shown=len(rows), limit=page.limit)
    return "[" + ",".join(row[1] for row in rows) + "]", total


async def get_json(
    database: Database, actor: Actor, public_id: str, *, shape: Shape, told: Told
) -> tuple[int, str, bool]:
    """One of the actor's image assets of projects: its row id, its JSON, and whether it is public. Raises `NotFound`."""
    values: dict[str, Value] = {"public_id": as_public_id(public_id), **vars(told)}
    if not actor.is_admin:
        values["owner_id"] = actor.user_id
    rows = await database.fetch(_one_query(shape, actor.is_admin), values)
    if not rows:
        raise NotFound("Asset not found")
    row_id, text, visibility = rows[0]
    return int(row_id), str(text), visibility == "public"


async def show(session: Any, row_ids: Sequence[int], *, shape: Shape, told: Told) -> dict[int, str]:
    """Image assets as JSON by row id, as this transaction (an `AsyncSession`) sees them."""
    statement = _joined(Asset.id, shape.json).where(Asset.id.in_(row_ids))
    rows = await session.execute(statement, vars(told))
    return {row_id: str(text) for row_id, text in rows}


@dataclass(frozen=True, kw_only=True)
class _Way:
    """A list, and how it is found: the leads are ways of `plans`, or "newest" for the newest matches of many."""

    names: tuple[str, ...]
    tags: int
    any_tag: bool
    has_generations: bool | None
    sort_by: SortBy
    descending: bool
    lead: str = IN_ORDER
    count_lead: str = IN_ORDER
    #: Whether the caller knows the total.
    is_counted: bool = False


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What counters and indexes say of a list before it is read."""

    #: The rows of the tags, by parameter.
    row_ids: dict[str, Value]
    is_empty: bool
    #: All image assets of the project, how many of them each filter leaves, and how many rows its index gives.
    assets: int
    left: dict[str, int]
    reached: dict[str, int]
    #: How many are in the list, where that is known.
    total: int | None


async def _know(database: Database, way: _Way, values: dict[str, Value]) -> _Known:
    [(is_gone, assets, generated, *found)] = await database.fetch(_known_query(way.tags), values)
    rows = [found[at : at + 3] for at in range(0, len(found), 3)]
    row_ids: dict[str, Value] = {f"tag_{at}_row": row_id for at, (row_id, _, _) in enumerate(rows)}
    missing = sum(row_id is None for row_id, _, _ in rows)
    left, reached = {}, {}
    if rows and not way.any_tag:
        left = {f"tag_{at}": in_project for at, (_, in_project, _) in enumerate(rows)}
        reached = {f"tag_{at}": of_owner for at, (_, _, of_owner) in enumerate(rows)}
    total = None
    if not is_gone and len(way.names) == way.tags:
        if way.has_generations is None:
            total = assets if not rows else left["tag_0"] if len(left) == 1 else None
        elif not rows:
            total = generated if way.has_generations else assets - generated
    if way.has_generations is not None:
        left["generations"] = generated if way.has_generations else assets - generated
    return _Known(
        row_ids=row_ids,
        is_empty=bool(missing and (missing == len(rows) or not way.any_tag)),
        assets=assets,
        left=left,
        reached=reached,
        total=total,
    )


@lru_cache(maxsize=128)
def _known_query(tags: int) -> HotQuery:
    """One row: whether anything is being deleted, how many image assets the project has and how many with generations, and
    of each tag its row and numbers.
    """
    project_id = bindparam("project_id", type_=Asset.id.type)
    owner_id = select(Project.owner_id).where(Project.id == project_id).scalar_subquery()

    def in_project(dim: str, val: ColumnElement[Any]) -> ColumnElement[int]:
        counters = [
            ProjectCounter.project_id == project_id,
            ProjectCounter.dim == dim,
            ProjectCounter.val == val,
        ]
        return func.coalesce(select(ProjectCounter.n).where(*counters).scalar_subquery(), 0)

    none: ColumnElement[str] = literal_column("''")
    columns: list[Any] = [~none_is_gone(), in_project("assets", none), in_project("generated", none)]
    for at in range(tags):
        folded = bindparam(f"tag_{at}", type_=ProjectCounter.val.type)
        of_owner = select(cast(func.coalesce(func.sum(OwnerCounter.n), 0), BigInteger)).where(
            OwnerCounter.owner_id == owner_id, OwnerCounter.dim == "tag", OwnerCounter.val == folded
        )
        columns += [tag_of(owner_id, f"tag_{at}"), in_project("tag", folded), of_owner.scalar_subquery()]
    return HotQuery(select(*columns))


def _lead(known: _Known, way: _Way, page: Page, *, matching: int | None) -> str:
    needed = page.offset + page.limit
    if any(name.startswith("created_") for name in way.names):
        needed *= 2  # nothing tells how many those are
    if "matching" not in way.names:
        return best_way(known.assets, known.left, needed=needed, reached=known.reached)
    end = page.offset + page.limit
    return best_way_with_words(known.assets, known.reached, matching=matching, page_end=end, needed=needed)


def _count_lead(known: _Known, way: _Way) -> str:
    if "matching" in way.names and not known.reached:
        return "q"
    return fewest({**known.reached, IN_ORDER: known.assets})


@lru_cache(maxsize=512)
def _queries(dialect_name: str, shape: Shape, way: _Way) -> tuple[HotQuery, HotQuery]:
    """A page, each row with the total unless that is known, and the total."""
    count = counted(_matching(dialect_name, way, way.count_lead, literal_column("1").label("one")))
    columns = (getattr(Asset, way.sort_by), Asset.id)
    order = [column.desc() if way.descending else column.asc() for column in columns]
    # The page's ids come from the index alone; only those rows are then read and joined.
    if way.lead == NEWEST:
        page = newest_of(
            _matching(dialect_name, way, way.lead, Asset.id, Asset.created_at), dialect_name, way.descending
        )
    else:
        page = _matching(dialect_name, way, way.lead, Asset.id).order_by(*order)
    page = page.limit(bindparam("limit", type_=Asset.id.type)).offset(
        bindparam("offset", type_=Asset.id.type)
    )
    wanted = page.subquery()
    total: ColumnElement[int] = literal_column("0") if way.is_counted else count.scalar_subquery()
    if way.lead == NEWEST:
        total = wanted.c.total
    listed = _joined(total.label("total"), shape.json)
    listed = listed.join(wanted, wanted.c.id == Asset.id).order_by(*order)
    is_scan = bool(way.names) or way.has_generations is not None
    return HotQuery(listed, is_scan=is_scan), HotQuery(count, is_scan=is_scan)


def _matching(dialect_name: str, way: _Way, lead: str, *columns: Any) -> Select[Any]:
    """The assets of a list, in no order, in a form that begins with `lead`."""
    source: FromClause = table_of(Asset)
    project_id = Asset.project_id if lead == IN_ORDER else passed_over(Asset.project_id, dialect_name)
    narrowed = [
        project_id == bindparam("project_id", type_=Asset.id.type),
        Asset.type == literal_column("'image'"),
        not_gone(),
    ]
    tag_ids = [bindparam(f"tag_{at}_row", type_=Asset.id.type) for at in range(way.tags)]
    if way.any_tag and tag_ids:
        narrowed.append(exists().where(AssetTag.asset_id == Asset.id, AssetTag.tag_id.in_(tag_ids)))
    else:
        for at, tag_id in enumerate(tag_ids):
            if lead == f"tag_{at}":
                source = table_of(AssetTag).join(
                    source, Asset.id == passed_over(AssetTag.asset_id, dialect_name)
                )
                narrowed.append(AssetTag.tag_id == tag_id)
            else:
                narrowed.append(is_tagged(tag_id))
    if "matching" in way.names:
        engine = index.matching(dialect_name)
        if lead in {"q", NEWEST}:
            source = engine.source.join(source, Asset.id == engine.joined_id)
            narrowed.append(engine.condition)
        else:
            found = select(engine.asset_id).select_from(engine.source).where(engine.condition)
            narrowed.append(Asset.id.in_(found))
    if way.has_generations is not None:
        count = passed_over(Asset.generation_count, dialect_name)
        zero: ColumnElement[int] = literal_column("0")
        narrowed.append(count > zero if way.has_generations else count == zero)
    if "created_after" in way.names:
        narrowed.append(Asset.created_at > bindparam("created_after", type_=Asset.created_at.type))
    if "created_before" in way.names:
        narrowed.append(Asset.created_at < bindparam("created_before", type_=Asset.created_at.type))
    return select(*columns).select_from(source).where(*narrowed)


@lru_cache(maxsize=16)
def _one_query(shape: Shape, everyones: bool) -> HotQuery:
    asked = Asset.public_id == bindparam("public_id", type_=Asset.public_id.type)
    statement = _joined(Asset.id, shape.json, Asset.visibility).where(
        asked, Asset.type == "image", not_gone()
    )
    return HotQuery(statement if everyones else statement.where(_mine(Asset)))


@lru_cache(maxsize=2)
def _project_query(everyones: bool) -> HotQuery:
    asked = Project.public_id == bindparam("public_id", type_=Project.public_id.type)
    statement = select(Project.id).where(
        asked, Project.gone_at.is_(None), Project.owner_id.not_in(gone_users())
    )
    return HotQuery(statement if everyones else statement.where(_mine(Project)))


def _mine(table: type[Asset] | type[Project]) -> ColumnElement[bool]:
    return table.owner_id == bindparam("owner_id", type_=Asset.owner_id.type)


def _joined(*columns: Any) -> Select[Any]:
    statement: Select[Any] = select(*columns).select_from(Asset)
    return statement.join(Project, Project.id == Asset.project_id)
