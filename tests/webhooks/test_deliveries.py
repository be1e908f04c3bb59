"""From an event to a receiver: exactly one delivery, tried again under one id, until it arrives or a day has passed."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import event, func, select, update
from sqlalchemy.exc import IntegrityError
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from mediakeep.accounts.models import User
from mediakeep.db import now_plus
from mediakeep.events import record_all
from mediakeep.tasks import leases
from mediakeep.tasks.models import Task
from mediakeep.tasks.registry import registered_tasks
from mediakeep.tasks.worker import Worker, drain
from mediakeep.webhooks import deliveries, service
from mediakeep.webhooks.deliveries import RETRY_SECONDS, SWITCH_OFF_SECONDS
from mediakeep.webhooks.models import Delivery, Webhook
from mediakeep.webhooks.tasks import deliver, purge
from tests.webhooks.conftest import SUBJECT

HOUR = 3600


async def count_tasks(library):
    async with library.database.read() as session:
        waiting = select(func.count()).where(Task.name == "webhooks.deliver", Task.status == "queued")
        return await session.scalar(waiting)


def test_a_signature_is_that_of_the_published_example():
    # https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/python/tests/test_webhooks.py
    signature = Verifier("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        '{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_an_event_arrives_signed(library, subscribe, happen, receiver, log):
    webhook = await subscribe("asset.created")
    await happen("asset.created")
    await drain(library)
    [got] = receiver.got
    document = Verifier(webhook.secret).verify(got.body, got.headers)
    assert document == {**document, "type": "asset.created", "data": {"id": SUBJECT, "name": "Ünï"}}
    assert datetime.fromisoformat(document["timestamp"]).tzinfo
    assert (got.line, got.headers["content-type"]) == ("POST /hook HTTP/1.1", "application/json")
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    with pytest.raises(WebhookVerificationError):
        Verifier(webhook.secret).verify(got.body + b" ", got.headers)
    [delivery] = await log()
    assert (delivery.status, delivery.attempts, delivery.response_status) == ("delivered", 1, 204)
    assert delivery.public_id == got.headers["webhook-id"]
    assert delivery.error is delivery.next_attempt_at is None
    assert delivery.finished_at
    assert await count_tasks(library) == 0


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (["*"], ["asset.created", "asset.deleted", "client.created"]),
        (["asset.*"], ["asset.created", "asset.deleted"]),
        (["asset.deleted", "client.*"], ["asset.deleted", "client.created"]),
        (["persona.*"], []),
    ],
)
async def test_a_webhook_gets_what_it_asks_for(events, told, library, subscribe, happen, log):
    await subscribe(*events)
    await happen("asset.created", "asset.deleted", "client.created")
    assert [one.type for one in await log()] == told


async def test_each_webhook_of_the_owner_s_gets_it_and_nobody_else_s(
    library, subscribe, happen, add_user, log
):
    webhooks = [await subscribe(), await subscribe("asset.*")]
    await subscribe(enabled=False)
    await happen("asset.created", owner_id=(await add_user("other@example.com")).user_id)
    assert await log() == []
    await happen("asset.created")
    assert [one.webhook_id for one in await log()] == [one.id for one in webhooks]


async def test_many_events_take_no_more_statements_than_few(library, subscribe, user, log):
    webhooks = [await subscribe(), await subscribe()]
    counts = []
    for number in (2, 60):
        seen = []
        async with library.database.write() as session:
            connection = (await session.connection()).sync_connection
            event.listen(connection, "before_cursor_execute", lambda *given, seen=seen: seen.append(given[2]))
            data = {f"{number} {n}": {"name": "a"} for n in range(number)}
            await record_all(session, "asset.created", owner_id=user.user_id, data=data)
        counts.append(len(seen))
    assert counts[0] == counts[1]
    made = await log()
    assert len({(one.webhook_id, one.data["id"]) for one in made}) == len(made) == 62 * len(webhooks)
    async with library.database.read() as session:
        tasks = dict((await session.execute(select(Task.id, Task.payload))).all())
    assert {one.task_id: {"delivery_id": one.public_id} for one in made} == tasks


async def test_a_transaction_that_is_rolled_back_tells_nobody(library, subscribe, happen, log):
    await subscribe()
    with pytest.raises(IntegrityError):
        await happen("asset.created", None)
    assert await log() == []
    assert await count_tasks(library) == 0


async def test_a_failure_is_tried_again_under_the_same_id(library, subscribe, happen, receiver, log, send):
    webhook = await subscribe()
    receiver.answers = [500, 302, b"garbage\r\n\r\n"]
    await happen("asset.created")
    errors = []
    for _ in range(4):
        assert await send() == 1
        errors += [one.error for one in await log()]
    assert errors[0] == "The receiver answered 500."
    assert errors[1] == "The receiver answered 302; redirects are not followed."
    assert errors[2].startswith("The request failed: ")
    assert errors[3] is None
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert len({got.body for got in receiver.got}) == 1
    for got in receiver.got:
        Verifier(webhook.secret).verify(got.body, got.headers)
    [delivery] = await log()
    assert (delivery.status, delivery.attempts) == ("delivered", 4)


async def test_the_waits_between_attempts_grow_until_a_day_has_passed(
    library, subscribe, happen, receiver, log, send
):
    await subscribe()
    receiver.answers = [503] * 8
    await happen("asset.created")
    for seconds in RETRY_SECONDS:
        await send()
        [delivery] = await log()
        wait = (delivery.next_attempt_at - delivery.attempted_at).total_seconds()
        assert seconds <= wait + 1 <= seconds * 1.1 + 2
        async with library.database.read() as session:
            run_at, now = (await session.execute(select(Task.run_at, now_plus()))).one()
        assert abs((run_at - now).total_seconds() - wait) < 10
    await send()
    [delivery] = await log()
    assert (delivery.status, delivery.attempts, delivery.next_attempt_at) == ("failed", 8, None)
    assert await count_tasks(library) == 0
    assert 24 * HOUR < sum(RETRY_SECONDS) < 25 * HOUR


async def test_a_receiver_that_fails_is_left_alone_for_a_while(
    library, subscribe, happen, receiver, log, read_webhook, change
):
    webhook = await subscribe()
    receiver.answers = [500]
    await happen("asset.created")
    await drain(library)
    assert (await read_webhook(webhook)).paused_until
    await change(update(Webhook).values(paused_until=now_plus(60)))
    await happen("asset.updated")
    await drain(library)
    assert len(receiver.got) == 1
    assert [one.attempts for one in await log()] == [1, 0]
    assert (await read_webhook(webhook)).failures == 1


async def test_success_forgets_earlier_failures(library, subscribe, happen, receiver, send, read_webhook):
    webhook = await subscribe()
    receiver.answers = [500]
    await happen("asset.created")
    await send()
    assert (await read_webhook(webhook)).failing_since
    await send()
    found = await read_webhook(webhook)
    assert (found.failures, found.failing_since, found.paused_until) == (0, None, None)


async def test_a_webhook_that_takes_nothing_for_three_days_is_switched_off(
    library, subscribe, happen, receiver, change, log, send, read_webhook
):
    library.settings = library.settings.model_copy(update={"task_concurrency": 1})
    webhook = await subscribe()
    receiver.answers = [500] * 10
    await happen("asset.created", "asset.updated")
    await send()
    assert (await read_webhook(webhook)).enabled
    await change(update(Webhook).values(failing_since=now_plus(-SWITCH_OFF_SECONDS - 1)))
    await send()
    found = await read_webhook(webhook)
    assert not found.enabled
    assert found.note.startswith("Switched off because everything that was sent in three days has failed.")
    await send()
    assert {one.status for one in await log()} == {"failed"}
    assert "The webhook is switched off." in {one.error for one in await log()}
    await happen("asset.created")
    assert len(await log()) == 2


async def test_a_receiver_that_is_gone_is_asked_no_more(
    library, subscribe, happen, receiver, log, read_webhook
):
    webhook = await subscribe()
    receiver.answers = [410]
    await happen("asset.created")
    await drain(library)
    found = await read_webhook(webhook)
    assert (found.enabled, found.note) == (False, "Switched off because the receiver answered 410 Gone.")
    assert [one.status for one in await log()] == ["failed"]


async def test_nothing_is_sent_for_somebody_who_is_disabled(
    library, subscribe, happen, receiver, change, log, user
):
    await subscribe()
    await happen("asset.created")
    await change(update(User).where(User.id == user.user_id).values(disabled_at=now_plus()))
    await drain(library)
    assert receiver.got == []
    assert [(one.status, one.error) for one in await log()] == [("failed", "The account is disabled.")]


async def test_a_delivery_is_sent_again_when_its_owner_asks(library, subscribe, happen, receiver, log, user):
    webhook = await subscribe()
    await happen("asset.created")
    await drain(library)
    [delivery] = await log()

    async def redeliver():
        async with library.database.write() as session:
            return await deliveries.redeliver(session, user, webhook.public_id, delivery.public_id)

    asked = await redeliver()
    assert (asked.status, asked.attempts, asked.finished_at) == ("pending", 0, None)
    await redeliver()  # which wakes what waits
    assert await drain(library) == 1
    assert len(receiver.got) == 2
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert [(one.status, one.attempts) for one in await log()] == [("delivered", 1)]


async def test_one_that_waits_for_hours_is_sent_at_once_when_its_owner_asks(
    library, subscribe, happen, receiver, log, user, send
):
    webhook = await subscribe()
    receiver.answers = [500, 500]
    await happen("asset.created")
    await send()
    await send()
    [delivery] = await log()
    async with library.database.write() as session:
        await deliveries.redeliver(session, user, webhook.public_id, delivery.public_id)
    await drain(library)
    assert [(one.status, one.attempts) for one in await log()] == [("delivered", 3)]


async def test_two_workers_send_each_delivery_once(
    library, another_library, subscribe, happen, receiver, log
):
    await subscribe()
    for _ in range(10):
        await happen("asset.created", "asset.updated")
    await asyncio.gather(drain(library), drain(another_library))
    async with Worker(library), asyncio.timeout(20):
        while {one.status for one in await log()} != {"delivered"}:  # noqa: ASYNC110 the database tells nobody
            await asyncio.sleep(0.05)
    sent = [got.headers["webhook-id"] for got in receiver.got]
    assert len(sent) == len(set(sent)) == 20


async def test_a_worker_that_is_killed_after_it_sent_sends_again_under_the_same_id(
    library, subscribe, happen, receiver, log, monkeypatch, change
):
    await subscribe()
    await happen("asset.created")
    async with library.database.write() as session:
        [claimed] = await leases.claim(session, registered_tasks(), limit=1)
    note = deliveries.note

    async def die(*_):
        raise ZeroDivisionError  # as far as the database can tell, this is where it was killed

    monkeypatch.setattr(deliveries, "note", die)
    with pytest.raises(ZeroDivisionError):
        await deliver(library, claimed)
    monkeypatch.setattr(deliveries, "note", note)
    await change(update(Task).values(leased_until=now_plus(-1)))
    await drain(library)
    assert len(receiver.got) == 2
    assert len({(got.headers["webhook-id"], got.body) for got in receiver.got}) == 1
    assert [(one.status, one.attempts) for one in await log()] == [("delivered", 1)]


async def test_a_task_that_was_left_behind_sends_nothing(library, subscribe, happen, receiver, change):
    await subscribe()
    await happen("asset.created")
    await change(update(Delivery).values(task_id=12345))
    assert await drain(library) == 1
    assert receiver.got == []


async def test_what_a_deleted_webhook_leaves_is_neither_sent_nor_kept(
    library, subscribe, happen, receiver, log, user
):
    webhook = await subscribe()
    kept = await subscribe("client.created")
    await happen("asset.created", "client.created")
    async with library.database.write() as session:
        await service.remove(session, user, webhook.public_id)
    await drain(library)
    assert [one.webhook_id for one in await log()] == [kept.id]
    assert len(receiver.got) == 1


async def test_deliveries_are_purged_after_thirty_days(library, subscribe, happen, change, log):
    await subscribe()
    await happen("asset.created", "asset.updated", "asset.deleted")
    first, second, _ = await log()
    for delivery, days in ((first, 31), (second, 29)):
        older = update(Delivery).where(Delivery.id == delivery.id)
        await change(older.values(created_at=now_plus(-days * 24 * HOUR)))
    await purge(library, None)
    assert [one.type for one in await log()] == ["asset.updated", "asset.deleted"]


async def test_the_number_of_webhooks_is_bounded_whoever_asks_at_the_same_time(
    library, another_library, user
):
    async def add(of):
        given = {"url": "https://receiver.example", "events": ["*"], "description": "", "enabled": True}
        async with of.database.write() as session:
            await service.create(session, user, of.settings, **given)

    every = [add(of) for of in (library, another_library) for _ in range(service.MAX_WEBHOOKS)]
    refused = [one for one in await asyncio.gather(*every, return_exceptions=True) if one]
    assert {str(one) for one in refused} == {service.TOO_MANY}
    assert len(refused) == service.MAX_WEBHOOKS


def test_a_body_is_plain_json():
    created = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
    delivery = Delivery(type="asset.created", created_at=created, data={"id": "a"})
    assert json.loads(deliveries._body(delivery)) == {
        "type": "asset.created",
        "timestamp": "2026-01-02T03:04:05.678Z",
        "data": {"id": "a"},
    }
