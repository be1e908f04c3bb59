"""Generations: what may become of them, which one an asset shows, and what goes with them."""

import asyncio
import uuid

import pytest
from sqlalchemy import func, select, update

from mediakeep import index
from mediakeep.assets import generations, service
from mediakeep.assets.generations import ShownGeneration
from mediakeep.assets.models import STATUSES, Asset, Generation
from mediakeep.collections import service as collections
from mediakeep.db import now_plus
from mediakeep.errors import BadRequest, Conflict, InvalidInput, NotFound
from mediakeep.events.models import Event
from mediakeep.files.models import File
from mediakeep.index.models import SearchDocument
from mediakeep.tasks.worker import drain

NOBODY = "8c2f1d0e-5a0b-4c53-9f7e-2f3f1d6b7a90"


@pytest.fixture
def key_of(read, actor):
    """The storage key of a generation's image, or ""."""

    async def key_of(generation):
        return (await read(generations.get, actor, generation)).key

    return key_of


@pytest.fixture
def shown_key(database):
    """The storage key of the image with which an asset stands in lists, with its size."""

    async def shown_key(asset):
        async with database.read() as session:
            statement = select(File.key, Asset.size).join(Asset, Asset.file_id == File.id)
            row = (await session.execute(statement.where(Asset.public_id == asset))).one_or_none()
            return row and tuple(row)

    return shown_key


@pytest.fixture
def count_files(database):
    async def count_files():
        async with database.read() as session:
            return await session.scalar(select(func.count()).select_from(File))

    return count_files


@pytest.fixture
def favorite_of(database):
    """The favourites of an asset."""

    async def favorites(asset):
        async with database.read() as session:
            found = select(Generation.public_id).join(Asset).where(Asset.public_id == asset)
            return list(await session.scalars(found.where(Generation.is_favorite)))

    return favorites


async def test_a_new_generation_has_no_image(write, read, actor, asset, row_of):
    given = {"model": "m", "seed": 1, "nested": {"a": [None]}}
    made = await write(generations.create, actor, asset, parameters=given, metadata={"a": 1})
    assert made == ShownGeneration(
        public_id=made.public_id,
        asset_public_id=asset,
        status="pending",
        is_favorite=False,
        parameters=given,
        metadata={"a": 1},
        created_at=made.created_at,
        updated_at=made.updated_at,
        key="",
        size=0,
        width=0,
        height=0,
        format="",
        is_public=True,
    )
    assert await read(generations.get, actor, made.public_id) == made
    assert (await row_of(asset)).generation_count == 1
    assert (await row_of(asset)).file_id is None


async def test_an_upload_completes_a_generation(generate, upload, read, actor, asset, shown_key):
    generation = await generate("generating")
    shown = await upload(generation, size=7)
    assert (shown.status, shown.size, shown.width, shown.height, shown.format) == (
        "completed",
        7,
        4,
        3,
        "png",
    )
    assert await read(generations.get, actor, generation) == shown
    assert await shown_key(asset) == (shown.key, 7)


# What a generation that is in the row may become, by whether it has an image.
OPEN = {"generating", "failed", "cancelled"}
MOVES = {
    ("pending", False): {"pending", *OPEN},
    ("pending", True): {"pending", "completed", *OPEN},
    ("generating", False): OPEN,
    ("generating", True): {"completed", *OPEN},
    ("completed", True): {"completed"},
    ("failed", False): {"failed"},
    ("failed", True): {"failed"},
    ("cancelled", False): {"cancelled"},
    ("cancelled", True): {"cancelled"},
}


