"""Fixtures for the tests of search: users with assets, and what they find."""

import uuid
from types import SimpleNamespace

import pytest

from mediakeep import features
from mediakeep.accounts import service as accounts
from mediakeep.accounts.actor import SCOPES, Actor, effective_scopes
from mediakeep.assets import service as assets
from mediakeep.assets.models import Asset
from mediakeep.collections.models import Project
from mediakeep.search.text import Wanted, find

_FEATURES = features.metadata  # all tables, as in a server


@pytest.fixture
def library(settings, database):
    """The parts of a library that these tasks use."""
    return SimpleNamespace(settings=settings, database=database)


@pytest.fixture
def add_user(database):
    """Makes an account, and gives who acts with it; the first one is the admin's."""

    async def add_user(email):
        async with database.write() as session:
            user = await accounts.add_user(session, email=email, password_hash="", is_admin=False)
        scopes = effective_scopes(SCOPES, is_admin=user.is_admin)
        return Actor(user_id=user.id, email=email, is_admin=user.is_admin, scopes=scopes, sign_in_id=1)

    return add_user


@pytest.fixture
async def admin(add_user):
    return await add_user("admin@example.com")


@pytest.fixture
async def owner(admin, add_user):
    return await add_user("owner@example.com")


@pytest.fixture
async def stranger(admin, add_user):
    return await add_user("stranger@example.com")


@pytest.fixture
def add_project(database, owner):
    """Makes a project; returns its row id."""

    async def add_project(of=owner):
        async with database.write() as session:
            project = Project(owner_id=of.user_id, public_id=str(uuid.uuid4()), name="p", description="")
            session.add(project)
            await session.flush()
        return project.id

    return add_project


@pytest.fixture
def add(database, owner):
    """Makes an asset of these texts; returns its row id."""

    async def add(name="picture", description="", tags=(), *, of=owner, **columns):
        async with database.write() as session:
            asset = Asset(
                public_id=str(uuid.uuid4()),
                owner_id=of.user_id,
                type=columns.pop("type", "image"),
                name="",
                file_name="",
                folded="",
                visibility="public",
                **columns,
            )
            session.add(asset)
            await session.flush()
            changes = {"name": name, "description": description, "tags": list(tags)}
            await assets.update(session, of, asset.public_id, changes)
        return asset.id

    return add


@pytest.fixture
def search(database, owner):
    """Looks for something, as somebody."""

    async def search(text, *, of=owner, everyones=False, **wanted):
        return await find(database, of, Wanted(text=text, **wanted), everyones=everyones)

    return search


@pytest.fixture
def found(search):
    """The row ids of what is found, best first."""

    async def found(text, **wanted):
        return [hit.asset_id for hit in (await search(text, **wanted)).hits]

    return found
