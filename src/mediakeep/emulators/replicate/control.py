"""`/emulator/…`: for tests, not part of Replicate's API. Takes no token."""

from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mediakeep.emulators.replicate.options import SERVER_WIDE
from mediakeep.emulators.replicate.problems import Problem
from mediakeep.emulators.replicate.state import emulator_of


async def get_options(request: Request) -> Response:
    return JSONResponse(emulator_of(request).options.model_dump(mode="json"))


async def put_options(request: Request) -> Response:
    """Turn the switches named in the body; all others are as they were at the start."""
    emulator = emulator_of(request)
    named = await _read_object(request)
    try:
        emulator.set_options(named)
    except ValidationError as error:
        raise _wrong_switch(error) from error
    return JSONResponse(emulator.options.model_dump(mode="json"))


async def post_next(request: Request) -> Response:
    """Turn the switches named in the body for one submission: the next that is not spoken for yet."""
    emulator = emulator_of(request)
    named = await _read_object(request)
    if wide := sorted(SERVER_WIDE & named.keys()):
        raise Problem(422, f"{wide[0]}: this is no switch of a single submission.", title="Wrong switch")
    try:
        emulator.options.turned(named)
    except ValidationError as error:
        raise _wrong_switch(error) from error
    emulator.upcoming.append(named)
    return JSONResponse({"waiting": len(emulator.upcoming)}, status_code=201)


async def get_log(request: Request) -> Response:
    """Oldest first; `?kind=` has entries of that kind only."""
    return JSONResponse(emulator_of(request).journal.entries(request.query_params.get("kind")))


async def post_reset(request: Request) -> Response:
    await emulator_of(request).reset()
    return Response(status_code=204)


async def _read_object(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise Problem(400, "The body cannot be read as JSON.", title="Bad Request") from error
    if not isinstance(body, dict):
        raise Problem(422, "The body must be an object of switches.", title="Wrong switch")
    return body


def _wrong_switch(error: ValidationError) -> Problem:
    first = error.errors()[0]
    return Problem(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}", title="Wrong switch")
