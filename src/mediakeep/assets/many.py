"""The verbs of image assets, on many in one transaction: whatever two of those might both want, they lock in one order.

First the assets by their row ids, then their files, then the tags by their names. So of two that want the same, one waits
for the other; in any other order each might wait for the other, and PostgreSQL would have to end one of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts import audit
from mediakeep.accounts.actor import Actor
from mediakeep.assets import image_assets, service
from mediakeep.assets.models import Asset
from mediakeep.assets.queries import not_gone
from mediakeep.assets.text import MAX_TAGS, fold
from mediakeep.db.base import as_public_id
from mediakeep.errors import Conflict, InvalidInput, MediakeepError, NotFound

#: Why some could not be changed, by the id that was given.
Refused = dict[str, MediakeepError]


async def create(
    session: AsyncSession,
    actor: Actor,
    project_id: str,
    items: Sequence[Mapping[str, Any]],
    *,
    visibility: str,
) -> list[int]:
    """As `image_assets.create` with the columns of each item; their row ids in that order. Raises `NotFound`."""
    given = [image_assets.as_arguments(item) for item in items]
    return await service.create_all_empty(session, actor, project_id, given, visibility=visibility)


async def remove(
    session: AsyncSession, actor: Actor, public_ids: Sequence[str], *, project_id: int, force: bool
) -> Refused:
    """Delete image assets of a project; those with generations only by `force`."""
    there = await _lock(session, actor, public_ids, admins_too=True)
    refused: Refused = {}
    going: dict[int, Asset] = {}
    for public_id in public_ids:
        asset = there.get(as_public_id(public_id))
        if asset is None or asset.project_id != project_id:
            refused[public_id] = NotFound(service.NOT_FOUND)
        elif asset.generation_count and not force:
            refused[public_id] = Conflict(image_assets.HAS_GENERATIONS)
        else:
            going[asset.id] = asset
    if going:
        await service.remove_all(session, list(going.values()))
    for asset in going.values():
        if asset.owner_id != actor.user_id:
            await audit.record(
                session, actor, "asset.deleted_by_admin", user_id=asset.owner_id, subject=asset.public_id
            )
    return refused


async def change_tags(
    session: AsyncSession,
    actor: Actor,
    public_ids: Sequence[str],
    operation: Literal["add", "remove", "replace"],
    tags: list[str],
) -> Refused:
    """Add tags to those of image assets, take them away, or put them in their place."""
    there = await _lock(session, actor, public_ids)
    refused: Refused = {}
    changes: dict[int, tuple[Asset, list[str]]] = {}
    for public_id in public_ids:
        asset = there.get(as_public_id(public_id))
        if asset is None:
            refused[public_id] = NotFound(service.NOT_FOUND)
            continue
        try:
            after = _tags_after(asset.tags, operation, tags)
        except InvalidInput as error:
            refused[public_id] = error
        else:
            if after != asset.tags:
                changes[asset.id] = (asset, after)
    if changes:
        await service.change_tags(session, actor, list(changes.values()))
    return refused


def _tags_after(
    tags: Sequence[str], operation: Literal["add", "remove", "replace"], given_tags: Sequence[str]
) -> list[str]:
    """What an asset's tags become. Raises `InvalidInput`."""
    given = {fold(tag): tag for tag in given_tags}
    before = {fold(tag): tag for tag in tags}
    match operation:
        case "add":
            after = before | {folded: tag for folded, tag in given.items() if folded not in before}
        case "remove":
            after = {folded: tag for folded, tag in before.items() if folded not in given}
        case "replace":
            after = given
    if len(after) > MAX_TAGS:
        raise InvalidInput(f"An asset has at most {MAX_TAGS} tags.", field="tags")
    return list(tags if after == before else after.values())


async def _lock(
    session: AsyncSession, actor: Actor, public_ids: Sequence[str], *, admins_too: bool = False
) -> dict[str, Asset]:
    """Those of the image assets of projects that are the actor's, by public id, kept from being changed by others."""
    wanted = select(Asset).where(
        Asset.public_id.in_([as_public_id(one) for one in public_ids]),
        Asset.type == "image",
        Asset.project_id.is_not(None),
        not_gone(),
    )
    if not (admins_too and actor.is_admin):
        wanted = wanted.where(Asset.owner_id == actor.user_id)
    locked = await session.scalars(wanted.order_by(Asset.id).with_for_update(of=Asset))
    return {asset.public_id: asset for asset in locked}
