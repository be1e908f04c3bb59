"""Selects over the image assets of projects, which may have no file yet. Each begins with who asks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, bindparam, func, or_, select

from mediakeep.accounts.actor import Actor
from mediakeep.accounts.models import gone_users
from mediakeep.assets.models import Asset, AssetTag, Tag
from mediakeep.assets.queries import Page, Shape, Told, not_gone
from mediakeep.assets.text import fold
from mediakeep.collections.models import Project
from mediakeep.db import Database, HotQuery
from mediakeep.db.base import as_public_id
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
    """A page of a project's image assets as a JSON array, and how many there are in all."""
    given = filters.values()
    if any("\0" in value for value in given.values() if isinstance(value, str)):
        return "[]", 0  # no text in the database holds one
    if filters.search.strip():
        terms = index.parse(filters.search, as_prefixes=True)
        if not terms:
            return "[]", 0
        spelt = index.spell(
            database.dialect_name, terms, fields=("name", "description"), scope=project_scope(project_id)
        )
        given["matching"] = spelt.matching
    values = {**given, **vars(told), "project_id": project_id, "limit": page.limit, "offset": page.offset}
    query, count = _queries(
        database.dialect_name,
        shape,
        tuple(given),
        filters.any_tag,
        filters.has_generations,
        sort_by,
        page.descending,
    )
    rows = await database.fetch(query, values)
    if rows or not page.offset:
        total = rows[0][0] if rows else 0
    else:  # past the end, where no row tells
        total = (await database.fetch(count, {**given, "project_id": project_id}))[0][0]
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


@lru_cache(maxsize=512)
def _queries(
    dialect_name: str,
    shape: Shape,
    names: tuple[str, ...],
    any_tag: bool,
    has_generations: bool | None,
    sort_by: SortBy,
    descending: bool,
) -> tuple[HotQuery, HotQuery]:
    conditions: list[ColumnElement[bool]] = [
        Asset.project_id == bindparam("project_id", type_=Asset.id.type),
        Asset.type == "image",
        not_gone(),
    ]
    if "matching" in names:
        matching = index.matching(dialect_name)
        found = select(matching.asset_id).select_from(matching.source).where(matching.condition)
        conditions.append(Asset.id.in_(found))
    tagged = [_tagged(name) for name in names if name.startswith("tag_")]
    conditions += [or_(*tagged)] if tagged and any_tag else tagged
    if has_generations is not None:
        conditions.append(Asset.generation_count > 0 if has_generations else Asset.generation_count == 0)
    if "created_after" in names:
        conditions.append(Asset.created_at > bindparam("created_after", type_=Asset.created_at.type))
    if "created_before" in names:
        conditions.append(Asset.created_at < bindparam("created_before", type_=Asset.created_at.type))
    columns = (getattr(Asset, sort_by), Asset.id)
    order = [column.desc() if descending else column.asc() for column in columns]
    count = select(func.count()).select_from(Asset).where(*conditions)
    # The page's ids come from the index alone; only those rows are then read and joined.
    page = select(Asset.id).where(*conditions).order_by(*order)
    page = page.limit(bindparam("limit", type_=Asset.id.type)).offset(
        bindparam("offset", type_=Asset.id.type)
    )
    wanted = page.subquery()
    listed = _joined(count.scalar_subquery().label("total"), shape.json)
    listed = listed.join(wanted, wanted.c.id == Asset.id).order_by(*order)
    scans = "matching" in names
    return HotQuery(listed, is_scan=scans), HotQuery(count, is_scan=scans)


def _tagged(name: str) -> ColumnElement[bool]:
    tag = select(AssetTag.asset_id).join(Tag, Tag.id == AssetTag.tag_id)
    folded = Tag.folded == bindparam(name, type_=Tag.folded.type)
    return Asset.id.in_(tag.where(folded, Tag.owner_id == Asset.owner_id))


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
