"""Fixtures for the tests of tasks: workers' surroundings, and a registry that forgets afterwards."""

import asyncio
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from mediakeep.db import open_database
from mediakeep.tasks import leases, line, registry, worker
from mediakeep.tasks.models import Task


@pytest.fixture
def library(settings, database):
    """The parts of a library that tasks and workers of these tests use."""
    return SimpleNamespace(settings=settings, database=database)


@pytest.fixture
async def another_library(settings, database):
    """Opens the same database as another process would."""
    opened = []

    def open_another():
        opened.append(open_database(settings))
        return SimpleNamespace(settings=settings, database=opened[-1])

    yield open_another
    for each in opened:
        await each.close()


@pytest.fixture(autouse=True)
def no_tasks(monkeypatch):
    """Only the tasks that the test registers."""
    monkeypatch.setattr(registry, "_registered", {})


@pytest.fixture
def rarely_polling(monkeypatch):
    """A worker that runs anything in time was told of it."""
    monkeypatch.setattr(worker, "_POLL_SECONDS", 3600)


@pytest.fixture
def rows(database):
    """All tasks, oldest first."""

    async def read():
        async with database.read() as session:
            return list(await session.scalars(select(Task).order_by(Task.id)))

    return read


@pytest.fixture
def until(rows):
    """Waits until the rows fulfil a condition; returns them."""

    async def wait(condition):
        async with asyncio.timeout(20):
            while not condition(found := await rows()):  # noqa: ASYNC110 the database tells nobody
                await asyncio.sleep(0.02)
        return found

    return wait


@pytest.fixture
def claim():
    """Claims the first due task in a given session, if there is one."""

    async def claim_one(session):
        await line.admit(session)
        claims = await leases.claim(session, registry.registered_tasks(), limit=1)
        return claims[0] if claims else None

    return claim_one


@pytest.fixture
def eventually():
    """Waits until a condition holds."""

    async def wait(condition):
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 what is waited for tells nobody
                await asyncio.sleep(0.01)

    return wait
