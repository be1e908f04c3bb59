"""`/api/v2`: asking models, and the jobs that come of it."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from mediakeep.errors import (
    BadRequest,
    Conflict,
    InvalidInput,
    MediakeepError,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unavailable,
)
from mediakeep.http.auth import ReadActor, WriteActor, library_of
from mediakeep.http.base_url import base_url
from mediakeep.http.jobs import GENERATE_EXTRA, GenerateBody, JobFields, begin, shown_fields, shown_times
from mediakeep.http.paging import PAGE_HEADERS, page_headers
from mediakeep.http.problems import problem_responses
from mediakeep.http.sessions import ReadSession, WriteSession
from mediakeep.http.times import zulu
from mediakeep.http.v2.auth_schemas import Time
from mediakeep.jobs import models, service
from mediakeep.jobs.catalogue import list_models
from mediakeep.jobs.providers import PROVIDERS
from mediakeep.jobs.providers.base import Model, TellsByWebhook

router = APIRouter(prefix="/api/v2", tags=["jobs"])

_Limit = Annotated[int, Query(ge=1, le=100)]
_Offset = Annotated[int, Query(ge=0, le=2**31)]

_SCHEMA_EXAMPLE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "image": {"type": "string", "format": "uri"},
        "duration": {"type": "number", "default": 5},
    },
    "required": ["image"],
}


class ShownJob(JobFields):
    created_at: Time
    updated_at: Time
    started_at: Time | None = Field(description="When the model began.", examples=["2025-11-16T09:30:00Z"])
    completed_at: Time | None = Field(
        description="When the job ended, in whatever way.", examples=["2025-11-16T09:30:05Z"]
    )


class ShownModel(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model_id: str = Field(examples=["local/ken-burns"])
    alias_of: str | None = Field(description="The model that it stands for.", examples=[None])
    provider: str = Field(examples=["local"])
    title: str = Field(examples=["Ken Burns"])
    description: str = Field(examples=["Moves over one image, near, away or across, and makes an MP4 of it."])
    version: str | None = Field(examples=[None])
    input_schema: dict[str, Any] = Field(
        description="JSON Schema (2020-12) of what `input` may have.", examples=[_SCHEMA_EXAMPLE]
    )


_JOBS = TypeAdapter(list[ShownJob])


def _refusals(
    *errors: type[MediakeepError], may_not: str = "write", **sentences: str
) -> dict[int | str, Any]:
    return problem_responses(
        PermissionDenied,
        *errors,
        **{
            "permission_denied": f"This API key may not {may_not}.",
            "not_found": service.NOT_FOUND,
            "conflict": "A job that is completed cannot be cancelled.",
            "invalid_input": "input.image: it is required.",
            "unavailable": "Replicate does not answer: ConnectTimeout.",
            **sentences,
        },
    )


_LOCATION: dict[str, Any] = {
    "description": "Where the job is.",
    "required": True,
    "schema": {"type": "string", "format": "uri"},
    "example": "http://localhost:8000/api/v2/jobs/3f9d2a6c-1b7e-4d58-9c40-8e2f5a7b6d13",
}


@router.post(
    "/generate",
    status_code=202,
    response_model=ShownJob,
    openapi_extra=GENERATE_EXTRA,
    responses={
        202: {"headers": {"Location": _LOCATION}},
        **_refusals(NotFound, InvalidInput, RateLimited, not_found="Client not found"),
    },
)
async def generate(request: Request, body: GenerateBody, actor: WriteActor) -> Response:
    """Ask a model. The job is stored before this answers, and runs whatever happens to the server; `GET /api/v2/jobs`,
    `/api/v2/events` and webhooks tell how it stands. Outputs become assets, or a generation of `assetId`.
    """
    answer = await begin(request, actor, body, lambda job: _shown(request, job))
    job_id = ShownJob.model_validate_json(answer).job_id
    headers = {"Location": f"{base_url(request)}/api/v2/jobs/{job_id}"}
    return Response(answer, status_code=202, media_type="application/json", headers=headers)


@router.get(
    "/jobs",
    response_model=list[ShownJob],
    responses={200: {"headers": PAGE_HEADERS}, **_refusals(InvalidInput, may_not="read")},
)
async def list_jobs(
    request: Request,
    actor: ReadActor,
    session: ReadSession,
    limit: _Limit = 50,
    offset: _Offset = 0,
    status: Annotated[models.Status | None, Query(description="Those in this state.")] = None,
    all: Annotated[bool, Query(description="An admin's: everybody's.")] = False,  # noqa: A002 the wire's name
) -> Response:
    """One's own jobs, newest first."""
    found, total = await service.list_page(
        session, actor, limit=limit, offset=offset, status=status, everyones=all
    )
    headers = page_headers(request, base_url(request), total=total, limit=limit, offset=offset)
    body = _JOBS.dump_json([_shown(request, one) for one in found])
    return Response(body, media_type="application/json", headers=headers)


