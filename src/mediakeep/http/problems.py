"""Every error as a problem document (RFC 9457), ours and the framework's alike."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic_core import to_json
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from mediakeep.db import may_pass, unavailable
from mediakeep.errors import InvalidInput, MediakeepError

MEDIA_TYPE = "application/problem+json"


def problem(
    status: int,
    detail: str,
    *,
    code: str = "",
    title: str = "",
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, object] | None = None,
) -> Response:
    """An answer that says what is wrong. `members` are further fields of the document."""
    return Response(
        to_json(document(status, detail, code=code, title=title, members=members)),
        status_code=status,
        headers=dict(headers or {}),
        media_type=MEDIA_TYPE,
    )


def document(
    status: int, detail: str, *, code: str = "", title: str = "", members: Mapping[str, object] | None = None
) -> dict[str, object]:
    return {
        "type": f"urn:mediakeep:error:{code}" if code else "about:blank",
        "title": title or _TITLES.get(status) or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **(members or {}),
    }


# RFC 9110's names, which Python has from 3.13 on.
_TITLES = {413: "Content Too Large", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}


def problem_of(error: MediakeepError) -> Response:
    return problem(
        error.status,
        error.detail,
        code=error.code,
        title=error.title,
        headers=error.headers,
        members=error.members,
    )


def problem_responses(*errors: type[MediakeepError], **details: str) -> dict[int | str, dict[str, Any]]:
    """For `responses=` of a route: what it may answer besides success, each with an example.

    `details` gives the sentence of a class by its code with underscores, such as `not_found="Asset not found"`.
    """
    described: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        detail = details.get(error.code.replace("-", "_")) or _EXAMPLES.get(error.code, error.title)
        example = document(error.status, detail, code=error.code, title=error.title)
        entry = described.setdefault(error.status, problem_answer(error.title))
        entry["content"][MEDIA_TYPE]["examples"][error.code] = {"value": example}
    return described


def problem_answer(description: str, **examples: dict[str, object]) -> dict[str, Any]:
    """The description of an answer that is a problem, for OpenAPI, with example documents by name."""
    named = {name: {"value": example} for name, example in examples.items()}
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": named}
    return {"description": description, "content": {MEDIA_TYPE: content}}


_EXAMPLES = {
    "not-authenticated": "Not authenticated",
    "permission-denied": "This API key may not write.",
    "invalid-input": "limit: Input should be less than or equal to 100",
    "rate-limited": "Too many requests",
    "unavailable": "The storage does not answer. Try again in a moment.",
}

#: The schema that every error answer refers to.
PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "Names the kind of problem."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A plain sentence for people."},
        "errors": {
            "type": "array",
            "description": "The fields that do not validate.",
            "items": {
                "type": "object",
                "required": ["field", "reason"],
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
    },
}


def install_problem_handlers(app: FastAPI) -> None:
    for kind, handler in _handlers().items():
        app.add_exception_handler(kind, handler)


async def answer_of(request: Request, error: Exception) -> Response | None:
    """The answer to a request outside the framework's own layers; None for a fault of ours."""
    handler = next((handler for kind, handler in _handlers().items() if isinstance(error, kind)), None)
    return await handler(request, error) if handler else None


def _handlers() -> dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]]:
    return {
        MediakeepError: _ours,
        RequestValidationError: _validation,
        HTTPException: _framework,
        DBAPIError: _database,
        PoolTimeout: _database,
        OSError: _database,  # asyncpg's, where nothing listens
        ClientDisconnect: _gone,
    }


async def _ours(_request: Request, error: Exception) -> Response:
    assert isinstance(error, MediakeepError)
    return problem_of(error)


async def _validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = list(_fields(error))
    return problem(
        422,
        "; ".join(f"{one['field']}: {one['reason']}" for one in errors[:3]),
        code="invalid-input",
        members={"errors": errors},
    )


def _fields(error: RequestValidationError) -> Iterator[dict[str, str]]:
    for one in error.errors():
        where = [str(part) for part in one["loc"] if part not in {"body", "query", "path", "header", "form"}]
        yield {
            "field": ".".join(where) or str(one["loc"][0]),
            "reason": one["msg"].removeprefix("Value error, "),
        }


async def _framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 400:  # FastAPI's, for a body in which JSON cannot even be looked for
        return problem_of(InvalidInput("The body cannot be read as JSON.", field="body"))
    if error.status_code == 404:
        return problem(404, "There is nothing at this address.", code="not-found", headers=headers)
    if error.status_code == 405:
        allowed = ", ".join(_allowed_methods(request))
        return problem(
            405, f"This address takes {allowed} only.", code="method-not-allowed", headers={"Allow": allowed}
        )
    return problem(error.status_code, str(error.detail), headers=headers)


def _allowed_methods(request: Request) -> list[str]:
    """What all routes of the address take (RFC 9110 §10.2.1); Starlette names the methods of the first one alone."""
    routes = request.app.routes
    return [
        method
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]


async def _database(_request: Request, error: Exception) -> Response:
    """A database that is down or overloaded is worth trying again; anything else is a fault of ours."""
    if may_pass(error):
        return problem_of(unavailable(error))
    raise error


async def _gone(_request: Request, _error: Exception) -> Response:
    """The client went away while it was sending; nobody reads this."""
    return problem(400, "The request ended too early.")


def internal_error() -> Response:
    """What a caller hears of a fault of ours: nothing but that it happened; the log has the rest."""
    return problem(
        500, "Something went wrong on our side. The log has it under this request's id.", code="internal"
    )
