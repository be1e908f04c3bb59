"""Fixtures for the tests of accounts: people, and the database as another process has it."""

import pytest
from sqlalchemy import select

from mediakeep.accounts import keys, passwords, service, sign_ins
from mediakeep.accounts.actor import SHELL, Stranger
from mediakeep.accounts.models import AuditEntry
from mediakeep.accounts.sign_ins import Credentials
from mediakeep.db import open_database

HERE = Stranger(address="192.0.2.1")


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


@pytest.fixture
def sign_in(database, settings, secret):
    """Begins a sign-in of somebody whose password was proved."""

    async def sign_in(credentials, *, caller=HERE):
        async with database.write() as session:
            return await sign_ins.sign_in(
                session, settings, credentials, secret=secret, caller=caller, user_agent="test"
            )

    return sign_in


@pytest.fixture
def refresh(database, settings, secret):
    async def refresh(token):
        async with database.write() as session:
            return await sign_ins.refresh(session, settings, token, secret=secret, caller=HERE)

    return refresh


@pytest.fixture
def actor_of(database, secret):
    async def actor_of(token, type_="access"):
        return await sign_ins.find_actor_by_token(database, token, secret=secret, type_=type_)

    return actor_of


@pytest.fixture
def holder_of(database):
    async def holder_of(key):
        return await keys.find_actor_by_api_key(database, key)

    return holder_of


@pytest.fixture
def create_key(database):
    async def create_key(owner, *, scopes=("read", "write"), **options):
        async with database.write() as session:
            return await keys.create_api_key(
                session, SHELL, owner.user_id, name="test", scopes=frozenset(scopes), **options
            )

    return create_key


@pytest.fixture
def audited(database):
    """What the audit log says, oldest first."""

    async def read(*actions):
        async with database.read() as session:
            rows = list(await session.scalars(select(AuditEntry).order_by(AuditEntry.id)))
        return [row for row in rows if not actions or row.action in actions]

    return read
