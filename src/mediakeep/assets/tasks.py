"""Background work on assets: what a deleted collection or a deleted user takes along."""

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep import collections, events
from mediakeep.accounts.service import delete_row
from mediakeep.assets import service
from mediakeep.assets.models import Asset
from mediakeep.collections.models import Campaign
from mediakeep.library import Library
from mediakeep.tasks import Claimed, task

#: Assets that one transaction removes; under SQLite's one writer everybody else waits for it.
CHUNK = 50


@task("assets.remove_collection")
async def remove_collection(library: Library, claimed: Claimed) -> None:
    """Remove the assets of a collection that is gone, a chunk at a time, and its row last.

    Nothing can be added meanwhile: whoever adds an asset locks the collection's row and finds it gone.
    """
    kind, row_id = claimed.payload["kind"], claimed.payload["id"]
    while True:
        async with library.database.write() as session:
            if not await _remove_some(session, belongs_to(kind, row_id)):
                await collections.service.delete_row(session, kind, row_id)
                return


@task("assets.remove_user")
async def remove_user(library: Library, claimed: Claimed) -> None:
    """Remove what a user who is gone owned: assets, a chunk at a time, collections, and the row last.

    Nothing can be added meanwhile: whoever adds something locks the user's row and finds them gone.
    """
    user_id = claimed.payload["id"]
    while True:
        async with library.database.write() as session:
            if await _remove_some(session, Asset.owner_id == user_id):
                continue
            if await events.forget(session, user_id, limit=CHUNK):
                continue
            await collections.service.delete_rows_of(session, user_id)
            await delete_row(session, user_id)
            return


async def _remove_some(session: AsyncSession, condition: ColumnElement[bool]) -> bool:
    """Remove a chunk of assets; says whether there were any."""
    chunk = select(Asset).where(condition).order_by(Asset.id).limit(CHUNK)
    found = list(await session.scalars(chunk.with_for_update()))
    if found:
        await service.remove_all(session, found)
    return bool(found)


def belongs_to(kind: collections.service.KindName, row_id: int) -> ColumnElement[bool]:
    """What deleting that collection takes along."""
    mine: ColumnElement[bool] = getattr(Asset, kind) == row_id
    if kind != "client_id":
        return mine
    return mine | Asset.campaign_id.in_(select(Campaign.id).where(Campaign.client_id == row_id))
