"""What every request passes: the switch for its answer, the token, the rate limit, the log."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from mediakeep.emulators.replicate.hang_up import NoAnswer
from mediakeep.emulators.replicate.options import Kind, Options
from mediakeep.emulators.replicate.problems import Problem, server_error, throttled
from mediakeep.emulators.replicate.state import Emulator, emulator_of

Endpoint = Callable[[Request], Awaitable[Response]]

_PAGE: Final = "<!doctype html><title>One moment</title><h1>Checking your browser</h1>"


def guarded(kind: Kind, endpoint: Endpoint, *, public: bool = False) -> Endpoint:
    """The endpoint behind the door. A public one takes neither token nor limit."""

    async def enter(request: Request) -> Response:
        emulator = emulator_of(request)
        options = emulator.options_for(kind)
        entry = emulator.journal.note(kind, method=request.method, path=request.url.path)
        if options.answer != "normal":
            entry["answer"] = options.answer
        request.state.options, request.state.entry = options, entry
        response = _refuse(options)
        if response is None:
            response = _spoil(options, await _answer(emulator, request, kind, endpoint, public=public))
        entry["status"] = None if isinstance(response, NoAnswer) else response.status_code
        return response

    return enter


async def _answer(
    emulator: Emulator, request: Request, kind: Kind, endpoint: Endpoint, *, public: bool
) -> Response:
    headers: dict[str, str] = {}
    try:
        if not public:
            _check_token(request, emulator.options.token)
            headers = emulator.take_request(kind)
        response = await endpoint(request)
    except Problem as problem:
        response = problem.response()
    for name, value in headers.items():
        response.headers[name] = value
    return response


def _check_token(request: Request, token: str) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if not given:
        raise Problem(401, "You did not pass an authentication token", title="Unauthenticated")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), token.encode()):
        raise Problem(401, "You did not pass a valid authentication token", title="Unauthenticated")


def _refuse(options: Options) -> Response | None:
    """The answer of a switch that keeps the request from having any effect."""
    match options.answer:
        case "throttled":
            return throttled(options.throttle_seconds).response()
        case "error":
            return server_error(options.answer_status).response()
        case "closed" | "silent":
            return NoAnswer(closes=options.answer == "closed")
        case "html":
            return HTMLResponse(_PAGE)
        case _:
            return None


def _spoil(options: Options, response: Response) -> Response:
    """What the client gets of an answer, to a request that had its effect."""
    match options.answer:
        case "error_after":
            return server_error(options.answer_status).response()
        case "lost" | "silent_after":
            return NoAnswer(closes=options.answer == "lost")
        case "broken_json" if not isinstance(response, StreamingResponse):
            half = bytes(response.body)[: len(response.body) // 2]
            return Response(half, status_code=response.status_code, media_type="application/json")
        case _:
            return response
