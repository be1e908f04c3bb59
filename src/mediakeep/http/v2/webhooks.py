"""`/api/v2/webhooks`: where one's events are told, and the log of what was sent."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool, TypeAdapter
from starlette.convertors import StringConvertor, register_url_convertor

from mediakeep.accounts.actor import Actor
from mediakeep.errors import Conflict, InvalidInput, MediakeepError, NotFound, PermissionDenied
from mediakeep.http.auth import ReadActor, WriteActor, library_of
from mediakeep.http.base_url import base_url
from mediakeep.http.bodies import TEXT_PATTERN, WITHOUT_NUL, changes_schema
from mediakeep.http.paging import PAGE_HEADERS, page_headers
from mediakeep.http.problems import problem_responses
from mediakeep.http.sessions import ReadSession, WriteSession
from mediakeep.http.v2.auth_schemas import Time
from mediakeep.webhooks import deliveries, service, signing
from mediakeep.webhooks.models import URL_CHARACTERS, Delivery, SigningSecret, Webhook
from mediakeep.webhooks.service import EVENT_TYPES, EventType


class _WebhookId(StringConvertor):
    """A part of a path that is none of the fixed ones, which would else allow what webhooks do."""

    regex = r"(?!(?:secret|deliveries)$)[^/]+"


register_url_convertor("webhook", _WebhookId())

router = APIRouter(prefix="/api/v2/webhooks", tags=["webhooks"])

_URL_EXAMPLE = "https://receiver.example/mediakeep"
_SECRET_EXAMPLE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 an example

_PreviousUntil = Annotated[
    Time | None,
    Field(description="Until when the secret before this one signs as well.", examples=[None]),
]

_Url = Annotated[
    str,
    Field(
        min_length=10,
        max_length=URL_CHARACTERS,
        description="Where to POST: http or https, without user name, at a public address.",
        examples=[_URL_EXAMPLE],
    ),
    WITHOUT_NUL,
]
_Events = Annotated[
    list[EventType],
    Field(
        min_length=1,
        max_length=len(EVENT_TYPES),
        description="Types, families such as `asset.*`, or `*` for all.",
        examples=[["asset.*", "generation.updated"]],
    ),
]
_Description = Annotated[
    str,
    Field(
        max_length=500,
        pattern=TEXT_PATTERN,
        description="What it is for.",
        examples=["Publishes what is new"],
    ),
]
_Limit = Annotated[int, Query(ge=1, le=100)]
_Offset = Annotated[int, Query(ge=0, le=2**31)]


class WebhookBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"url": _URL_EXAMPLE, "events": ["asset.*", "generation.updated"]}]},
    )

    url: _Url
    events: _Events
    description: _Description = ""
    enabled: StrictBool = True


class WebhookChanges(BaseModel):
    """What is absent stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=changes_schema({"events": ["*"]}))

    url: _Url = ""
    events: _Events = []
    description: _Description = ""
    enabled: StrictBool = Field(True, description="Switched on again, it begins anew: its note goes.")


class ShownWebhook(BaseModel):
    id: str = Field(examples=["5b8c1e1d-7a44-4e0c-9d3e-6f0a2c9b7e15"])
    url: str = Field(examples=[_URL_EXAMPLE])
    events: list[str] = Field(examples=[["asset.*", "generation.updated"]])
    description: str = Field(examples=["Publishes what is new"])
    enabled: bool = Field(examples=[True])
    note: str | None = Field(description="Why the server has switched it off, if it has.", examples=[None])
    secret: str | None = Field(
        description="What deliveries are signed with. Null for API keys that may not write, and for admins who look at "
        "somebody else's.",
        examples=[_SECRET_EXAMPLE],
    )
    previous_secret_until: _PreviousUntil
    failing_since: Time | None = Field(description="Since when nothing has arrived.", examples=[None])
    created_at: Time
    updated_at: Time


class ShownSecret(BaseModel):
    secret: str = Field(examples=[_SECRET_EXAMPLE])
    previous_secret_until: _PreviousUntil


