"""Many assets in one transaction: those who want the same wait for one another, without PostgreSQL having to end any."""

import asyncio

import pytest
from sqlalchemy import func, select

from mediakeep.assets import many, service
from mediakeep.assets.models import Asset, Tag
from mediakeep.assets.recount import recount
from mediakeep.assets.tags import rename_tag
from mediakeep.errors import NotFound
from mediakeep.index.models import SearchDocument, Term

MANY = 40


@pytest.fixture
def create_many(write, actor, project):
    async def create_many(items, *, actor=actor, project=project, **options):
        given = [{"name": "a", "description": "", "tags": [], "metadata_": {}} | item for item in items]
        return await write(many.create, actor, project, given, visibility="public", **options)

    return create_many


@pytest.fixture
def public_ids(read):
    async def public_ids(row_ids):
        async def find(session):
            rows = await session.execute(select(Asset.id, Asset.public_id).where(Asset.id.in_(row_ids)))
            found = dict(rows.all())
            return [found[row_id] for row_id in row_ids]

        return await read(find)

    return public_ids


@pytest.fixture
def count(read):
    async def count(what):
        return await read(lambda session: session.scalar(select(func.count(what))))

    return count


def some(letter):
    """So many words of letters."""
    return [f"{letter}word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(MANY)]


async def test_the_same_new_words_in_opposite_orders(
    create_many, stranger, make_project, another_database, count
):
    theirs = await make_project(actor=stranger)
    for letter in "abc":
        items = [{"name": word} for word in some(letter)]
        await asyncio.gather(
            create_many(items),
            create_many(items[::-1], actor=stranger, project=theirs, on=another_database),
        )
    assert await count(Term.id) == 3 * MANY
    assert await count(SearchDocument.asset_id) == await count(Asset.id) == 6 * MANY


async def test_the_same_new_tags_in_opposite_orders(create_many, another_database, count, database):
    for letter in "abc":
        items = [{"tags": [word, "both"]} for word in some(letter)]
        await asyncio.gather(create_many(items), create_many(items[::-1], on=another_database))
    assert await count(Tag.id) == 3 * MANY + 1
    assert await recount(database) == []


async def test_the_same_assets_in_opposite_orders(
    create_many, public_ids, write, actor, another_database, database, project, row_of
):
    ids = await public_ids(await create_many([{"tags": ["red"]}] * MANY))
    for turn in range(3):
        one, other = ["blue", f"x{turn}"], ["green", f"x{turn}"]
        refused = await asyncio.gather(
            write(many.change_tags, actor, ids, "add", one),
            write(many.change_tags, actor, ids[::-1], "add", other[::-1], on=another_database),
            write(rename_tag, actor, project, "red", "Red", on=another_database),
        )
        assert refused[:2] == [{}, {}]
    assert {tag.lower() for tag in (await row_of(ids[0])).tags} == {"red", "blue", "green", "x0", "x1", "x2"}
    assert await recount(database) == []


async def test_assets_that_share_files_are_removed_in_opposite_orders(
    write, actor, make_project, record_file, database, another_database, count, project_row_id, public_ids
):
    projects = [await make_project() for _ in range(2)]

    async def fill(session):
        files = [await record_file(session) for _ in range(MANY)]
        made = []
        for project, shared in zip(projects, (files, files[::-1]), strict=True):
            new = service.NewAsset(
                type="image",
                name="u",
                file_name="",
                visibility="private",
                belonging=service.Belonging(project_id=project),
            )
            made.append([await service.create(session, actor, new, file=file) for file in shared])
        return made

    ids = [await public_ids(row_ids) for row_ids in await write(fill)]

    async def remove(number, on):
        row_id = await project_row_id(projects[number])
        return await write(many.remove, actor, ids[number], project_id=row_id, force=False, on=on)

    assert await asyncio.gather(remove(0, database), remove(1, another_database)) == [{}, {}]
    assert await count(Asset.id) == 0


async def test_an_id_in_capitals_is_the_same_asset(write, actor, make_asset, project, project_row_id):
    asset = await make_asset("red")
    both, row_id = [asset, asset.upper()], await project_row_id(project)
    assert await write(many.change_tags, actor, both, "add", ["blue"]) == {}
    assert await write(many.remove, actor, both, project_id=row_id, force=False) == {}


async def test_a_new_tag_has_the_spelling_that_came_first(create_many, read):
    await create_many([{"tags": ["Red"]}, {"tags": ["RED", "red"]}])
    assert list(await read(lambda session: session.scalars(select(Tag.name)))) == ["Red"]


async def test_nothing_is_created_for_who_is_gone_or_where_nothing_is(create_many, stranger, project, count):
    with pytest.raises(NotFound, match="Project not found"):
        await create_many([{"tags": ["red"]}], actor=stranger)
    assert await count(Tag.id) == 0


async def test_each_of_them_may_bring_as_many_new_tags_as_an_asset_has(create_many, count):
    await create_many([{"tags": [f"{n} {m}" for m in range(100)]} for n in range(50)])
    assert await count(Tag.id) == 5000