@pytest.mark.parametrize(("before", "has_image"), MOVES)
async def test_a_status_moves_forward_only(
    before, has_image, asset, write, actor, read, record_file, database
):
    async def make(session, status):
        file = await record_file(session) if has_image else None
        asset_id = await session.scalar(select(Asset.id).where(Asset.public_id == asset))
        row = Generation(
            public_id=str(uuid.uuid4()),
            asset_id=asset_id,
            status=status,
            file_id=file.id if file else None,
        )
        session.add(row)
        await session.flush()
        await session.execute(
            update(Asset).where(Asset.id == asset_id).values(generation_count=Asset.generation_count + 1)
        )
        return row.public_id

    moved = set()
    for status in STATUSES:
        generation = await write(make, before)
        try:
            await write(generations.change, actor, generation, {"status": status})
        except Conflict:
            assert (await read(generations.get, actor, generation)).status == before
        else:
            assert (await read(generations.get, actor, generation)).status == status
            moved.add(status)
    assert moved == MOVES[before, has_image]


async def test_a_refused_move_says_why(generate, write, actor):
    generation = await generate()
    with pytest.raises(Conflict, match=r"A generation needs an image to be completed\."):
        await write(generations.change, actor, generation, {"status": "completed"})
    await write(generations.change, actor, generation, {"status": "failed"})
    with pytest.raises(Conflict, match=r"A generation that is failed cannot become pending\."):
        await write(generations.change, actor, generation, {"status": "pending"})


@pytest.mark.parametrize("status", ["generating", "failed", "cancelled"])
async def test_a_generation_may_begin_anywhere_but_with_an_image(status, write, actor, asset):
    made = await write(generations.create, actor, asset, parameters={}, status=status)
    assert made.status == status
    with pytest.raises(Conflict):
        await write(generations.create, actor, asset, parameters={}, status="completed")
    with pytest.raises(InvalidInput):
        await write(generations.create, actor, asset, parameters={}, status="finished")


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_a_generation_that_has_ended_takes_no_upload(
    status, generate, upload, count_files, write, actor
):
    generation = await generate(status)
    before = await count_files()
    with pytest.raises(Conflict, match=r"A generation that has ended takes no image\."):
        await upload(generation)
    for check in (generations.check_takes_image, generations.lock_for_image):
        with pytest.raises(Conflict, match=r"A generation that has ended takes no image\."):
            await write(check, actor, generation)
    assert await count_files() == before


async def test_whether_an_image_is_taken_is_told_while_somebody_changes_the_asset(
    generate, actor, database, another_database
):
    generation = await generate()
    async with another_database.write() as other:
        await generations.lock_for_image(other, actor, generation)
        async with asyncio.timeout(5), database.read() as session:
            await generations.check_takes_image(session, actor, generation)


async def test_an_image_path_completes_in_the_same_change(generate, write, actor, key_of, shown_key, asset):
    key = await key_of(await generate("completed", size=9))
    second = await generate()
    changes = {"image_path": key, "status": "completed", "is_favorite": True, "metadata": {"b": 2}}
    shown = await write(generations.change, actor, second, changes)
    assert (shown.key, shown.size, shown.status, shown.metadata) == (key, 9, "completed", {"b": 2})
    assert shown.is_favorite


async def test_an_image_path_alone_leaves_the_status(
    generate, write, actor, key_of, asset, shown_key, upload_asset
):
    async def key_of_asset(public_id):
        return (await shown_key(public_id))[0]

    generation = await generate()
    first = await key_of_asset(await upload_asset())
    shown = await write(generations.change, actor, generation, {"image_path": first})
    assert (shown.key, shown.status) == (first, "pending")
    assert await shown_key(asset) is None
    second = await key_of_asset(await upload_asset())
    assert (await write(generations.change, actor, generation, {"image_path": second})).key == second
    assert (await write(generations.change, actor, generation, {"image_path": ""})).key == ""


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "files/aa/none", "../files/aa/1", "files/aa/\0", "é", "x" * 300, "\ud800"]
)
async def test_an_image_path_that_names_nothing_is_refused_before_the_move(path, generate, write, actor):
    generation = await generate("failed")
    with pytest.raises(BadRequest, match=r"image_path names no image of yours\."):
        await write(generations.change, actor, generation, {"image_path": path, "status": "pending"})


