"""What the surfaces share that let models be asked: the request, how a job is shown, and how it is begun."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts import idempotency
from mediakeep.accounts.actor import Actor
from mediakeep.assets.metadata import check_metadata
from mediakeep.assets.text import check_text
from mediakeep.collections.service import Belonging
from mediakeep.http.auth import library_of
from mediakeep.http.base_url import base_url
from mediakeep.http.bodies import WITHOUT_NUL
from mediakeep.http.upload import IDEMPOTENCY_KEY
from mediakeep.jobs import service, values
from mediakeep.jobs.models import Job
from mediakeep.jobs.models import Status as JobStatus
from mediakeep.settings import Settings, is_loopback
from mediakeep.webhooks import outgoing
from mediakeep.webhooks.models import URL_CHARACTERS

#: Small images may be in it, as data URLs; larger ones are uploaded, and their addresses named.
_MAX_INPUT_BYTES = 256 << 10

_MAX_PROMPT = 20_000

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

_ID_EXAMPLE = "3f9d2a6c-1b7e-4d58-9c40-8e2f5a7b6d13"
_ASSET_EXAMPLE = "098a4f86-fbc5-4507-99c3-2723e6e79399"
_ADDRESS = f"http://localhost:8000/api/v2/assets/{_ASSET_EXAMPLE}"

#: Two by two pixels, so that the example runs as it is; usually it is an asset's address.
_PICTURE = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR4nGO0iZrGwMDAxMDAwMDAAAAN4AEws/xtAAAAAABJRU5ErkJggg=="
)

#: OpenAPI's parameters of a request that begins a job.
GENERATE_EXTRA: dict[str, Any] = {"parameters": [IDEMPOTENCY_KEY]}

_Id = Annotated[str, Field(max_length=100), WITHOUT_NUL]


class GenerateBody(BaseModel):
    """What to ask of which model, and where the outputs belong."""

    model_config = ConfigDict(
        protected_namespaces=(),
        json_schema_extra={
            "examples": [
                {
                    "prompt": "Make the person in this image wave hello",
                    "model_id": "local/ken-burns",
                    "input": {"image": _PICTURE, "duration": 3},
                }
            ]
        },
    )

    prompt: Annotated[str, Field(max_length=_MAX_PROMPT), WITHOUT_NUL] = Field(
        "", description="Given to the model as its `prompt`, unless `input` has one."
    )
    model_id: Annotated[str, Field(min_length=1, max_length=255), WITHOUT_NUL] = Field(
        description="`owner/name[:version]` of Replicate, `comfyui/…`, `local/…`, or an alias from the settings."
    )
    input: dict[str, Any] = Field(
        default_factory=dict,
        description="The model's own inputs. Addresses of one's own assets are handed to the provider as files.",
    )
    clientId: _Id | None = None  # noqa: N815
    campaignId: _Id | None = None  # noqa: N815
    personaId: int | _Id | None = None  # noqa: N815
    projectId: _Id | None = None  # noqa: N815
    assetId: _Id | None = Field(  # noqa: N815
        None, description="An image asset of a project: the output becomes a generation of it."
    )
    visibility: Annotated[str, Field(pattern="^(public|private)$")] | None = Field(
        None, description="Of the assets that come out; the setting where it is absent."
    )
    webhook_url: Annotated[str, Field(max_length=URL_CHARACTERS), WITHOUT_NUL] | None = Field(
        None, description="Where the job's events are POSTed to, signed with the user's secret."
    )


class JobFields(BaseModel):
    """A job, but for its times, which the surfaces print each in their way."""

    model_config = ConfigDict(protected_namespaces=())

    job_id: str = Field(examples=[_ID_EXAMPLE])
    status: JobStatus = Field(examples=["completed"])
    progress: float = Field(description="Share that is done, 0 to 1.", examples=[1.0])
    provider: str = Field(examples=["local"])
    model_id: str = Field(description="As it was asked for.", examples=["local/ken-burns"])
    model: str = Field(
        description="What was asked: another one where `model_id` is an alias.", examples=["local/ken-burns"]
    )
    version: str | None = Field(examples=[None])
    prompt: str = Field(examples=["Make the person in this image wave hello"])
    input: dict[str, Any] = Field(
        description="What the model gets, as far as it knows it; files in data URLs are shortened.",
        examples=[{"image": _ADDRESS, "duration": 3}],
    )
    notes: list[str] = Field(
        description="What was left out or changed.",
        examples=[["local/ken-burns does not know the input 'prompt'; it was left out."]],
    )
    video_url: str | None = Field(
        description="The first video that came out, else the first output.", examples=[_ADDRESS]
    )
    asset_id: str | None = Field(description="The asset that it is.", examples=[_ASSET_EXAMPLE])
    asset_ids: list[str] = Field(description="All assets that came out.", examples=[[_ASSET_EXAMPLE]])
    output_urls: list[str] = Field(examples=[[_ADDRESS]])
    generation_id: str | None = Field(
        description="The generation of `assetId` that was begun with the job.", examples=[None]
    )
    error_message: str | None = Field(examples=[None])
    cost: float | None = Field(description="US dollars, where the provider tells.", examples=[0.0])
    metrics: dict[str, float] = Field(
        description="What the provider measured, seconds mostly.", examples=[{"predict_time": 4.2}]
    )
    webhook_url: str | None = Field(examples=[None])


async def begin(request: Request, actor: Actor, body: GenerateBody, show: Callable[[Job], Any]) -> bytes:
    """Check what is asked and store it as a job; returns what `show` makes of that, as JSON.

    A request that was carried out under the same `Idempotency-Key` gives the answer that it gave then.
    """
    library = library_of(request)
    _check(library.settings, body)
    key = idempotency.check_key(request.headers.get("idempotency-key"))
    fingerprint = idempotency.fingerprint(request.url.path, body.model_dump(mode="json"))
    if key:
        async with library.database.read() as session:
            if (answer := await idempotency.find(session, actor.user_id, key, fingerprint)) is not None:
                return answer.encode()
    asked = await _ask(request, actor, body)

    async def work(session: AsyncSession) -> str:
        job = await service.create(session, actor, library.settings, asked)
        await session.refresh(job)
        shown = to_json(show(job)).decode()
        if key:
            await idempotency.record(session, actor.user_id, key, fingerprint, shown)
        return shown

    try:
        return (await library.database.transact(work)).encode()
    except idempotency.Repeated as repeated:
        return repeated.answer.encode()


def _check(settings: Settings, body: GenerateBody) -> None:
    """Raise `InvalidInput` for what can be told to be wrong by itself."""
    check_metadata(body.input, field="input", max_bytes=_MAX_INPUT_BYTES)
    check_text(body.prompt, field="prompt", max_length=_MAX_PROMPT, multiline=True)
    if body.webhook_url is not None:
        outgoing.check_url(
            body.webhook_url, allow_private=settings.webhooks_allow_private, field="webhook_url"
        )


async def _ask(request: Request, actor: Actor, body: GenerateBody) -> service.Asked:
    library = library_of(request)
    settings = library.settings
    return await service.ask(
        library,
        actor,
        prompt=body.prompt,
        model_id=body.model_id,
        given=body.input,
        bases=_own_addresses(request, settings),
        belonging=Belonging(
            client_id=body.clientId,
            campaign_id=body.campaignId,
            persona_id=None if body.personaId is None else str(body.personaId),
            project_id=body.projectId,
        ),
        asset_id=body.assetId,
        visibility=body.visibility or settings.default_visibility,
        webhook_url=body.webhook_url,
    )


def _own_addresses(request: Request, settings: Settings) -> set[str]:
    """What addresses of this library's begin with. On loopback it has several names."""
    base = base_url(request)
    own = {base, settings.cdn_url} - {""}
    parts = urlsplit(base)
    if is_loopback(parts.hostname or ""):
        port = "" if parts.port is None else f":{parts.port}"
        own |= {f"{parts.scheme}://{name}{port}{parts.path}" for name in _LOOPBACK_NAMES}
    return own


