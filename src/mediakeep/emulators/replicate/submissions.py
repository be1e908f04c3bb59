"""Creating predictions: of a version, an official model, a deployment."""

import asyncio
import re
from datetime import timedelta
from typing import Any, Final

from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mediakeep.emulators.replicate import runs
from mediakeep.emulators.replicate.catalogue import DEPLOYMENTS, MODELS, Model, find_by_version
from mediakeep.emulators.replicate.options import Options
from mediakeep.emulators.replicate.predictions import Prediction, document, output_value
from mediakeep.emulators.replicate.problems import Invalid, Problem, invalid, not_found, unknown_version
from mediakeep.emulators.replicate.schema import check_body, check_input
from mediakeep.emulators.replicate.state import base_url, emulator_of
from mediakeep.emulators.replicate.webhooks import DEFAULT_EVENTS, Deliveries

_PREFER: Final = re.compile(r"wait(?:=([1-9]\d?))?")
_LONGEST_WAIT_SECONDS: Final = 60

_CANCEL_AFTER: Final = re.compile(r"(?:(\d{1,4})h)?(?:(\d{1,4})m)?(?:(\d{1,6})s?)?")
_SHORTEST_DEADLINE_SECONDS: Final = 5

#: What an answer leaves out that is given while the prediction still counts as processing.
_LATE_FIELDS: Final = frozenset({"started_at", "completed_at", "metrics"})


async def create_by_version(request: Request) -> Response:
    body = await _read_body(request, needs_version=True)
    model = find_by_version(body["version"])
    if model is None:
        raise unknown_version()
    return await _create(request, model, body)


async def create_by_model(request: Request) -> Response:
    """Of official models only: the others are addressed by their versions."""
    model = MODELS.get("{owner}/{name}".format(**request.path_params))
    if model is None or not model.is_official:
        raise not_found()
    return await _create(request, model, await _read_body(request, needs_version=False))


async def create_by_deployment(request: Request) -> Response:
    name = "{owner}/{name}".format(**request.path_params)
    if name not in DEPLOYMENTS:
        raise not_found()
    body = await _read_body(request, needs_version=False)
    return await _create(request, DEPLOYMENTS[name], body, deployment=name)


async def _read_body(request: Request, *, needs_version: bool) -> dict[str, Any]:
    try:
        body = from_json(await request.body(), allow_inf_nan=False)
    except ValueError as error:
        raise Problem(400, "The body cannot be read as JSON.", title="Bad Request") from error
    if wrong := check_body(body, needs_version=needs_version):
        raise invalid(wrong)
    return dict(body)


async def _create(
    request: Request, model: Model, body: dict[str, Any], *, deployment: str | None = None
) -> Response:
    if wrong := check_input(model, body["input"]):
        raise invalid(wrong)
    wait_seconds = _parse_prefer(request)
    cancel_after_seconds = _parse_cancel_after(request)
    emulator = emulator_of(request)
    options: Options = request.state.options
    deliveries = Deliveries(
        body.get("webhook"),
        events=body.get("webhook_events_filter", DEFAULT_EVENTS),
        options=options,
        client=emulator.client,
        journal=emulator.journal,
    )
    prediction = Prediction(
        model=model,
        input=body["input"],
        options=options,
        base_url=base_url(request),
        deliveries=deliveries,
        deployment=deployment,
    )
    if cancel_after_seconds is not None:
        lifetime = timedelta(seconds=cancel_after_seconds / options.speed)
        prediction.deadline = prediction.created_at + lifetime
    request.state.entry |= {"prediction": prediction.id, "model": model.full_name, "input": prediction.input}
    answer = document(prediction)
    runs.start(emulator, prediction)
    if wait_seconds is None:
        return JSONResponse(answer, status_code=201)
    return await _answer_when_done(request, prediction, answer, wait_seconds)


async def _answer_when_done(
    request: Request, prediction: Prediction, answer: dict[str, object], seconds: float
) -> Response:
    """After the time is over the answer is what it would have been without waiting, as 202."""
    applied = {"Preference-Applied": request.headers["prefer"]}
    try:
        async with asyncio.timeout(seconds):
            await prediction.ended.wait()
    except TimeoutError:
        return JSONResponse(answer, status_code=202, headers=applied)
    answer = document(prediction)
    if prediction.options.sync_quirk and prediction.outputs:
        answer = {name: value for name, value in answer.items() if name not in _LATE_FIELDS}
        addresses = [output.data_url() for output in prediction.outputs]
        answer |= {"status": "processing", "output": output_value(prediction, addresses)}
    return JSONResponse(answer, status_code=201, headers=applied)


def _parse_prefer(request: Request) -> int | None:
    """How long to wait for the end, in seconds; None without such a wish."""
    given = request.headers.get("prefer")
    if given is None:
        return None
    parts = _PREFER.fullmatch(given)
    if parts is None:
        raise invalid([Invalid("Prefer", "pattern", "Must be wait, or wait=n with n from 1 to 60")])
    return min(int(parts[1] or _LONGEST_WAIT_SECONDS), _LONGEST_WAIT_SECONDS)


def _parse_cancel_after(request: Request) -> int | None:
    """The seconds that are meant by 90, 90s, 5m, 2h30m."""
    given = request.headers.get("cancel-after")
    if given is None:
        return None
    parts = _CANCEL_AFTER.fullmatch(given)
    hours, minutes, seconds = (int(part or 0) for part in parts.groups()) if parts else (0, 0, 0)
    total = hours * 3600 + minutes * 60 + seconds
    if total < _SHORTEST_DEADLINE_SECONDS:
        raise invalid([Invalid("Cancel-After", "pattern", "Must be a duration of at least 5 seconds")])
    return total