async def test_an_image_path_names_only_images_of_ones_own(
    generate, write, actor, stranger, admin, upload_asset, make_project, shown_key, record_file, asset
):
    theirs = await make_project(actor=stranger)
    key = (await shown_key(await upload_asset(project=theirs, actor=stranger)))[0]
    generation = await generate()
    with pytest.raises(BadRequest):
        await write(generations.change, actor, generation, {"image_path": key})

    async def unused(session):
        return (await session.get(File, (await record_file(session)).id)).key

    with pytest.raises(BadRequest):
        await write(generations.change, actor, generation, {"image_path": await write(unused)})

    async def film(session):
        file = await record_file(session, media_type="video/mp4")
        new = service.NewAsset(type="video", name="v", file_name="v", visibility="public")
        await service.create(session, actor, new, file=file)
        return (await session.get(File, file.id)).key

    with pytest.raises(BadRequest):
        await write(generations.change, actor, generation, {"image_path": await write(film)})

    project = await make_project(actor=admin)

    async def of_admin(session):
        return await service.create_empty(
            session, admin, project, name="a", description="", tags=[], metadata={}, visibility="public"
        )

    async def public_id(session, asset_id):
        return (await session.get(Asset, asset_id)).public_id

    of_admins = await write(public_id, await write(of_admin))
    made = await write(generations.create, admin, of_admins, parameters={})
    shown = await write(generations.change, admin, made.public_id, {"image_path": key})
    assert shown.key == key


async def test_the_image_of_a_generation_that_has_ended_stays(generate, write, actor, key_of):
    first, second = await generate("completed"), await generate("completed")
    key = await key_of(first)
    for path in ("", await key_of(second)):
        with pytest.raises(Conflict):
            await write(generations.change, actor, first, {"image_path": path})
    changes = {"image_path": key, "status": "completed", "metadata": None}
    assert (await write(generations.change, actor, first, changes)).key == key


@pytest.mark.parametrize("verb", ["get", "change", "set_favorite", "remove", "attach"])
async def test_somebody_elses_generation_is_none(verb, generate, write, stranger, record_file):
    generation = await generate("completed")
    named = {"change": ({},), "attach": (None,)}
    options = {"favorite": True} if verb == "set_favorite" else {}
    for actor, public_id in ((stranger, generation), (stranger, NOBODY), (stranger, "x\0")):
        with pytest.raises(NotFound, match="Generation not found"):
            await write(getattr(generations, verb), actor, public_id, *named.get(verb, ()), **options)


async def test_somebody_elses_asset_is_none(write, read, actor, stranger, asset):
    for who, public_id in ((stranger, asset), (actor, NOBODY), (actor, "1")):
        with pytest.raises(NotFound, match="Asset not found"):
            await write(generations.create, who, public_id, parameters={})
        with pytest.raises(NotFound, match="Asset not found"):
            await read(generations.list_page, who, public_id, limit=1, offset=0)


async def test_an_admin_reads_and_deletes_anything_and_changes_nothing(
    generate, write, read, admin, asset, row_of
):
    generation = await generate("completed")
    assert (await read(generations.get, admin, generation)).public_id == generation
    assert (await read(generations.list_page, admin, asset, limit=9, offset=0))[1] == 1
    with pytest.raises(NotFound):
        await write(generations.change, admin, generation, {})
    with pytest.raises(NotFound):
        await write(generations.create, admin, asset, parameters={})
    await write(generations.remove, admin, generation)
    assert (await row_of(asset)).generation_count == 0


@pytest.mark.parametrize("kind", ["video", "no project"])
async def test_only_images_of_projects_have_generations(kind, upload_asset, write, actor, project):
    if kind == "video":
        asset = await upload_asset(type_="video")
    else:
        asset = await upload_asset(project=None)
    with pytest.raises(NotFound, match="Asset not found"):
        await write(generations.create, actor, asset, parameters={})


async def test_nothing_is_left_of_a_project_that_is_deleted(generate, write, read, actor, project, asset):
    generation = await generate()
    await write(collections.remove, actor, "project_id", project)
    with pytest.raises(NotFound):
        await read(generations.get, actor, generation)
    with pytest.raises(NotFound):
        await write(generations.create, actor, asset, parameters={})


