"""Fixtures for the tests of events."""

import pytest
from sqlalchemy import select

from mediakeep.events.models import Event


@pytest.fixture
def rows(database):
    """All events, oldest first."""

    async def read():
        async with database.read() as session:
            return list(await session.scalars(select(Event).order_by(Event.id)))

    return read
