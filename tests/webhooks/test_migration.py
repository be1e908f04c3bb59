"""The migration that lets deliveries go to other addresses, on a database with rows."""

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from mediakeep.db import migrate as migrations
from mediakeep.db import open_database
from mediakeep.settings import Settings
from tests.conftest import SECRET

DELIVERY = """\
INSERT INTO webhook_deliveries (id, public_id, webhook_id, type, data, created_at, status, attempts)
VALUES (7, 'a', 3, 'asset.created', '{}', '2026-01-01 00:00:00', 'pending', 0)"""

TO_AN_ADDRESS = """\
INSERT INTO webhook_deliveries (public_id, owner_id, url, type, data, created_at, status, attempts)
VALUES ('b', 1, 'https://receiver.example', 'job.failed', '{}', '2026-01-01 00:00:00', 'pending', 0)"""


@pytest.fixture(params=["sqlite", "postgres"])
async def before(request, tmp_path):
    """A database of the version before, with a delivery."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    database = open_database(Settings(data=tmp_path, database_url=url, secret_key=SECRET))
    async with database.write_engine.begin() as connection:
        await connection.run_sync(_upgrade, "0009")
        await connection.execute(text(DELIVERY))
    yield database
    await database.close()


def _upgrade(connection, version):
    command.upgrade(migrations._configuration(connection), version)


def _downgrade(connection, version):
    command.downgrade(migrations._configuration(connection), version)


async def test_deliveries_are_kept_and_their_numbers_are_not_used_again(before):
    async with before.write_engine.begin() as connection:
        await connection.run_sync(_upgrade, "0010")
        rows = await connection.execute(text("SELECT id, webhook_id, owner_id, url FROM webhook_deliveries"))
        assert rows.all() == [(7, 3, None, None)]
        if before.is_sqlite:
            await connection.execute(text("DELETE FROM webhook_deliveries"))
            await connection.execute(text(TO_AN_ADDRESS))
            assert await connection.scalar(text("SELECT id FROM webhook_deliveries")) == 8
    with pytest.raises(IntegrityError):
        async with before.write_engine.begin() as connection:
            await connection.execute(text("UPDATE webhook_deliveries SET status = 'lost'"))


async def test_a_downgrade_undoes_the_upgrade(before):
    async with before.write_engine.begin() as connection:
        await connection.run_sync(_upgrade, "0010")
        if before.is_sqlite:
            await connection.execute(text(TO_AN_ADDRESS))
        await connection.run_sync(_downgrade, "0009")
        rows = await connection.execute(text("SELECT id, webhook_id FROM webhook_deliveries"))
        assert rows.all() == [(7, 3)]
        await connection.run_sync(_upgrade, "0010")
