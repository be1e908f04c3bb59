"""The verbs of image assets, on many in one transaction: whatever two of those might both want, they lock in one order.

First the assets by their row ids, then their files, then the tags by their names. So of two that want the same, one waits
for the other; in any other order each might wait for the other, and PostgreSQL would have to end one of them.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts import audit
from mediakeep.accounts.actor import Actor
from mediakeep.accounts.service import lock_user
from mediakeep.assets import image_assets, service
from mediakeep.assets.models import Asset
from mediakeep.assets.queries import not_gone
from mediakeep.assets.text import fold
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
    await lock_user(session, actor.user_id)
    await _lock_tags(session, actor, [tag for item in items for tag in item["tags"]])
    row_ids: list[int] = []
    for item in items:
        row_id = await image_assets.create(session, actor, project_id, visibility=visibility, **item)
        row_ids.append(row_id)
        await _let_others_run()
    return row_ids


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
    """As `image_assets.change_tags` for each."""
    await _lock(session, actor, public_ids)
    if operation != "remove":
        await _lock_tags(session, actor, tags)
    refused: Refused = {}
    for public_id in public_ids:
        try:
            await image_assets.change_tags(session, actor, public_id, operation, tags)
        except (NotFound, InvalidInput) as error:
            refused[public_id] = error
        await _let_others_run()
    return refused


async def _lock_tags(session: AsyncSession, actor: Actor, tags: Sequence[str]) -> None:
    """A tag that is not there yet gets the spelling that comes first."""
    await service.lock_tags(session, actor.user_id, {fold(tag): tag for tag in reversed(tags)})


async def _let_others_run() -> None:
    """SQLite's statements run on the event loop, one after the other without a pause."""
    await asyncio.sleep(0)


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
