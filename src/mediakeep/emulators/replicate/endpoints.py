"""Reading and cancelling predictions; models, the account, the secret of webhooks."""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mediakeep.emulators.replicate import runs
from mediakeep.emulators.replicate.catalogue import ACCOUNT, MODELS, Model, model_document, version_document
from mediakeep.emulators.replicate.predictions import Prediction, document, listed
from mediakeep.emulators.replicate.problems import Invalid, invalid, not_found
from mediakeep.emulators.replicate.state import base_url, emulator_of

_PAGE_SIZE: Final = 100
_FILTERS: Final = ("created_after", "created_before")


async def get_prediction(request: Request) -> Response:
    return JSONResponse(document(_prediction(request)))


async def cancel_prediction(request: Request) -> Response:
    prediction = _prediction(request)
    request.state.entry["prediction"] = prediction.id
    runs.cancel(emulator_of(request), prediction)
    return JSONResponse(document(prediction))


async def list_predictions(request: Request) -> Response:
    """Pages of 100, newest first. `created_after` is included, `created_before` is not."""
    after, before = (_time(request, name) for name in _FILTERS)
    found = [
        one
        for one in reversed(emulator_of(request).predictions.values())
        if (after is None or one.created_at >= after) and (before is None or one.created_at < before)
    ]
    start = _start(request, found)
    end = start + _PAGE_SIZE
    return JSONResponse(
        {
            "next": _page(request, found[end]) if end < len(found) else None,
            "previous": _page(request, found[max(0, start - _PAGE_SIZE)]) if start else None,
            "results": [listed(one) for one in found[start:end]],
        }
    )


async def get_model(request: Request) -> Response:
    return JSONResponse(model_document(_model(request), base_url(request)))


async def list_versions(request: Request) -> Response:
    results = [version_document(_model(request))]
    return JSONResponse({"next": None, "previous": None, "results": results})


async def get_version(request: Request) -> Response:
    model = _model(request)
    if request.path_params["version_id"] != model.version_id:
        raise not_found()
    return JSONResponse(version_document(model))


async def get_secret(request: Request) -> Response:
    return JSONResponse({"key": emulator_of(request).options.webhook_secret})


async def get_account(_request: Request) -> Response:
    return JSONResponse({"type": "user", "username": ACCOUNT, "name": "Emulated", "github_url": None})


def _prediction(request: Request) -> Prediction:
    prediction = emulator_of(request).predictions.get(request.path_params["id"])
    if prediction is None:
        raise not_found()
    return prediction


def _model(request: Request) -> Model:
    model = MODELS.get("{owner}/{name}".format(**request.path_params))
    if model is None:
        raise not_found()
    return model


def _time(request: Request, name: str) -> datetime | None:
    given = request.query_params.get(name)
    if given is None:
        return None
    try:
        time = datetime.fromisoformat(given)
    except ValueError as error:
        raise invalid([Invalid(name, "format", "Does not match format 'date-time'")]) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _page(request: Request, first: Prediction) -> str:
    """The address of the page that begins with this prediction."""
    filters = {name: request.query_params[name] for name in _FILTERS if name in request.query_params}
    cursor = base64.urlsafe_b64encode(first.id.encode()).decode()
    return f"{base_url(request)}/v1/predictions?{urlencode({**filters, 'cursor': cursor})}"


def _start(request: Request, found: Sequence[Prediction]) -> int:
    cursor = request.query_params.get("cursor")
    if cursor is None:
        return 0
    try:
        first = base64.urlsafe_b64decode(cursor).decode()
        return [one.id for one in found].index(first)
    except (binascii.Error, ValueError) as error:
        raise not_found() from error
