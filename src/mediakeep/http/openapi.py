"""The OpenAPI document: what FastAPI finds, the routes that it does not see, and what all of them may answer."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from mediakeep.errors import MediakeepError, NotAuthenticated, Unavailable
from mediakeep.http import delivery_docs
from mediakeep.http.middleware import max_body_bytes
from mediakeep.http.problems import MEDIA_TYPE, PROBLEM_SCHEMA, document, problem_answer, problem_responses

_TAGS = [
    {"name": "accounts", "description": "Who asks: accounts, sign-ins and API keys."},
    {"name": "users", "description": "For admins: the accounts, and what happened to them."},
    {"name": "tasks", "description": "For admins: what the server does in the background."},
    {"name": "assets", "description": "Uploads, lists, changes, and the bytes themselves."},
    {
        "name": "clients and campaigns",
        "description": "What assets belong to; deleting one deletes its assets.",
    },
    {"name": "projects", "description": "What image assets belong to; deleting one deletes its assets."},
    {"name": "image assets", "description": "The assets of a project, alone and by the thousand."},
    {"name": "generations", "description": "The versions of an image asset that models make."},
    {"name": "personas", "description": "Whom media files belong to; deleting one deletes its media."},
    {"name": "media", "description": "The images and videos of personas: for their owner alone."},
    {"name": "legacy", "description": "The older dialect: same assets, same rules, other shape."},
    {"name": "health", "description": "For whoever runs the server."},
]

_HEADERS: dict[str, Any] = {
    "X-Request-ID": {
        "description": "Names this request in the server's log.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
    "WWW-Authenticate": {"required": True, "schema": {"type": "string", "const": "Bearer"}},
    "Retry-After": {
        "description": "Seconds after which it is worth trying again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
}

#: The headers that come with a problem, by its status.
_HEADERS_OF_PROBLEMS = {"401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After"}

_METHODS = {"get", "head", "post", "put", "patch", "delete"}


def describe(app: FastAPI, *, max_request_bytes: int, larger: Mapping[str, int]) -> dict[str, Any]:
    """The whole document. `max_request_bytes` is the limit of bodies that are no upload; `larger` has exceptions."""
    described = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=_TAGS,
        separate_input_output_schemas=False,
    )
    schemas = described["components"]["schemas"]
    schemas["Problem"] = PROBLEM_SCHEMA
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    described["components"]["headers"] = _HEADERS
    for prefix in ("/api/v2", "/legacy/api/v2"):
        for path, operations in delivery_docs.openapi_paths(prefix).items():
            described["paths"].setdefault(path, {}).update(operations)
    described["paths"].update(delivery_docs.download_path())
    for path, operations in delivery_docs.image_paths().items():
        described["paths"].setdefault(path, {}).update(operations)
    for path, operation in _operations(described):
        _add_shared_answers(operation, max_body_bytes(path, max_request_bytes, larger))
        _add_shared_headers(operation)
    return described


def _operations(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in described["paths"].items():
        yield from ((path, item[method]) for method in item if method in _METHODS)


def _add_shared_answers(operation: dict[str, Any], most_bytes: int) -> None:
    """What the layers around the routes answer, instead of what FastAPI supposes."""
    answers: dict[str, Any] = {
        status: answer for status, answer in operation["responses"].items() if not _is_supposed(answer)
    }
    errors: list[type[MediakeepError]] = []
    if "security" in operation and {} not in operation["security"]:
        errors.append(NotAuthenticated)
    if "health" not in operation["tags"]:
        errors.append(Unavailable)
    for status, answer in problem_responses(*errors).items():
        answers.setdefault(str(status), answer)
    body = operation.get("requestBody", {}).get("content", {})
    if body and "multipart/form-data" not in body:  # uploads have limits of their own
        answers["413"] = _too_large(most_bytes)
    operation["responses"] = dict(sorted(answers.items()))


def _is_supposed(answer: dict[str, Any]) -> bool:
    """Whether FastAPI put it there because the route has parameters."""
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return bool(schema.get("$ref", "").endswith("/HTTPValidationError"))


def _too_large(most_bytes: int) -> dict[str, Any]:
    sentence = f"The request body is too large. This address takes at most {most_bytes} bytes."
    return problem_answer(
        "The request body is too large.", too_large=document(413, sentence, code="too-large")
    )


def _add_shared_headers(operation: dict[str, Any]) -> None:
    for status, answer in operation["responses"].items():
        names = ["X-Request-ID"]
        if status in _HEADERS_OF_PROBLEMS and MEDIA_TYPE in answer.get("content", {}):
            names.append(_HEADERS_OF_PROBLEMS[status])
        shared = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
        answer["headers"] = answer.get("headers", {}) | shared
