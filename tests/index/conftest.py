"""Fixtures for the tests of the index: what it holds."""

import pytest
from sqlalchemy import select

from mediakeep import features
from mediakeep.index.models import SearchDocument, Term

_FEATURES = features.metadata  # all tables, as in a server


@pytest.fixture
def documents(database):
    """What is indexed, by asset."""

    async def documents():
        async with database.read() as session:
            found = await session.scalars(select(SearchDocument).order_by(SearchDocument.asset_id))
            return {
                one.asset_id: (one.name, one.description, one.tags, one.prompts, one.scope, one.vector)
                for one in found
            }

    return documents


@pytest.fixture
def vocabulary(database):
    async def vocabulary():
        async with database.read() as session:
            return set(await session.scalars(select(Term.word)))

    return vocabulary
