"""The tables of who may call what: as they are written beside the routers, and as the routes are."""

from collections.abc import Iterator
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

import mediakeep.http

COLUMNS = ("nobody", "other user", "read key", "write key", "cookie", "owner", "admin")

#: For people to look at; they hold nothing of anybody's.
PAGES = {"/", "/docs", "/docs/assets"}


def written() -> dict[str, tuple[str, ...]]:
    """What each call shall answer, by call, in the order of `COLUMNS`."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(Path(mediakeep.http.__path__[0]).rglob("permissions.md")):
        rows = [_cells(line) for line in path.read_text().splitlines() if line.startswith("| ")]
        assert rows[0] == ("call", *COLUMNS), path
        for call, *answers in rows[1:]:
            assert call not in found, f"{call} is written twice"
            found[call] = tuple(answers)
    return found


def route_of(call: str) -> str:
    """The method and address of a call, such as `GET /api/v2/assets` of `GET /api/v2/assets?all=true`."""
    return call.partition(",")[0].partition("?")[0]


def routes(app: FastAPI) -> set[str]:
    """Method and address of every route there is, as OpenAPI writes them; pages apart."""
    return {
        f"{method} {context.path_format}"
        for context in iter_route_contexts(app.routes)
        if context.path not in PAGES
        for method in context.methods or {"ANY"}
    }


def described(app: FastAPI) -> Iterator[str]:
    """Method and address of every operation of the OpenAPI document."""
    for path, item in app.openapi()["paths"].items():
        yield from (f"{method.upper()} {path}" for method in item if method != "parameters")


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip("| ").split("|"))
