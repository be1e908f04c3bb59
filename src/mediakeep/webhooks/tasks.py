"""Sending deliveries, and clearing away old ones."""

import random

from mediakeep.library import Library
from mediakeep.tasks import Again, Claimed, periodic, task
from mediakeep.webhooks import deliveries, outgoing
from mediakeep.webhooks.deliveries import Due
from mediakeep.webhooks.outgoing import Answer

_CHUNK = 500

#: Those that waited for a receiver to recover do not all ask at the same moment.
_SPREAD_SECONDS = 10.0


@task("webhooks.deliver")
async def deliver(library: Library, claimed: Claimed) -> Again | None:
    """Send a delivery once and write down how that went: whoever is killed in between sends it again, under one id."""
    async with library.database.read() as session:
        due = await deliveries.find_due(session, claimed.payload["delivery_id"], task_id=claimed.id)
    if due is None:
        return None
    if due.refusal is not None:
        async with library.database.write() as session:
            await deliveries.refuse(session, due)
            await claimed.hold(session)
        return None
    if due.wait_seconds > 0:
        return Again(due.wait_seconds + random.uniform(0, _SPREAD_SECONDS))  # noqa: S311 no secret
    answer = await outgoing.post(
        due.url,
        body=due.body.encode(),
        headers=due.headers(),
        allow_private=library.settings.webhooks_allow_private,
    )
    return await _note(library, claimed, due, answer)


async def _note(library: Library, claimed: Claimed, due: Due, answer: Answer) -> Again | None:
    async with library.database.write() as session:
        seconds = await deliveries.note(session, due, answer)
        await claimed.hold(session)
    return None if seconds is None else Again(seconds)


@periodic("webhooks.purge", every=lambda _: 3600)
async def purge(library: Library, _claimed: Claimed) -> None:
    """Remove deliveries of more than 30 days ago and of webhooks and users that are gone, a few at a time."""
    async with library.database.read() as session:
        webhooks = await deliveries.gone_webhooks(session)
        owners = await deliveries.gone_owners(session)
    forgotten = _CHUNK
    while forgotten == _CHUNK:
        async with library.database.write() as session:
            forgotten = await deliveries.forget_old(session, webhooks=webhooks, owners=owners, limit=_CHUNK)
