"""What stands for replicate.delivery: outputs, for whoever has their address."""

from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from mediakeep.emulators.replicate.hang_up import HalfAnswer
from mediakeep.emulators.replicate.problems import not_found
from mediakeep.emulators.replicate.state import emulator_of

_CHUNK: Final = bytes(64 << 10)

_PAGE: Final = "<!doctype html><title>Sign in</title><h1>Sign in to go on</h1>"


async def get_output(request: Request) -> Response:
    """The log tells whether the client sent a token: it should not."""
    entry = request.state.entry
    entry["authorized"] = "authorization" in request.headers
    made = emulator_of(request).outputs.get(request.path_params["key"])
    if made is None or made.output.name != request.path_params["name"]:
        raise not_found()
    entry["prediction"] = made.prediction.id
    options, output = made.prediction.options, made.output
    match options.output:
        case "gone":
            raise not_found()
        case "html":
            return HTMLResponse(_PAGE)
        case "zeros":
            return StreamingResponse(_zeros(options.output_size), media_type=output.media_type)
        case "redirect":
            return RedirectResponse(options.output_redirect, status_code=302)
        case "cut":
            return HalfAnswer(output.content, media_type=output.media_type)
        case "media":
            return Response(output.content, media_type=output.media_type)


async def _zeros(size: int) -> AsyncIterator[bytes]:
    while size > 0:
        yield _CHUNK[:size]
        size -= len(_CHUNK)