async def test_lists_are_newest_first_and_narrowed(generate, write, read, actor, asset):
    ids = [await generate(status) for status in ("pending", "failed", "pending", "completed")]
    await write(generations.set_favorite, actor, ids[1], favorite=True)

    async def listed(**filters):
        options = {"limit": 10, "offset": 0} | filters
        found, total = await read(generations.list_page, actor, asset, **options)
        return [ids.index(one.public_id) for one in found], total

    assert await listed() == ([3, 2, 1, 0], 4)
    assert await listed(limit=2, offset=1) == ([2, 1], 4)
    assert await listed(offset=9) == ([], 4)
    assert await listed(status="pending") == ([2, 0], 2)
    assert await listed(is_favorite=True) == ([1], 1)
    assert await listed(is_favorite=False, limit=1) == ([3], 3)
    assert await listed(status="cancelled", is_favorite=True) == ([], 0)


async def test_all_generations_of_an_asset_come_in_chunks(generate, make_asset, row_of, asset, database):
    made = [await generate() for _ in range(5)][::-1]
    await generate(of=await make_asset())

    async def chunks(of):
        found = generations.iter_of(database, (await row_of(of)).id)
        return [[one.public_id for one in chunk] async for chunk in found]

    assert await chunks(asset) == [made]
    assert await chunks(await make_asset()) == [[]]
    for size, sizes in ((2, [2, 2, 1]), (4, [4, 1]), (5, [5, 0]), (6, [5])):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(generations, "CHUNK", size)
            found = await chunks(asset)
        assert [len(chunk) for chunk in found] == sizes
        assert [one for chunk in found for one in chunk] == made


async def test_what_comes_and_goes_meanwhile_does_not_shift_the_others(
    generate, write, actor, row_of, asset, database, monkeypatch
):
    monkeypatch.setattr(generations, "CHUNK", 2)
    made = [await generate() for _ in range(6)][::-1]
    found = []
    async for chunk in generations.iter_of(database, (await row_of(asset)).id):
        if not found:
            await generate()
            await write(generations.remove, actor, made[1])
            await write(generations.remove, actor, made[4])
        found += [one.public_id for one in chunk]
    assert found == [made[0], made[1], made[2], made[3], made[5]]


async def test_one_favourite_unsets_the_other(generate, write, actor, asset, favorite_of):
    first, second = await generate(), await generate("completed")
    await write(generations.set_favorite, actor, first, favorite=True)
    assert await favorite_of(asset) == [first]
    assert (await write(generations.change, actor, second, {"is_favorite": True})).is_favorite
    assert await favorite_of(asset) == [second]
    await write(generations.set_favorite, actor, second, favorite=True)
    await write(generations.set_favorite, actor, first, favorite=False)
    assert await favorite_of(asset) == [second]
    await write(generations.set_favorite, actor, second, favorite=False)
    assert await favorite_of(asset) == []


async def test_different_favourites_at_once_leave_one(
    generate, write, actor, asset, favorite_of, database, another_database
):
    ids = [await generate("completed") for _ in range(6)]
    for _ in range(5):
        await asyncio.gather(
            *(
                write(generations.set_favorite, actor, one, favorite=True, on=on)
                for one, on in zip(ids, [database, another_database] * 3, strict=True)
            )
        )
        (favorite,) = await favorite_of(asset)
        assert favorite in ids


async def test_an_asset_shows_its_favourite_else_the_first_completed_else_its_own_file(
    upload_asset, generate, write, actor, key_of, shown_key
):
    asset = await upload_asset(size=5)
    own = await shown_key(asset)
    pending = await generate(of=asset)
    await write(generations.set_favorite, actor, pending, favorite=True)
    assert await shown_key(asset) == own
    first = await generate("completed", of=asset, size=1)
    second = await generate("completed", of=asset, size=2)
    assert await shown_key(asset) == (await key_of(first), 1)
    await write(generations.set_favorite, actor, second, favorite=True)
    assert await shown_key(asset) == (await key_of(second), 2)
    await write(generations.set_favorite, actor, second, favorite=False)
    assert await shown_key(asset) == (await key_of(first), 1)
    await write(generations.remove, actor, first)
    assert await shown_key(asset) == (await key_of(second), 2)
    await write(generations.remove, actor, second)
    assert await shown_key(asset) == own


