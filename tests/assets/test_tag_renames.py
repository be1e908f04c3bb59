"""Tags renamed and merged across a project."""

import asyncio

import pytest
from sqlalchemy import event, func, select

from mediakeep.assets import service, statistics, tags
from mediakeep.assets.models import Asset, AssetTag, Tag
from mediakeep.assets.recount import recount
from mediakeep.assets.tags import rename_tag
from mediakeep.errors import Conflict, InvalidInput, NotFound
from mediakeep.events.models import Event
from mediakeep.tasks.models import Task
from mediakeep.tasks.worker import drain


@pytest.fixture
def tags_of(database):
    """An asset's tags: as shown, and as they are looked for."""

    async def tags_of(public_id):
        async with database.read() as session:
            asset = await session.scalar(select(Asset).where(Asset.public_id == public_id))
            linked = select(Tag.folded).join(AssetTag).where(AssetTag.asset_id == asset.id)
            folded = list(await session.scalars(linked.order_by(Tag.folded)))
        assert folded == sorted(service.fold(tag) for tag in asset.tags)
        return asset.tags

    return tags_of


@pytest.fixture
def rename(write, actor, project):
    async def rename(old, new, **options):
        return await write(rename_tag, actor, project, old, new, **options)

    return rename


async def test_a_tag_is_renamed_where_it_is(
    rename, make_asset, make_project, tags_of, database, read, project, project_row_id
):
    first, second = await make_asset("a", "Red", "b"), await make_asset("blue")
    elsewhere = await make_asset("red", project=await make_project())
    assert await rename("red", "Green") == 1
    assert await tags_of(first) == ["a", "Green", "b"]
    assert await tags_of(second) == ["blue"]
    assert await tags_of(elsewhere) == ["red"]
    assert await recount(database) == []
    counts = await read(statistics.tag_counts, await project_row_id(project))
    assert [one["name"] for one in counts] == ["a", "b", "blue", "Green"]


async def test_an_asset_that_has_both_has_one_from_then_on(rename, make_asset, tags_of, database):
    both, other = await make_asset("BLUE", "x", "red"), await make_asset("red", "y", "Blue")
    assert await rename(" RED ", "blue") == 2
    assert await tags_of(both) == ["blue", "x"]
    assert await tags_of(other) == ["blue", "y"]
    assert await recount(database) == []


async def test_a_tag_gets_another_spelling(
    rename, make_asset, tags_of, read, project, project_row_id, database
):
    first, second = await make_asset("red"), await make_asset("RED")
    assert await rename("Red", "RED") == 1
    assert await tags_of(first) == await tags_of(second) == ["RED"]
    counts = await read(statistics.tag_counts, await project_row_id(project))
    assert counts == [{"name": "RED", "count": 2}]
    assert await recount(database) == []


async def test_renaming_what_nothing_has_changes_nothing(rename, make_asset, tags_of):
    asset = await make_asset("red")
    assert await rename("blue", "green") == 0
    assert await rename("red", "red") == 0
    assert await rename("", "green") == 0
    assert await tags_of(asset) == ["red"]


@pytest.mark.parametrize("new", ["", "  ", "x" * 65, "a\0b"])
async def test_a_name_that_no_tag_can_have_is_refused(new, rename, make_asset):
    await make_asset("red")
    with pytest.raises(InvalidInput):
        await rename("red", new)


async def test_somebody_elses_project_is_none(write, stranger, admin, project):
    for who in (stranger, admin):
        with pytest.raises(NotFound, match="Project not found"):
            await write(rename_tag, who, project, "a", "b")


async def test_a_renamed_asset_was_updated(rename, make_asset, database, row_of):
    asset = await make_asset("red")
    before = (await row_of(asset)).updated_at
    await asyncio.sleep(0.005)
    await rename("red", "blue")
    assert (await row_of(asset)).updated_at > before
    async with database.read() as session:
        told = select(Event.subject).where(Event.kind == "asset.updated")
        assert list(await session.scalars(told)) == [asset]


async def test_many_assets_are_renamed_in_chunks(rename, make_asset, tags_of, library, monkeypatch, database):
    monkeypatch.setattr(tags, "CHUNK", 3)
    assets = [await make_asset("red", str(number)) for number in range(8)]
    assert await rename("red", "blue") == 8
    assert [(await tags_of(one))[0] for one in assets] == ["blue"] * 3 + ["red"] * 5
    assert await recount(database) == []
    await drain(library)
    assert [(await tags_of(one))[0] for one in assets] == ["blue"] * 8
    assert await recount(database) == []


