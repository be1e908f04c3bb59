"""`/healthz` and `/readyz`: whether the process is up, and whether what it stands on answers."""

import asyncio
from collections.abc import Awaitable
from typing import Literal

import structlog
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from pydantic_core import to_json

from mediakeep.http.auth import library_of
from mediakeep.tasks.transport import Transport

router = APIRouter(tags=["health"])

log = structlog.get_logger(__name__)

_SECONDS = 5.0

State = Literal["ok", "failing"]


class Health(BaseModel):
    status: Literal["ok"] = Field(examples=["ok"])


class Readiness(BaseModel):
    status: State = Field(examples=["ok"])
    database: State = Field(examples=["ok"])
    storage: State = Field(examples=["ok"])
    queue: State | None = Field(
        description="Redis, where the settings name one. While it is away tasks start within a second.",
        examples=["ok"],
    )


@router.get("/healthz", response_model=Health, summary="Is the process up?")
async def healthz() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    response_model=Readiness,
    summary="Can it work?",
    responses={503: {"model": Readiness, "description": "A part does not answer."}},
)
async def readyz(request: Request) -> Response:
    """Whether the database and the storage answer; and Redis, without which the server can work as well."""
    library = library_of(request)
    transport: Transport | None = request.app.state.transport
    database, storage, queue = await asyncio.gather(
        _state("database", library.database.check()),
        _state("storage", library.store.check()),
        _state("queue", transport.check()) if transport else _none(),
    )
    failing = "failing" in {database, storage}
    body = {
        "status": "failing" if failing else "ok",
        "database": database,
        "storage": storage,
        "queue": queue,
    }
    return Response(to_json(body), status_code=503 if failing else 200, media_type="application/json")


async def _none() -> None:
    return None


async def _state(part: str, check: Awaitable[None]) -> State:
    try:
        async with asyncio.timeout(_SECONDS):
            await check
    except Exception:
        log.warning("not_ready", part=part, exc_info=True)
        return "failing"
    return "ok"
