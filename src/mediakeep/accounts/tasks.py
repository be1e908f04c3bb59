"""The upkeep of accounts: what has ended is forgotten."""

from mediakeep.accounts import audit, idempotency, limits, sign_ins
from mediakeep.library import Library
from mediakeep.tasks import Claimed, periodic

_CHUNK = 500


@periodic("accounts.purge", every=lambda _: 3600)
async def purge(library: Library, _claimed: Claimed) -> None:
    """Remove ended sign-ins, counted attempts, kept answers and old entries of the audit log."""
    for forget in (limits.forget_old_hits, sign_ins.forget_ended_sign_ins, idempotency.forget_old):
        async with library.database.write() as session:
            await forget(session)
    forgotten = _CHUNK
    while forgotten == _CHUNK:
        async with library.database.write() as session:
            forgotten = await audit.forget_old(session, days=library.settings.audit_days, limit=_CHUNK)
