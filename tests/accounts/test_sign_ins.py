import asyncio

import pytest
from sqlalchemy import select, update

from mediakeep.accounts import service, sign_ins
from mediakeep.accounts.actor import SHELL
from mediakeep.accounts.models import SignIn
from mediakeep.db import now_plus
from mediakeep.errors import NotAuthenticated


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
        await service.disable_user(session, SHELL, user.user_id)
    assert await refresh(tokens.refresh_token) is None
    assert await actor_of(tokens.access_token) is None
    assert await holder_of(key) is None
    with pytest.raises(NotAuthenticated):
        await sign_in(user)


async def test_an_enabled_user_logs_in_anew(sign_in, actor_of, user, database):
    tokens = await sign_in(user)
    async with database.write() as session:
        await service.disable_user(session, SHELL, user.user_id)
        await service.enable_user(session, SHELL, user.user_id)
    assert await actor_of(tokens.access_token) is None
    assert await actor_of((await sign_in(user)).access_token) is not None


async def test_a_new_password_ends_all_other_sign_ins(sign_in, actor_of, user, database):
    mine, other = await sign_in(user), await sign_in(user)
    keep = (await actor_of(mine.access_token)).sign_in_id
    async with database.write() as session:
        await service.set_password(session, SHELL, user.user_id, password_hash="new", keep_sign_in_id=keep)
    assert await actor_of(mine.access_token) is not None
    assert await actor_of(other.access_token) is None


async def test_a_password_that_changes_while_somebody_logs_in_with_the_old_one_keeps_them_out(
    sign_in, user, database
):
    async with database.write() as session:
        await service.set_password(session, SHELL, user.user_id, password_hash="new")
    with pytest.raises(NotAuthenticated, match="Incorrect email or password"):
        await sign_in(user)


async def test_sign_ins_that_ended_long_ago_are_forgotten(sign_in, user, database, change):
    for moment in (-8 * 86_400, -6 * 86_400):
        await sign_in(user)
        await change(update(SignIn).where(SignIn.revoked_at.is_(None)).values(revoked_at=now_plus(moment)))
    await sign_in(user)
    async with database.write() as session:
        assert await sign_ins.forget_ended_sign_ins(session, limit=500) == 1
    async with database.read() as session:
        assert len(list(await session.scalars(select(SignIn)))) == 2


async def test_a_token_of_a_lost_database_is_worth_nothing_in_the_next(sign_in, actor_of, user, change):
    token = (await sign_in(user)).access_token
    await change(update(SignIn).values(public_id="00000000-0000-4000-8000-000000000000"))
    assert await actor_of(token) is None
