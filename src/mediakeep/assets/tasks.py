"""Background work on assets: what a deleted collection or user takes along, tags that are renamed or that nothing has."""

from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep import collections, events
from mediakeep.accounts.models import User
from mediakeep.accounts.service import delete_row
from mediakeep.assets import cdn, service, tags
from mediakeep.assets.models import Asset, Tag
from mediakeep.collections.models import Campaign, Client
from mediakeep.collections.service import KINDS
from mediakeep.db import now_plus
from mediakeep.library import Library
from mediakeep.settings import Settings
from mediakeep.tasks import Again, Claimed, enqueue, list_tasks, periodic, task, wake_all
from mediakeep.tasks.schedule import database_time

#: Assets that one transaction removes; under SQLite's one writer everybody else waits for it.
CHUNK = 50

_TAG_CHUNK = 500

#: Longer than a removal waits for its first attempts, so that one that is under way is rarely looked at.
_RESUMED_AFTER_SECONDS = 3600

#: The tasks of a user's jobs, and how long they may take to end before the user's row is tried again, seconds.
_JOBS, _JOBS_SECONDS = "jobs.run", 2.0

#: A task and its payload.
_Removal = tuple[str, dict[str, Any]]


@task("assets.remove_collection")
async def remove_collection(library: Library, claimed: Claimed) -> None:
    """Remove the assets of a collection that is gone, a chunk at a time, and its row last.

    Nothing can be added meanwhile: whoever adds an asset locks the collection's row and finds it gone.
    """
    kind, row_id = claimed.payload["kind"], claimed.payload["id"]
    while True:
        async with library.database.write() as session:
            if not await _remove_some(session, library.settings, belongs_to(kind, row_id)):
                await collections.service.delete_row(session, kind, row_id)
                return


@task("assets.remove_user")
async def remove_user(library: Library, claimed: Claimed) -> Again | None:
    """Remove what a user who is gone owned: assets, a chunk at a time, collections, and the row last.

    Nothing can be added meanwhile: whoever adds something locks the user's row and finds them gone. Their jobs are
    ended first, at providers that would go on and want to be paid as well.
    """
    user_id = claimed.payload["id"]
    async with library.database.write() as session:
        await wake_all(session, _JOBS, owner_id=user_id)
    while True:
        async with library.database.write() as session:
            if await _remove_some(session, library.settings, Asset.owner_id == user_id):
                continue
            if await events.forget(session, user_id, limit=CHUNK):
                continue
            if await wake_all(session, _JOBS, owner_id=user_id):
                return Again(_JOBS_SECONDS)
            await collections.service.delete_rows_of(session, user_id)
            await delete_row(session, user_id)
            return None


@task("assets.rename_tag")
async def rename_tag(library: Library, claimed: Claimed) -> None:
    """Rename a tag on the rest of a project's assets, a chunk at a time."""
    renaming = claimed.payload
    after: int | None = renaming["after"]
    while after is not None:
        chunk = partial(tags.rename_some, renaming=renaming, after=after)
        _, after = await library.database.transact(chunk)


@periodic("assets.resume_removals", every=lambda _: 3600)
async def resume_removals(library: Library, _claimed: Claimed) -> None:
    """Have removals go on whose task has died or was cancelled: at most once a day each, which the key says."""
    async with library.database.read() as session:
        left = await _left_behind(session)
        today = (await database_time(session)).date()
    if not left:
        return
    async with library.database.write() as session:
        for name, payload in left:
            occasion = f"{name}:{payload.get('kind', 'user')}:{payload['id']}:{today}"
            await enqueue(session, name, payload, key=occasion)


@periodic("assets.clear_tags", every=lambda _: 3600)
async def clear_tags(library: Library, _claimed: Claimed) -> None:
    """Delete tags that no asset has any more."""
    last = 0
    while True:
        async with library.database.read() as session:
            unused = select(Tag.id).where(Tag.id > last, service.unused_tag()).order_by(Tag.id)
            found = list(await session.scalars(unused.limit(_TAG_CHUNK)))
        if not found:
            return
        async with library.database.write() as session:
            await service.clear_tags(session, found)
        last = found[-1]


async def _left_behind(session: AsyncSession) -> list[_Removal]:
    """The removals of what has been gone for long and that no task is about to do."""
    names = ("assets.remove_collection", "assets.remove_user")
    queued = [(row.name, row.payload) for row in await list_tasks(session, statuses=("queued",), names=names)]
    return [removal for removal in await _long_gone(session) if removal not in queued]


async def _long_gone(session: AsyncSession) -> list[_Removal]:
    since = now_plus(-_RESUMED_AFTER_SECONDS)
    removals: list[_Removal] = []
    for kind, each in KINDS.items():
        gone = select(each.table.id).where(each.table.gone_at < since)
        if kind == "campaign_id":  # those of a client that is gone go with it
            clients = select(Client.id).where(Client.gone_at.is_not(None))
            gone = gone.where(Campaign.client_id.is_(None) | Campaign.client_id.not_in(clients))
        ids = await session.scalars(gone)
        removals += [("assets.remove_collection", {"kind": kind, "id": row_id}) for row_id in ids]
    users = await session.scalars(select(User.id).where(User.gone_at < since))
    return removals + [("assets.remove_user", {"id": user_id}) for user_id in users]


async def _remove_some(session: AsyncSession, settings: Settings, condition: ColumnElement[bool]) -> bool:
    """Remove a chunk of assets; says whether there were any."""
    chunk = select(Asset).where(condition).order_by(Asset.id).limit(CHUNK)
    found = list(await session.scalars(chunk.with_for_update()))
    if found:
        await service.remove_all(session, found)
        await cdn.purge(session, settings, [asset.public_id for asset in found])
    return bool(found)


def belongs_to(kind: collections.service.KindName, row_id: int) -> ColumnElement[bool]:
    """What deleting that collection takes along."""
    mine: ColumnElement[bool] = getattr(Asset, kind) == row_id
    if kind != "client_id":
        return mine
    return mine | Asset.campaign_id.in_(select(Campaign.id).where(Campaign.client_id == row_id))
