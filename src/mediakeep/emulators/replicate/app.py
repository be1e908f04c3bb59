"""The ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mediakeep.emulators.replicate import control, endpoints, files, submissions
from mediakeep.emulators.replicate.door import Endpoint, guarded
from mediakeep.emulators.replicate.options import Kind, Options
from mediakeep.emulators.replicate.outputs import get_output
from mediakeep.emulators.replicate.problems import Problem, not_found
from mediakeep.emulators.replicate.state import Emulator


def create_app(options: Options | None = None) -> Starlette:
    """The stand-in. It works while its lifespan runs, and forgets everything with it."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        emulator = Emulator(options or Options())
        app.state.emulator = emulator
        yield
        await emulator.close()

    return Starlette(
        routes=_ROUTES,
        lifespan=lifespan,
        exception_handlers={Problem: _answer_problem, HTTPException: _answer_framework},
    )


async def _answer_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _answer_framework(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = not_found() if error.status_code == 404 else Problem(error.status_code, error.detail)
    return problem.response()


def _api(method: str, path: str, kind: Kind, endpoint: Endpoint, *, public: bool = False) -> Route:
    return Route(path, guarded(kind, endpoint, public=public), methods=[method])


_MODEL = "/v1/models/{owner}/{name}"

_ROUTES = [
    _api("POST", "/v1/predictions", "submit", submissions.create_by_version),
    _api("POST", f"{_MODEL}/predictions", "submit", submissions.create_by_model),
    _api("POST", "/v1/deployments/{owner}/{name}/predictions", "submit", submissions.create_by_deployment),
    _api("GET", "/v1/predictions", "list", endpoints.list_predictions),
    _api("GET", "/v1/predictions/{id}", "look", endpoints.get_prediction),
    _api("POST", "/v1/predictions/{id}/cancel", "cancel", endpoints.cancel_prediction),
    _api("GET", _MODEL, "model", endpoints.get_model),
    _api("GET", f"{_MODEL}/versions", "model", endpoints.list_versions),
    _api("GET", f"{_MODEL}/versions/{{version_id}}", "model", endpoints.get_version),
    _api("GET", "/v1/webhooks/default/secret", "secret", endpoints.get_secret),
    _api("GET", "/v1/account", "account", endpoints.get_account),
    _api("POST", "/v1/files", "file", files.create_file),
    _api("GET", "/v1/files", "file", files.list_files),
    _api("GET", "/v1/files/{id}", "file", files.get_file),
    _api("DELETE", "/v1/files/{id}", "file", files.delete_file),
    _api("GET", "/v1/files/{id}/download", "file", files.download_file, public=True),
    _api("GET", "/outputs/{key}/{name}", "output", get_output, public=True),
    Route("/emulator/options", control.get_options, methods=["GET"]),
    Route("/emulator/options", control.put_options, methods=["PUT"]),
    Route("/emulator/next", control.post_next, methods=["POST"]),
    Route("/emulator/log", control.get_log, methods=["GET"]),
    Route("/emulator/reset", control.post_reset, methods=["POST"]),
]
