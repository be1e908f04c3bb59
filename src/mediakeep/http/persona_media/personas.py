"""`/personas`: whom media files belong to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic_core import to_json

from mediakeep import assets, collections
from mediakeep.assets.text import check_description, check_name
from mediakeep.errors import InvalidInput, MediakeepError, NotFound, PermissionDenied
from mediakeep.http.auth import ReadActor, WriteActor, library_of
from mediakeep.http.base_url import base_url
from mediakeep.http.delivery import forget_all
from mediakeep.http.paging import PAGE_HEADERS, page_headers
from mediakeep.http.persona_media.schemas import (
    Id,
    Persona,
    PersonaBody,
    PersonaChanges,
)
from mediakeep.http.problems import problem_responses
from mediakeep.http.sessions import ReadSession, WriteSession
from mediakeep.http.times import naive

router = APIRouter(prefix="/personas", tags=["personas"])


@contextmanager
def naming(persona_id: int) -> Iterator[None]:
    """Have a persona that is not there told by its number, as 003 does."""
    try:
        yield
    except NotFound as error:
        raise NotFound(f"Persona {persona_id} not found") from error


def _refusals(*errors: type[MediakeepError], may_not: str = "write") -> dict[int | str, Any]:
    return problem_responses(
        PermissionDenied,
        InvalidInput,
        *errors,
        permission_denied=f"This API key may not {may_not}.",
        not_found="Persona 1 not found",
        invalid_input="name must not be empty.",
    )


@router.post(
    "",
    status_code=201,
    response_model=Persona,
    summary="Create a persona",
    responses=_refusals(),
)
async def create_persona(body: PersonaBody, actor: WriteActor, session: WriteSession) -> dict[str, Any]:
    """A persona of one's own, without media yet."""
    columns = {"name": check_name(body.name), "description": check_description(body.description)}
    persona = await collections.service.create(session, actor, "persona_id", columns)
    return _shown(persona, 0)


@router.get(
    "",
    response_model=list[Persona],
    summary="List personas",
    responses={200: {"headers": PAGE_HEADERS}, **_refusals(may_not="read")},
)
async def list_personas(
    request: Request,
    actor: ReadActor,
    session: ReadSession,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    all: Annotated[bool, Query(description="An admin's: everybody's.")] = False,  # noqa: A002 the wire's name
) -> Response:
    """One's own personas, newest first."""
    found, total = await collections.service.list_page(
        session, actor, "persona_id", limit=limit, offset=offset, everyones=all
    )
    counts = await assets.queries.count_by_collection(session, "persona_id", [one.id for one in found])
    shown = [_shown(one, counts.get(one.id, 0)) for one in found]
    headers = page_headers(request, base_url(request), total=total, limit=limit, offset=offset)
    return Response(to_json(shown), media_type="application/json", headers=headers)


@router.get(
    "/{persona_id}",
    response_model=Persona,
    summary="Read a persona",
    responses=_refusals(NotFound, may_not="read"),
)
async def read_persona(persona_id: Id, actor: ReadActor, session: ReadSession) -> dict[str, Any]:
    """A persona, and how much belongs to it."""
    with naming(persona_id):
        persona = await collections.service.get(session, actor, "persona_id", str(persona_id))
    return await _counted(session, persona)


@router.put(
    "/{persona_id}",
    response_model=Persona,
    summary="Change a persona",
    responses=_refusals(NotFound),
)
@router.patch(
    "/{persona_id}",
    response_model=Persona,
    summary="Change a persona",
    responses=_refusals(NotFound),
)
async def change_persona(
    request: Request, persona_id: Id, changes: PersonaChanges, actor: WriteActor
) -> dict[str, Any]:
    """Name and description. By PUT as by PATCH, what is absent stays as it is, and null clears."""
    database = library_of(request).database
    columns: dict[str, Any] = {}
    if "name" in changes.model_fields_set:
        columns["name"] = check_name(changes.name)
    if "description" in changes.model_fields_set:
        columns["description"] = check_description(changes.description)
    with naming(persona_id):
        async with database.write() as session:
            persona = await collections.service.change(session, actor, "persona_id", str(persona_id), columns)
    async with database.read() as session:  # counting may take long, and SQLite has one writer
        return await _counted(session, persona)


@router.delete(
    "/{persona_id}",
    status_code=204,
    summary="Delete a persona",
    responses=_refusals(NotFound),
)
async def delete_persona(request: Request, persona_id: Id, actor: WriteActor, session: WriteSession) -> None:
    """Deletes a persona with all that belongs to it. That is gone at once; its bytes follow."""
    with naming(persona_id):
        await collections.service.remove(session, actor, "persona_id", str(persona_id))
    forget_all(request, session)


async def _counted(session: ReadSession, persona: Any) -> dict[str, Any]:
    counts = await assets.queries.count_by_collection(session, "persona_id", [persona.id])
    return _shown(persona, counts.get(persona.id, 0))


def _shown(persona: Any, asset_count: int) -> dict[str, Any]:  # a Persona, which `AnyCollection` hides
    return {
        "id": persona.id,
        "name": persona.name,
        "description": persona.description or None,
        "user_id": persona.owner_id,
        "asset_count": asset_count,
        "created_at": naive(persona.created_at),
        "updated_at": naive(persona.updated_at),
    }
