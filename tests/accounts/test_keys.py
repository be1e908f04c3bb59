import logging
import re

import pytest
from sqlalchemy import select, update

from mediakeep.accounts import keys
from mediakeep.accounts.actor import SHELL
from mediakeep.accounts.models import ApiKey
from mediakeep.db import now_plus
from mediakeep.errors import NotFound, PermissionDenied


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
    given = [
        (await create_key(user, scopes=["read", "admin"]))[1],
        (await create_key(admin, scopes=["read"]))[1],
        (await create_key(admin, scopes=["read", "admin"]))[1],
    ]
    assert [(await holder_of(key)).actor.is_admin for key in given] == [False, False, True]


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
        await keys.revoke_api_key(session, SHELL, row.public_id, user_id=user.user_id)
    assert await holder_of(key) is None
    async with database.read() as session:
        assert [each.id for each in await keys.list_api_keys(session, user.user_id)] == [other.id]


async def test_keys_of_others_are_as_if_there_were_none(create_key, holder_of, user, admin, database):
    row, key = await create_key(user)
    with pytest.raises(NotFound):
        async with database.write() as session:
            await keys.revoke_api_key(session, SHELL, row.public_id, user_id=admin.user_id)
    assert await holder_of(key) is not None
    async with database.read() as session:
        assert await keys.list_api_keys(session, admin.user_id) == []
        assert len(await keys.list_api_keys(session)) == 1


async def test_the_use_of_a_key_is_noted_once_a_minute(create_key, holder_of, user, database, change):
    row, key = await create_key(user)
    assert (await holder_of(key)).use_is_due
    await keys.note_key_use(database, row.id)
    assert not (await holder_of(key)).use_is_due
    await change(update(ApiKey).values(last_used_at=now_plus(-61)))
    assert (await holder_of(key)).use_is_due


async def test_a_use_that_cannot_be_noted_is_logged_and_does_no_harm(
    create_key, user, database, monkeypatch, caplog
):
    row, _ = await create_key(user)
    monkeypatch.setattr(keys, "_NOTE_SECONDS", 0.05)
    statement = update(ApiKey).values(name="busy")
    async with database.write() as session:
        await session.execute(statement)
        with caplog.at_level(logging.WARNING):
            await keys.note_key_use(database, row.id)
