import asyncio
import logging
import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update

from mediakeep.accounts import passwords, service
from mediakeep.accounts.actor import Actor
from mediakeep.accounts.models import ApiKey, SignIn, User
from mediakeep.accounts.secrets import setup_code
from mediakeep.db import now_plus
from mediakeep.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, PermissionDenied


@pytest.fixture
def register(database, settings, secret):
    async def register(email, *, on=database, **changes):
        wanted = settings.model_copy(update={"registration": changes.pop("registration", "closed")})
        wanted = wanted.model_copy(update={"base_url": changes.pop("base_url", "")})
        password_hash = await passwords.hash_password("correct horse")
        async with on.write() as session:
            return await service.register(
                session, wanted, email=email, password_hash=password_hash, secret=secret, **changes
            )

    return register


@pytest.fixture
def sign_in(database, settings, secret):
    async def sign_in(credentials):
        async with database.write() as session:
            return await service.sign_in(session, settings, credentials, secret=secret, user_agent="test")

    return sign_in


@pytest.fixture
def refresh(database, settings, secret):
    async def refresh(token):
        async with database.write() as session:
            return await service.refresh(session, settings, token, secret=secret)

    return refresh


@pytest.fixture
def actor_of(database, secret):
    async def actor_of(token, type_="access"):
        return await service.find_actor_by_token(database, token, secret=secret, type_=type_)

    return actor_of


@pytest.fixture
def holder_of(database):
    async def holder_of(key):
        return await service.find_actor_by_api_key(database, key)

    return holder_of


@pytest.fixture
def create_key(database):
    async def create_key(owner, *, scopes=("read", "write"), **options):
        async with database.write() as session:
            return await service.create_api_key(
                session, owner.user_id, name="test", scopes=frozenset(scopes), **options
            )

    return create_key


# Registration


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


# Sign-ins


async def test_a_sign_in_gives_an_access_token_and_a_cookie_that_stand_for_the_user(sign_in, actor_of, user):
    tokens = await sign_in(user)
    actor = await actor_of(tokens.access_token)
    assert (actor.user_id, actor.email, actor.is_admin) == (user.user_id, "user@example.com", False)
    assert actor.scopes == {"read", "write"}
    assert await actor_of(tokens.session_token, "session") == actor
    assert await actor_of(tokens.session_token) is None
    assert await actor_of(tokens.access_token, "session") is None
    assert tokens.expires_in_seconds == 3600


async def test_an_admins_token_has_the_scope_admin(sign_in, actor_of, admin):
    actor = await actor_of((await sign_in(admin)).access_token)
    assert actor.is_admin
    assert "admin" in actor.scopes


async def test_tokens_do_not_show_in_what_is_logged(sign_in, user):
    tokens = await sign_in(user)
    shown = repr(tokens) + repr(user)
    for hidden in (tokens.access_token, tokens.refresh_token, tokens.session_token, user.password_hash):
        assert hidden not in shown


async def test_only_hashes_of_refresh_tokens_are_kept(sign_in, user, database):
    tokens = await sign_in(user)
    async with database.read() as session:
        row = (await session.execute(select(SignIn.__table__))).one()
    for part in tokens.refresh_token.split("."):
        assert part not in str(row)


async def test_a_refresh_token_is_exchanged_for_the_next(sign_in, refresh, actor_of, user):
    first = await sign_in(user)
    second = await refresh(first.refresh_token)
    third = await refresh(second.refresh_token)
    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    assert (await actor_of(third.access_token)).user_id == user.user_id
    assert first.session_seconds - 60 < third.session_seconds <= first.session_seconds


@pytest.mark.parametrize("reused", [0, 1])
async def test_reusing_a_refresh_token_however_old_ends_the_sign_in(sign_in, refresh, actor_of, user, reused):
    used = [await sign_in(user)]
    for _ in range(2):
        used.append(await refresh(used[-1].refresh_token))
    newest = used[-1]
    assert await refresh(used[reused].refresh_token) is None
    assert await refresh(newest.refresh_token) is None
    assert await actor_of(newest.access_token) is None


