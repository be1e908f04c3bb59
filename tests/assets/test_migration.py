"""The migration that brings generations, on a database with rows."""

import pytest
from alembic import command
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.assets.models import Asset, Generation, ProjectCounter
from mediakeep.assets.recount import recount
from mediakeep.db import migrate as migrations
from mediakeep.db import open_database
from mediakeep.settings import Settings
from tests.conftest import SECRET

OLD_ROWS = """\
INSERT INTO users (id, email, email_folded, password_hash, is_admin, is_founder, created_at)
VALUES (1, 'a', 'a', '', false, false, '2026-01-01 00:00:00');
INSERT INTO files (id, public_id, sha256, key, format, media_type, size, facts, created_at)
VALUES (1, 'a', 'a', 'files/ab/a', 'jpg', 'image/jpeg', 3000000000, '{}', '2026-01-01 00:00:00'),
(2, 'b', 'b', 'files/ab/b', 'jpg', 'image/jpeg', 5, '{}', '2026-01-01 00:00:00');
INSERT INTO projects (id, public_id, owner_id, name, description, created_at, updated_at)
VALUES (4, 'p', 1, 'p', '', '2026-01-01 00:00:00', '2026-01-01 00:00:00'),
(5, 'q', 1, 'q', '', '2026-01-01 00:00:00', '2026-01-01 00:00:00');
INSERT INTO assets (id, public_id, owner_id, file_id, type, name, file_name, description, folded, tags, metadata,
visibility, size, project_id, created_at, updated_at) VALUES
(7, 'a', 1, 1, 'image', 'a', 'a', '', 'a', '["Red"]', '{}', 'public', 3000000000, 4, '2026-01-01 00:00:00', '2026-01-01 00:00:00'),
(8, 'b', 1, 2, 'image', 'b', 'b', '', 'b', '["Red"]', '{}', 'public', 5, 4, '2026-01-01 00:00:00', '2026-01-01 00:00:00'),
(9, 'c', 1, 2, 'image', 'c', 'c', '', 'c', '[]', '{}', 'public', 5, NULL, '2026-01-01 00:00:00', '2026-01-01 00:00:00');
INSERT INTO tags (id, owner_id, name, folded) VALUES (1, 1, 'Red', 'red');
INSERT INTO asset_tags (tag_id, asset_id) VALUES (1, 7), (1, 8)
"""


@pytest.fixture(params=["sqlite", "postgres"])
async def before(request, tmp_path):
    """A database of the version before generations, with assets in a project and outside."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    database = open_database(Settings(data=tmp_path, database_url=url, secret_key=SECRET))
    async with database.write_engine.begin() as connection:
        await connection.run_sync(_upgrade, "0002")
        for statement in OLD_ROWS.split(";"):
            await connection.execute(text(statement))
    yield database
    await database.close()


def _upgrade(connection, version):
    command.upgrade(migrations._configuration(connection), version)


def _downgrade(connection, version):
    command.downgrade(migrations._configuration(connection), version)


async def test_a_database_of_the_version_before_is_upgraded_with_its_rows(before):
    await migrations.migrate(before)
    async with before.read() as session:
        found = await session.execute(
            select(Asset.id, Asset.file_id, Asset.own_file_id, Asset.generation_count).order_by(Asset.id)
        )
        assert [tuple(row) for row in found] == [(7, 1, 1, 0), (8, 2, 2, 0), (9, 2, 2, 0)]
        found = await session.execute(
            select(
                ProjectCounter.project_id,
                ProjectCounter.dim,
                ProjectCounter.val,
                ProjectCounter.name,
                ProjectCounter.n,
                ProjectCounter.bytes,
            ).order_by(ProjectCounter.dim)
        )
        assert [tuple(row) for row in found] == [
            (4, "assets", "", None, 2, 0),
            (4, "files", "", None, 2, 3_000_000_005),
            (4, "tag", "red", "Red", 2, 0),
        ]
    assert await recount(before) == []


async def test_a_server_of_the_version_before_can_go_on_writing(before):
    await migrations.migrate(before)
    async with before.write_engine.begin() as connection:
        await connection.execute(
            text(
                OLD_ROWS.split(";")[3].partition("VALUES")[0]
                + "VALUES (10, 'd', 1, 2, 'image', 'd', 'd', '', 'd', "
                "'[]', '{}', 'public', 5, 5, '2026-01-01 00:00:00', '2026-01-01 00:00:00')"
            )
        )
    differing = {(one.scope, one.row_id, one.dim, one.counted, one.stored) for one in await recount(before)}
    assert differing == {
        ("owner", 1, "listed", 4, 3),
        ("owner", 1, "project_id", 1, 0),
        ("project", 5, "assets", 1, 0),
        ("project", 5, "files", 1, 0),
    }


async def test_a_file_that_an_asset_was_uploaded_with_cannot_go(before):
    await migrations.migrate(before)
    async with before.write_engine.begin() as connection:
        await connection.execute(text("UPDATE assets SET file_id = NULL"))
    async with before.write_engine.connect() as connection:
        with pytest.raises(IntegrityError):
            await connection.execute(text("DELETE FROM files WHERE id = 1"))


async def test_foreign_keys_do_on_delete_what_the_models_say(before):
    await migrations.migrate(before)
    if not before.is_sqlite:
        return  # where `test_models_and_migrations_agree` sees it
    async with before.write_engine.begin() as connection:
        rows = await connection.execute(text("PRAGMA foreign_key_list('assets')"))
        actions = {row["from"]: row["on_delete"] for row in rows.mappings()}
    assert actions["own_file_id"] == actions["file_id"] == "RESTRICT"


@pytest.mark.parametrize(
    "values",
    [
        {"status": "unknown"},
        {"status": "completed"},
        {"status": "pending", "is_favorite": True},
        {"status": "pending", "file_id": 99},
    ],
)
async def test_the_database_itself_refuses_what_cannot_be(before, values):
    await migrations.migrate(before)
    async with before.write() as session:
        session.add(Generation(public_id="f", asset_id=7, status="pending", is_favorite=True))
    async with AsyncSession(before.write_engine) as session:
        session.add(Generation(public_id="g", asset_id=7, **values))
        with pytest.raises(IntegrityError):
            await session.flush()


async def test_a_downgrade_undoes_the_upgrade(before):
    async with before.write_engine.begin() as connection:
        await connection.run_sync(_upgrade, "0003")
        await connection.run_sync(_downgrade, "0002")
        rows = await connection.execute(text("SELECT id, file_id FROM assets ORDER BY id"))
        assert [tuple(row) for row in rows] == [(7, 1), (8, 2), (9, 2)]
        await connection.run_sync(_upgrade, "0003")
