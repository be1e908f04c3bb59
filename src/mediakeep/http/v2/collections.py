"""`/api/v2/clients` and `/api/v2/campaigns`."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from mediakeep import assets, collections
from mediakeep.accounts.actor import Actor
from mediakeep.assets.text import MAX_NAME_LENGTH, check_name
from mediakeep.collections.models import Campaign
from mediakeep.errors import InvalidInput, MediakeepError, NotFound, PermissionDenied
from mediakeep.http.auth import ReadActor, WriteActor, library_of
from mediakeep.http.base_url import base_url
from mediakeep.http.bodies import NAME_PATTERN, changes_schema
from mediakeep.http.delivery import forget_all
from mediakeep.http.paging import PAGE_HEADERS, page_headers
from mediakeep.http.problems import problem_responses
from mediakeep.http.sessions import ReadSession, WriteSession
from mediakeep.http.times import zulu

router = APIRouter(prefix="/api/v2", tags=["clients and campaigns"])


def _refusals(kind: str, *errors: type[MediakeepError], may_not: str = "write") -> dict[int | str, Any]:
    return problem_responses(
        PermissionDenied,
        *errors,
        permission_denied=f"This API key may not {may_not}.",
        not_found=f"{kind} not found",
        invalid_input="name must not be empty.",
    )


_LIST: dict[int | str, Any] = {
    200: {"headers": PAGE_HEADERS},
    **problem_responses(PermissionDenied, InvalidInput, permission_denied="This API key may not read."),
}

_Limit = Annotated[int, Query(ge=1, le=100)]
_Offset = Annotated[int, Query(ge=0, le=2**31)]
_All = Annotated[bool, Query(description="An admin's: everybody's.")]
_Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        examples=["Acme"],
        json_schema_extra={"pattern": NAME_PATTERN},
    ),
]


class ClientBody(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "Acme"}]})

    name: _Name


class CampaignBody(ClientBody):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Spring", "clientId": None}]})

    clientId: str | None = Field(None, description="The client that it belongs to.")  # noqa: N815 the wire's names


class CampaignChanges(BaseModel):
    """What is absent stays as it is; null takes a campaign away from its client."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=changes_schema({"name": "Summer"}))

    name: _Name = ""
    clientId: str | None = None  # noqa: N815


class ShownClient(BaseModel):
    id: str = Field(examples=["8c2f1d0e-5a0b-4c53-9f7e-2f3f1d6b7a90"])
    name: str = Field(examples=["Acme"])
    asset_count: int = Field(description="What deleting it would take along.", examples=[3])
    createdAt: str = Field(description="ISO 8601 in UTC.", examples=["2025-11-16T09:30:00Z"])  # noqa: N815
    updatedAt: str = Field(description="ISO 8601 in UTC.", examples=["2025-11-16T09:30:00Z"])  # noqa: N815


class ShownCampaign(ShownClient):
    clientId: str | None = Field(examples=[None])  # noqa: N815


@router.post(
    "/clients", status_code=201, response_model=ShownClient, responses=_refusals("Client", InvalidInput)
)
async def create_client(body: ClientBody, actor: WriteActor, session: WriteSession) -> dict[str, Any]:
    """Create a client."""
    client = await collections.service.create(session, actor, "client_id", {"name": check_name(body.name)})
    return _client(client, 0)


@router.get("/clients", response_model=list[ShownClient], responses=_LIST)
async def list_clients(
    request: Request,
    actor: ReadActor,
    session: ReadSession,
    limit: _Limit = 50,
    offset: _Offset = 0,
    all: _All = False,  # noqa: A002 the wire's name
) -> Response:
    """One's own clients, newest first."""
    found, total = await collections.service.list_page(
        session, actor, "client_id", limit=limit, offset=offset, everyones=all
    )
    counts = await assets.queries.count_by_collection(session, "client_id", [one.id for one in found])
    shown = [_client(one, counts.get(one.id, 0)) for one in found]
    headers = page_headers(request, base_url(request), total=total, limit=limit, offset=offset)
    return Response(to_json(shown), media_type="application/json", headers=headers)


@router.get(
    "/clients/{client_id}",
    response_model=ShownClient,
    responses=_refusals("Client", NotFound, may_not="read"),
)
async def read_client(client_id: str, actor: ReadActor, session: ReadSession) -> dict[str, Any]:
    """A client, and how much belongs to it."""
    client = await collections.service.get(session, actor, "client_id", client_id)
    counts = await assets.queries.count_by_collection(session, "client_id", [client.id])
    return _client(client, counts.get(client.id, 0))


@router.patch(
    "/clients/{client_id}",
    response_model=ShownClient,
    responses=_refusals("Client", NotFound, InvalidInput),
)
async def rename_client(
    request: Request, client_id: str, body: ClientBody, actor: WriteActor
) -> dict[str, Any]:
    """Rename a client."""
    database = library_of(request).database
    columns = {"name": check_name(body.name)}
    async with database.write() as session:
        client = await collections.service.change(session, actor, "client_id", client_id, columns)
    async with database.read() as session:  # counting may take long, and SQLite has one writer
        counts = await assets.queries.count_by_collection(session, "client_id", [client.id])
    return _client(client, counts.get(client.id, 0))


