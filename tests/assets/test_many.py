"""Many assets in one transaction: those who want the same wait for one another, without PostgreSQL having to end any."""

import asyncio
from contextlib import contextmanager

import pytest
from sqlalchemy import event, func, select

from mediakeep.assets import many, service
from mediakeep.assets.models import Asset, AssetTag, Tag
from mediakeep.assets.recount import recount
from mediakeep.assets.tags import rename_tag
from mediakeep.assets.text import MAX_TAGS
from mediakeep.errors import NotFound
from mediakeep.events.models import Event
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


@pytest.fixture
def statements(database):
    """Collects what the block has the database do."""

    @contextmanager
    def statements():
        seen = []

        def note(connection, cursor, statement, *_):
            seen.append(statement)

        event.listen(database.write_engine.sync_engine, "before_cursor_execute", note)
        yield seen
        event.remove(database.write_engine.sync_engine, "before_cursor_execute", note)

    return statements


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


async def test_each_is_what_was_said_of_it_in_the_order_given(
    create_many, database, read, row_of, public_ids
):
    items = [{"name": f"n{n}", "description": f"d{n}", "tags": [f"T{n}", "all"]} for n in range(MANY)]
    row_ids = await create_many(items)
    ids = await public_ids(row_ids)
    rows = [await row_of(public_id) for public_id in ids]
    assert [{"name": row.name, "description": row.description, "tags": row.tags} for row in rows] == items

    async def linked(session):
        links = await session.execute(select(AssetTag.asset_id, Tag.name).join(Tag))
        return sorted(links.all())

    assert await read(linked) == sorted(
        (id_, tag) for id_, row in zip(row_ids, rows, strict=True) for tag in row.tags
    )
    happened = select(Event.subject, Event.data["name"].as_string()).where(Event.kind == "asset.created")
    told = await read(lambda session: session.execute(happened.order_by(Event.id)))
    assert told.all() == [(id_, row.name) for id_, row in zip(ids, rows, strict=True)]
    assert await recount(database) == []


async def test_tags_change_on_those_that_they_change(
    create_many, public_ids, write, actor, read, row_of, database
):
    tags = [["red"], ["RED", "blue"], [], [f"t{n}" for n in range(MAX_TAGS)]]
    ids = await public_ids(await create_many([{"tags": each} for each in tags]))
    before = [await row_of(one) for one in ids]
    refused = await write(many.change_tags, actor, [*ids, "nowhere"], "add", ["Red"])
    after = [await row_of(one) for one in ids]
    assert [row.tags for row in after] == [["red"], ["RED", "blue"], ["Red"], tags[3]]
    assert [one.updated_at < other.updated_at for one, other in zip(before, after, strict=True)] == [
        0,
        0,
        1,
        0,
    ]
    assert {one: error.detail for one, error in refused.items()} == {
        ids[3]: "An asset has at most 100 tags.",
        "nowhere": "Asset not found",
    }
    updated = select(Event.subject).where(Event.kind == "asset.updated")
    assert list(await read(lambda session: session.scalars(updated))) == [ids[2]]
    assert await recount(database) == []


async def test_many_need_no_more_statements_than_few(create_many, public_ids, write, actor, statements):
    async def count(number):
        with statements() as made:
            row_ids = await create_many([{"tags": ["red"]}] * number)
        ids = await public_ids(row_ids)
        with statements() as changed:
            await write(many.change_tags, actor, ids, "add", ["blue"])
        return len(made), len(changed)

    await count(1)  # brings words and tags
    assert await count(2) == await count(MANY)


async def test_each_of_them_may_bring_as_many_new_tags_as_an_asset_has(create_many, count):
    await create_many([{"tags": [f"{n} {m}" for m in range(100)]} for n in range(50)])
    assert await count(Tag.id) == 5000
