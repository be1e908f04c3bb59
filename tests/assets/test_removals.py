"""Removals whose task has died go on."""

import asyncio

import pytest
from sqlalchemy import delete, select, update

from mediakeep.accounts import service as accounts
from mediakeep.accounts.actor import SHELL
from mediakeep.accounts.models import User
from mediakeep.assets.tasks import resume_removals
from mediakeep.collections import service as collections
from mediakeep.collections.models import Campaign, Client
from mediakeep.db import now_plus
from mediakeep.tasks.models import Task
from mediakeep.tasks.worker import drain


@pytest.fixture
async def client(database, owner):
    """A client with a campaign, deleted two hours ago."""
    async with database.write() as session:
        client = Client(owner_id=owner, public_id="8c2f1d0e-5a0b-4c53-9f7e-2f3f1d6b7a90", name="c")
        session.add(client)
        await session.flush()
        campaign = Campaign(
            owner_id=owner, public_id="8c2f1d0e-5a0b-4c53-9f7e-2f3f1d6b7a91", name="c", client_id=client.id
        )
        session.add(campaign)
        await session.flush()
        await collections.mark_gone(session, "client_id", client.id)
        for table in (Client, Campaign):
            await session.execute(update(table).values(gone_at=now_plus(-7200)))
    return client.id


@pytest.fixture
async def gone_owner(database, owner):
    """An owner who was deleted two hours ago."""
    async with database.write() as session:
        await accounts.remove_user(session, SHELL, owner)
        await session.execute(update(User).where(User.id == owner).values(gone_at=now_plus(-7200)))
    return owner


@pytest.fixture
def queued(database):
    async def queued():
        async with database.read() as session:
            statement = select(Task.name, Task.payload).where(Task.status == "queued")
            return [tuple(row) for row in await session.execute(statement.order_by(Task.id))]

    return queued


async def test_a_removal_whose_task_waits_is_left_alone(library, client, queued):
    await resume_removals(library, None)
    assert await queued() == [("assets.remove_collection", {"kind": "client_id", "id": client})]


async def test_a_collection_whose_task_died_is_removed_after_all(library, client, change, queued, database):
    await change(update(Task).values(status="dead"))
    await resume_removals(library, None)
    assert await queued() == [("assets.remove_collection", {"kind": "client_id", "id": client})]
    await drain(library)
    async with database.read() as session:
        assert await session.scalar(select(Client.id)) is None
        assert await session.scalar(select(Campaign.id)) is None


async def test_a_user_whose_task_was_lost_is_removed_after_all(library, gone_owner, change, queued, database):
    await change(delete(Task))
    await resume_removals(library, None)
    assert await queued() == [("assets.remove_user", {"id": gone_owner})]
    await drain(library)
    async with database.read() as session:
        assert await session.get(User, gone_owner) is None


async def test_what_is_gone_for_less_than_an_hour_is_left_alone(library, client, change, queued):
    await change(delete(Task))
    for table in (Client, Campaign):
        await change(update(table).values(gone_at=now_plus(-3000)))
    await resume_removals(library, None)
    assert await queued() == []


async def test_several_processes_resume_a_removal_once_and_not_again_that_day(
    library, client, change, queued, monkeypatch
):
    await change(delete(Task))
    await asyncio.gather(*(resume_removals(library, None) for _ in range(5)))
    assert len(await queued()) == 1
    await change(update(Task).values(status="dead"))
    await resume_removals(library, None)
    assert await queued() == []
