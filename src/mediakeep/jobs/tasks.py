"""Running jobs: one task each, which goes on from what its row says, whoever was killed before.

A job is prepared, its intent is stored, it is submitted, looked at until it ends, and its outputs are fetched. What
happened between the intent and the answer nobody knows who was not there: then the provider is asked what it has.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts.models import gone_users
from mediakeep.collections.service import Belonging
from mediakeep.db import now_plus
from mediakeep.errors import MediakeepError, Unavailable
from mediakeep.jobs import outputs, service, sources
from mediakeep.jobs.models import ACTIVE, Job, Status
from mediakeep.jobs.providers import PROVIDERS
from mediakeep.jobs.providers.base import (
    Look,
    NotConfigured,
    NotSubmitted,
    Order,
    Provider,
    ProviderAway,
    RefusedByProvider,
    UnknownModel,
    digest,
    drawn,
)
from mediakeep.library import Library
from mediakeep.tasks import Again, Claimed, periodic, task
from mediakeep.tasks.models import Task
from mediakeep.tasks.schedule import database_time

NOT_CONFIRMED: Final = "submission could not be confirmed"

#: While a look lasts, its progress is noted and it is asked whether somebody cancels, seconds.
_WATCH_SECONDS = 1.0

#: Waits between two looks grow with the time that a job takes, seconds.
_SHORTEST_PAUSE, _LONGEST_PAUSE, _LONGEST_PAUSE_WITH_WEBHOOK = 0.5, 10.0, 20.0
_PAUSE_SHARE = 0.15

#: How long a submission whose answer was lost may not be in the provider's list before it counts as never arrived.
_CONFIRM_SECONDS = 60.0
#: The provider's clock may be as much behind ours.
_CLOCK_SECONDS = 60.0

#: Progress that is worth telling.
_PROGRESS_STEP = 0.01

#: What a job's owner reads of a fault of ours: what it was is in the log, and nobody else's business.
_GIVEN_UP: Final = "It was given up after a fault of this server, whose log tells more."
_TASK_CANCELLED: Final = "An admin cancelled the task that ran it."
_THROTTLED: Final = "The provider had too many requests; it is asked again a little later."

_LAST_LOOK_SECONDS = 30.0

#: While others fetch outputs, seconds.
_SLOT_SECONDS = 2.0

_MOST_NOTES = 50

_CHUNK = 100

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class _Run:
    """One step of one job: what it needs at hand. `job` is as it was when the step began."""

    def __init__(
        self, library: Library, claimed: Claimed, job: Job, now: datetime, *, is_orphan: bool
    ) -> None:
        self.library = library
        self.claimed = claimed
        self.job = job
        self.now = now
        self.provider: Provider = PROVIDERS[job.provider](library)
        #: Whether whoever asked for it is being deleted.
        self.is_orphan = is_orphan
        #: Whether it has had its time, or nobody wants it any more.
        self.is_over = is_orphan or service.is_over(job, now, library.settings)
        #: Whether it may have begun, or not: somebody else was there, and is no more.
        self.is_unconfirmed = job.submitted_at is not None and job.reference is None

    def order(self) -> Order:
        job = self.job
        owner = service.owner_of(job)
        return Order(
            job_id=job.public_id,
            model_id=job.model,
            input=job.input,
            sources=frozenset(job.sources),
            open_source=lambda address: sources.opened(self.library, owner, job.sources[address]),
            webhook_url=_callback_url(self.library, job),
        )


@task("jobs.run", max_attempts=10)
async def run(library: Library, claimed: Claimed) -> Again | None:
    """Take a job one step further."""
    async with library.database.read() as session:
        wanted = select(Job, Job.owner_id.in_(gone_users()).label("is_orphan"))
        found = (
            await session.execute(wanted.where(Job.public_id == claimed.payload["job_id"]))
        ).one_or_none()
        now = await database_time(session)
    if found is None or found.Job.status not in ACTIVE:
        return None
    step = _Run(library, claimed, found.Job, now, is_orphan=found.is_orphan)
    try:
        return await _step(step)
    except (RefusedByProvider, UnknownModel, NotConfigured) as error:
        reason = str(error)
    except Unavailable as error:
        if isinstance(error, ProviderAway) and error.after_seconds is not None:
            await _note(step, _THROTTLED)
            return Again(error.after_seconds)
        if claimed.attempt < claimed.max_attempts:
            await _note(step, f"Tried again: {error.detail}")
            raise
        reason = error.detail
    except MediakeepError as error:
        reason = error.detail
    await _fail(step, NOT_CONFIRMED if step.is_unconfirmed else reason)
    return None


async def _step(step: _Run) -> Again | None:
    job = step.job
    _check_configured(step)
    if step.is_over:
        return await _give_up(step)
    if job.submitted_at is None:
        return await _submit(step)
    if step.is_unconfirmed:
        return await _settle(step)
    assert job.reference is not None
    if job.cancel_requested and await step.provider.cancel(job.reference):
        await _end(step, "cancelled")
        return None
    return await _look(step)


def _check_configured(step: _Run) -> None:
    """What is under way is not thrown away because a setting is missing just now."""
    try:
        step.provider.check_configured()
    except NotConfigured as error:
        if step.job.reference is None:
            raise
        raise ProviderAway(str(error)) from error


async def _give_up(step: _Run) -> Again | None:
    """End a job that is over; not without what came out while nobody looked, a server that was off say."""
    look = await _last_look(step)
    if look and look.status == "succeeded" and not step.is_orphan:
        return await _complete(step, look)
    if step.is_unconfirmed:
        await _fail(step, NOT_CONFIRMED)
    else:
        await _fail(step, f"It was not done within {step.library.settings.job_seconds:g} s.")
    return None


async def _last_look(step: _Run) -> Look | None:
    """How it ended at its provider, which it does now at the latest; None where that does not say."""
    if step.job.reference is None:
        return None
    with suppress(Unavailable, RefusedByProvider, UnknownModel, TimeoutError):
        async with asyncio.timeout(_LAST_LOOK_SECONDS):
            if not await step.provider.cancel(step.job.reference):
                return await step.provider.look(step.job.reference, step.order(), report=lambda _: None)
    return None


async def _submit(step: _Run) -> Again | None:
    fitted = await _fit(step)
    order = step.order()
    prepared = await step.provider.prepare(order)
    if not await _store_intent(step, fitted, prepared):
        return None
    try:
        reference = await step.provider.submit(order, prepared)
    except NotSubmitted as error:
        await _put_off(step, error)
        return None
    except RefusedByProvider as error:
        await _end(step, "failed", error=str(error), has_begun=False)
        return None
    except Unavailable as error:
        _log.warning("job.submission_unconfirmed", job=step.job.public_id, error=error.detail)
        return Again(_SHORTEST_PAUSE)
    await step.library.database.transact(partial(_note_reference, step, reference, "answer"))
    return Again(0.0)


async def _fit(step: _Run) -> service.Asked:
    """What was asked, checked by the model's schema; that could not be had before, perhaps. Raises `InvalidInput`."""
    job = step.job
    asked = service.Asked(
        prompt=job.prompt,
        model_id=job.model_id,
        model=job.model,
        provider=job.provider,
        version=job.version,
        input=job.input,
        sources=dict(job.sources),
        notes=list(job.notes),
        visibility=job.placing["visibility"],
        belonging=Belonging(),
    )
    model = await step.provider.describe(job.model)
    fitted = service.fit(step.provider, model, asked)
    own = {name: drawn(name, bounds, job_id=job.public_id) for name, bounds in model.drawn.items()}
    fitted = replace(fitted, input={**own, **fitted.input})
    job.input, job.sources = fitted.input, dict(fitted.sources)
    return fitted


