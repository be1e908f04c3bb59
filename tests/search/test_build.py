"""The index made from the assets: of an old library by a task, and anew by `mediakeep reindex`."""

import asyncio
from types import SimpleNamespace

import pytest
from alembic import command
from click.testing import CliRunner
from sqlalchemy import delete, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.accounts.actor import Actor
from mediakeep.assets import service as assets
from mediakeep.assets.models import Asset, Generation
from mediakeep.cli.upkeep import reindex
from mediakeep.db import migrate as migrations
from mediakeep.db import open_database
from mediakeep.index.models import SearchDocument, Term
from mediakeep.search import build
from mediakeep.search.build import Rebuilt, rebuild
from mediakeep.search.text import Wanted, find
from mediakeep.settings import Settings
from mediakeep.tasks import enqueue
from mediakeep.tasks.worker import drain
from tests.conftest import SECRET


@pytest.fixture
def indexed(database):
    async def indexed():
        async with database.read() as session:
            rows = await session.scalars(select(SearchDocument).order_by(SearchDocument.asset_id))
            return [(row.asset_id, row.name, row.prompts, row.scope, row.vector) for row in rows]

    return indexed


@pytest.fixture
async def five(add, monkeypatch):
    """Five assets, more than one chunk."""
    monkeypatch.setattr(build, "_CHUNK", 2)
    return [await add(f"dragon {number}") for number in range(5)]


async def test_an_index_made_anew_is_the_one_that_was_kept(five, database, indexed):
    before = await indexed()
    assert await rebuild(database) == Rebuilt(assets=5, terms=0)
    assert await indexed() == before
    async with database.write() as session:
        await session.execute(delete(SearchDocument))
    assert await rebuild(database) == Rebuilt(assets=5, terms=0)
    assert await indexed() == before


async def test_what_is_no_asset_s_is_forgotten(five, database, indexed):
    async with database.write() as session:
        await session.execute(delete(Asset).where(Asset.id.in_([five[0], five[3], five[4]])))
        session.add(Term(word="nowhere", gram_count=0))
    assert await rebuild(database) == Rebuilt(assets=2, terms=1)
    assert [row[0] for row in await indexed()] == five[1:3]


async def test_an_asset_that_comes_meanwhile_is_found(five, add, database, monkeypatch, found):
    """Between the assets that are read and the removal of what is none's."""
    execute = AsyncSession.execute
    added = []

    async def execute_later(session, statement, *arguments, **options):
        if getattr(statement, "is_delete", False) and statement.table.name == "search_documents":
            added.append(asyncio.create_task(add("knight")))
            await asyncio.wait(added, timeout=0.5)  # SQLite's one writer is taken
        return await execute(session, statement, *arguments, **options)

    monkeypatch.setattr(AsyncSession, "execute", execute_later)
    await rebuild(database)
    monkeypatch.undo()
    assert len(added) >= 3
    assert set(await found("knight")) == {await one for one in added}


async def test_a_library_without_index_is_indexed_by_a_task(five, library, database, found):
    async with database.write() as session:
        await session.execute(delete(SearchDocument))
        await enqueue(session, "search.build", {})
    assert await found("dragon") == []
    await drain(library)
    assert await found("dragon") == five[::-1]


async def test_prompts_of_generations_are_found(add, add_project, database, owner, found, indexed):
    asset = await add("portrait", project_id=await add_project())
    async with database.write() as session:
        for status, parameters in (
            ("pending", {"positive_prompt": "Epic warrior"}),
            ("failed", {"positive_prompt": "Epic warrior", "prompt": "not this"}),
            ("pending", {"prompt": "misty forest"}),
            ("pending", {"steps": 30}),
        ):
            session.add(
                Generation(
                    public_id=f"{status}{parameters}"[:36],
                    asset_id=asset,
                    status=status,
                    parameters=parameters,
                )
            )
        (await session.get(Asset, asset)).generation_count = 4
    await rebuild(database)
    assert await found("warrior") == await found("forest", fields=("prompts",)) == [asset]
    assert await found("this") == await found("warrior", fields=("name",)) == []
    before = await indexed()
    async with database.write() as session:
        row = await session.get(Asset, asset)
        await assets.update(session, owner, row.public_id, {"name": "portrait"})
    assert await indexed() == before


@pytest.fixture(params=["sqlite", "postgres"])
async def older(request, tmp_path):
    """A library of the version before the index, with an asset."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    settings = Settings(data=tmp_path, database_url=url, secret_key=SECRET)
    database = open_database(settings)
    async with database.write_engine.begin() as connection:
        await connection.run_sync(_to("upgrade", "0003"))
        for statement in OLDER_ROWS.split(";"):
            await connection.execute(text(statement))
    yield SimpleNamespace(settings=settings, database=database)
    await database.close()


OLDER_ROWS = """\
INSERT INTO users (id, email, email_folded, password_hash, is_admin, is_founder, created_at)
VALUES (1, 'a', 'a', '', false, false, '2026-01-01 00:00:00');
INSERT INTO assets (id, public_id, owner_id, type, name, file_name, description, folded, tags, metadata, visibility, size,
created_at, updated_at)
VALUES (7, 'a', 1, 'image', 'dragon', '', '', '', '["red"]', '{}', 'public', 0, '2026-01-01 00:00:00',
'2026-01-01 00:00:00')
"""


def _to(verb, version):
    return lambda connection: getattr(command, verb)(migrations._configuration(connection), version)


async def test_what_is_older_than_the_index_is_indexed_after_the_upgrade(older):
    await migrations.migrate(older.database)
    owner = Actor(user_id=1, email="a", is_admin=False, scopes=frozenset({"read"}), sign_in_id=1)
    await drain(older)
    for query in ("dragon", "red"):
        assert [hit.asset_id for hit in (await find(older.database, owner, Wanted(text=query))).hits] == [7]


async def test_a_downgrade_leaves_nothing_of_the_index(older):
    async def tables():
        async with older.database.write_engine.begin() as connection:
            return await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))

    before = await tables()
    for _ in range(2):
        await migrations.migrate(older.database)
        assert await tables() > before
        async with older.database.write_engine.begin() as connection:
            await connection.run_sync(_to("downgrade", "0003"))
        assert await tables() == before


def test_the_command_says_what_it_did(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDIAKEEP_DATA", str(tmp_path))
    done = CliRunner().invoke(reindex)
    assert done.output == "Indexed 0 assets; forgot 0 words that none of them holds.\n"
    assert done.exit_code == 0
