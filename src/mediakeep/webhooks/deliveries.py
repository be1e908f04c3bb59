"""What is sent to webhooks: made with its event, tried until it arrives or a day has passed, and kept as a log."""

import json
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep import events
from mediakeep.accounts.actor import Actor
from mediakeep.accounts.models import User
from mediakeep.db import now_plus
from mediakeep.db.base import as_public_id, table_of
from mediakeep.errors import Conflict, NotFound
from mediakeep.events import Recorded
from mediakeep.tasks import enqueue_all, wake
from mediakeep.webhooks import service, signing
from mediakeep.webhooks.models import Delivery, SigningSecret, Webhook
from mediakeep.webhooks.outgoing import Answer

#: The waits between attempts, as Standard Webhooks suggests them; with the last one a day has passed.
RETRY_SECONDS: Final = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 7 * 3600, 10 * 3600)

#: A webhook that has taken nothing for so long is switched off.
SWITCH_OFF_SECONDS: Final = 3 * 24 * 3600

#: After failures, nothing is tried for a while that doubles up to this: a dead receiver must not keep workers busy.
_LONGEST_PAUSE_SECONDS = 300

#: The same for an address that is no webhook: after any failure there.
_PAUSE_SECONDS = 30

_KEPT_SECONDS = 30 * 24 * 3600

#: Later than other work, which is what somebody waits for in front of a screen.
_PRIORITY = 10

NOT_FOUND: Final = "Delivery not found"
SWITCHED_OFF: Final = "The webhook is switched off."

_GONE = 410
_GONE_NOTE = "Switched off because the receiver answered 410 Gone."
_FAILING_NOTE = "Switched off because everything that was sent in three days has failed. Last: "

_webhooks, _deliveries = table_of(Webhook), table_of(Delivery)
_SUBSCRIBED = (
    select(_webhooks.c.id, _webhooks.c.owner_id, _webhooks.c.events)
    .where(_webhooks.c.owner_id.in_(bindparam("owner_ids", expanding=True)), _webhooks.c.enabled)
    .order_by(_webhooks.c.id)
)


@dataclass(frozen=True, kw_only=True)
class Due:
    """A delivery that waits to be sent, signed with each of `secrets`. `refusal` says why it will not be."""

    id: int
    webhook_id: int | None
    public_id: str
    url: str
    secrets: tuple[str, ...]
    body: str
    wait_seconds: float
    refusal: str | None

    def headers(self) -> dict[str, str]:
        """The headers of an attempt made now (Standard Webhooks 1.0)."""
        now = datetime.now(UTC)
        return {
            "Content-Type": "application/json",
            "User-Agent": "Mediakeep",
            "webhook-id": self.public_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signing.sign(self.secrets, self.public_id, now, self.body),
        }


@events.listener
async def tell(session: AsyncSession, recorded: Sequence[Recorded]) -> None:
    """Make a delivery, and the task that sends it, of each event for each webhook that asks for it.

    In the transaction that records them: so there is exactly one of each, without a reader of the outbox that would
    have to keep its place. To owners without webhooks it costs one look-up by an index.
    """
    owner_ids = sorted({event.owner_id for event in recorded})
    found = (await session.execute(_SUBSCRIBED, {"owner_ids": owner_ids})).all()
    rows: dict[int, list[dict[str, Any]]] = {}
    for webhook in found:
        rows.setdefault(webhook.owner_id, []).extend(
            _row(event.kind, {"id": event.subject, **event.data}, webhook_id=webhook.id)
            for event in recorded
            if event.owner_id == webhook.owner_id and _asks_for(webhook.events, event.kind)
        )
    for owner_id, of_owner in rows.items():
        if of_owner:
            await _add(session, owner_id, of_owner)


async def deliver_once(
    session: AsyncSession, *, owner_id: int, url: str, type_: str, data: dict[str, Any]
) -> str:
    """Make a delivery to an address that is no webhook, such as a job's; returns its public id.

    Signed with the owner's own secret, tried again and logged as the others are, if this transaction commits. The
    address is taken as it is: `outgoing.check_url` tells whoever names it what is wrong with it. What it means is looked
    at again before each attempt.
    """
    await signing.get_own(session, owner_id)
    row = _row(type_, data, owner_id=owner_id, url=url)
    await _add(session, owner_id, [row])
    return str(row["public_id"])


def _asks_for(types: Sequence[str], kind: str) -> bool:
    return bool({"*", kind, f"{kind.partition('.')[0]}.*"}.intersection(types))


def _row(
    type_: str,
    data: dict[str, Any],
    *,
    webhook_id: int | None = None,
    owner_id: int | None = None,
    url: str | None = None,
) -> dict[str, Any]:
    return {
        "public_id": str(uuid.uuid4()),
        "webhook_id": webhook_id,
        "owner_id": owner_id,
        "url": url,
        "type": type_,
        "data": data,
    }


