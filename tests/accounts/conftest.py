"""Fixtures for the tests of accounts: people, and the database as another process has it."""

import pytest

from mediakeep.accounts import passwords, service
from mediakeep.accounts.service import Credentials
from mediakeep.db import open_database


@pytest.fixture
async def another_database(settings, database):
    """The same database as another process has it open."""
    database = open_database(settings)
    yield database
    await database.close()


@pytest.fixture
def secret():
    return b"for tests only, 32 bytes or more"


@pytest.fixture
def add_user(database):
    """Creates an account whose password is "correct horse"; the first one is the admin."""

    async def add(email, *, is_admin=False):
        password_hash = await passwords.hash_password("correct horse")
        async with database.write() as session:
            user = await service.add_user(
                session, email=email, password_hash=password_hash, is_admin=is_admin
            )
        return Credentials(user_id=user.id, password_hash=password_hash)

    return add


@pytest.fixture
async def admin(add_user):
    return await add_user("admin@example.com")


@pytest.fixture
async def user(admin, add_user):
    return await add_user("user@example.com")


@pytest.fixture
def change(database):
    """Runs one statement, to bring about what otherwise takes time."""

    async def run(statement):
        async with database.write() as session:
            await session.execute(statement)

    return run
