"""The log of what matters to the security of accounts."""

import pytest
from sqlalchemy import select, update

from mediakeep.accounts import audit, login, service, sign_ins
from mediakeep.accounts import keys as api_keys
from mediakeep.accounts.actor import SHELL, Stranger
from mediakeep.accounts.login import prove_password
from mediakeep.accounts.models import AuditEntry, User
from mediakeep.db import now_plus
from mediakeep.errors import NotAuthenticated, RateLimited


@pytest.fixture
def fail(database, settings):
    """Logs in with a password that is wrong."""

    async def fail(email, *, address="192.0.2.1", password="wrong horse"):
        with pytest.raises((NotAuthenticated, RateLimited)):
            await prove_password(
                database, settings, email=email, password=password, caller=Stranger(address=address)
            )

    return fail


async def test_a_failed_login_names_the_account_if_there_is_one(fail, user, audited, change):
    await change(update(User).where(User.id == user.user_id).values(disabled_at=now_plus()))
    for email in ("USER@example.com", "admin@example.com", "nobody@example.com", "not an address", "\x00"):
        await fail(email)
    failures = await audited("login.failed")
    assert [one.user_id for one in failures] == [user.user_id, 1, None, None, None]
    assert {(one.actor_id, one.address, one.subject) for one in failures} == {(None, "192.0.2.1", None)}


async def test_nothing_that_was_typed_is_in_the_log(fail, user, database):
    """People type their password where the address belongs."""
    await fail("hunter2-is-secret", password="and-so-is-this")
    await fail("hunter2@example.com", password="and-so-is-this")
    async with database.read() as session:
        rows = str((await session.execute(select(AuditEntry.__table__))).all())
    assert "hunter2" not in rows
    assert "and-so" not in rows


async def test_a_failed_login_is_noted_though_the_request_fails(fail, user, audited):
    await fail("user@example.com")
    assert len(await audited("login.failed")) == 1


async def test_guessing_cannot_fill_the_log(fail, user, audited, monkeypatch):
    monkeypatch.setattr(login, "_MAX_NOTED", 3)
    for number in range(5):
        await fail(f"guess{number}@example.com")
    await fail("user@example.com", address="192.0.2.99")
    assert len(await audited("login.failed")) == 4


async def test_a_login_is_noted_with_its_sign_in(sign_in, actor_of, user, audited):
    await sign_in(user)
    [entry] = await audited("login.succeeded")
    assert (entry.user_id, entry.address) == (user.user_id, "192.0.2.1")
    assert entry.subject is not None


async def test_a_reused_refresh_token_is_noted(sign_in, refresh, user, audited):
    first = await sign_in(user)
    await refresh(first.refresh_token)
    await refresh(first.refresh_token)
    [login_entry] = await audited("login.succeeded")
    [entry] = await audited("refresh.reused")
    assert (entry.user_id, entry.subject) == (user.user_id, login_entry.subject)
    for token in first.refresh_token.split("."):
        assert token not in str(entry.details)


async def test_an_act_names_who_did_it_by_which_sign_in_or_key(
    sign_in, actor_of, create_key, holder_of, user, audited, database
):
    tokens = await sign_in(user)
    row, text = await create_key(user)
    by_sign_in = await actor_of(tokens.access_token)
    by_key = (await holder_of(text)).actor
    async with database.write() as session:
        await api_keys.revoke_api_key(session, by_key, row.public_id)
        await sign_ins.log_out(session, by_sign_in)
    [created] = await audited("key.created")
    assert (created.actor_id, created.address, created.details) == (
        None,
        "shell",
        {"scopes": ["read", "write"]},
    )
    [revoked] = await audited("key.revoked")
    assert (revoked.actor_id, revoked.api_key_id, revoked.sign_in_id) == (user.user_id, row.public_id, None)
    [login_entry] = await audited("login.succeeded")
    [ended] = await audited("session.ended")
    assert (ended.actor_id, ended.sign_in_id) == (user.user_id, login_entry.subject)
    assert ended.subject == login_entry.subject


async def test_what_is_rolled_back_did_not_happen(user, database, audited):
    async def disable_and_fail():
        async with database.write() as session:
            await service.disable_user(session, SHELL, user.user_id)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await disable_and_fail()
    assert await audited("user.disabled") == []


async def test_each_act_upon_an_account_is_noted_once(user, database, audited):
    verbs = [
        service.promote_user,
        service.demote_user,
        service.disable_user,
        service.enable_user,
        service.remove_user,
    ]
    async with database.write() as session:
        for verb in verbs:
            await verb(session, SHELL, user.user_id)
            if verb is not service.remove_user:
                await verb(session, SHELL, user.user_id)  # changes nothing
    noted = [one.action for one in await audited() if one.user_id == user.user_id]
    assert noted == [
        "user.registered",
        "user.promoted",
        "user.demoted",
        "user.disabled",
        "user.enabled",
        "user.deleted",
    ]


async def test_an_address_is_cut_and_has_no_control_characters(user, database, audited):
    async with database.write() as session:
        odd = Stranger(address="\x1b[31m" + "x" * 100)
        await audit.record(session, odd, "login.failed", user_id=None)
    [entry] = await audited("login.failed")
    assert entry.address == ("[31m" + "x" * 100)[:64]


async def test_entries_are_found_by_action_and_by_who_did_it_or_had_it_done(
    user, admin, database, actor_of, sign_in
):
    actor = await actor_of((await sign_in(admin)).access_token)
    async with database.write() as session:
        await service.promote_user(session, actor, user.user_id)

    async def found(**narrowed):
        async with database.read() as session:
            entries, total = await audit.list_page(session, limit=2, **narrowed)
        return [one.action for one in entries], total

    assert await found(user_id=user.user_id) == (["user.promoted", "user.registered"], 2)
    assert await found(user_id=admin.user_id) == (["user.promoted", "login.succeeded"], 3)
    assert await found(action="user.promoted", user_id=admin.user_id) == (["user.promoted"], 1)
    assert await found(action="user.demoted") == ([], 0)