async def _store_intent(step: _Run, fitted: service.Asked, prepared: dict[str, Any]) -> bool:
    """Note that the job is about to be submitted; False where it has ended meanwhile."""

    async def work(session: AsyncSession) -> bool:
        job = await _lock(session, step)
        if job is None or job.submitted_at is not None:
            return False
        job.input, job.sources, job.notes = fitted.input, dict(fitted.sources), fitted.notes
        job.version = fitted.version
        job.submitted_at = job.updated_at = now_plus()
        job.prepared_digest = digest([job.model, prepared])
        job.prepared_digests = {name: digest(value) for name, value in prepared.items()}
        await session.flush()
        await step.claimed.hold(session)
        return True

    return await step.library.database.transact(work)


async def _put_off(step: _Run, error: NotSubmitted) -> None:
    """Nothing was begun. Raises `ProviderAway`, to have it tried again, unless somebody has cancelled it meanwhile."""

    async def work(session: AsyncSession) -> bool:
        job = await _lock(session, step)
        if job is None:
            return False
        job.submitted_at = None
        if job.cancel_requested:
            await service.end(session, job, "cancelled")
        await session.flush()
        await step.claimed.hold(session)
        return not job.cancel_requested

    if await step.library.database.transact(work):
        raise ProviderAway(str(error), after_seconds=error.after_seconds) from error