class ShownDelivery(BaseModel):
    id: str = Field(
        description="The `webhook-id` that it was sent with.",
        examples=["e2a4c5f0-0d53-4b6b-8a86-0b0a4f0d1c92"],
    )
    url: str | None = Field(
        description="Where it goes, if no webhook says so: a job's `webhook_url`.", examples=[None]
    )
    type: str = Field(examples=["asset.created"])
    data: dict[str, Any] = Field(
        examples=[{"id": "6f1c8a52-7f0e-4b8e-9d55-0c4e1f6a2b3d", "type": "image", "name": "boat.png"}]
    )
    status: Literal["pending", "delivered", "failed"] = Field(examples=["delivered"])
    attempts: int = Field(description="Since it was last asked for.", examples=[1])
    error: str | None = Field(description="Why the last attempt failed.", examples=[None])
    response_status: int | None = Field(description="The receiver's last answer.", examples=[204])
    response_body: str | None = Field(description="How that began: 1,000 characters.", examples=[""])
    duration_seconds: float | None = Field(description="How long that took.", examples=[0.12])
    created_at: Time
    attempted_at: Time | None = Field(examples=["2025-11-16T09:30:00Z"])
    next_attempt_at: Time | None = Field(examples=[None])
    finished_at: Time | None = Field(examples=["2025-11-16T09:30:00Z"])


_WEBHOOKS, _DELIVERIES = TypeAdapter(list[ShownWebhook]), TypeAdapter(list[ShownDelivery])


def _refusals(
    *errors: type[MediakeepError],
    may_not: str = "write",
    not_found: str = service.NOT_FOUND,
    conflict: str = deliveries.SWITCHED_OFF,
) -> dict[int | str, Any]:
    return problem_responses(
        PermissionDenied,
        *errors,
        permission_denied=f"This API key may not {may_not}.",
        not_found=not_found,
        conflict=conflict,
    )


def _page_of(*errors: type[MediakeepError]) -> dict[int | str, Any]:
    return {200: {"headers": PAGE_HEADERS}, **_refusals(*errors, InvalidInput, may_not="read")}


@router.post("", status_code=201, responses=_refusals(Conflict, InvalidInput, conflict=service.TOO_MANY))
async def create_webhook(
    request: Request, body: WebhookBody, actor: WriteActor, session: WriteSession
) -> ShownWebhook:
    """Have events told to a URL from now on: at most 20 webhooks each."""
    given = body.model_dump()
    return _shown(await service.create(session, actor, library_of(request).settings, **given), actor)


@router.get("", response_model=list[ShownWebhook], responses=_page_of())
async def list_webhooks(
    request: Request,
    actor: ReadActor,
    session: ReadSession,
    limit: _Limit = 50,
    offset: _Offset = 0,
    all: Annotated[bool, Query(description="An admin's: everybody's.")] = False,  # noqa: A002 the wire's name
) -> Response:
    """One's own webhooks, newest first."""
    found, total = await service.list_page(session, actor, limit=limit, offset=offset, everyones=all)
    headers = page_headers(request, base_url(request), total=total, limit=limit, offset=offset)
    body = _WEBHOOKS.dump_json([_shown(one, actor) for one in found])
    return Response(body, media_type="application/json", headers=headers)


@router.get("/secret", responses=_refusals())
async def read_secret(actor: WriteActor, session: WriteSession) -> ShownSecret:
    """What is sent to addresses that are no webhooks, such as a job's `webhook_url`, is signed with this secret."""
    return _secret(await signing.get_own(session, actor.user_id))


@router.post("/secret", responses=_refusals())
async def change_secret(actor: WriteActor, session: WriteSession) -> ShownSecret:
    """Get a new secret for those addresses. For 24 hours what is sent is signed with both, the old one and the new."""
    return _secret(await signing.exchange_own(session, actor.user_id))


@router.get("/deliveries", response_model=list[ShownDelivery], responses=_page_of())
async def list_own_deliveries(
    request: Request, actor: ReadActor, session: ReadSession, limit: _Limit = 50, offset: _Offset = 0
) -> Response:
    """What was sent to one's addresses that are no webhooks, or is to be, newest first; kept for 30 days."""
    return _page(
        request,
        await deliveries.list_own(session, actor, limit=limit, offset=offset),
        limit=limit,
        offset=offset,
    )


@router.get("/{webhook_id:webhook}", responses=_refusals(NotFound, may_not="read"))
async def read_webhook(webhook_id: str, actor: ReadActor, session: ReadSession) -> ShownWebhook:
    """A webhook; its owner sees the secret."""
    return _shown(await service.get(session, actor, webhook_id), actor)