@router.get("/jobs/{job_id}", response_model=ShownJob, responses=_refusals(NotFound, may_not="read"))
async def read_job(request: Request, job_id: str, actor: ReadActor, session: ReadSession) -> ShownJob:
    """How a job stands, and what came out."""
    return _shown(request, await service.get(session, actor, job_id))


@router.post("/jobs/{job_id}/cancel", response_model=ShownJob, responses=_refusals(NotFound, Conflict))
async def cancel_job(request: Request, job_id: str, actor: WriteActor, session: WriteSession) -> ShownJob:
    """Have a job end. One that its provider works on ends when that says so, and completes if this came too late."""
    return _shown(request, await service.cancel(session, actor, job_id))


@router.get("/models", response_model=list[ShownModel], responses=_refusals(may_not="read"))
async def read_models(request: Request, _actor: ReadActor) -> list[ShownModel]:
    """The models that are set up here, with what each takes; others of Replicate can be asked for by their names."""
    return [_model(model, alias) for alias, model in await list_models(library_of(request))]


@router.get(
    "/models/{model_id:path}",
    response_model=ShownModel,
    responses=_refusals(
        NotFound, InvalidInput, Unavailable, may_not="read", not_found="Replicate knows no model owner/name."
    ),
)
async def read_model(
    request: Request,
    model_id: Annotated[str, Path(examples=["local/ken-burns"])],
    _actor: ReadActor,
) -> ShownModel:
    """What a model takes, by its id or an alias."""
    model = await service.find_model(library_of(request), model_id)
    return _model(model, model_id if model_id != model.model_id else None)


@router.post(
    "/providers/{provider}/callbacks/{token}",
    status_code=204,
    responses=problem_responses(
        BadRequest,
        NotFound,
        Unavailable,
        not_found=service.NOT_FOUND,
        bad_request="The signature of the webhook is missing, wrong or too old.",
    ),
)
async def take_callback(request: Request, provider: str, token: str) -> None:
    """For providers: something has happened to a job. Only what the provider has signed counts."""
    library = library_of(request)
    kind = PROVIDERS.get(provider)
    called = kind(library) if kind else None
    if called is None or not isinstance(called, TellsByWebhook):
        raise NotFound(service.NOT_FOUND)
    async with library.database.read() as session:
        await service.check_callback(session, provider, token)
    reference = await called.verify(request.headers, await request.body())
    note = partial(service.note_callback, provider=provider, token=token, reference=reference)
    await library.database.transact(note)


def _shown(request: Request, job: models.Job) -> ShownJob:
    return ShownJob.model_validate({**shown_fields(job, base_url(request)), **shown_times(job, zulu)})


def _model(model: Model, alias: str | None) -> ShownModel:
    return ShownModel(
        model_id=alias or model.model_id,
        alias_of=model.model_id if alias else None,
        provider=model.provider,
        title=model.title,
        description=model.description,
        version=model.version,
        input_schema=dict(model.input_schema),
    )
