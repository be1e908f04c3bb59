"""The verbs of jobs, as users know them."""

import asyncio
import secrets
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep import collections, events
from mediakeep.accounts import audit
from mediakeep.accounts.actor import Actor
from mediakeep.accounts.models import gone_users
from mediakeep.accounts.service import lock_user
from mediakeep.assets import generations
from mediakeep.assets.metadata import check_metadata
from mediakeep.collections.service import Belonging
from mediakeep.db import now_plus
from mediakeep.db.base import as_public_id
from mediakeep.errors import Conflict, InvalidInput, NotFound, RateLimited, Unavailable
from mediakeep.jobs import schemas, sources, values
from mediakeep.jobs.models import ACTIVE, Job, Status
from mediakeep.jobs.providers import PROVIDERS, provider_of
from mediakeep.jobs.providers.base import (
    Model,
    NotConfigured,
    Provider,
    ProviderAway,
    RefusedByProvider,
    UnknownModel,
)
from mediakeep.library import Library
from mediakeep.settings import Settings
from mediakeep.tasks import cancel as cancel_task
from mediakeep.tasks import enqueue, wake

NOT_FOUND: Final = "Job not found"

_RETRY_SECONDS = 10

_DESCRIBE_SECONDS = 5.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Inputs that were left out, each in a note of its own.
_MOST_TOLD = 20

#: Of the 64 KiB of JSON that an asset or a generation has for what is told of it.
_PARAMETERS_BYTES = 30 << 10

_SHORT_PROMPT = 1000

_MOST_WOKEN = 20


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What somebody asks of a model, with the model's answer to it: inputs that fit, in so far as that is known yet."""

    prompt: str
    model_id: str
    model: str
    provider: str
    version: str | None
    input: dict[str, Any]
    sources: dict[str, str]
    notes: list[str]
    visibility: str
    belonging: Belonging = field(default_factory=Belonging)
    asset_id: str | None = None
    webhook_url: str | None = None


async def find_model(library: Library, model_id: str) -> Model:
    """A model by its id or alias. Raises `NotFound`, `InvalidInput`, `Unavailable`."""
    provider = _configured(library, resolve_alias(library.settings, model_id))
    try:
        return await describe(provider, resolve_alias(library.settings, model_id))
    except UnknownModel as error:
        raise NotFound(str(error)) from error
    except RefusedByProvider as error:
        raise Unavailable(str(error)) from error


async def describe(provider: Provider, model: str) -> Model:
    """As `Provider.describe`, for somebody who waits for an answer: not for as long as a task would wait."""
    try:
        async with asyncio.timeout(_DESCRIBE_SECONDS):
            return await provider.describe(model)
    except TimeoutError as error:
        raise ProviderAway("The provider does not answer just now.") from error


def resolve_alias(settings: Settings, model_id: str) -> str:
    """The model that the settings have this id stand for, else the id itself."""
    return settings.model_aliases.get(model_id, model_id)


async def ask(
    library: Library,
    actor: Actor,
    *,
    prompt: str,
    model_id: str,
    given: Mapping[str, Any],
    bases: set[str],
    **where: Any,  # the rest of Asked
) -> Asked:
    """Check what somebody asks, before anything is stored; may ask the provider for the model's schema.

    A provider that does not answer now does not hold the job up: it is asked again when the job is run. Raises
    `InvalidInput`, which names what is wrong.
    """
    model = resolve_alias(library.settings, model_id)
    provider = _configured(library, model)
    own = await sources.find(library, actor, given, bases)
    asked = Asked(
        prompt=prompt,
        model_id=model_id,
        model=model,
        provider=provider.name,
        version=None,
        input=dict(given),
        sources=own,
        notes=[],
        **where,
    )
    try:
        described = await describe(provider, model)
    except UnknownModel as error:
        raise InvalidInput(str(error), field="model_id") from error
    except RefusedByProvider as error:
        raise InvalidInput(str(error), field="model_id") from error
    except Unavailable:
        return asked
    return fit(provider, described, asked)


