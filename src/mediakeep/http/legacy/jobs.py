"""`/legacy/api/v2`: asking models, in the older dialect's way to print times."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from mediakeep.errors import InvalidInput, NotFound, PermissionDenied, RateLimited
from mediakeep.http.auth import ReadActor, WriteActor
from mediakeep.http.base_url import base_url
from mediakeep.http.jobs import GENERATE_EXTRA, GenerateBody, JobFields, begin, shown_fields, shown_times
from mediakeep.http.problems import problem_responses
from mediakeep.http.sessions import ReadSession
from mediakeep.http.times import naive
from mediakeep.jobs import service
from mediakeep.jobs.models import Job

router = APIRouter(prefix="/legacy/api/v2", tags=["legacy"])

_TIME = "2025-11-15T12:34:56"


class LegacyJob(JobFields):
    created_at: str = Field(examples=[_TIME])
    updated_at: str = Field(examples=[_TIME])
    started_at: str | None = Field(examples=[_TIME])
    completed_at: str | None = Field(examples=[_TIME])


@router.post(
    "/generate",
    status_code=202,
    response_model=LegacyJob,
    openapi_extra=GENERATE_EXTRA,
    responses=problem_responses(
        PermissionDenied,
        NotFound,
        InvalidInput,
        RateLimited,
        permission_denied="This API key may not write.",
        not_found="Client not found",
        invalid_input="input.image: it is required.",
    ),
)
async def generate(request: Request, body: GenerateBody, actor: WriteActor) -> Response:
    """Ask a model; `GET /legacy/api/v2/jobs/{job_id}` tells how that stands."""
    answer = await begin(request, actor, body, lambda job: _shown(request, job))
    return Response(answer, status_code=202, media_type="application/json")


@router.get(
    "/jobs/{job_id}",
    response_model=LegacyJob,
    responses=problem_responses(
        PermissionDenied,
        NotFound,
        permission_denied="This API key may not read.",
        not_found=service.NOT_FOUND,
    ),
)
async def read_job(request: Request, job_id: str, actor: ReadActor, session: ReadSession) -> dict[str, Any]:
    """How a job stands, and what came out."""
    return _shown(request, await service.get(session, actor, job_id))


def _shown(request: Request, job: Job) -> dict[str, Any]:
    return {**shown_fields(job, base_url(request)), **shown_times(job, naive)}
