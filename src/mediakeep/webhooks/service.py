"""The verbs of subscriptions."""

from typing import Any, Final, Literal, get_args

from sqlalchemy import Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts import audit
from mediakeep.accounts.actor import Actor
from mediakeep.accounts.models import User, gone_users
from mediakeep.accounts.service import lock_user
from mediakeep.db import now_plus
from mediakeep.db.base import as_public_id
from mediakeep.errors import Conflict, NotFound
from mediakeep.settings import Settings
from mediakeep.tasks import enqueue
from mediakeep.webhooks import outgoing, signing
from mediakeep.webhooks.models import Webhook

#: What may be subscribed to. A family holds whatever begins with its name.
EventType = Literal[
    "*",
    "asset.*",
    "asset.created",
    "asset.updated",
    "asset.deleted",
    "generation.*",
    "generation.created",
    "generation.updated",
    "generation.deleted",
    "client.*",
    "client.created",
    "client.updated",
    "client.deleted",
    "campaign.*",
    "campaign.created",
    "campaign.updated",
    "campaign.deleted",
    "persona.*",
    "persona.created",
    "persona.updated",
    "persona.deleted",
    "project.*",
    "project.created",
    "project.updated",
    "project.deleted",
    "job.*",
    "job.created",
    "job.updated",
    "job.completed",
    "job.failed",
    "job.cancelled",
]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)

MAX_WEBHOOKS: Final = 20

NOT_FOUND: Final = "Webhook not found"
TOO_MANY: Final = f"You have {MAX_WEBHOOKS} webhooks, which is as many as one may have."


async def create(
    session: AsyncSession,
    actor: Actor,
    settings: Settings,
    *,
    url: str,
    events: list[str],
    description: str,
    enabled: bool,
) -> Webhook:
    """A new subscription of the actor's. Raises `InvalidInput` for the URL, and `Conflict` when there are too many."""
    outgoing.check_url(url, allow_private=settings.webhooks_allow_private)
    # One after the other: two that count at the same time would both find room.
    alone = select(User.id).where(User.id == actor.user_id).with_for_update(key_share=True)
    await session.execute(alone)
    await lock_user(session, actor.user_id)
    theirs = select(func.count()).select_from(Webhook).where(Webhook.owner_id == actor.user_id)
    if (await session.scalar(theirs) or 0) >= MAX_WEBHOOKS:
        raise Conflict(TOO_MANY)
    webhook = Webhook(
        owner_id=actor.user_id,
        url=url,
        events=events,
        description=description,
        enabled=enabled,
        secret=signing.new_secret(),
    )
    session.add(webhook)
    await session.flush()
    return webhook


async def get(session: AsyncSession, actor: Actor, public_id: str) -> Webhook:
    """One of the actor's subscriptions; an admin may read anybody's. Raises `NotFound`."""
    return await _get(session, _select(None if actor.is_admin else actor.user_id, public_id))


async def get_for_change(session: AsyncSession, actor: Actor, public_id: str) -> Webhook:
    """One of the actor's own, locked until the commit. Raises `NotFound`."""
    return await _get(session, _select(actor.user_id, public_id).with_for_update())


async def list_page(
    session: AsyncSession, actor: Actor, *, limit: int, offset: int, everyones: bool = False
) -> tuple[list[Webhook], int]:
    """A page of subscriptions, newest first, and how many there are in all."""
    if everyones:
        actor.require("admin")
    is_listed = Webhook.owner_id.not_in(gone_users()) if everyones else Webhook.owner_id == actor.user_id
    total = await session.scalar(select(func.count()).select_from(Webhook).where(is_listed)) or 0
    newest = select(Webhook).where(is_listed).order_by(Webhook.created_at.desc(), Webhook.id.desc())
    return list(await session.scalars(newest.limit(limit).offset(offset))), total


async def change(
    session: AsyncSession, actor: Actor, settings: Settings, public_id: str, changes: dict[str, Any]
) -> Webhook:
    """Change columns of the actor's subscription; switched on or led elsewhere, it begins anew.

    Raises `NotFound`, and `InvalidInput` for the URL.
    """
    webhook = await get_for_change(session, actor, public_id)
    if "url" in changes:
        outgoing.check_url(changes["url"], allow_private=settings.webhooks_allow_private)
    for name, value in {**changes, "updated_at": now_plus()}.items():
        setattr(webhook, name, value)
    if "url" in changes or changes.get("enabled"):
        begin_anew(webhook)
        webhook.note = None
    await session.flush()
    await session.refresh(webhook)
    return webhook


async def rotate_secret(session: AsyncSession, actor: Actor, public_id: str) -> Webhook:
    """Give the actor's subscription a new secret, as `signing.exchange` does. Raises `NotFound`."""
    webhook = await get_for_change(session, actor, public_id)
    signing.exchange(webhook)
    webhook.updated_at = now_plus()
    await session.flush()
    await session.refresh(webhook)
    return webhook


def begin_anew(webhook: Webhook) -> None:
    """Forget earlier failures: the next attempt need not wait for them."""
    webhook.failures, webhook.failing_since, webhook.paused_until = 0, None, None


async def remove(session: AsyncSession, actor: Actor, public_id: str) -> None:
    """Delete a subscription; what still waits is not sent, and a task removes the log. Raises `NotFound`."""
    owner_id = None if actor.is_admin else actor.user_id
    webhook = await _get(session, _select(owner_id, public_id).with_for_update())
    await session.execute(delete(Webhook).where(Webhook.id == webhook.id))
    await enqueue(session, "webhooks.purge", {})
    if webhook.owner_id != actor.user_id:
        await audit.record(
            session, actor, "webhook.deleted_by_admin", user_id=webhook.owner_id, subject=webhook.public_id
        )


def _select(owner_id: int | None, public_id: str) -> Select[Webhook]:
    statement = select(Webhook).where(
        Webhook.public_id == as_public_id(public_id), Webhook.owner_id.not_in(gone_users())
    )
    return statement if owner_id is None else statement.where(Webhook.owner_id == owner_id)


async def _get(session: AsyncSession, statement: Select[Webhook]) -> Webhook:
    webhook = await session.scalar(statement)
    if webhook is None:
        raise NotFound(NOT_FOUND)
    return webhook