@router.delete("/clients/{client_id}", status_code=204, responses=_refusals("Client", NotFound))
async def delete_client(request: Request, client_id: str, actor: WriteActor, session: WriteSession) -> None:
    """Delete a client with its campaigns and all their assets. They are gone at once; their bytes follow."""
    await collections.service.remove(session, actor, "client_id", client_id)
    forget_all(request, session)


@router.post(
    "/campaigns",
    status_code=201,
    response_model=ShownCampaign,
    responses=_refusals("Client", NotFound, InvalidInput),
)
async def create_campaign(body: CampaignBody, actor: WriteActor, session: WriteSession) -> dict[str, Any]:
    """Create a campaign, of a client or of none."""
    columns: dict[str, Any] = {"name": check_name(body.name)}
    columns["client_id"] = await _lock_client(session, actor, body.clientId)
    campaign = await collections.service.create(session, actor, "campaign_id", columns)
    return (await _campaigns(session, [campaign]))[0]


@router.get("/campaigns", response_model=list[ShownCampaign], responses=_LIST)
async def list_campaigns(
    request: Request,
    actor: ReadActor,
    session: ReadSession,
    clientId: Annotated[str | None, Query(description="Campaigns of this client.")] = None,  # noqa: N803
    limit: _Limit = 50,
    offset: _Offset = 0,
    all: _All = False,  # noqa: A002 the wire's name
) -> Response:
    """One's own campaigns, newest first."""
    conditions = []
    if clientId is not None:
        owner_id = None if all else actor.user_id
        row_id = await collections.service.find_row_id(session, owner_id, "client_id", clientId)
        conditions.append(Campaign.client_id == (row_id or -1))
    found, total = await collections.service.list_page(
        session, actor, "campaign_id", *conditions, limit=limit, offset=offset, everyones=all
    )
    headers = page_headers(request, base_url(request), total=total, limit=limit, offset=offset)
    shown = await _campaigns(session, found)
    return Response(to_json(shown), media_type="application/json", headers=headers)


@router.get(
    "/campaigns/{campaign_id}",
    response_model=ShownCampaign,
    responses=_refusals("Campaign", NotFound, may_not="read"),
)
async def read_campaign(campaign_id: str, actor: ReadActor, session: ReadSession) -> dict[str, Any]:
    """A campaign, and how much belongs to it."""
    campaign = await collections.service.get(session, actor, "campaign_id", campaign_id)
    return (await _campaigns(session, [campaign]))[0]


@router.patch(
    "/campaigns/{campaign_id}",
    response_model=ShownCampaign,
    responses=_refusals("Campaign", NotFound, InvalidInput),
)
async def change_campaign(
    request: Request, campaign_id: str, body: CampaignChanges, actor: WriteActor
) -> dict[str, Any]:
    """Rename a campaign, or move it to another client."""
    database = library_of(request).database
    columns: dict[str, Any] = {}
    if "name" in body.model_fields_set:
        columns["name"] = check_name(body.name)
    async with database.write() as session:
        if "clientId" in body.model_fields_set:
            columns["client_id"] = await _lock_client(session, actor, body.clientId)
        campaign = await collections.service.change(session, actor, "campaign_id", campaign_id, columns)
    async with database.read() as session:  # counting may take long, and SQLite has one writer
        return (await _campaigns(session, [campaign]))[0]


@router.delete("/campaigns/{campaign_id}", status_code=204, responses=_refusals("Campaign", NotFound))
async def delete_campaign(
    request: Request, campaign_id: str, actor: WriteActor, session: WriteSession
) -> None:
    """Delete a campaign with all its assets. They are gone at once; their bytes follow."""
    await collections.service.remove(session, actor, "campaign_id", campaign_id)
    forget_all(request, session)


async def _lock_client(session: WriteSession, actor: Actor, client_id: str | None) -> int | None:
    if client_id is None:
        return None
    return await collections.service.lock_row_id(session, actor.user_id, "client_id", client_id)


def _client(client: Any, asset_count: int) -> dict[str, Any]:  # a Client or a Campaign, which share these
    return {
        "id": client.public_id,
        "name": client.name,
        "asset_count": asset_count,
        "createdAt": zulu(client.created_at),
        "updatedAt": zulu(client.updated_at),
    }


async def _campaigns(session: ReadSession, campaigns: list[Any]) -> list[dict[str, Any]]:
    counts = await assets.queries.count_by_collection(session, "campaign_id", [one.id for one in campaigns])
    owners = await collections.service.public_ids(session, "client_id", {one.client_id for one in campaigns})
    return [
        {**_client(one, counts.get(one.id, 0)), "clientId": owners.get(one.client_id)} for one in campaigns
    ]
