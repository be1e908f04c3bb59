"""Telling a CDN in front of the server what it must not answer with any more."""

from collections.abc import Sequence

import httpx
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.assets.served import SECONDS
from mediakeep.library import Library
from mediakeep.settings import Settings
from mediakeep.tasks import Claimed, enqueue, task

_SECONDS = 20.0

#: Server processes answer for `SECONDS` with what they know: a CDN that asked again sooner would keep the old.
_DELAY_SECONDS = SECONDS + 1


async def purge(session: AsyncSession, settings: Settings, public_ids: Sequence[str]) -> None:
    """Have the CDN forget these assets, soon after the transaction is committed; nothing where the settings name none.

    Every public answer carries the asset's id as `Cache-Tag`, and so do all sizes and formats of it.
    """
    if settings.cdn_purge_url and public_ids:
        tags = {"tags": list(public_ids)}
        await enqueue(session, "assets.purge_cdn", tags, delay_seconds=_DELAY_SECONDS)


@task("assets.purge_cdn")
async def purge_cdn(library: Library, claimed: Claimed) -> None:
    """POST `{"tags": [ids]}` to the CDN; what it does not take is tried again, like any task."""
    settings = library.settings
    if not settings.cdn_purge_url:  # it was there when this was asked for
        return
    token = settings.cdn_purge_token.get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(timeout=_SECONDS, follow_redirects=False) as client:
        answer = await client.post(
            settings.cdn_purge_url, json={"tags": claimed.payload["tags"]}, headers=headers
        )
    answer.raise_for_status()
