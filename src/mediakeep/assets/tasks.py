"""Background work on assets: what a deleted collection takes along."""

from sqlalchemy import ColumnElement, select

from mediakeep import collections
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
            chunk = select(Asset).where(belongs_to(kind, row_id)).order_by(Asset.id).limit(CHUNK)
            assets = list(await session.scalars(chunk.with_for_update()))
            if not assets:
                await collections.service.delete_row(session, kind, row_id)
                return
            await service.remove_all(session, assets)


def belongs_to(kind: collections.service.KindName, row_id: int) -> ColumnElement[bool]:
    """What deleting that collection takes along."""
    mine: ColumnElement[bool] = getattr(Asset, kind) == row_id
    if kind != "client_id":
        return mine
    return mine | Asset.campaign_id.in_(select(Campaign.id).where(Campaign.client_id == row_id))