def fit(provider: Provider, model: Model, asked: Asked) -> Asked:
    """What was asked as the model takes it: unknown inputs left out, the prompt put where it belongs.

    Raises `InvalidInput` for what is missing or wrong.
    """
    given = dict(asked.input)
    if asked.prompt:
        given.setdefault("prompt", asked.prompt)
    fitting, dropped = schemas.known(model.input_schema, given)
    schemas.check(model.input_schema, fitting)
    used = {text for _, text in values.texts_in(fitting)}
    try:
        provider.check_input(asked.model, fitting, sources=frozenset(asked.sources))
    except InvalidInput as error:
        raise _within_input(error) from error
    return Asked(
        **{
            **vars(asked),
            "input": fitting,
            "version": model.version,
            "sources": {address: source for address, source in asked.sources.items() if address in used},
            # What was left out before is left out again where the prompt comes anew.
            "notes": list(dict.fromkeys([*asked.notes, *_left_out(asked.model, dropped)])),
        }
    )


def _left_out(model: str, names: Sequence[str]) -> list[str]:
    told = [
        f"{model} does not know the input '{name[:100]}'; it was left out." for name in names[:_MOST_TOLD]
    ]
    more = len(names) - len(told)
    return [*told, f"{more} more inputs were left out as well."] if more else told


def _within_input(error: InvalidInput) -> InvalidInput:
    listed: Any = error.members["errors"]
    return schemas.refusal([{**one, "field": _named_within(one["field"])} for one in listed])


def _named_within(field: str) -> str:
    return field if field.partition(".")[0] == "input" else f"input.{field}"


def _configured(library: Library, model: str) -> Provider:
    provider = provider_of(library, model)
    try:
        provider.check_configured()
    except NotConfigured as error:
        raise InvalidInput(str(error), field="model_id") from error
    return provider


async def create(session: AsyncSession, actor: Actor, settings: Settings, asked: Asked) -> Job:
    """A new job of the actor's, which is run once this has committed.

    Raises `NotFound` for a collection or an image asset that is not the actor's, `RateLimited` where too many wait.
    """
    await lock_user(session, actor.user_id)
    await _check_room(session, actor, settings)
    await collections.service.resolve(session, actor.user_id, asked.belonging)
    generation_id = None if asked.asset_id is None else await _begin_generation(session, actor, asked)
    public_id = str(uuid.uuid4())
    job = Job(
        public_id=public_id,
        owner_id=actor.user_id,
        provider=asked.provider,
        model_id=asked.model_id,
        model=asked.model,
        version=asked.version,
        prompt=asked.prompt,
        input=asked.input,
        sources=asked.sources,
        notes=asked.notes,
        placing={**vars(asked.belonging), "visibility": asked.visibility},
        target_asset_id=None if asked.asset_id is None else as_public_id(asked.asset_id),
        generation_id=generation_id,
        webhook_url=asked.webhook_url,
        callback_token=secrets.token_urlsafe(32),
        task_id=await enqueue(
            session,
            "jobs.run",
            {"job_id": public_id},
            owner_id=actor.user_id,
            deadline_seconds=settings.job_seconds + WAITING_SECONDS + _LAST_SECONDS,
        ),
    )
    session.add(job)
    await session.flush()
    await record(session, "job.created", job)
    return job


#: How long a job may wait for its turn before its own time begins.
WAITING_SECONDS: Final = 24 * 3600.0
#: After its own time a job gets as long to end in good order.
_LAST_SECONDS = 3600.0


async def _check_room(session: AsyncSession, actor: Actor, settings: Settings) -> None:
    active = select(func.count()).select_from(Job)
    active = active.where(Job.owner_id == actor.user_id, Job.status.in_(ACTIVE))
    if (await session.scalar(active) or 0) >= settings.max_active_jobs:
        raise RateLimited(
            f"At most {settings.max_active_jobs} jobs may wait and run.", retry_after_seconds=_RETRY_SECONDS
        )


