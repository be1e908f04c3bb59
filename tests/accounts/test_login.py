import asyncio

import pytest
from argon2 import PasswordHasher
from sqlalchemy import delete, update

from mediakeep.accounts import login, passwords
from mediakeep.accounts.actor import Stranger
from mediakeep.accounts.login import network_of, prove_password
from mediakeep.accounts.models import RateHit, User
from mediakeep.db import now_plus
from mediakeep.errors import NotAuthenticated, RateLimited, Unavailable


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"logins_per_minute": 3})


@pytest.fixture
def log_in(database, settings, user):
    async def log_in(password="wrong horse", *, email="user@example.com", address="192.0.2.1", on=database):
        return await prove_password(
            on, settings, email=email, password=password, caller=Stranger(address=address)
        )

    return log_in


@pytest.fixture(autouse=True)
def waited(monkeypatch):
    """The delays that logins were given, without waiting for them."""
    waited = []
    sleep = asyncio.sleep

    async def note(seconds):
        waited.append(seconds)
        await sleep(0)

    monkeypatch.setattr(login.asyncio, "sleep", note)
    return waited


async def test_the_right_password_proves_the_account(log_in, user):
    assert await log_in("correct horse") == user
    assert await log_in("correct horse", email=" USER@example.com") == user


async def test_a_wrong_password_an_unknown_account_and_a_disabled_one_answer_alike(log_in, user, change):
    answers = []
    for attempt in ({}, {"email": "nobody@example.com"}, {"email": "not an address"}):
        with pytest.raises(NotAuthenticated) as refusal:
            await log_in(**attempt)
        answers.append(str(refusal.value))
    await change(update(User).where(User.id == user.user_id).values(disabled_at=now_plus()))
    with pytest.raises(NotAuthenticated) as refusal:
        await log_in("correct horse")
    assert {*answers, str(refusal.value)} == {"Incorrect email or password"}


async def test_failed_logins_are_limited_and_then_the_right_password_waits_too(log_in):
    for _ in range(3):
        with pytest.raises(NotAuthenticated):
            await log_in()
    with pytest.raises(RateLimited) as refusal:
        await log_in("correct horse")
    assert 0 < int(refusal.value.headers["Retry-After"]) <= 60
    assert refusal.value.headers["RateLimit-Limit"] == "3"


async def test_the_limit_holds_for_unknown_accounts_too(log_in):
    for _ in range(3):
        with pytest.raises(NotAuthenticated):
            await log_in(email="nobody@example.com")
    with pytest.raises(RateLimited):
        await log_in(email="Nobody@Example.com")


async def test_successful_logins_are_not_counted(log_in):
    for _ in range(5):
        await log_in("correct horse")


async def test_the_limit_is_for_one_account_at_one_address(log_in):
    for _ in range(3):
        with pytest.raises(NotAuthenticated):
            await log_in()
    await log_in("correct horse", address="192.0.2.2")
    await log_in("correct horse", email="admin@example.com")


async def test_many_guesses_at_once_are_as_limited_as_one_after_the_other(log_in, another_database, database):
    outcomes = await asyncio.gather(
        *(log_in(on=on) for _ in range(6) for on in (database, another_database)), return_exceptions=True
    )
    assert sum(isinstance(outcome, NotAuthenticated) for outcome in outcomes) == 3
    assert sum(isinstance(outcome, RateLimited) for outcome in outcomes) == 9


async def test_after_a_minute_there_is_room_again(log_in, change):
    for _ in range(3):
        with pytest.raises(NotAuthenticated):
            await log_in()
    await change(update(RateHit).values(at=now_plus(-61)))
    await log_in("correct horse")


async def test_an_account_that_is_guessed_at_from_many_addresses_answers_ever_more_slowly(log_in, waited):
    for number in range(6):
        with pytest.raises(NotAuthenticated):
            await log_in(address=f"192.0.2.{number}")
    assert waited == pytest.approx([0, 0, 0, 0.1, 0.2, 0.3])


async def test_one_network_may_not_guess_at_many_accounts(log_in, monkeypatch):
    monkeypatch.setattr(login, "_MAX_FROM_NETWORK", 4)
    for number in range(4):
        with pytest.raises(NotAuthenticated):
            await log_in(email=f"{number}@example.com", address=f"2001:db8::{number}")
    with pytest.raises(RateLimited):
        await log_in("correct horse", address="2001:db8::5")
    await log_in("correct horse", address="2001:db8:0:1::5")


async def test_logins_that_the_network_is_refused_do_not_count_for_the_account(log_in, monkeypatch, change):
    monkeypatch.setattr(login, "_MAX_FROM_NETWORK", 3)
    for number in range(3):
        with pytest.raises(NotAuthenticated):
            await log_in(email=f"{number}@example.com")
    for _ in range(5):
        with pytest.raises(RateLimited):
            await log_in()
    await change(delete(RateHit).where(RateHit.bucket.startswith("login.network:")))
    await log_in("correct horse")


async def test_logins_that_succeed_leave_their_network_its_room(log_in, monkeypatch):
    monkeypatch.setattr(login, "_MAX_FROM_NETWORK", 3)
    for _ in range(5):
        await log_in("correct horse")


async def test_an_account_that_everybody_guesses_at_stays_open_to_its_owner(log_in, monkeypatch):
    monkeypatch.setattr(login, "_MAX_COUNTED", 4)
    for number in range(6):
        with pytest.raises(NotAuthenticated):
            await log_in(address=f"192.0.2.{number}")
    await log_in("correct horse", address="192.0.2.100")


async def test_an_attempt_that_nobody_had_time_for_is_not_counted(log_in, monkeypatch):
    with monkeypatch.context() as busy:
        busy.setattr(passwords, "_MAX_WAITING", -2)
        for _ in range(5):
            with pytest.raises(Unavailable):
                await log_in("correct horse")
    await log_in("correct horse")


async def test_a_limit_of_zero_is_none(database, settings, user):
    settings = settings.model_copy(update={"logins_per_minute": 0})
    for _ in range(5):
        with pytest.raises(NotAuthenticated):
            await prove_password(
                database,
                settings,
                email="user@example.com",
                password="wrong horse",
                caller=Stranger(address="192.0.2.1"),
            )


async def test_a_hash_with_old_parameters_is_renewed_at_login(log_in, user, monkeypatch):
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    renewed = await log_in("correct horse")
    assert renewed.password_hash != user.password_hash
    assert await log_in("correct horse") == renewed


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_an_ipv6_client_counts_as_its_network(address, network):
    assert network_of(address) == network
