"""What answering with bytes keeps at hand in a server process, and how it is forgotten."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.assets import cdn
from mediakeep.assets.served import ServedAssets
from mediakeep.db.base import as_public_id
from mediakeep.files.memory import Memory
from mediakeep.files.renditions import RenditionCache
from mediakeep.http.auth import library_of
from mediakeep.http.hot import HotAnswers
from mediakeep.http.misses import MissLimit
from mediakeep.http.picture_query import PictureQuery


@dataclass(kw_only=True)
class DeliveryState:
    """What answering with bytes keeps at hand, one for each server process."""

    served: ServedAssets
    generations: ServedAssets
    memory: Memory
    renditions: RenditionCache
    misses: MissLimit
    presets: dict[str, PictureQuery]
    secrets: tuple[bytes, ...]


async def forget(request: Request, session: AsyncSession, public_id: str) -> None:
    """Have this process look up an asset anew that is changed or deleted here, its generations too, and the CDN forget
    it, after the commit: before that somebody may still find, and keep, what was there.
    """
    public_id = as_public_id(public_id)
    await cdn.purge(session, library_of(request).settings, [public_id])
    _after_commit(request, session, lambda state: state.served.forget(public_id))


def forget_all(request: Request, session: AsyncSession) -> None:
    """Have this process look everything up anew, after the commit: a collection or a user is gone, with whatever was theirs."""
    _after_commit(request, session, lambda state: state.served.clear())


def _after_commit(request: Request, session: AsyncSession, work: Callable[[DeliveryState], None]) -> None:
    state: DeliveryState = request.app.state.delivery
    hot: HotAnswers | None = request.scope.get("state", {}).get("hot")

    def forget_what_was(_: object) -> None:
        work(state)
        # All of them: they are known by ids of their own, are good for a second, and cost little to find again.
        state.generations.clear()
        if hot:
            hot.clear()

    event.listen(session.sync_session, "after_commit", forget_what_was, once=True)