def shown_fields(job: Job, base: str) -> dict[str, Any]:
    """The members of `JobFields`; addresses begin with `base`."""
    way = "api/v1/files/images" if job.generation_id else "api/v2/assets"
    urls = [f"{base}/{way}/{one}" for one in job.outputs]
    videos = [number for number, type_ in enumerate(job.output_types) if type_ == "video"]
    shown_first = videos[0] if videos else 0
    ids = service.asset_ids(job)
    first_id = ids[0 if job.generation_id else shown_first] if ids else None
    return {
        "job_id": job.public_id,
        "status": job.status,
        "progress": round(job.progress, 3),
        "provider": job.provider,
        "model_id": job.model_id,
        "model": job.model,
        "version": job.version,
        "prompt": job.prompt,
        "input": values.told(job.input),
        "notes": job.notes,
        "video_url": urls[shown_first] if urls else None,
        "asset_id": first_id,
        "asset_ids": ids,
        "output_urls": urls,
        "generation_id": job.generation_id,
        "error_message": job.error_message,
        "cost": job.cost,
        "metrics": job.metrics,
        "webhook_url": job.webhook_url,
    }


def shown_times(job: Job, show: Callable[[datetime], str]) -> dict[str, str | None]:
    times = {
        "created_at": job.created_at,
        "updated_at": job.updated_at,
        "started_at": job.started_at,
        "completed_at": job.finished_at,
    }
    return {name: None if time is None else show(time) for name, time in times.items()}
