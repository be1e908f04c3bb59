"""Exact rate limits: a moving window, kept in the database so that all processes count together."""

import math
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts.models import RateHit
from mediakeep.db import now_plus
from mediakeep.errors import RateLimited

#: The longest window that is in use, seconds: what is older counts nowhere.
LONGEST_WINDOW_SECONDS = 900


@dataclass(frozen=True, kw_only=True)
class Window:
    """Where a bucket stands after an attempt. A `limit` of 0 is none."""

    limit: int
    remaining: int
    #: When the next of the counted attempts leaves the window.
    reset_seconds: int
    allowed: bool
    #: The counted attempt, for `take_back`; None when it was refused or there is no limit.
    hit_id: int | None = None

    @property
    def retry_after_seconds(self) -> int | None:
        return None if self.allowed else self.reset_seconds

    def require(self) -> None:
        """Raise `RateLimited` with its headers unless the attempt was allowed."""
        if not self.allowed:
            raise RateLimited(retry_after_seconds=self.reset_seconds, headers=rate_limit_headers(self))


async def hit(session: AsyncSession, bucket: str, *, limit: int, window_seconds: int = 60) -> Window:
    """Count an attempt, unless `limit` of them lie within the last `window_seconds`: those are refused, not counted.

    Exact across processes. Give it a transaction of its own: others of the same bucket wait until it ends, and
    the attempt stays counted whatever happens to the caller's work.
    """
    if not limit:
        return Window(limit=0, remaining=0, reset_seconds=0, allowed=True)
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:bucket, 0))"), {"bucket": bucket}
        )
    mine = RateHit.bucket == bucket
    await session.execute(delete(RateHit).where(mine, RateHit.at <= now_plus(-window_seconds)))
    count, oldest, now = (
        await session.execute(select(func.count(), func.min(RateHit.at), now_plus()).where(mine))
    ).one()
    window = timedelta(seconds=window_seconds)
    if count >= limit:
        # With a limit that has been lowered there are more than `limit`: this is the one whose leaving makes room.
        newest_first = select(RateHit.at).where(mine).order_by(RateHit.at.desc(), RateHit.id.desc())
        blocking = (await session.execute(newest_first.offset(limit - 1).limit(1))).scalar_one()
        return Window(
            limit=limit, remaining=0, reset_seconds=_whole_seconds(blocking + window - now), allowed=False
        )
    hit_id = (
        await session.execute(insert(RateHit).values(bucket=bucket, at=now).returning(RateHit.id))
    ).scalar_one()
    return Window(
        limit=limit,
        remaining=limit - count - 1,
        reset_seconds=_whole_seconds((oldest or now) + window - now),
        allowed=True,
        hit_id=hit_id,
    )


async def take_back(session: AsyncSession, *windows: Window) -> None:
    """Uncount attempts that turned out not to be of the kind that is limited."""
    ids = [window.hit_id for window in windows if window.hit_id is not None]
    await session.execute(delete(RateHit).where(RateHit.id.in_(ids)))


async def forget_old_hits(session: AsyncSession, *, limit: int) -> int:
    """Remove up to `limit` hits that no window counts any more, also of buckets that nobody asks for again.

    Returns how many those were.
    """
    old = select(RateHit.id).where(RateHit.at <= now_plus(-LONGEST_WINDOW_SECONDS)).limit(limit)
    removed = delete(RateHit).where(RateHit.id.in_(old)).returning(RateHit.id)
    return len((await session.scalars(removed, execution_options={"synchronize_session": False})).all())


def rate_limit_headers(window: Window) -> dict[str, str]:
    """`RateLimit-…` as in draft-ietf-httpapi-ratelimit-headers-06, the widely used form. Empty without a limit."""
    if not window.limit:
        return {}
    return {
        "RateLimit-Limit": str(window.limit),
        "RateLimit-Remaining": str(window.remaining),
        "RateLimit-Reset": str(window.reset_seconds),
    }


def _whole_seconds(time: timedelta) -> int:
    """Rounded up, so that whoever waits that long is let in."""
    return max(1, math.ceil(time.total_seconds()))
