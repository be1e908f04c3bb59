"""The upkeep of accounts: what has ended is forgotten."""

from collections.abc import Awaitable, Callable
from functools import partial

from mediakeep.accounts import audit, idempotency, keys, limits, sign_ins
from mediakeep.db import Database
from mediakeep.library import Library
from mediakeep.tasks import Claimed, periodic

_CHUNK = 500


@periodic("accounts.purge", every=lambda _: 3600)
async def purge(library: Library, _claimed: Claimed) -> None:
    """Remove counted attempts, ended sign-ins, revoked keys, kept answers and old entries of the audit log."""
    for forget in (
        limits.forget_old_hits,
        sign_ins.forget_ended_sign_ins,
        keys.forget_revoked_keys,
        idempotency.forget_old,
        partial(audit.forget_old, days=library.settings.audit_days),
    ):
        await _forget_all(library.database, forget)


async def _forget_all(database: Database, forget: Callable[..., Awaitable[int]]) -> None:
    """A few at a time, so that others can write meanwhile."""
    forgotten = _CHUNK
    while forgotten == _CHUNK:
        async with database.write() as session:
            forgotten = await forget(session, limit=_CHUNK)
