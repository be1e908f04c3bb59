import asyncio
from datetime import UTC, datetime

import pytest

from mediakeep.accounts import passwords, service
from mediakeep.accounts.actor import Actor
from mediakeep.accounts.models import User
from mediakeep.accounts.secrets import setup_code
from mediakeep.errors import Conflict, InvalidInput, PermissionDenied
from tests.accounts.conftest import HERE


@pytest.fixture
def register(database, settings, secret):
    async def register(email, *, on=database, **changes):
        wanted = settings.model_copy(update={"registration": changes.pop("registration", "closed")})
        wanted = wanted.model_copy(update={"base_url": changes.pop("base_url", "")})
        given = {"caller": HERE, "from_this_machine": True} | changes
        password_hash = await passwords.hash_password("correct horse")
        async with on.write() as session:
            return await service.register(
                session, wanted, email=email, password_hash=password_hash, secret=secret, **given
            )

    return register


async def test_the_first_account_is_the_admin_and_closes_registration(register):
    first = await register("first@example.com")
    assert (first.is_admin, first.is_founder) == (True, True)
    assert abs((datetime.now(UTC) - first.created_at).total_seconds()) < 60
    with pytest.raises(PermissionDenied, match="Registration is closed"):
        await register("second@example.com")


async def test_open_registration_makes_ordinary_users(register):
    await register("first@example.com")
    second = await register("second@example.com", registration="open")
    assert (second.is_admin, second.is_founder) == (False, False)


async def test_an_admin_may_register_others_while_registration_is_closed(register):
    first = await register("first@example.com")

    def caller(*, is_admin):
        return Actor(user_id=first.id, email=first.email, is_admin=is_admin, scopes=frozenset())

    assert not (await register("second@example.com", caller=caller(is_admin=True))).is_admin
    with pytest.raises(PermissionDenied):
        await register("third@example.com", caller=caller(is_admin=False))


@pytest.mark.parametrize("wrong", [None, "", "AAAAA-AAAAA"])
async def test_a_public_server_wants_the_set_up_code_for_its_first_account(register, secret, wrong):
    with pytest.raises(PermissionDenied, match="set-up code"):
        await register("first@example.com", base_url="https://media.example.com", setup_code=wrong)
    code = setup_code(secret).lower()
    assert (
        await register("first@example.com", base_url="https://media.example.com", setup_code=code)
    ).is_admin


async def test_the_set_up_code_opens_nothing_once_there_is_an_account(register, secret):
    await register("first@example.com")
    with pytest.raises(PermissionDenied, match="closed"):
        await register("second@example.com", setup_code=setup_code(secret))


async def test_of_two_first_registrations_at_once_one_is_admin_and_one_refused(
    register, database, another_database, monkeypatch
):
    both_looked = asyncio.Barrier(2)
    look = service.has_users

    async def look_together(session):
        found = await look(session)
        if not database.is_sqlite and not found:  # SQLite's one writer lets nobody look at the same time
            async with asyncio.timeout(5):
                await both_looked.wait()
        return found

    monkeypatch.setattr(service, "has_users", look_together)
    outcomes = await asyncio.gather(
        register("one@example.com"),
        register("two@example.com", on=another_database),
        return_exceptions=True,
    )
    [refused] = [outcome for outcome in outcomes if isinstance(outcome, PermissionDenied)]
    [founder] = [outcome for outcome in outcomes if isinstance(outcome, User)]
    assert founder.is_admin
    assert "closed" in str(refused)


async def test_of_two_first_registrations_at_once_the_second_is_a_user_where_registration_is_open(
    register, another_database
):
    users = await asyncio.gather(
        register("one@example.com", registration="open"),
        register("two@example.com", registration="open", on=another_database),
    )
    assert sorted(user.is_admin for user in users) == [False, True]


@pytest.mark.parametrize("again", ["First@Example.COM", "first@example.com ", "FIRST@EXAMPLE.COM"])
async def test_an_address_is_taken_however_it_is_written(register, again):
    await register("First@example.com")
    with pytest.raises(Conflict, match="already"):
        await register(again, registration="open")


async def test_the_address_is_kept_as_given(register):
    assert (await register(" Jane.Doe@Example.com")).email == "Jane.Doe@Example.com"


@pytest.mark.parametrize(
    "email", ["admin@example.com", "me@localhost", "me@nas.local", "x@host", "x@b.test", "jo@jörg.de"]
)
async def test_addresses_of_private_networks_and_examples_are_accepted(register, email):
    assert (await register(email)).email == email


@pytest.mark.parametrize(
    "email", ["", "admin", "a@b@c.de", "a b@c.de", "a\x00@b.de", "@b.de", f"{'x' * 300}@b.de"]
)
async def test_what_is_no_address_is_refused_with_its_field(register, email):
    with pytest.raises(InvalidInput) as refusal:
        await register(email)
    assert refusal.value.members["errors"][0]["field"] == "email"