async def _add(session: AsyncSession, owner_id: int, rows: Sequence[dict[str, Any]]) -> None:
    """Add an owner's deliveries, each with its task: thousands, where a bulk call changes what many webhooks ask for."""
    task_ids = await _enqueue(session, owner_id, [row["public_id"] for row in rows])
    given = [{**row, "task_id": task_id} for row, task_id in zip(rows, task_ids, strict=True)]
    await session.execute(insert(_deliveries).values(next_attempt_at=now_plus()), given)


async def _enqueue(session: AsyncSession, owner_id: int, public_ids: Sequence[str]) -> list[int]:
    payloads = [{"delivery_id": public_id} for public_id in public_ids]
    # A step only fails where the database does; that is not to end what the receiver should get.
    return await enqueue_all(
        session, "webhooks.deliver", payloads, owner_id=owner_id, priority=_PRIORITY, max_attempts=1000
    )


async def send_test(session: AsyncSession, actor: Actor, webhook_id: str) -> Delivery:
    """Make a delivery that only says that it is a test. Raises `NotFound`, and `Conflict` where it is switched off."""
    webhook = await _get_switched_on(session, actor, webhook_id)
    row = _row("webhook.test", {"id": webhook.public_id}, webhook_id=webhook.id)
    await _add(session, webhook.owner_id, [row])
    return await _get(session, webhook, row["public_id"])


async def redeliver(session: AsyncSession, actor: Actor, webhook_id: str, delivery_id: str) -> Delivery:
    """Have a delivery sent once more, under its own id; at once if it waits. Raises as `send_test` does."""
    webhook = await _get_switched_on(session, actor, webhook_id)
    delivery = await _get(session, webhook, delivery_id)
    waits = delivery.status == "pending" and delivery.task_id is not None
    if not (waits and await wake(session, delivery.task_id or 0)):
        [delivery.task_id] = await _enqueue(session, webhook.owner_id, [delivery.public_id])
        delivery.status, delivery.attempts, delivery.finished_at = "pending", 0, None
    delivery.next_attempt_at = now_plus()
    await session.flush()
    await session.refresh(delivery)
    return delivery


async def list_page(
    session: AsyncSession, actor: Actor, webhook_id: str, *, limit: int, offset: int
) -> tuple[list[Delivery], int]:
    """A page of the log, newest first, and how many there are in all. Raises `NotFound` for the webhook."""
    webhook = await service.get(session, actor, webhook_id)
    theirs = Delivery.webhook_id == webhook.id
    total = await session.scalar(select(func.count()).select_from(Delivery).where(theirs)) or 0
    newest = select(Delivery).where(theirs).order_by(Delivery.created_at.desc(), Delivery.id.desc())
    return list(await session.scalars(newest.limit(limit).offset(offset))), total


async def list_own(
    session: AsyncSession, actor: Actor, *, limit: int, offset: int
) -> tuple[list[Delivery], int]:
    """A page of what went to addresses of the actor's that are no webhooks, newest first, and how many in all."""
    theirs = Delivery.owner_id == actor.user_id
    total = await session.scalar(select(func.count()).select_from(Delivery).where(theirs)) or 0
    newest = select(Delivery).where(theirs).order_by(Delivery.created_at.desc(), Delivery.id.desc())
    return list(await session.scalars(newest.limit(limit).offset(offset))), total