async def test_an_image_of_a_failed_generation_is_not_shown(
    generate, write, actor, key_of, shown_key, upload_asset
):
    asset = await upload_asset()
    own = await shown_key(asset)
    generation = await generate(of=asset)
    await write(
        generations.change,
        actor,
        generation,
        {"image_path": own[0], "status": "failed", "is_favorite": True},
    )
    assert await shown_key(asset) == own


async def test_removing_a_generation_releases_its_image(generate, write, actor, asset, count_files, row_of):
    first, second = await generate("completed"), await generate("completed")
    assert await count_files() == 2
    await write(generations.remove, actor, first)
    assert await count_files() == 1
    await write(generations.remove, actor, second)
    assert await count_files() == 0
    row = await row_of(asset)
    assert (row.file_id, row.size, row.generation_count) == (None, 0, 0)
    with pytest.raises(NotFound):
        await write(generations.remove, actor, second)


async def test_an_image_that_something_else_shares_stays(generate, write, actor, key_of, count_files):
    first, second = await generate("completed"), await generate()
    await write(generations.change, actor, second, {"image_path": await key_of(first)})
    await write(generations.remove, actor, first)
    assert await count_files() == 1
    await write(generations.change, actor, second, {"image_path": None})
    assert await count_files() == 0


async def test_an_own_file_stays_while_another_is_shown(upload_asset, generate, write, actor, count_files):
    asset = await upload_asset()
    generation = await generate("completed", of=asset)
    assert await count_files() == 2
    await write(generations.remove, actor, generation)
    assert await count_files() == 1


async def test_an_own_file_that_a_server_of_the_version_before_wrote_stays(
    upload_asset, generate, write, actor, change, shown_key, row_of
):
    asset = await upload_asset()
    own = await shown_key(asset)
    await change(update(Asset).where(Asset.public_id == asset).values(own_file_id=None))
    generation = await generate("completed", of=asset)
    await write(generations.remove, actor, generation)
    assert await shown_key(asset) == own
    assert (await row_of(asset)).own_file_id is not None


async def test_removing_an_asset_takes_generations_and_all_files(
    upload_asset, generate, write, actor, count_files, database
):
    asset = await upload_asset()
    for status in ("completed", "completed", "failed"):
        await generate(status, of=asset)
    assert await count_files() == 3
    await write(service.remove, actor, asset)
    assert await count_files() == 0
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(Generation)) == 0


async def test_removing_a_project_takes_generations_and_all_files(
    library, upload_asset, generate, write, actor, project, count_files, make_asset
):
    for _ in range(3):
        await generate("completed", of=await upload_asset())
        await generate("completed", of=await make_asset())
    await write(collections.remove, actor, "project_id", project)
    await drain(library)
    assert await count_files() == 0


async def test_what_happens_to_generations_is_told(generate, write, actor, asset, database):
    generation = await generate("completed")
    await write(generations.remove, actor, generation)
    async with database.read() as session:
        told = select(Event.kind, Event.subject, Event.owner_id, Event.data).order_by(Event.id)
        found = [
            tuple(row) for row in await session.execute(told.where(Event.kind.startswith("generation.")))
        ]
    about = [
        (kind, {"asset_id": asset, "status": status})
        for kind, status in (
            ("generation.created", "pending"),
            ("generation.updated", "completed"),
            ("generation.deleted", "completed"),
        )
    ]
    assert found == [(kind, generation, actor.user_id, data) for kind, data in about]


async def test_a_change_of_what_is_shown_is_a_change_of_the_asset(
    generate, write, actor, asset, row_of, change, upload
):
    async def is_touched(doing):
        await change(update(Asset).values(updated_at=now_plus(-1000)))
        before = (await row_of(asset)).updated_at
        await doing
        return (await row_of(asset)).updated_at > before

    generation = await generate()
    assert await is_touched(upload(generation))
    assert await is_touched(write(generations.set_favorite, actor, generation, favorite=True))
    assert not await is_touched(write(generations.set_favorite, actor, generation, favorite=True))
    assert not await is_touched(write(generations.change, actor, generation, {"metadata": {"a": 1}}))
    assert await is_touched(write(generations.remove, actor, generation))