async def test_reuse_leaves_other_sign_ins_alone(sign_in, refresh, actor_of, user):
    stolen, other = await sign_in(user), await sign_in(user)
    await refresh(stolen.refresh_token)
    await refresh(stolen.refresh_token)
    assert await actor_of(other.access_token) is not None
    assert await refresh(other.refresh_token) is not None


async def test_one_of_many_exchanges_at_once_succeeds_and_the_sign_in_ends(sign_in, refresh, actor_of, user):
    for _ in range(3):
        first = await sign_in(user)
        outcomes = await asyncio.gather(*(refresh(first.refresh_token) for _ in range(6)))
        assert sum(outcome is not None for outcome in outcomes) == 1
        assert await actor_of(first.access_token) is None


@pytest.mark.parametrize("token", ["", "nonsense", ".", "a.b"])
async def test_invented_refresh_tokens_are_worth_nothing(refresh, user, token):
    assert await refresh(token) is None


async def test_an_expired_sign_in_is_worth_nothing(sign_in, refresh, actor_of, user, change):
    tokens = await sign_in(user)
    await change(update(SignIn).values(expires_at=now_plus(-1)))
    assert await refresh(tokens.refresh_token) is None
    assert await actor_of(tokens.access_token) is None


async def test_a_disabled_user_is_out_at_once(
    sign_in, refresh, actor_of, holder_of, create_key, user, database
):
    tokens = await sign_in(user)
    _, key = await create_key(user)
    async with database.write() as session:
        await service.disable_user(session, user.user_id)
    assert await refresh(tokens.refresh_token) is None
    assert await actor_of(tokens.access_token) is None
    assert await holder_of(key) is None
    with pytest.raises(NotAuthenticated):
        await sign_in(user)


async def test_an_enabled_user_logs_in_anew(sign_in, actor_of, user, database):
    tokens = await sign_in(user)
    async with database.write() as session:
        await service.disable_user(session, user.user_id)
        await service.enable_user(session, user.user_id)
    assert await actor_of(tokens.access_token) is None
    assert await actor_of((await sign_in(user)).access_token) is not None


async def test_a_new_password_ends_all_other_sign_ins(sign_in, actor_of, user, database):
    mine, other = await sign_in(user), await sign_in(user)
    keep = (await actor_of(mine.access_token)).sign_in_id
    async with database.write() as session:
        await service.set_password(session, user.user_id, password_hash="new", keep_sign_in_id=keep)
    assert await actor_of(mine.access_token) is not None
    assert await actor_of(other.access_token) is None


async def test_a_password_that_changes_while_somebody_logs_in_with_the_old_one_keeps_them_out(
    sign_in, user, database
):
    async with database.write() as session:
        await service.set_password(session, user.user_id, password_hash="new")
    with pytest.raises(NotAuthenticated, match="Incorrect email or password"):
        await sign_in(user)


async def test_sign_ins_that_ended_long_ago_are_forgotten(sign_in, user, database, change):
    for moment in (-8 * 86_400, -6 * 86_400):
        await sign_in(user)
        await change(update(SignIn).where(SignIn.revoked_at.is_(None)).values(revoked_at=now_plus(moment)))
    await sign_in(user)
    async with database.write() as session:
        await service.forget_ended_sign_ins(session)
    async with database.read() as session:
        assert len(list(await session.scalars(select(SignIn)))) == 2


async def test_a_token_of_a_lost_database_is_worth_nothing_in_the_next(sign_in, actor_of, user, change):
    token = (await sign_in(user)).access_token
    await change(update(SignIn).values(public_id="00000000-0000-4000-8000-000000000000"))
    assert await actor_of(token) is None


# API keys


