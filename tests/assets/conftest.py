"""Fixtures for the tests of assets: an owner, and the database as two processes have it."""

from types import SimpleNamespace

import pytest

from mediakeep import features
from mediakeep.accounts import service as accounts
from mediakeep.db import open_database

_FEATURES = features.metadata  # all tables, as in a server


@pytest.fixture
def library(settings, database):
    """The parts of a library that these tasks use."""
    return SimpleNamespace(settings=settings, database=database)


@pytest.fixture
async def another_database(settings, database):
    database = open_database(settings)
    yield database
    await database.close()


@pytest.fixture
def change(database):
    """Runs one statement, to bring about what otherwise takes time."""

    async def run(statement):
        async with database.write() as session:
            await session.execute(statement)

    return run


@pytest.fixture
async def owner(database):
    async with database.write() as session:
        await accounts.add_user(session, email="admin@example.com", password_hash="", is_admin=True)
        user = await accounts.add_user(session, email="owner@example.com", password_hash="", is_admin=False)
    return user.id