@pytest.mark.parametrize(
    ("model", "kept"), [("m" * 300, "m" * 255), (1, ""), (None, ""), ({"a": 1}, ""), ("é", "é")]
)
async def test_any_model_may_be_named(model, kept, write, actor, asset, database):
    made = await write(generations.create, actor, asset, parameters={"model": model})
    assert made.parameters == {"model": model}
    async with database.read() as session:
        assert await session.scalar(select(Generation.model)) == kept


@pytest.mark.parametrize("bad", [{"a": "x" * 70_000}, {"a": "\0"}, {"a": float("nan")}, {"model": "\ud800"}])
async def test_parameters_and_metadata_are_bounded(bad, write, actor, asset, generate):
    with pytest.raises(InvalidInput, match="parameters"):
        await write(generations.create, actor, asset, parameters=bad)
    with pytest.raises(InvalidInput, match="metadata"):
        await write(generations.create, actor, asset, parameters={}, metadata=bad)
    with pytest.raises(InvalidInput, match="metadata"):
        await write(generations.change, actor, await generate(), {"metadata": bad})


PROMPTS = [
    ({"positive_prompt": "cat", "prompt": "dog"}, "cat"),
    ({"positive_prompt": "", "prompt": "dog"}, "dog"),
    ({"positive_prompt": None, "prompt": "dog"}, "dog"),
    ({"positive_prompt": True, "prompt": "dog"}, "dog"),
    ({"positive_prompt": ["cat"], "prompt": "dog"}, "dog"),
    ({"positive_prompt": "true", "prompt": "dog"}, "true"),
    ({"positive_prompt": '"big" %cat', "prompt": "dog"}, "big cat"),
    ({"prompt": True}, ""),
    ({"prompt": 12}, ""),
    ({"prompt": {"a": "zebra"}}, ""),
    ({"positive_prompt": "", "prompt": ""}, ""),
    ({}, ""),
]


@pytest.mark.parametrize(("parameters", "words"), PROMPTS, ids=range(len(PROMPTS)))
async def test_prompts_are_texts_of_which_the_first_that_is_not_empty_counts(
    parameters, words, write, actor, asset, row_of, database
):
    await write(generations.create, actor, asset, parameters=parameters)
    async with database.read() as session:
        document = await session.get(SearchDocument, (await row_of(asset)).id)
    assert document.prompts == words


async def test_no_more_of_many_prompts_is_looked_at_than_counts(
    write, actor, asset, row_of, database, monkeypatch
):
    given = []
    put_all = index.put_all

    async def put_noted(session, documents):
        given.extend(documents)
        await put_all(session, documents)

    monkeypatch.setattr(index, "put_all", put_noted)
    for number in range(6):
        prompt = f"word{number} " + "東" * 9000
        await write(generations.create, actor, asset, parameters={"prompt": prompt})
    assert len(given[-1].prompts) == 40_000
    async with database.read() as session:
        document = await session.get(SearchDocument, (await row_of(asset)).id)
    assert document.prompts.startswith("word5 ")  # the newest first


async def test_uploads_removals_and_favourites_at_once_end_well(
    generate, upload, write, actor, asset, database, another_database, row_of, favorite_of, count_files
):
    ids = [await generate() for _ in range(8)]

    async def treat(number, one):
        on = (database, another_database)[number % 2]
        await upload(one)
        await write(generations.set_favorite, actor, one, favorite=True, on=on)
        if number % 4:
            await write(generations.remove, actor, one, on=on)

    await asyncio.gather(*(treat(number, one) for number, one in enumerate(ids)))
    row = await row_of(asset)
    assert row.generation_count == 2
    assert await count_files() == 2
    assert len(await favorite_of(asset)) <= 1
    assert row.file_id is not None