async def _begin_generation(session: AsyncSession, actor: Actor, asked: Asked) -> str:
    assert asked.asset_id is not None
    begun = await generations.create(session, actor, asked.asset_id, parameters=parameters_of(asked))
    return begun.public_id


def parameters_of(asked: "Asked | Job") -> dict[str, Any]:
    """What a model was asked, as it is kept with what came out; without long inputs, which the job itself has."""
    told = {"model": asked.model, "prompt": asked.prompt, **values.told(asked.input)}
    try:
        return check_metadata(told, max_bytes=_PARAMETERS_BYTES)
    except InvalidInput:
        return {"model": asked.model, "prompt": asked.prompt[:_SHORT_PROMPT], "omitted": "for their size"}


async def get(session: AsyncSession, actor: Actor, public_id: str) -> Job:
    """One of the actor's jobs; an admin may read anybody's. Raises `NotFound`."""
    return await _get(session, _select(actor, public_id))


async def list_page(
    session: AsyncSession,
    actor: Actor,
    *,
    limit: int,
    offset: int,
    status: Status | None = None,
    everyones: bool = False,
) -> tuple[list[Job], int]:
    """A page of jobs, newest first, and how many there are in all."""
    narrowed: list[ColumnElement[bool]] = [Job.owner_id.not_in(gone_users())]
    if everyones:
        actor.require("admin")
    else:
        narrowed.append(Job.owner_id == actor.user_id)
    if status is not None:
        narrowed.append(Job.status == status)
    total = await session.scalar(select(func.count()).select_from(Job).where(*narrowed)) or 0
    newest = select(Job).where(*narrowed).order_by(Job.created_at.desc(), Job.id.desc())
    return list(await session.scalars(newest.limit(limit).offset(offset))), total


async def cancel(session: AsyncSession, actor: Actor, public_id: str) -> Job:
    """Have a job end; one that is at its provider ends when that says so, and completes if it was too late.

    An admin may cancel anybody's. Raises `NotFound`, and `Conflict` for one that has ended otherwise.
    """
    job = await _get(session, _select(actor, public_id).with_for_update(of=Job))
    if job.status == "cancelled":
        return job
    if job.status not in ACTIVE:
        raise Conflict(f"A job that is {job.status} cannot be cancelled.")
    if job.cancel_requested:
        return job
    job.cancel_requested = True
    if job.submitted_at is None:
        await end(session, job, "cancelled")
        await cancel_task(session, job.task_id or 0)
    else:
        await session.flush()
        await wake(session, job.task_id or 0)
    if job.owner_id != actor.user_id:
        await audit.record(
            session, actor, "job.cancelled_by_admin", user_id=job.owner_id, subject=job.public_id
        )
    await session.refresh(job)
    return job


async def end(session: AsyncSession, job: Job, status: Status, *, error: str | None = None) -> None:
    """Note that a job, whose row is locked, has ended."""
    job.status, job.error_message = status, None if error is None else _storable(error)
    job.finished_at = job.updated_at = now_plus()
    job.input = values.told(job.input)  # files in data URLs are not needed any more
    if status == "completed":
        job.progress = 1.0
        job.started_at = job.started_at or job.submitted_at  # it was done before anybody looked
    else:
        await _change_generation(session, job, status)
    await session.flush()
    await record(session, f"job.{status}", job)
    provider = PROVIDERS.get(job.provider)  # another version of the program may have had more of them
    if provider and provider.is_line:
        await _wake_next(session, job)


def _storable(error: str) -> str:
    """What providers say may be of any length, and hold what no database takes."""
    return error.replace("\0", "").encode(errors="replace").decode()[:1000]


async def note_start(session: AsyncSession, job: Job) -> None:
    """Note that a job's generation, if there is one, is being made."""
    await _change_generation(session, job, "generating")


