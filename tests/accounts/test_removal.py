"""Who may go, and who is left: deleting, disabling and demoting."""

import asyncio

import pytest
from sqlalchemy import select

from mediakeep.accounts import keys, service
from mediakeep.accounts.actor import SHELL
from mediakeep.accounts.models import User
from mediakeep.errors import Conflict, NotAuthenticated, NotFound
from mediakeep.tasks.models import Task
from tests.accounts.conftest import HERE


@pytest.fixture
def act(database):
    """Does something to an account, as the shell does, in a transaction of its own."""

    async def act(verb, whom, *, on=database):
        async with on.write() as session:
            await verb(session, SHELL, whom.user_id)

    return act


@pytest.fixture
def admins(database):
    """The ids of admins who can log in."""

    async def admins():
        async with database.read() as session:
            return list(await session.scalars(select(User.id).where(User.is_admin, User.is_active())))

    return admins


async def test_a_removed_user_is_shut_out_and_the_address_is_free(
    act, user, add_user, sign_in, refresh, actor_of, create_key, holder_of, database
):
    tokens = await sign_in(user)
    _, key = await create_key(user)
    await act(service.remove_user, user)
    assert await actor_of(tokens.access_token) is None
    assert await actor_of(tokens.session_token, "session") is None
    assert await refresh(tokens.refresh_token) is None
    assert await holder_of(key) is None
    with pytest.raises(NotAuthenticated):
        await sign_in(user)
    with pytest.raises(NotAuthenticated):
        await create_key(user)
    again = await add_user("user@example.com")
    assert again.user_id != user.user_id
    async with database.read() as session:
        gone = await session.get(User, user.user_id)
        assert (gone.email, gone.password_hash) == ("", "")
        payloads = list(await session.scalars(select(Task.payload).where(Task.name == "assets.remove_user")))
    assert payloads == [{"id": user.user_id}]


@pytest.mark.parametrize(
    "verb",
    [
        service.remove_user,
        service.disable_user,
        service.enable_user,
        service.promote_user,
        service.demote_user,
    ],
)
async def test_nothing_is_done_to_somebody_who_is_gone(act, user, verb):
    await act(service.remove_user, user)
    with pytest.raises(NotFound):
        await act(verb, user)


@pytest.mark.parametrize("verb", [service.remove_user, service.disable_user, service.demote_user])
async def test_of_two_admins_who_go_at_once_one_stays(
    act, admin, user, add_user, admins, database, another_database, verb
):
    other = await add_user("other@example.com", is_admin=True)
    done = asyncio.Event()

    async def first():
        async with database.write() as session:
            await verb(session, SHELL, admin.user_id)
            done.set()
            await asyncio.sleep(0.2)  # the other one looks before this is committed

    async def second():
        await done.wait()
        await act(verb, other, on=another_database)

    outcomes = await asyncio.gather(first(), second(), return_exceptions=True)
    [refused] = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(refused, Conflict)
    assert refused.detail == service.ONLY_ADMIN
    assert len(await admins()) == 1


async def test_an_admin_who_is_alone_may_go_and_the_next_account_is_the_admins(act, admin, add_user, admins):
    await act(service.remove_user, admin)
    assert await admins() == []
    following = await add_user("next@example.com")
    assert await admins() == [following.user_id]


async def test_a_registration_beside_the_deletion_of_the_last_account_leaves_an_admin(
    act, admin, settings, secret, admins, another_database, database
):
    wanted = settings.model_copy(update={"registration": "open"})
    removed = asyncio.Event()

    async def remove():
        async with database.write() as session:
            await service.remove_user(session, SHELL, admin.user_id)
            removed.set()
            await asyncio.sleep(0.2)

    async def register():
        await removed.wait()
        async with another_database.write() as session:
            await service.register(
                session,
                wanted,
                email="next@example.com",
                password_hash="",
                secret=secret,
                caller=HERE,
                from_this_machine=True,
            )

    await asyncio.gather(remove(), register())
    assert len(await admins()) == 1


async def test_a_key_that_is_created_meanwhile_is_refused_or_dies_with_the_rest(
    act, user, database, another_database, holder_of
):
    created = asyncio.Event()
    made = []

    async def create():
        async with another_database.write() as session:
            made.append(
                await keys.create_api_key(session, SHELL, user.user_id, name="k", scopes=frozenset({"read"}))
            )
            created.set()
            await asyncio.sleep(0.2)

    async def remove():
        await created.wait()
        await act(service.remove_user, user)

    await asyncio.gather(create(), remove())
    assert await holder_of(made[0][1]) is None
