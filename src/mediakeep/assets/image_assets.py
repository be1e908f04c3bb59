"""The verbs of projects' image assets, which get their images by generations."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts import audit
from mediakeep.accounts.actor import Actor
from mediakeep.assets import service
from mediakeep.assets.models import Asset
from mediakeep.assets.queries import not_gone
from mediakeep.db.base import as_public_id
from mediakeep.errors import Conflict, NotFound

HAS_GENERATIONS = "Asset has active generations"


async def create(
    session: AsyncSession, actor: Actor, project_id: str, *, visibility: str, **columns: Any
) -> int:
    """A new image asset without image; returns its row id. `columns` are name, description, tags and metadata_.

    Raises `NotFound` for a project that is not the actor's.
    """
    return await service.create_empty(
        session, actor, project_id, visibility=visibility, **as_arguments(columns)
    )


def as_arguments(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a new asset as `service.create_empty` calls them."""
    arguments = {name: columns[name] for name in ("name", "description", "tags")}
    return {**arguments, "metadata": columns["metadata_"]}


async def change(session: AsyncSession, actor: Actor, public_id: str, columns: dict[str, Any]) -> int:
    """Change an image asset of the actor's; returns its row id. Raises `NotFound`."""
    await _lock(session, actor, public_id)
    return (await service.update(session, actor, public_id, columns)).id


async def remove(
    session: AsyncSession, actor: Actor, public_id: str, *, force: bool, project_id: int | None = None
) -> None:
    """Delete an image asset, of this project where one is given; one with generations only by `force`.

    Raises `NotFound`, `Conflict`.
    """
    asset = await _lock(session, actor, public_id, admins_too=True)
    if project_id is not None and asset.project_id != project_id:
        raise NotFound(service.NOT_FOUND)
    if asset.generation_count and not force:
        raise Conflict(HAS_GENERATIONS)
    await service.remove_all(session, [asset])
    if asset.owner_id != actor.user_id:
        await audit.record(
            session, actor, "asset.deleted_by_admin", user_id=asset.owner_id, subject=asset.public_id
        )


def of_project(public_id: str) -> list[ColumnElement[bool]]:
    """Whether an asset is the image asset of this id, which belongs to a project."""
    return [
        Asset.public_id == as_public_id(public_id),
        Asset.type == "image",
        Asset.project_id.is_not(None),
        not_gone(),
    ]


async def _lock(session: AsyncSession, actor: Actor, public_id: str, *, admins_too: bool = False) -> Asset:
    """An image asset of a project of the actor's, kept from being changed by others until the commit."""
    wanted = select(Asset).where(*of_project(public_id))
    if not (admins_too and actor.is_admin):
        wanted = wanted.where(Asset.owner_id == actor.user_id)
    asset = await session.scalar(wanted.with_for_update(of=Asset))
    if asset is None:
        raise NotFound(service.NOT_FOUND)
    return asset