async def find_due(session: AsyncSession, public_id: str, *, task_id: int) -> Due | None:
    """What a task has to send; None where there is nothing left to do, or another task does it."""
    statement = (
        select(Delivery, Webhook, SigningSecret, User.is_active(), now_plus())
        .outerjoin(Webhook, Webhook.id == Delivery.webhook_id)
        .outerjoin(SigningSecret, SigningSecret.user_id == Delivery.owner_id)
        .join(User, User.id == func.coalesce(Webhook.owner_id, Delivery.owner_id))
        .where(Delivery.public_id == public_id, Delivery.status == "pending", Delivery.task_id == task_id)
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        return None
    delivery, webhook, own, is_active, now = row
    paused_until = await _paused_until(session, delivery) if webhook is None else webhook.paused_until
    return Due(
        id=delivery.id,
        webhook_id=delivery.webhook_id,
        public_id=public_id,
        url=delivery.url if webhook is None else webhook.url,
        secrets=signing.good_secrets(webhook or own, now),
        body=_body(delivery),
        wait_seconds=((paused_until or now) - now).total_seconds(),
        refusal=_refusal(webhook, is_active=is_active),
    )


async def _paused_until(session: AsyncSession, delivery: Delivery) -> datetime | None:
    """Until when nothing else goes to its address, if what was tried there last, by another delivery, has failed."""
    others = (
        select(Delivery.error, Delivery.attempted_at)
        .where(
            Delivery.owner_id == delivery.owner_id,
            Delivery.url == delivery.url,
            Delivery.id != delivery.id,
            Delivery.created_at > now_plus(-2 * sum(RETRY_SECONDS)),  # which the index finds
            Delivery.attempted_at > now_plus(-_PAUSE_SECONDS),
        )
        .order_by(Delivery.attempted_at.desc())
        .limit(1)
    )
    last = (await session.execute(others)).one_or_none()
    return (
        None if last is None or last.error is None else last.attempted_at + timedelta(seconds=_PAUSE_SECONDS)
    )


def _refusal(webhook: Webhook | None, *, is_active: bool) -> str | None:
    if not is_active:
        return "The account is disabled."
    return None if webhook is None or webhook.enabled else SWITCHED_OFF


def _body(delivery: Delivery) -> str:
    """The same at each attempt, to the byte."""
    document = events.document(delivery.type, delivery.created_at, delivery.data)
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


async def note(session: AsyncSession, due: Due, answer: Answer) -> float | None:
    """Write down how an attempt went; returns the seconds until the next one, or None when there is none."""
    webhook = None
    if due.webhook_id is not None:
        webhook = await session.get(Webhook, due.webhook_id, with_for_update=True)
    delivery = await session.get(Delivery, due.id, with_for_update=True)
    if delivery is None or (webhook is None and due.webhook_id is not None):
        return None
    delivery.attempts += 1
    delivery.attempted_at = now_plus()
    delivery.duration_seconds = answer.duration_seconds
    delivery.response_status, delivery.response_body = answer.status, answer.body
    delivery.error = answer.error
    if answer.error is None:
        if webhook is not None:
            service.begin_anew(webhook)
        await _end(session, delivery, "delivered")
        return None
    is_over = answer.status == _GONE
    if webhook is not None:
        await _note_failure(session, webhook, answer)
        is_over = not webhook.enabled
    if delivery.attempts > len(RETRY_SECONDS) or is_over:
        await _end(session, delivery, "failed")
        return None
    seconds = RETRY_SECONDS[delivery.attempts - 1] * random.uniform(1.0, 1.1)  # noqa: S311 no secret
    delivery.next_attempt_at = now_plus(seconds)
    await session.flush()
    return seconds


async def refuse(session: AsyncSession, due: Due) -> None:
    """End a delivery that nobody may have any more."""
    delivery = await session.get(Delivery, due.id, with_for_update=True)
    if delivery is not None:
        delivery.error = due.refusal
        await _end(session, delivery, "failed")


async def _end(session: AsyncSession, delivery: Delivery, status: str) -> None:
    delivery.status, delivery.next_attempt_at = status, None
    delivery.finished_at = now_plus()
    await session.flush()


async def _note_failure(session: AsyncSession, webhook: Webhook, answer: Answer) -> None:
    webhook.failures += 1
    pause = min(2 ** min(webhook.failures, 10), _LONGEST_PAUSE_SECONDS)
    webhook.paused_until = now_plus(pause)
    if webhook.failing_since is None:
        webhook.failing_since = now_plus()
        await session.flush()
    is_long = select(Webhook.failing_since < now_plus(-SWITCH_OFF_SECONDS)).where(Webhook.id == webhook.id)
    if answer.status == _GONE:
        webhook.enabled, webhook.note = False, _GONE_NOTE
    elif webhook.enabled and await session.scalar(is_long):
        webhook.enabled, webhook.note = False, f"{_FAILING_NOTE}{answer.error}"[:500]


async def gone_webhooks(session: AsyncSession) -> list[int]:
    """The row ids of webhooks that are deleted, and of which the log still has something."""
    statement = select(Delivery.webhook_id).distinct().where(Delivery.webhook_id.not_in(select(Webhook.id)))
    return list(await session.scalars(statement))


async def gone_owners(session: AsyncSession) -> list[int]:
    """The same of users, for what went to addresses that are no webhooks."""
    statement = select(Delivery.owner_id).distinct().where(Delivery.owner_id.not_in(select(User.id)))
    return list(await session.scalars(statement))


async def forget_old(
    session: AsyncSession, *, webhooks: Sequence[int], owners: Sequence[int], limit: int
) -> int:
    """Remove deliveries of 30 days ago, and those of whom is gone; returns how many those were."""
    is_forgotten = or_(
        Delivery.created_at < now_plus(-_KEPT_SECONDS),
        Delivery.webhook_id.in_(webhooks),
        Delivery.owner_id.in_(owners),
    )
    chunk = select(Delivery.id).where(is_forgotten).limit(limit)
    removed = delete(Delivery).where(Delivery.id.in_(chunk)).returning(Delivery.id)
    return len((await session.scalars(removed, execution_options={"synchronize_session": False})).all())


async def _get_switched_on(session: AsyncSession, actor: Actor, webhook_id: str) -> Webhook:
    """The webhook, locked, with its earlier failures forgotten: its owner wants to see something happen."""
    webhook = await service.get_for_change(session, actor, webhook_id)
    if not webhook.enabled:
        raise Conflict(SWITCHED_OFF)
    webhook.paused_until = None
    await session.flush()
    return webhook


async def _get(session: AsyncSession, webhook: Webhook, public_id: str) -> Delivery:
    statement = select(Delivery).where(
        Delivery.public_id == as_public_id(public_id), Delivery.webhook_id == webhook.id
    )
    delivery = await session.scalar(statement.with_for_update())
    if delivery is None:
        raise NotFound(NOT_FOUND)
    return delivery
