"""Secrets: what signs, and what goes on signing after they were exchanged."""

import asyncio

import pytest
from sqlalchemy import delete, select, update
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from mediakeep.accounts.models import User
from mediakeep.db import now_plus
from mediakeep.tasks.worker import drain
from mediakeep.webhooks import service, signing
from mediakeep.webhooks.deliveries import deliver_once
from mediakeep.webhooks.models import SigningSecret, Webhook
from mediakeep.webhooks.signing import OVERLAP_SECONDS
from tests.webhooks.conftest import SUBJECT


@pytest.fixture
def rotate(library, user):
    async def rotate(webhook):
        async with library.database.write() as session:
            return await service.rotate_secret(session, user, webhook.public_id)

    return rotate


@pytest.fixture
def exchange_own(library, user):
    async def exchange():
        async with library.database.write() as session:
            return await signing.exchange_own(session, user.user_id)

    return exchange


def verify(got, *secrets):
    """Whether each of the secrets has signed it."""

    def fits(secret):
        try:
            return bool(Verifier(secret).verify(got.body, got.headers))
        except WebhookVerificationError:
            return False

    return [fits(secret) for secret in secrets]


async def test_for_a_day_both_secrets_sign(library, subscribe, happen, receiver, rotate, change):
    webhook = await subscribe()
    old = webhook.secret
    rotated = await rotate(webhook)
    assert rotated.secret != old
    await happen("asset.created")
    await drain(library)
    assert verify(receiver.got[0], rotated.secret, old) == [True, True]
    assert receiver.got[0].headers["webhook-signature"].count("v1,") == 2
    left = (rotated.previous_until - rotated.updated_at).total_seconds()
    assert left == pytest.approx(OVERLAP_SECONDS, abs=60)
    await change(update(Webhook).values(previous_until=now_plus(-1)))
    await happen("asset.created")
    await drain(library)
    assert verify(receiver.got[1], rotated.secret, old) == [True, False]
    assert receiver.got[1].headers["webhook-signature"].count("v1,") == 1


async def test_of_three_secrets_the_last_two_sign(library, subscribe, happen, receiver, rotate):
    webhook = await subscribe()
    first, second, third = webhook.secret, (await rotate(webhook)).secret, (await rotate(webhook)).secret
    await happen("asset.created")
    await drain(library)
    assert verify(receiver.got[0], first, second, third) == [False, True, True]


async def test_what_waits_is_signed_with_the_secrets_of_when_it_is_sent(
    library, subscribe, happen, receiver, rotate, send
):
    webhook = await subscribe()
    receiver.answers = [500]
    await happen("asset.created")
    await send()
    new = (await rotate(webhook)).secret
    await send()
    assert [verify(got, webhook.secret, new) for got in receiver.got] == [[True, False], [True, True]]


async def test_a_user_has_one_secret_of_their_own(library, another_library, user):
    async def ask(of):
        async with of.database.write() as session:
            return (await signing.get_own(session, user.user_id)).secret

    secrets = await asyncio.gather(*(ask(of) for of in (library, another_library) for _ in range(5)))
    assert len(set(secrets)) == 1
    assert secrets[0].startswith("whsec_")


async def test_the_own_secret_signs_what_goes_to_other_addresses_and_can_be_exchanged(
    library, user, receiver, exchange_own, change
):
    async def deliver():
        async with library.database.write() as session:
            given = {"url": receiver.url, "type_": "job.completed", "data": {"id": SUBJECT}}
            await deliver_once(session, owner_id=user.user_id, **given)
            own = await session.scalar(select(SigningSecret))
        await drain(library)
        return own.secret

    first = await deliver()
    second = (await exchange_own()).secret
    await deliver()
    await change(update(SigningSecret).values(previous_until=now_plus(-1)))
    assert await deliver() == second
    assert [verify(got, first, second) for got in receiver.got] == [
        [True, False],
        [True, True],
        [False, True],
    ]


async def test_the_own_secret_goes_with_its_user(library, user, exchange_own, change):
    await exchange_own()
    await change(delete(User).where(User.id == user.user_id))
    async with library.database.read() as session:
        assert await session.scalar(select(SigningSecret)) is None