async def _note_reference(step: _Run, reference: str, known_by: str, session: AsyncSession) -> None:
    """Not held by the lease: what was begun is known to one who may be too late, and to nobody else."""
    job = await _lock(session, step)
    if job is not None and job.reference is None:
        job.reference = reference
        job.updated_at = now_plus()
        await session.flush()
        _log.info("job.submitted", job=job.public_id, known_by=known_by)


async def _settle(step: _Run) -> Again | None:
    """Find out what became of a submission whose answer was lost."""
    job = step.job
    assert job.submitted_at is not None
    waited = (step.now - job.submitted_at).total_seconds()
    since = datetime.fromtimestamp(job.submitted_at.timestamp() - _CLOCK_SECONDS, job.submitted_at.tzinfo)
    found = await step.provider.find(step.order(), job.prepared_digests, since=since)
    async with step.library.database.read() as session:
        taken = select(Job.reference).where(Job.provider == job.provider, Job.reference.in_(found))
        known = set(await session.scalars(taken))
        rivals = 0 if step.provider.finds_by_id else await session.scalar(_rivals(job)) or 0
    free = [one for one in found if one not in known]
    if len(free) == 1 and not rivals:
        await step.library.database.transact(partial(_note_reference, step, free[0], "list"))
        return Again(0.0)
    if not free and waited > _CONFIRM_SECONDS:
        await _fail(step, NOT_CONFIRMED)
        return None
    return Again(min(1 + waited * _PAUSE_SHARE, _LONGEST_PAUSE))


def _rivals(job: Job) -> Any:  # a SELECT of a number
    """How many other submissions of the same thing nobody knows the outcome of either."""
    return (
        select(func.count())
        .select_from(Job)
        .where(
            Job.prepared_digest == job.prepared_digest,
            Job.provider == job.provider,
            Job.id != job.id,
            Job.reference.is_(None),
            Job.submitted_at.is_not(None),
            Job.submitted_at > now_plus(-24 * 3600),
        )
    )


async def _look(step: _Run) -> Again | None:
    look = await _watched_look(step)
    if look is None:
        return Again(0.0)
    if look.status == "succeeded":
        return await _complete(step, look)
    if look.status == "failed":
        await _fail(step, look.error or "The model failed without saying why.")
        return None
    if look.status == "cancelled":
        await _end(step, "cancelled")
        return None
    await _note_look(step, look)
    return Again(_pause(step, look))


async def _watched_look(step: _Run) -> Look | None:
    """How the job stands at its provider; None where somebody cancelled it before that was known."""
    told = [step.job.progress]
    reference = step.job.reference
    assert reference is not None
    looking = asyncio.ensure_future(step.provider.look(reference, step.order(), report=told.append))
    try:
        while not (await asyncio.wait({looking}, timeout=_WATCH_SECONDS))[0]:
            is_unwanted = await _note_progress(step, told[-1])
            if is_unwanted and not step.job.cancel_requested and not looking.done():
                return None
            del told[:-1]
        return looking.result()
    finally:
        looking.cancel()
        await asyncio.wait({looking})
        if not looking.cancelled():
            looking.exception()  # has been looked at, asyncio is to know


async def _note_progress(step: _Run, progress: float) -> bool:
    """Store progress where there is some; whether somebody wants the job cancelled, or it has ended."""
    async with step.library.database.read() as session:
        wanted = select(Job.progress, Job.cancel_requested, Job.status).where(Job.id == step.job.id)
        row = (await session.execute(wanted)).one_or_none()
    if row is None or row.status not in ACTIVE or row.cancel_requested:
        return True
    if progress - row.progress >= _PROGRESS_STEP:
        await _note_look(step, Look(status="running", progress=progress))
    return False


async def _note_look(step: _Run, look: Look) -> None:
    """Store how a job stands that has not ended, if that is news. Progress never goes back."""
    job = step.job
    is_processing = look.status == "running" or job.status == "processing"
    status: Status = "processing" if is_processing else "pending"
    progress = min(max(look.progress or 0.0, job.progress), 0.99)
    if status == job.status and progress - job.progress < _PROGRESS_STEP:
        return

    async def work(session: AsyncSession) -> None:
        locked = await _lock(session, step)
        if locked is None:
            return
        if status == "processing" and locked.started_at is None:
            locked.started_at = now_plus()
            await service.note_start(session, locked)
        locked.status, locked.progress, locked.updated_at = status, progress, now_plus()
        await session.flush()
        await service.record(session, "job.updated", locked)
        await step.claimed.hold(session)

    await step.library.database.transact(work)
    job.status, job.progress = status, progress


