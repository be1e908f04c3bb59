"""Lists of projects and generations come out of indexes, in their order: nothing is sorted, nothing looked through."""

import pytest
from sqlalchemy import select, text
from sqlalchemy.dialects import postgresql, sqlite

from mediakeep.assets import statistics
from mediakeep.assets.models import Asset, Generation, ProjectCounter

_FILL = """\
INSERT INTO projects (public_id, owner_id, name, description, created_at, updated_at)
SELECT 'p' || i, {owner}, '', '', {time}, {time} FROM numbers WHERE i <= 20;
INSERT INTO assets (public_id, owner_id, type, name, file_name, description, folded, tags, metadata, visibility, size,
project_id, generation_count, created_at, updated_at)
SELECT 'a' || i, {owner}, 'image', 'name ' || i, '', '', '', '[]', '{{}}', 'public', 0,
{project} + i % 10, i % 7, {time}, {time} FROM numbers;
INSERT INTO generations (public_id, asset_id, status, is_favorite, parameters, metadata, model, created_at, updated_at)
SELECT 'g' || i, (SELECT min(id) FROM assets), CASE i % 3 WHEN 0 THEN 'pending' ELSE 'failed' END, false,
'{{}}', '{{}}', '', {time}, {time} FROM numbers;
INSERT INTO project_counters (project_id, dim, val, n, bytes)
SELECT id, 'day', 'x' || i, 1, 0 FROM numbers, projects WHERE i <= 200;
INSERT INTO project_counters (project_id, dim, val, n, bytes)
SELECT id, 'tag', 'x' || i, i, 0 FROM numbers, projects WHERE i <= 500
"""

_TIME = {
    True: "strftime('%Y-%m-%d %H:%M:%f000', '2026-01-01', i || ' seconds')",
    False: "timestamptz '2026-01-01' + i * interval '1 second'",
}


@pytest.fixture
async def filled(database, owner, project, project_row_id):
    """A project of 200 assets among ten of as many, and an asset with 2,000 generations; returns the project's row id."""
    row_id = await project_row_id(project)
    async with database.write_engine.begin() as connection:
        numbers = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT i FROM n"
        )
        await connection.execute(text(f"CREATE TABLE numbers AS {numbers}"))
        statements = _FILL.format(owner=owner, project=row_id, time=_TIME[database.is_sqlite])
        for statement in statements.split(";"):
            await connection.exec_driver_sql(statement)
        await connection.execute(text("ANALYZE"))
    return row_id


@pytest.fixture
def plan_of(database):
    """How the database is going to run a statement."""

    async def plan_of(statement):
        dialect = sqlite.dialect() if database.is_sqlite else postgresql.dialect()
        sql = str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        async with database.read_engine.connect() as connection:
            rows = await connection.exec_driver_sql(f"{explain} {sql}")
            return "\n".join(str(row[-1]) for row in rows)

    return plan_of


def _is_sorted(plan):
    return "TEMP B-TREE" in plan or "Sort" in plan


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("column", ["created_at", "updated_at", "name", "generation_count"])
async def test_a_projects_lists_come_from_their_index(column, descending, filled, plan_of):
    order = [getattr(Asset, column), Asset.id]
    statement = select(Asset.id).where(Asset.project_id == filled, Asset.type == "image")
    statement = statement.order_by(*((one.desc() for one in order) if descending else order)).limit(50)
    plan = await plan_of(statement)
    assert f"ix_assets_project_id_{column}_id" in plan
    assert not _is_sorted(plan)


@pytest.mark.parametrize("column", ["size", "file_name"])
async def test_a_list_without_an_index_is_seen_to_be_sorted(column, filled, plan_of):
    statement = select(Asset.id).where(Asset.project_id == filled).order_by(getattr(Asset, column)).limit(50)
    assert _is_sorted(await plan_of(statement))


@pytest.mark.parametrize("status", [None, "pending"])
async def test_an_assets_generations_come_from_their_index(status, filled, plan_of, database):
    async with database.read() as session:
        asset_id = await session.scalar(select(Generation.asset_id).limit(1))
    statement = select(Generation.id).where(Generation.asset_id == asset_id)
    index = "ix_generations_asset_id_created_at_id"
    if status:
        statement = statement.where(Generation.status == status)
        index = "ix_generations_asset_id_status_created_at_id"
    plan = await plan_of(statement.order_by(Generation.created_at.desc(), Generation.id.desc()).limit(20))
    assert index in plan
    assert not _is_sorted(plan)


async def test_the_favourite_is_one_look_into_its_index(filled, plan_of, database):
    async with database.read() as session:
        asset_id = await session.scalar(select(Generation.asset_id).limit(1))
    statement = select(Generation.public_id).where(Generation.asset_id == asset_id, Generation.is_favorite)
    assert "uq_generations_is_favorite" in await plan_of(statement)


async def test_the_tags_used_most_come_from_their_index(filled, plan_of):
    plan = await plan_of(statistics.select_tags(filled).limit(10))
    assert "ix_project_counters_tags" in plan


async def test_counters_are_read_by_their_key(filled, plan_of):
    statement = select(ProjectCounter.n).where(
        ProjectCounter.project_id == filled, ProjectCounter.dim == "day", ProjectCounter.val >= "x99"
    )
    plan = await plan_of(statement)
    assert "pk_project_counters" in plan or "PRIMARY KEY" in plan
