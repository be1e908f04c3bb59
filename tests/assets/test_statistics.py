"""What a project and an asset say of themselves in numbers."""

import pytest
from sqlalchemy import event, update

from mediakeep.assets import generations, service, statistics
from mediakeep.assets.models import Generation
from mediakeep.assets.recount import recount
from mediakeep.db import now_plus


@pytest.fixture
def project_says(read, project, project_row_id):
    async def project_says():
        return await read(statistics.project_statistics, await project_row_id(project))

    return project_says


@pytest.fixture
def asset_says(read, row_of):
    async def asset_says(asset):
        return await read(statistics.asset_statistics, (await row_of(asset)).id)

    return asset_says


@pytest.fixture
def tags_of(read, project, project_row_id):
    async def tags_of(**options):
        return await read(statistics.tag_counts, await project_row_id(project), **options)

    return tags_of


async def test_an_empty_project_has_30_days_of_nothing(project_says):
    says = await project_says()
    daily = says["generation_trends"].pop("daily")
    assert says == {
        "total_assets": 0,
        "total_generations": 0,
        "generations_by_status": {},
        "storage_used": 0,
        "most_used_tags": [],
        "generation_trends": {"models_used": {}},
    }
    days = [one["date"] for one in daily]
    assert len(set(days)) == 30
    assert days == sorted(days)
    assert all(one == {"date": one["date"], "count": 0, "completed": 0, "failed": 0} for one in daily)


async def test_a_projects_statistics(project_says, upload_asset, make_asset, generate_for):
    first, second = await upload_asset("Red", "blue", size=10), await make_asset("red", "Green")
    for status, model, size in (
        ("completed", "a", 5),
        ("completed", "b", 6),
        ("failed", "b", 0),
        ("pending", "", 0),
    ):
        await generate_for(first, status, model=model, size=size)
    await generate_for(second, "completed", model="b", size=7)
    says = await project_says()
    daily = says["generation_trends"].pop("daily")
    assert says == {
        "total_assets": 2,
        "total_generations": 5,
        "generations_by_status": {"completed": 3, "failed": 1, "pending": 1},
        "storage_used": 28,
        "most_used_tags": ["red", "blue", "Green"],
        "generation_trends": {"models_used": {"b": 3, "a": 1}},
    }
    assert list(says["generations_by_status"]) == ["completed", "failed", "pending"]
    today = daily[-1]
    assert today == {"date": today["date"], "count": 5, "completed": 3, "failed": 1}
    assert sum(one["count"] for one in daily) == 5


async def test_states_and_models_that_nothing_has_any_more_are_left_out(
    project_says, asset, generate, write, actor
):
    generation = await generate("pending", model="a")
    await write(generations.change, actor, generation, {"status": "failed"})
    assert (await project_says())["generations_by_status"] == {"failed": 1}
    await write(generations.remove, actor, generation)
    says = await project_says()
    assert (says["generations_by_status"], says["generation_trends"]["models_used"]) == ({}, {})


async def test_generations_older_than_30_days_are_in_totals_only(
    project_says, asset, generate, change, database
):
    await generate("completed")
    old = await generate("completed")
    for days, generation in ((29, await generate("failed")), (30, old)):
        mine = update(Generation).where(Generation.public_id == generation)
        await change(mine.values(created_at=now_plus(-days * 86400)))
    await recount(database, fix=True)
    says = await project_says()
    daily = says["generation_trends"]["daily"]
    assert says["total_generations"] == 3
    assert [one["count"] for one in (daily[0], daily[-1])] == [1, 1]
    assert sum(one["count"] for one in daily) == 2
    assert daily[0]["failed"] == 1


async def test_a_projects_statistics_are_few_reads_of_counters_alone(
    project_row_id, project, upload_asset, database
):
    await upload_asset("red")
    row_id = await project_row_id(project)
    asked = []
    event.listen(
        database.read_engine.sync_engine, "before_cursor_execute", lambda *given: asked.append(given[2])
    )
    async with database.read() as session:
        await statistics.project_statistics(session, row_id)
    assert len([sql for sql in asked if "FROM" in sql]) == 2
    assert all("assets" not in sql and "generations" not in sql for sql in asked)


async def test_tags_are_counted_most_first_then_by_name(tags_of, make_asset):
    for tags in (["b", "A"], ["a", "c"], ["B", "é"]):
        await make_asset(*tags)
    everything = [
        {"name": "a", "count": 2},
        {"name": "B", "count": 2},
        {"name": "c", "count": 1},
        {"name": "é", "count": 1},
    ]
    assert await tags_of() == everything
    assert await tags_of(limit=2) == everything[:2]
    assert await tags_of(limit=2, offset=1) == everything[1:3]
    assert await tags_of(offset=9) == []


async def test_a_tag_that_no_asset_has_any_more_is_not_counted(tags_of, make_asset, write, actor):
    asset = await make_asset("red", "blue")
    await write(service.update, actor, asset, {"tags": ["green"]})
    assert await tags_of() == [{"name": "green", "count": 1}]


async def test_an_asset_without_generations(asset_says, upload_asset):
    assert await asset_says(await upload_asset(size=9)) == {
        "total_generations": 0,
        "successful_generations": 0,
        "failed_generations": 0,
        "favorite_generation_id": None,
        "total_file_size": 0,
        "generation_history": [],
    }


async def test_an_assets_statistics(asset_says, asset, generate, write, read, actor):
    ids = [
        await generate("completed", size=5),
        await generate("failed"),
        await generate("completed", size=6, model="b"),
        await generate("cancelled"),
    ]
    await write(generations.set_favorite, actor, ids[2], favorite=True)
    says = await asset_says(asset)
    history = says.pop("generation_history")
    assert says == {
        "total_generations": 4,
        "successful_generations": 2,
        "failed_generations": 1,
        "favorite_generation_id": ids[2],
        "total_file_size": 11,
    }
    assert [one["id"] for one in history] == ids
    created_at = (await read(generations.get, actor, ids[2])).created_at
    assert history[2] == {
        "id": ids[2],
        "status": "completed",
        "created_at": f"{created_at:%Y-%m-%dT%H:%M:%SZ}",
        "model": "b",
        "is_favorite": True,
        "file_size": 6,
    }