def _pause(step: _Run, look: Look) -> float:
    if look.again_seconds is not None:
        return look.again_seconds
    assert step.job.submitted_at is not None
    elapsed = (step.now - step.job.submitted_at).total_seconds()
    longest = _LONGEST_PAUSE_WITH_WEBHOOK if _callback_url(step.library, step.job) else _LONGEST_PAUSE
    return min(max(elapsed * _PAUSE_SHARE, _SHORTEST_PAUSE), longest)


async def _complete(step: _Run, look: Look) -> Again | None:
    """Fetch what came out and keep it, in one transaction with the end of the job; later while others fetch."""
    if not look.outputs:
        await _fail(step, "The model's output holds no file.")
        return None
    slots = step.library.output_slots
    if slots.locked() and not step.provider.is_line:  # a film that is just made would have to be made again
        await _note_look(step, Look(status="running", progress=1.0))
        return Again(_SLOT_SECONDS)
    async with slots:
        await _fetch(step, look)
    return None


async def _fetch(step: _Run, look: Look) -> None:
    settings = step.library.settings
    with suppress(_Ended):
        async with outputs.fetched(step.library, step.provider, step.job, look.outputs) as contents:

            async def work(session: AsyncSession) -> None:
                job = await _lock(session, step)
                if job is None:
                    raise _Ended
                await outputs.keep(session, settings, job, look, contents)
                await step.claimed.hold(session)

            await step.library.database.transact(work)


class _Ended(Exception):
    """The job has ended meanwhile: what was fetched is not kept."""


async def _fail(step: _Run, reason: str) -> None:
    await _end(step, "failed", error=reason)


async def _end(step: _Run, status: Status, *, error: str | None = None, has_begun: bool = True) -> None:
    async def work(session: AsyncSession) -> None:
        job = await _lock(session, step)
        if job is None:
            return
        if not has_begun:
            job.submitted_at = None
        await service.end(session, job, status, error=error)
        await step.claimed.hold(session)

    await step.library.database.transact(work)


async def _note(step: _Run, sentence: str) -> None:
    """Tell the job's owner why it waits, once."""

    async def work(session: AsyncSession) -> None:
        job = await _lock(session, step)
        if job is None or sentence in job.notes or len(job.notes) >= _MOST_NOTES:
            return
        job.notes, job.updated_at = [*job.notes, sentence], now_plus()
        await session.flush()
        await service.record(session, "job.updated", job)

    with suppress(Unavailable):  # of the database, say: then the log is told
        await step.library.database.transact(work)


async def _lock(session: AsyncSession, step: _Run) -> Job | None:
    """The job's row as it is now, locked; None where it has ended."""
    wanted = select(Job).where(Job.id == step.job.id, Job.status.in_(ACTIVE))
    return await session.scalar(wanted.with_for_update())


def _callback_url(library: Library, job: Job) -> str | None:
    """Where the provider can call back; None where it could not reach us, or would not."""
    base = library.settings.base_url
    if not base or not PROVIDERS[job.provider](library).can_call(base):
        return None
    return f"{base}/api/v2/providers/{job.provider}/callbacks/{job.callback_token}"


@periodic("jobs.end_abandoned", every=lambda _: 60)
async def end_abandoned(library: Library, _claimed: Claimed) -> None:
    """End the jobs whose task has died or was cancelled: nobody works on them any more."""
    async with library.database.read() as session:
        task_of = select(Task.id).where(Task.id == Job.task_id, Task.status == "queued")
        wanted = select(Job.id).where(Job.status.in_(ACTIVE), ~task_of.exists()).limit(_CHUNK)
        left = list(await session.scalars(wanted))
    for job_id in left:
        provider, reference = await library.database.transact(partial(_end_abandoned, job_id))
        if provider in PROVIDERS and reference is not None:
            with suppress(Unavailable, RefusedByProvider, UnknownModel):
                await PROVIDERS[provider](library).cancel(reference)


async def _end_abandoned(job_id: int, session: AsyncSession) -> tuple[str, str | None]:
    """End one, unless somebody works on it after all; its provider, and what that calls it."""
    job = await session.scalar(select(Job).where(Job.id == job_id, Job.status.in_(ACTIVE)).with_for_update())
    if job is None:
        return "", None
    ended = await session.get(Task, job.task_id) if job.task_id else None
    if ended is not None and ended.status == "queued":
        return "", None
    if ended is not None and ended.status == "cancelled":
        await service.end(session, job, "cancelled", error=_TASK_CANCELLED)
    elif job.submitted_at is not None and job.reference is None:
        await service.end(session, job, "failed", error=NOT_CONFIRMED)
    else:
        await service.end(session, job, "failed", error=_GIVEN_UP)
    return job.provider, job.reference
