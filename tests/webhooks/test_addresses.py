"""Deliveries to addresses that are no webhooks, such as a job's."""

import json

import pytest
from sqlalchemy import delete, update

from mediakeep.accounts.models import User
from mediakeep.db import now_plus
from mediakeep.events import record
from mediakeep.jobs.models import Job
from mediakeep.tasks.worker import drain
from mediakeep.webhooks.deliveries import RETRY_SECONDS, deliver_once, list_own
from mediakeep.webhooks.models import Delivery
from mediakeep.webhooks.tasks import purge
from tests.webhooks.conftest import SUBJECT


@pytest.fixture
def deliver(library, user, receiver):
    async def deliver(type_="job.completed", url=""):
        async with library.database.write() as session:
            given = {"url": url or receiver.url, "type_": type_, "data": {"id": SUBJECT}}
            return await deliver_once(session, owner_id=user.user_id, **given)

    return deliver


@pytest.fixture
def add_job(library, user):
    """Makes a job of the user's that tells this address."""

    async def add(url):
        given = {"public_id": SUBJECT, "owner_id": user.user_id, "callback_token": "a"}
        given |= {
            "provider": "echo",
            "model_id": "a/b",
            "model": "a/b",
            "prompt": "",
            "input": {},
            "sources": {},
        }
        async with library.database.write() as session:
            session.add(Job(**given, webhook_url=url))

    return add


@pytest.fixture
def happen_to_job(library, user):
    async def happen(*kinds):
        async with library.database.write() as session:
            for kind in kinds:
                data = {"status": "processing"}
                await record(session, kind, owner_id=user.user_id, subject=SUBJECT, data=data)

    return happen


async def test_it_arrives_once_and_is_in_its_owner_s_log(library, deliver, receiver, log, user, add_user):
    public_id = await deliver()
    await drain(library)
    [got] = receiver.got
    document = json.loads(got.body)
    assert document == {**document, "type": "job.completed", "data": {"id": SUBJECT}}
    assert got.headers["webhook-id"] == public_id
    [delivery] = await log()
    assert (delivery.status, delivery.attempts, delivery.url) == ("delivered", 1, receiver.url)
    async with library.database.read() as session:
        mine = await list_own(session, user, limit=10, offset=0)
        other = await add_user("other@example.com")
        assert ([one.public_id for one in mine[0]], mine[1]) == ([public_id], 1)
        assert await list_own(session, other, limit=10, offset=0) == ([], 0)


async def test_it_is_not_sent_when_its_transaction_is_rolled_back(library, user, receiver, log):
    async def fail():
        async with library.database.write() as session:
            given = {"url": receiver.url, "type_": "job.completed", "data": {"id": SUBJECT}}
            await deliver_once(session, owner_id=user.user_id, **given)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    await drain(library)
    assert await log() == receiver.got == []


async def test_it_is_tried_again_like_all_others(library, deliver, receiver, log, send):
    receiver.answers = [503] * 8
    await deliver()
    for seconds in RETRY_SECONDS:
        await send()
        [delivery] = await log()
        wait = (delivery.next_attempt_at - delivery.attempted_at).total_seconds()
        assert seconds <= wait + 1 <= seconds * 1.1 + 2
    await send()
    [delivery] = await log()
    assert (delivery.status, delivery.attempts) == ("failed", 8)
    assert len({(got.headers["webhook-id"], got.body) for got in receiver.got}) == 1


async def test_a_receiver_that_is_gone_is_not_tried_again(library, deliver, receiver, log):
    receiver.answers = [410]
    await deliver()
    await drain(library)
    assert [(one.status, one.attempts) for one in await log()] == [("failed", 1)]


async def test_an_address_that_has_just_failed_is_left_alone(library, deliver, receiver, log, change):
    receiver.answers = [500]
    await deliver()
    await drain(library)
    await deliver()
    await deliver(url=f"{receiver.url}/other")
    await drain(library)
    assert [one.attempts for one in await log()] == [1, 0, 1]
    await change(update(Delivery).where(Delivery.attempts > 0).values(attempted_at=now_plus(-31)))
    await deliver()
    await drain(library)
    assert [one.attempts for one in await log()] == [1, 0, 1, 1]


async def test_nothing_is_sent_for_somebody_who_is_disabled(library, deliver, receiver, log, change, user):
    await deliver()
    await change(update(User).where(User.id == user.user_id).values(disabled_at=now_plus()))
    await drain(library)
    assert receiver.got == []
    assert [(one.status, one.error) for one in await log()] == [("failed", "The account is disabled.")]


async def test_private_addresses_are_refused_unless_a_setting_allows_them(library, deliver, receiver, log):
    library.settings = library.settings.model_copy(update={"webhooks_allow_private": False})
    await deliver()
    await drain(library)
    assert receiver.got == []
    [delivery] = await log()
    assert delivery.error == "The URL's host is not at a public address."


async def test_what_a_user_leaves_is_neither_sent_nor_kept(library, deliver, receiver, log, change, user):
    await deliver()
    await change(delete(User).where(User.id == user.user_id))
    await drain(library)
    await purge(library, None)
    assert await log() == receiver.got == []


async def test_what_happens_to_a_job_is_told_to_its_address(
    library, add_job, happen_to_job, happen, subscribe, receiver, log
):
    webhook = await subscribe("job.completed")
    await add_job(f"{receiver.url}/job")
    await happen_to_job("job.created", "job.updated", "job.completed")
    await happen("asset.created")  # whose subject is the same
    assert [(one.type, one.webhook_id) for one in await log()] == [
        ("job.completed", webhook.id),
        ("job.created", None),
        ("job.updated", None),
        ("job.completed", None),
    ]
    await drain(library)
    told = [json.loads(got.body) for got in receiver.got if got.line.startswith("POST /hook/job ")]
    assert {one["type"] for one in told} == {"job.created", "job.updated", "job.completed"}
    assert all(one["data"] == {"id": SUBJECT, "status": "processing"} for one in told)


async def test_a_job_without_address_tells_nobody(add_job, happen_to_job, log):
    await add_job(None)
    await happen_to_job("job.created")
    assert await log() == []
