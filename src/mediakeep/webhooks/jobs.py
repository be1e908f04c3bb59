"""The events of a job, told to the address that it was asked with, besides whatever subscriptions there are."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep import events
from mediakeep.events import Recorded
from mediakeep.jobs.models import Job
from mediakeep.webhooks.deliveries import deliver_once


@events.listener
async def tell(session: AsyncSession, recorded: Sequence[Recorded]) -> None:
    """Make a delivery of each event of a job that names an address."""
    of_jobs = [event for event in recorded if event.kind.startswith("job.")]
    if not of_jobs:
        return
    wanted = select(Job.public_id, Job.webhook_url).where(
        Job.public_id.in_({event.subject for event in of_jobs}), Job.webhook_url.is_not(None)
    )
    urls = {row.public_id: row.webhook_url for row in await session.execute(wanted)}
    for event in of_jobs:
        if url := urls.get(event.subject):
            await deliver_once(
                session,
                owner_id=event.owner_id,
                url=url,
                type_=event.kind,
                data={"id": event.subject, **event.data},
            )
