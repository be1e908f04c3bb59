"""Refusals, as Replicate words them: `application/problem+json`."""

from collections.abc import Sequence
from dataclasses import dataclass
from http.client import responses

from starlette.responses import JSONResponse, Response


class Problem(Exception):
    """An answer that says what is wrong. `members` go into the document beside title, detail and status."""

    def __init__(self, status: int, detail: str, *, title: str = "", **members: object) -> None:
        super().__init__(detail)
        self.status = status
        self.headers: dict[str, str] = {}
        named = {"title": title} if title else {}
        self.document: dict[str, object] = {**named, "detail": detail, "status": status, **members}

    def response(self) -> Response:
        return JSONResponse(
            self.document,
            status_code=self.status,
            headers=self.headers,
            media_type="application/problem+json",
        )


@dataclass(frozen=True)
class Invalid:
    """A field that does not fit: its name from the body's root ("" is the body itself), the rule, the sentence."""

    field: str
    rule: str
    description: str


def invalid(fields: Sequence[Invalid]) -> Problem:
    """All that does not fit, in one answer. The shape is that of answers users have quoted (2025)."""
    lines = (
        f"- {one.field}: {one.description}\n" if one.field else f"- {one.description}\n" for one in fields
    )
    return Problem(
        422,
        "".join(lines),
        title="Input validation failed",
        invalid_fields=[
            {"type": one.rule, "field": one.field, "description": one.description} for one in fields
        ],
    )


def not_found() -> Problem:
    return Problem(404, "The requested resource could not be found.")


def unknown_version() -> Problem:
    return Problem(
        422,
        "The specified version does not exist (or perhaps you don't have permission to use it?)",
        title="Invalid version or not permitted",
    )


def throttled(seconds: int) -> Problem:
    problem = Problem(
        429, f"Request was throttled. Your rate limit resets in ~{seconds}s.", retry_after=seconds
    )
    problem.headers = {"ratelimit-remaining": "0", "ratelimit-reset": str(seconds)}
    return problem


def server_error(status: int) -> Problem:
    title = responses.get(status, "Error")
    return Problem(status, "The emulator was told to answer so.", title=title)