async def test_a_key_stands_for_its_user_with_its_own_scopes_and_limit(create_key, holder_of, user):
    row, key = await create_key(user, scopes=["read"], uploads_per_minute=99)
    actor = (await holder_of(key)).actor
    assert (actor.user_id, actor.scopes, actor.uploads_per_minute) == (user.user_id, {"read"}, 99)
    assert (actor.api_key_id, actor.sign_in_id) == (row.id, None)
    assert re.fullmatch(r"mk_[\w-]{43}", key)
    assert key.startswith(row.prefix)
    with pytest.raises(PermissionDenied, match="may not write"):
        actor.require("write")
    with pytest.raises(PermissionDenied, match="API key may not"):
        actor.require_sign_in()


async def test_only_an_admins_key_with_that_scope_may_act_as_admin(create_key, holder_of, user, admin):
    keys = [
        (await create_key(user, scopes=["read", "admin"]))[1],
        (await create_key(admin, scopes=["read"]))[1],
        (await create_key(admin, scopes=["read", "admin"]))[1],
    ]
    assert [(await holder_of(key)).actor.is_admin for key in keys] == [False, False, True]


async def test_only_the_hash_of_a_key_is_kept(create_key, user, database):
    _, key = await create_key(user)
    async with database.read() as session:
        assert key[11:] not in str((await session.execute(select(ApiKey.__table__))).one())


async def test_an_expired_key_is_worth_nothing(create_key, holder_of, user, change):
    row, key = await create_key(user, expires_in_days=1)
    assert 86_300 < (row.expires_at - row.created_at).total_seconds() < 86_500
    assert await holder_of(key) is not None
    await change(update(ApiKey).values(expires_at=now_plus(-1)))
    assert await holder_of(key) is None


async def test_a_revoked_key_is_worth_nothing_and_gone_from_the_list(create_key, holder_of, user, database):
    row, key = await create_key(user)
    other, _ = await create_key(user)
    async with database.write() as session:
        await service.revoke_api_key(session, row.public_id, user_id=user.user_id)
    assert await holder_of(key) is None
    async with database.read() as session:
        assert [each.id for each in await service.list_api_keys(session, user.user_id)] == [other.id]


async def test_keys_of_others_are_as_if_there_were_none(create_key, holder_of, user, admin, database):
    row, key = await create_key(user)
    with pytest.raises(NotFound):
        async with database.write() as session:
            await service.revoke_api_key(session, row.public_id, user_id=admin.user_id)
    assert await holder_of(key) is not None
    async with database.read() as session:
        assert await service.list_api_keys(session, admin.user_id) == []
        assert len(await service.list_api_keys(session)) == 1


async def test_the_use_of_a_key_is_noted_once_a_minute(create_key, holder_of, user, database, change):
    row, key = await create_key(user)
    assert (await holder_of(key)).use_is_due
    await service.note_key_use(database, row.id)
    assert not (await holder_of(key)).use_is_due
    await change(update(ApiKey).values(last_used_at=now_plus(-61)))
    assert (await holder_of(key)).use_is_due


async def test_a_use_that_cannot_be_noted_is_logged_and_does_no_harm(
    create_key, user, database, monkeypatch, caplog
):
    row, _ = await create_key(user)
    monkeypatch.setattr(service, "_NOTE_SECONDS", 0.05)
    statement = update(ApiKey).values(name="busy")
    async with database.write() as session:
        await session.execute(statement)
        with caplog.at_level(logging.WARNING):
            await service.note_key_use(database, row.id)


async def test_somebodys_sign_ins_and_keys_go_with_them(sign_in, create_key, user, database, change):
    await sign_in(user)
    await create_key(user)
    async with database.write() as session:
        await session.delete(await service.get_user(session, user.user_id))
    async with database.read() as session:
        assert list(await session.scalars(select(SignIn))) == []
        assert list(await session.scalars(select(ApiKey))) == []