@router.patch("/{webhook_id:webhook}", responses=_refusals(NotFound, InvalidInput))
async def change_webhook(
    request: Request, webhook_id: str, body: WebhookChanges, actor: WriteActor, session: WriteSession
) -> ShownWebhook:
    """Change where it goes and what it tells, switch it off or on. What waits goes to the new URL."""
    changes = body.model_dump(include=body.model_fields_set)
    settings = library_of(request).settings
    return _shown(await service.change(session, actor, settings, webhook_id, changes), actor)


@router.delete("/{webhook_id:webhook}", status_code=204, responses=_refusals(NotFound))
async def delete_webhook(webhook_id: str, actor: WriteActor, session: WriteSession) -> None:
    """Delete a webhook with its log. What has not been sent yet is not sent any more."""
    await service.remove(session, actor, webhook_id)


@router.post("/{webhook_id:webhook}/rotate-secret", responses=_refusals(NotFound))
async def rotate_secret(webhook_id: str, actor: WriteActor, session: WriteSession) -> ShownWebhook:
    """Give a webhook a new secret. For 24 hours deliveries are signed with both, the old one and the new."""
    return _shown(await service.rotate_secret(session, actor, webhook_id), actor)


@router.post("/{webhook_id:webhook}/test", status_code=202, responses=_refusals(NotFound, Conflict))
async def test_webhook(webhook_id: str, actor: WriteActor, session: WriteSession) -> ShownDelivery:
    """Send a `webhook.test`, whatever the webhook's events are; the log tells how that went."""
    return _delivery(await deliveries.send_test(session, actor, webhook_id))


@router.get(
    "/{webhook_id:webhook}/deliveries", response_model=list[ShownDelivery], responses=_page_of(NotFound)
)
async def list_deliveries(
    request: Request,
    webhook_id: str,
    actor: ReadActor,
    session: ReadSession,
    limit: _Limit = 50,
    offset: _Offset = 0,
) -> Response:
    """What was sent, or is to be, newest first; kept for 30 days."""
    return _page(
        request,
        await deliveries.list_page(session, actor, webhook_id, limit=limit, offset=offset),
        limit=limit,
        offset=offset,
    )


@router.post(
    "/{webhook_id:webhook}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    responses=_refusals(NotFound, Conflict, not_found=deliveries.NOT_FOUND),
)
async def redeliver(
    webhook_id: str, delivery_id: str, actor: WriteActor, session: WriteSession
) -> ShownDelivery:
    """Send a delivery once more, with the same `webhook-id`; one that still waits is sent at once."""
    return _delivery(await deliveries.redeliver(session, actor, webhook_id, delivery_id))


def _shown(webhook: Webhook, actor: Actor) -> ShownWebhook:
    sees_secret = webhook.owner_id == actor.user_id and "write" in actor.scopes
    return ShownWebhook(
        id=webhook.public_id,
        url=webhook.url,
        events=webhook.events,
        description=webhook.description,
        enabled=webhook.enabled,
        note=webhook.note,
        secret=webhook.secret if sees_secret else None,
        previous_secret_until=_previous_until(webhook),
        failing_since=webhook.failing_since,
        created_at=webhook.created_at,
        updated_at=webhook.updated_at,
    )


def _secret(own: SigningSecret) -> ShownSecret:
    return ShownSecret(secret=own.secret, previous_secret_until=_previous_until(own))


def _previous_until(holder: Webhook | SigningSecret) -> datetime | None:
    until = holder.previous_until
    return until if until is not None and until > datetime.now(UTC) else None


def _page(request: Request, page: tuple[list[Delivery], int], *, limit: int, offset: int) -> Response:
    found, total = page
    headers = page_headers(request, base_url(request), total=total, limit=limit, offset=offset)
    body = _DELIVERIES.dump_json([_delivery(one) for one in found])
    return Response(body, media_type="application/json", headers=headers)


def _delivery(row: Delivery) -> ShownDelivery:
    return ShownDelivery(
        id=row.public_id,
        url=row.url,
        type=row.type,
        data=row.data,
        status=row.status,
        attempts=row.attempts,
        error=row.error,
        response_status=row.response_status,
        response_body=row.response_body,
        duration_seconds=row.duration_seconds,
        created_at=row.created_at,
        attempted_at=row.attempted_at,
        next_attempt_at=row.next_attempt_at,
        finished_at=row.finished_at,
    )
