"""Fixtures for the tests of assets: an owner, and the database as two processes have it."""

import itertools
import uuid
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from mediakeep import features
from mediakeep.accounts import service as accounts
from mediakeep.accounts.actor import Actor
from mediakeep.assets import generations, service
from mediakeep.assets.models import Asset
from mediakeep.collections import service as collections
from mediakeep.collections.models import Project
from mediakeep.collections.service import Belonging
from mediakeep.db import open_database
from mediakeep.files.ingest import RecordedFile
from mediakeep.files.models import File

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


@pytest.fixture
def actor(owner):
    return _actor(owner)


@pytest.fixture
async def stranger(database, owner):
    async with database.write() as session:
        user = await accounts.add_user(session, email="s@example.com", password_hash="", is_admin=False)
    return _actor(user.id)


@pytest.fixture
async def admin(database, owner):
    async with database.read() as session:
        user = await accounts.get_user_by_email(session, "admin@example.com")
    return _actor(user.id, is_admin=True)


def _actor(user_id, *, is_admin=False):
    scopes = frozenset({"read", "write", "admin"} if is_admin else {"read", "write"})
    return Actor(user_id=user_id, email="a@example.com", is_admin=is_admin, scopes=scopes, sign_in_id=1)


@pytest.fixture
def write(database):
    """Calls a verb in a transaction of its own."""

    async def write(verb, *arguments, on=database, **named):
        async with on.write() as session:
            return await verb(session, *arguments, **named)

    return write


@pytest.fixture
def read(database):
    """Calls what only reads."""

    async def read(function, *arguments, **named):
        async with database.read() as session:
            return await function(session, *arguments, **named)

    return read


@pytest.fixture
def record_file():
    """The row of an image of so many bytes; no bytes are stored."""
    numbers = itertools.count(1)

    async def record_file(session, size=100, media_type="image/png"):
        number = next(numbers)
        row = File(
            public_id=str(uuid.uuid4()),
            key=f"files/aa/{number}",
            sha256=f"{number:064}",
            format=media_type.partition("/")[2],
            media_type=media_type,
            size=size,
            width=4,
            height=3,
            facts={},
        )
        session.add(row)
        await session.flush()
        return RecordedFile(id=row.id, size=size)

    return record_file


@pytest.fixture
def make_project(write, actor):
    """Makes a project; returns its public id."""

    async def make_project(actor=actor):
        columns = {"name": "p", "description": ""}
        return (await write(collections.create, actor, "project_id", columns)).public_id

    return make_project


@pytest.fixture
async def project(make_project):
    return await make_project()


@pytest.fixture
def make_asset(write, actor, project):
    """Makes an image asset without image; returns its public id."""

    async def make_asset(*tags, project=project, actor=actor):
        async def make(session):
            asset_id = await service.create_empty(
                session,
                actor,
                project,
                name="a",
                description="",
                tags=[*tags],
                metadata={},
                visibility="public",
            )
            return (await session.get(Asset, asset_id)).public_id

        return await write(make)

    return make_asset


@pytest.fixture
def upload_asset(write, actor, project, record_file):
    """Makes an asset with a file of its own; returns its public id."""

    async def upload_asset(*tags, size=100, type_="image", project=project, actor=actor):
        async def upload(session):
            file = await record_file(session, size)
            new = service.NewAsset(
                type=type_,
                name="u",
                file_name="u.png",
                visibility="private",
                tags=[*tags],
                belonging=Belonging(project_id=project),
            )
            asset_id = await service.create(session, actor, new, file=file)
            return (await session.get(Asset, asset_id)).public_id

        return await write(upload)

    return upload_asset


@pytest.fixture
async def asset(make_asset):
    return await make_asset()


@pytest.fixture
def generate_for(write, actor, record_file):
    """Makes a generation of an asset in some state; returns its public id."""

    async def generate_for(of, status="pending", *, model="m", size=100, actor=actor):
        first = status if status != "completed" else "pending"
        made = await write(generations.create, actor, of, parameters={"model": model}, status=first)

        async def complete(session):
            file = await record_file(session, size)
            await generations.attach(session, actor, made.public_id, file)

        if status == "completed":
            await write(complete)
        return made.public_id

    return generate_for


@pytest.fixture
def generate(generate_for, asset):
    """As `generate_for`, of `asset` unless told otherwise."""

    async def generate(status="pending", *, of=asset, **options):
        return await generate_for(of, status, **options)

    return generate


@pytest.fixture
def upload(write, actor, record_file):
    """Gives a generation an image."""

    async def upload(generation, *, size=100, actor=actor):
        async def attach(session):
            file = await record_file(session, size)
            return await generations.attach(session, actor, generation, file)

        return await write(attach)

    return upload


@pytest.fixture
def row_of(database):
    """The row of an asset."""

    async def row_of(public_id):
        async with database.read() as session:
            return await session.scalar(select(Asset).where(Asset.public_id == public_id))

    return row_of


@pytest.fixture
def project_row_id(database):
    async def project_row_id(public_id):
        async with database.read() as session:
            return await session.scalar(select(Project.id).where(Project.public_id == public_id))

    return project_row_id