async def test_many_assets_get_another_spelling_once(rename, make_asset, tags_of, library, monkeypatch):
    monkeypatch.setattr(tags, "CHUNK", 2)
    assets = [await make_asset("red") for _ in range(5)]
    assert await rename("red", "RED") == 5
    async with asyncio.timeout(20):
        await drain(library)
    assert [await tags_of(one) for one in assets] == [["RED"]] * 5


async def test_a_last_full_chunk_leaves_nothing_to_do(rename, make_asset, monkeypatch, library, database):
    monkeypatch.setattr(tags, "CHUNK", 2)
    for _ in range(2):
        await make_asset("red")
    assert await rename("red", "blue") == 2
    await drain(library)
    async with database.read() as session:
        left = select(func.count()).select_from(Task).where(Task.name == "assets.rename_tag")
        assert await session.scalar(left) == 0


async def test_a_tag_under_way_is_not_renamed_again(
    rename, make_asset, make_project, tags_of, library, monkeypatch, write, actor, project
):
    """Else the second would follow the first from asset to asset, and leave both tags."""
    monkeypatch.setattr(tags, "CHUNK", 2)
    assets = [await make_asset("red", "big") for _ in range(5)]
    elsewhere = await make_project()
    await make_asset("blue", project=elsewhere)
    assert await rename("red", "Blue") == 5
    for old, new in (("blue", "red"), ("RED", "green"), ("big", "blue"), ("big", "Red")):
        with pytest.raises(Conflict, match="This tag is still being renamed"):
            await rename(old, new)
    assert await rename("big", "huge") == 5
    assert await write(rename_tag, actor, elsewhere, "blue", "red") == 1
    await drain(library)
    assert await rename("blue", "red") == 5
    await drain(library)
    assert [await tags_of(one) for one in assets] == [["red", "huge"]] * 5


async def test_of_two_renames_at_once_one_is_the_first(
    rename, make_asset, tags_of, library, monkeypatch, another_database, database
):
    monkeypatch.setattr(tags, "CHUNK", 4)
    assets = [await make_asset(tag) for tag in ["red"] * 10 + ["blue"] * 10]
    outcomes = await asyncio.gather(
        rename("red", "blue"), rename("blue", "red", on=another_database), return_exceptions=True
    )
    assert sorted(map(str, outcomes)) == ["10", "This tag is still being renamed. Try again in a moment."]
    await drain(library)
    [left] = {*map(tuple, [await tags_of(one) for one in assets])}
    assert left == (("blue",) if outcomes[0] == 10 else ("red",))
    assert await recount(database) == []


async def test_a_tag_is_looked_up_once_and_not_for_each_asset(rename, make_asset, database, monkeypatch):
    """Nobody else can write to SQLite meanwhile."""
    monkeypatch.setattr(tags, "CHUNK", 2)
    for _ in range(3):
        await make_asset("red")
    asked = []

    def note(_connection, _cursor, statement, parameters, *_):
        if statement.startswith("SELECT") and "asset_tags" in statement:
            asked.append((statement, parameters))

    event.listen(database.write_engine.sync_engine, "before_cursor_execute", note)
    await rename("red", "blue")
    explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
    assert len(asked) == 2
    async with database.read_engine.connect() as connection:
        for statement, parameters in asked:
            plan = str(
                (
                    await connection.exec_driver_sql(
                        f"{explain} {statement.removesuffix('FOR UPDATE OF assets')}", parameters
                    )
                ).all()
            )
            assert "CORRELATED" not in plan
            assert "SubPlan" not in plan


async def test_renames_and_changes_at_once_end_well(
    rename, make_asset, tags_of, write, actor, database, another_database
):
    assets = [await make_asset("a", "b") for _ in range(10)]
    await asyncio.gather(
        rename("a", "b"),
        rename("b", "c", on=another_database),
        *(write(service.update, actor, one, {"tags": ["b", "d"]}) for one in assets),
    )
    for one in assets:
        await tags_of(one)
    assert await recount(database) == []
