"""`/metrics`: what the processes of this server have counted, for Prometheus and for nobody else."""

import asyncio
import hmac
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import structlog
import uvicorn
from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.types import Scope

from mediakeep import metrics
from mediakeep.db import Database, open_database
from mediakeep.errors import NotAuthenticated, NotFound, SettingsError
from mediakeep.http.auth import library_of
from mediakeep.http.local import is_from_this_machine
from mediakeep.http.problems import problem_of, problem_responses
from mediakeep.http.protocol import BoundedProtocol
from mediakeep.settings import Settings
from mediakeep.tasks import service as tasks

router = APIRouter(tags=["health"])

log = structlog.get_logger(__name__)

_NOTHING_HERE = "There is nothing at this address."
_WRONG_TOKEN = "This needs the token of MEDIAKEEP_METRICS_TOKEN."  # noqa: S105 a sentence
_DATABASE_SECONDS = 2.0

_EXAMPLE = """\
# HELP mediakeep_http_requests_in_progress Requests that are being answered.
# TYPE mediakeep_http_requests_in_progress gauge
mediakeep_http_requests_in_progress 1.0
"""


@router.get(
    "/metrics",
    response_class=Response,
    summary="Figures for Prometheus",
    responses={
        200: {
            "description": "The text format of Prometheus, or OpenMetrics where `Accept` asks for that.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
        **problem_responses(
            NotAuthenticated, NotFound, not_authenticated=_WRONG_TOKEN, not_found=_NOTHING_HERE
        ),
    },
)
async def scrape(request: Request) -> Response:
    """What all processes of this server have counted. For programs on the server's own machine.

    Others need the metrics token as Bearer token; without one being set, there is nothing here for them.
    """
    library = library_of(request)
    token = library.settings.metrics_token
    if not is_from_this_machine(request):
        if not token.get_secret_value():
            raise NotFound(_NOTHING_HERE)
        _require(request, token)
    return await _answer(request, library.database)


def _require(request: Request, token: SecretStr) -> None:
    """Raises `NotAuthenticated` unless the request carries the token."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    is_right = hmac.compare_digest(given.strip().encode(), token.get_secret_value().encode())
    if scheme.lower() != "bearer" or not is_right:
        raise NotAuthenticated(_WRONG_TOKEN)


async def _answer(request: Request, database: Database, folder: Path | None = None) -> Response:
    readings = await _task_readings(database)
    accept = request.headers.get("accept", "")
    body, media_type = await asyncio.to_thread(_exposition, folder, readings, accept)
    return Response(body, headers={"Content-Type": media_type, "Cache-Control": "no-store"})


def _exposition(
    folder: Path | None, readings: dict[metrics.Reading, float], accept: str
) -> tuple[bytes, str]:
    # Its library is loaded by the first who asks, and takes 40 ms.
    from mediakeep.metrics.exposition import exposition

    return exposition(metrics.figures(folder), readings, accept)


async def _task_readings(database: Database) -> dict[metrics.Reading, float]:
    """What the database says of tasks; nothing while it is away, so that the other figures can still be read."""
    try:
        async with asyncio.timeout(_DATABASE_SECONDS), database.read() as session:
            backlog = await tasks.backlog(session)
    except Exception as error:  # noqa: BLE001 whatever drivers raise while the database is away
        log.warning("metrics.tasks_unknown", error=type(error).__name__)
        return {}
    return {
        metrics.TASKS_WAITING: backlog.waiting,
        metrics.TASKS_DEAD: backlog.dead,
        metrics.TASKS_OVERDUE: backlog.overdue_seconds,
    }


def note_routes(app: FastAPI) -> None:
    """Remember the templates of the routes that FastAPI leaves out of the scope, by what answers them."""
    app.state.templates = {
        route.endpoint if isinstance(route, Route) else route.app: route.path
        for route in app.routes
        if isinstance(route, Route | Mount)
    }


def template_of(scope: Scope) -> str:
    """The template of the route that took a request; "" where none did. `scope["route_path"]` goes first."""
    if "route_path" in scope:
        return str(scope["route_path"])
    if "route" in scope:
        return str(scope["route"].path)
    if "endpoint" in scope and "app" in scope:
        return str(scope["app"].state.templates.get(scope["endpoint"], ""))
    return ""


@contextmanager
def listening(settings: Settings, port: int, folder: Path | None = None) -> Iterator[None]:
    """Answer `/metrics`, and nothing else, on `port` while the block lasts, for the processes of `folder` or this one.

    In a thread of its own, so that neither main process nor requests wait for it. Raises `SettingsError` where the
    port is taken.
    """
    config = uvicorn.Config(
        _listener(settings, folder),
        loop="asyncio",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    with _bound(settings.host, port) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), name="metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join(timeout=5)


def _listener(settings: Settings, folder: Path | None) -> Starlette:
    @asynccontextmanager
    async def opened(app: Starlette) -> AsyncIterator[None]:
        app.state.database = open_database(settings)
        yield
        await app.state.database.close()

    async def answer(request: Request) -> Response:
        try:
            if settings.metrics_token.get_secret_value():
                _require(request, settings.metrics_token)
        except NotAuthenticated as error:
            return problem_of(error)
        return await _answer(request, request.app.state.database, folder)

    return Starlette(routes=[Route("/metrics", answer)], lifespan=opened)


def _bound(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SettingsError(
            f"MEDIAKEEP_METRICS_PORT: port {port} of {host} cannot be listened on: {error.strerror}."
        ) from error