async def _change_generation(session: AsyncSession, job: Job, status: str) -> None:
    """A job's generation stands as the job does, if it is still there and open."""
    if job.generation_id is not None:
        with suppress(NotFound, Conflict):
            await generations.change(session, owner_of(job), job.generation_id, {"status": status})


async def _wake_next(session: AsyncSession, ended: Job) -> None:
    """Have the first that waits of each user looked at: tasks know whose turn it is."""
    waiting = select(func.min(Job.id)).where(
        Job.provider == ended.provider, Job.status == "pending", Job.submitted_at.is_not(None)
    )
    first = waiting.where(Job.id != ended.id).group_by(Job.owner_id).limit(_MOST_WOKEN)
    for task_id in await session.scalars(select(Job.task_id).where(Job.id.in_(first)).order_by(Job.task_id)):
        await wake(session, task_id or 0)


def owner_of(job: Job) -> Actor:
    """Whoever asked for the job, as what is done for them is done."""
    return Actor(
        user_id=job.owner_id, email="", is_admin=False, scopes=frozenset({"read", "write"}), address="job"
    )


async def record(session: AsyncSession, kind: str, job: Job) -> None:
    """Note that this happened to the job."""
    data = {
        "status": job.status,
        "progress": job.progress,
        "model_id": job.model_id,
        "asset_ids": asset_ids(job),
        "error_message": job.error_message,
    }
    await events.record(session, kind, owner_id=job.owner_id, subject=job.public_id, data=data)


def asset_ids(job: Job) -> list[str]:
    """The public ids of the assets that came out; of an image asset that got generations, its own."""
    if job.target_asset_id:
        return [job.target_asset_id] if job.outputs else []
    return job.outputs


async def check_callback(session: AsyncSession, provider: str, token: str) -> None:
    """Raise `NotFound` unless there is such a job: before anything is done about a call that anybody may make."""
    if await session.scalar(select(Job.id).where(*_called(provider, token))) is None:
        raise NotFound(NOT_FOUND)


def _called(provider: str, token: str) -> tuple[ColumnElement[bool], ...]:
    return Job.callback_token == token, Job.provider == provider


async def note_callback(session: AsyncSession, *, provider: str, token: str, reference: str) -> None:
    """A provider has called back about a job: have it looked at. Raises `NotFound`.

    What the call says of the job is not believed, only which one the provider means by it: with that a submission is
    found whose answer was lost.
    """
    job = await session.scalar(select(Job).where(*_called(provider, token)).with_for_update())
    if job is None:
        raise NotFound(NOT_FOUND)
    if job.reference is None and job.submitted_at is not None and job.status in ACTIVE:
        taken = select(Job.id).where(Job.provider == provider, Job.reference == reference)
        if await session.scalar(taken) is None:
            job.reference = reference
            await session.flush()
            _log.info("job.submitted", job=job.public_id, known_by="webhook")
    if job.status in ACTIVE and job.reference == reference:
        await wake(session, job.task_id or 0)


def _select(actor: Actor, public_id: str) -> Select[Job]:
    statement = select(Job).where(Job.public_id == as_public_id(public_id), Job.owner_id.not_in(gone_users()))
    return statement if actor.is_admin else statement.where(Job.owner_id == actor.user_id)


async def _get(session: AsyncSession, statement: Select[Job]) -> Job:
    job = await session.scalar(statement)
    if job is None:
        raise NotFound(NOT_FOUND)
    return job


def is_over(job: Job, now: datetime, settings: Settings) -> bool:
    """Whether a job has had its time, or has waited too long for it. Waiting in this server's own line does not count."""
    provider = PROVIDERS.get(job.provider)
    began = job.started_at if provider and provider.is_line else job.submitted_at
    if began is not None and (now - began).total_seconds() > settings.job_seconds:
        return True
    return (now - job.created_at).total_seconds() > settings.job_seconds + WAITING_SECONDS
