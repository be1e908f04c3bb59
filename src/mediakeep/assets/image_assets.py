"""The verbs of projects' image assets, which get their images by generations."""

from typing import Any, Literal

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts import audit
from mediakeep.accounts.actor import Actor
from mediakeep.assets import service
from mediakeep.assets.models import Asset
from mediakeep.assets.queries import not_gone
from mediakeep.assets.text import MAX_TAGS, fold
from mediakeep.db.base import as_public_id
from mediakeep.errors import Conflict, InvalidInput, NotFound

HAS_GENERATIONS = "Asset has active generations"


async def create(
    session: AsyncSession, actor: Actor, project_id: str, *, visibility: str, **columns: Any
) -> int:
    """A new image asset without image; returns its row id. `columns` are name, description, tags and metadata_.

    Raises `NotFound` for a project that is not the actor's.
    """
    return await service.create_empty(
        session,
        actor,
        project_id,
        name=columns["name"],
        description=columns["description"],
        tags=columns["tags"],
        metadata=columns["metadata_"],
        visibility=visibility,
    )


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


async def change_tags(
    session: AsyncSession,
    actor: Actor,
    public_id: str,
    operation: Literal["add", "remove", "replace"],
    tags: list[str],
) -> None:
    """Add tags to those of an asset, take them away, or put them in their place. Raises `NotFound`, `InvalidInput`."""
    asset = await _lock(session, actor, public_id)
    given = {fold(tag): tag for tag in tags}
    before = {fold(tag): tag for tag in asset.tags}
    match operation:
        case "add":
            after = before | {folded: tag for folded, tag in given.items() if folded not in before}
        case "remove":
            after = {folded: tag for folded, tag in before.items() if folded not in given}
        case "replace":
            after = given
    if len(after) > MAX_TAGS:
        raise InvalidInput(f"An asset has at most {MAX_TAGS} tags.", field="tags")
    if after != before:
        await service.update(session, actor, public_id, {"tags": list(after.values())})


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
