"""Selects over assets. Each begins with who asks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, func, select, union
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep import collections
from mediakeep.accounts.actor import Actor
from mediakeep.assets.models import Asset, AssetTag, Tag
from mediakeep.assets.text import fold
from mediakeep.collections.models import Campaign, Client, Project
from mediakeep.collections.service import KINDS
from mediakeep.errors import NotFound
from mediakeep.files.models import File

SortBy = Literal["created_at", "updated_at", "name", "size"]


@dataclass(frozen=True, kw_only=True)
class AssetRow:
    """An asset with its file and the public ids of where it belongs (a persona's is its row id)."""

    asset: Asset
    file: File
    client_id: str | None
    campaign_id: str | None
    project_id: str | None


@dataclass(frozen=True, kw_only=True)
class Served:
    """What answering with an asset's bytes needs, and nothing more."""

    owner_id: int
    type: str
    visibility: str
    name: str
    created_at: datetime
    key: str
    size: int
    sha256: str
    format: str
    media_type: str
    file_public_id: str
    page_count: int | None


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a list is narrowed to; None and empty do not narrow. Collections are named by the ids that clients know."""

    client_id: str | None = None
    campaign_id: str | None = None
    persona_id: str | None = None
    project_id: str | None = None
    types: tuple[str, ...] = ()
    tag: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which part of a list, in which order."""

    limit: int
    offset: int
    sort_by: SortBy = "created_at"
    descending: bool = True


def visible_to(actor: Actor, *, everyones: bool = False) -> list[ColumnElement[bool]]:
    """What a caller's lists and reads begin with: their own, or everybody's where an admin asks for it."""
    if everyones:
        actor.require("admin")
        return not_gone()
    return [Asset.owner_id == actor.user_id, *not_gone()]


def not_gone() -> list[ColumnElement[bool]]:
    """Leaves out what belongs to a collection that is being deleted; there are hardly ever any."""
    conditions = []
    for column, kind in KINDS.items():
        gone = select(kind.table.id).where(kind.table.gone_at.is_not(None))
        referring = getattr(Asset, column)
        conditions.append(referring.is_(None) | referring.not_in(gone))
    return conditions


async def list_assets(
    session: AsyncSession, actor: Actor, filters: Filters, page: Page, *, everyones: bool = False
) -> tuple[list[AssetRow], int]:
    """A page of assets and how many there are in all. Somebody else's collection gives an empty list."""
    conditions = await _conditions(session, actor, filters, everyones=everyones)
    if conditions is None:
        return [], 0
    total = await session.scalar(select(func.count()).select_from(Asset).where(*conditions)) or 0
    # The page's ids come from the index alone; only those rows are then read and joined.
    order = _order(page)
    ids = select(Asset.id).where(*conditions).order_by(*order).limit(page.limit).offset(page.offset)
    wanted = ids.subquery()
    rows = await session.execute(_rows().join(wanted, wanted.c.id == Asset.id).order_by(*order))
    return [_row(row) for row in rows], total


async def get_asset(session: AsyncSession, actor: Actor, public_id: str) -> AssetRow:
    """One of the caller's assets; an admin may read anybody's. Raises `NotFound`."""
    mine = visible_to(actor, everyones=actor.is_admin)
    row = (await session.execute(_rows().where(Asset.public_id == public_id, *mine))).one_or_none()
    if row is None:
        raise NotFound("Asset not found")
    return _row(row)


async def count_by_collection(
    session: AsyncSession, kind: collections.service.KindName, row_ids: Sequence[int]
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


async def find_served(session: AsyncSession, public_id: str) -> Served | None:
    """An asset that has a file, whoever asks: the caller checks who may have it."""
    statement = (
        select(
            Asset.owner_id,
            Asset.type,
            Asset.visibility,
            Asset.file_name.label("name"),
            Asset.created_at,
            File.key,
            File.size,
            File.sha256,
            File.format,
            File.media_type,
            File.public_id.label("file_public_id"),
            File.page_count,
        )
        .join(File, File.id == Asset.file_id)
        .where(Asset.public_id == public_id, *not_gone())
    )
    row = (await session.execute(statement)).one_or_none()
    return Served(**row._mapping) if row else None  # noqa: SLF001 SQLAlchemy's public API, its name notwithstanding


async def get_row(session: AsyncSession, asset_id: int) -> AssetRow:
    """An asset by its row id, for callers that have checked whose it is."""
    statement = _rows().where(Asset.id == asset_id).execution_options(populate_existing=True)
    return _row((await session.execute(statement)).one())


def _rows() -> Select[Any, Any, Any, Any, Any]:
    return (
        select(Asset, File, Client.public_id, Campaign.public_id, Project.public_id)
        .join(File, File.id == Asset.file_id)
        .outerjoin(Client, Client.id == Asset.client_id)
        .outerjoin(Campaign, Campaign.id == Asset.campaign_id)
        .outerjoin(Project, Project.id == Asset.project_id)
    )


def _row(row: Sequence[Any]) -> AssetRow:
    asset, file, client_id, campaign_id, project_id = row
    return AssetRow(
        asset=asset, file=file, client_id=client_id, campaign_id=campaign_id, project_id=project_id
    )


async def _conditions(
    session: AsyncSession, actor: Actor, filters: Filters, *, everyones: bool
) -> list[ColumnElement[bool]] | None:
    """None where a filter names a collection or a tag that the caller has not."""
    conditions = [*visible_to(actor, everyones=everyones), Asset.file_id.is_not(None)]
    for column in KINDS:
        given = getattr(filters, column)
        if given is not None:
            owner_id = None if everyones else actor.user_id
            row_id = await collections.service.find_row_id(session, owner_id, column, given)
            if row_id is None:
                return None
            conditions.append(getattr(Asset, column) == row_id)
    if filters.types:
        conditions.append(Asset.type.in_(filters.types))
    if filters.tag is not None:
        tagged = (
            select(AssetTag.asset_id)
            .join(Tag, Tag.id == AssetTag.tag_id)
            .where(Tag.folded == fold(filters.tag))
        )
        conditions.append(Asset.id.in_(tagged if everyones else tagged.where(Tag.owner_id == actor.user_id)))
    if filters.created_after is not None:
        conditions.append(Asset.created_at > filters.created_after)
    if filters.created_before is not None:
        conditions.append(Asset.created_at < filters.created_before)
    return conditions


def _order(page: Page) -> list[ColumnElement[Any]]:
    columns = (getattr(Asset, page.sort_by), Asset.id)
    return [column.desc() if page.descending else column.asc() for column in columns]
