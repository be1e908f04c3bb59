"""Counters of projects: whatever happens, they say what a count of everything would."""

import asyncio
import random
import sys
from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, event, func, select, update

from mediakeep.assets import counters, generations, service
from mediakeep.assets import recount as recounting
from mediakeep.assets.models import STATUSES, Asset, Generation, OwnerCounter, ProjectCounter
from mediakeep.assets.recount import recount
from mediakeep.assets.tags import rename_tag
from mediakeep.cli import main
from mediakeep.collections import service as collections
from mediakeep.db import now_plus
from mediakeep.errors import Conflict
from mediakeep.files.models import File
from mediakeep.tasks.worker import drain
from tests.conftest import SECRET


@pytest.fixture
def counted(database, project_row_id):
    """A project's counters, those that are not 0, as {(dim, val): n or (n, bytes)}."""

    async def counted(project):
        async with database.read() as session:
            rows = await session.scalars(
                select(ProjectCounter).where(ProjectCounter.project_id == await project_row_id(project))
            )
            return {
                (row.dim, row.val): (row.n, row.bytes) if row.dim == "files" else row.n
                for row in rows
                if row.n or row.bytes
            }

    return counted


@pytest.fixture
def today(database):
    async def today():
        async with database.read() as session:
            return (await session.execute(select(now_plus()))).scalar_one().date().isoformat()

    return today


async def test_assets_generations_and_their_files_are_counted(
    project, upload_asset, make_asset, generate_for, counted, today
):
    await upload_asset("Red", "blue", size=10)
    asset = await make_asset("red")
    await generate_for(asset, "completed", model="a", size=5)
    await generate_for(asset, "failed", model="a")
    await generate_for(asset, "pending", model="")
    day = await today()
    assert await counted(project) == {
        ("assets", ""): 2,
        ("generated", ""): 1,
        ("tag", "red"): 2,
        ("tag", "blue"): 1,
        ("files", ""): (2, 15),
        ("status", "completed"): 1,
        ("status", "failed"): 1,
        ("status", "pending"): 1,
        ("model", "a"): 2,
        ("day", day): 3,
        ("day_completed", day): 1,
        ("day_failed", day): 1,
    }


async def test_what_belongs_to_no_project_is_not_counted(upload_asset, database):
    await upload_asset("red", project=None)
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(ProjectCounter)) == 0


async def test_an_asset_takes_what_it_counts_to_another_project(
    project, make_project, upload_asset, generate_for, write, actor, counted
):
    other = await make_project()
    asset = await upload_asset("red", size=10)
    await generate_for(asset, "completed", size=5)
    before = await counted(project)
    await write(service.update, actor, asset, {"project_id": other})
    assert await counted(project) == {}
    assert await counted(other) == before
    await write(service.update, actor, asset, {"project_id": project, "tags": ["blue"]})
    assert await counted(other) == {}
    assert await counted(project) == {key: n for key, n in before.items() if key != ("tag", "red")} | {
        ("tag", "blue"): 1
    }


async def test_a_day_is_the_one_of_its_creation_in_utc(
    project, asset, generate, write, actor, change, counted
):
    generation = await generate("pending")
    await change(update(Generation).values(created_at=datetime(2026, 3, 4, 0, 30, tzinfo=UTC)))
    await write(generations.change, actor, generation, {"status": "failed"})
    assert (await counted(project))["day_failed", "2026-03-04"] == 1
    await write(service.remove, actor, asset)
    assert ("day_failed", "2026-03-04") not in await counted(project)


async def test_what_is_rolled_back_is_not_counted(project, asset, generate, write, actor, counted):
    before = await counted(project)
    generation = await generate("pending")
    after = await counted(project)

    async def fail(session):
        await generations.create(session, actor, asset, parameters={})
        await generations.change(session, actor, generation, {"status": "failed"})
        await generations.change(session, actor, generation, {"status": "pending"})

    with pytest.raises(Conflict):
        await write(fail)
    assert before != after == await counted(project)


async def test_counters_are_written_once_and_last(project, actor, database):
    given = {"name": "n", "description": "", "tags": ["red"], "metadata": {}, "visibility": "public"}
    async with database.write() as session:
        for _ in range(3):
            await service.create_empty(session, actor, project, **given)
        assert await session.scalar(select(func.count()).select_from(ProjectCounter)) == 0
    async with database.read() as session:
        assert list(await session.scalars(select(ProjectCounter.n))) == [3, 3]


async def test_a_savepoint_is_refused(project, asset, actor, database):
    with pytest.raises(AssertionError):
        async with database.write() as session, session.begin_nested():
            await generations.create(session, actor, asset, parameters={})


@pytest.mark.parametrize("there", ["no row", "a row of 0"])
async def test_a_counter_does_not_fall_below_0(there, project, upload_asset, write, actor, change, counted):
    asset = await upload_asset("red")
    await change(delete(ProjectCounter) if there == "no row" else update(ProjectCounter).values(n=0, bytes=0))
    await write(service.remove, actor, asset)
    assert await counted(project) == {}


async def test_counters_are_written_in_the_order_of_their_keys(
    project, make_project, make_asset, write, actor, database
):
    projects = [project, await make_project()]
    assets = [await make_asset("b", "a", "c", project=one) for one in projects]
    written = []

    def see(_connection, statement, many, *_):
        if getattr(statement, "table", None) is ProjectCounter.__table__:
            written.extend((one["new_project_id"], one["new_dim"], one["new_val"]) for one in many)

    event.listen(database.write_engine.sync_engine, "before_execute", see)

    async def swap(session):
        for asset, other in zip(reversed(assets), projects, strict=True):
            await service.update(session, actor, asset, {"project_id": other, "tags": ["d", "c", "0"]})

    await write(swap)
    assert len(written) == 10
    assert written == sorted(written)


async def test_many_at_once_count_right_and_nobody_waits_in_a_circle(
    database, another_database, project, make_project, upload_asset, generate, write, actor
):
    other = await make_project()
    assets = [await upload_asset("a", "b", project=one) for one in (project, other) * 4]

    async def treat(number, asset):
        on = (database, another_database)[number % 2]
        made = await write(generations.create, actor, asset, parameters={"model": "m"}, on=on)
        await write(service.update, actor, asset, {"project_id": (project, other)[number % 3 % 2]}, on=on)
        await write(
            service.update, actor, asset, {"tags": ["b", "a", "c"][:: -1 if number % 2 else 1]}, on=on
        )
        await write(generations.change, actor, made.public_id, {"status": "failed"}, on=on)
        if number % 3 == 0:
            await write(service.remove, actor, asset, on=on)

    await asyncio.gather(*(treat(number, asset) for number, asset in enumerate(assets)))
    assert await recount(database) == []


class Walk:
    """Operations at random, as a library sees them over years."""

    def __init__(self, seed, *, write, database, actor, record_file, projects):
        self.random = random.Random(seed)
        self.write = write
        self.database = database
        self.actor = actor
        self.record_file = record_file
        self.projects = projects
        self.done = set()

    async def step(self):
        name = self.random.choice(
            ["create", "create", "upload", "retag", "move", "remove", "rename"]
            + ["begin"] * 4
            + ["advance"] * 6
            + ["attach"] * 4
            + ["point", "favorite", "favorite", "discard"]
        )
        try:
            await getattr(self, name)()
        except Conflict:
            return
        self.done.add(name)

    def _tags(self):
        return self.random.sample(["red", "Blue", "GREEN", "straße", "x"], self.random.randint(0, 3))

    async def _some(self, column, *conditions):
        async with self.database.read() as session:
            found = list(await session.scalars(select(column).where(*conditions).order_by(column)))
        return self.random.choice(found) if found else None

    async def create(self):
        await self.write(
            service.create_empty,
            self.actor,
            self.random.choice(self.projects),
            name="n",
            description="",
            tags=self._tags(),
            metadata={},
            visibility="public",
        )

    async def upload(self):
        new = service.NewAsset(
            type="image",
            name="n",
            file_name="n",
            visibility="public",
            tags=self._tags(),
            belonging=collections.Belonging(project_id=self.random.choice([*self.projects, None])),
        )

        async def upload(session):
            file = await self.record_file(session, self.random.randint(1, 1000))
            await service.create(session, self.actor, new, file=file)

        await self.write(upload)

    async def retag(self):
        if asset := await self._some(Asset.public_id):
            await self.write(service.update, self.actor, asset, {"tags": self._tags(), "name": "m"})

    async def move(self):
        if asset := await self._some(Asset.public_id):
            project = self.random.choice([*self.projects, None])
            await self.write(service.update, self.actor, asset, {"project_id": project})

    async def remove(self):
        if asset := await self._some(Asset.public_id):
            await self.write(service.remove, self.actor, asset)

    async def rename(self):
        old, new = self.random.sample(["red", "blue", "green", "STRASSE", "Y"], 2)
        await self.write(rename_tag, self.actor, self.random.choice(self.projects), old, new)

    async def begin(self):
        if asset := await self._some(Asset.public_id, Asset.project_id.is_not(None)):
            model = self.random.choice(["a", "b", None])
            status = self.random.choice(STATUSES)
            await self.write(
                generations.create, self.actor, asset, parameters={"model": model}, status=status
            )

    async def advance(self):
        if generation := await self._some(Generation.public_id):
            changes = {"status": self.random.choice(STATUSES), "is_favorite": self.random.random() < 0.3}
            await self.write(generations.change, self.actor, generation, changes)

    async def attach(self):
        if generation := await self._some(Generation.public_id):

            async def attach(session):
                file = await self.record_file(session, self.random.randint(1, 1000))
                await generations.attach(session, self.actor, generation, file)

            await self.write(attach)

    async def point(self):
        key = await self._some(File.key)
        if key and (generation := await self._some(Generation.public_id)):
            path = self.random.choice([key, ""])
            await self.write(generations.change, self.actor, generation, {"image_path": path})

    async def favorite(self):
        if generation := await self._some(Generation.public_id):
            favorite = self.random.random() < 0.7
            await self.write(generations.set_favorite, self.actor, generation, favorite=favorite)

    async def discard(self):
        if generation := await self._some(Generation.public_id):
            await self.write(generations.remove, self.actor, generation)


@pytest.mark.parametrize("seed", range(3))
async def test_after_any_walk_everything_is_as_a_count_says(
    seed, write, database, actor, record_file, make_project, library
):
    projects = [await make_project() for _ in range(3)]
    walk = Walk(seed, write=write, database=database, actor=actor, record_file=record_file, projects=projects)
    for _ in range(150):
        await walk.step()
    assert len(walk.done) == 12
    assert await recount(database) == []
    await check_all(database)
    for project in projects:
        await write(collections.remove, actor, "project_id", project)
    await drain(library)
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(ProjectCounter)) == 0
    await check_all(database)


async def check_all(database):
    """Each asset shows what it has to, and each file is one that something refers to."""
    async with database.read() as session:
        used = set()
        for asset in list(await session.scalars(select(Asset))):
            rows = await session.scalars(select(Generation).where(Generation.asset_id == asset.id))
            made = sorted(rows, key=lambda one: (not one.is_favorite, one.created_at, one.id))
            completed = [one.file_id for one in made if one.status == "completed"]
            assert asset.file_id == ([*completed, asset.own_file_id][0])
            assert asset.generation_count == len(made)
            assert sum(one.is_favorite for one in made) <= 1
            size = await session.scalar(select(File.size).where(File.id == asset.file_id))
            assert asset.size == (size or 0)
            used |= {asset.own_file_id, *(one.file_id for one in made)} - {None}
        assert set(await session.scalars(select(File.id))) == used


async def test_a_recount_finds_each_difference_and_corrects_it(
    project, upload_asset, generate_for, change, database, counted, project_row_id
):
    asset = await upload_asset("Red", size=10)
    await generate_for(asset, "completed", model="a", size=5)
    right = await counted(project)
    mine = ProjectCounter.project_id == await project_row_id(project)
    await change(update(ProjectCounter).where(ProjectCounter.val == "completed", mine).values(n=7))
    await change(update(ProjectCounter).where(ProjectCounter.dim == "files", mine).values(bytes=16))
    await change(delete(ProjectCounter).where(ProjectCounter.dim == "tag", mine))

    async def differing(**options):
        return {
            (one.dim, one.val, one.counted, one.counted_bytes, one.stored, one.stored_bytes)
            for one in await recount(database, await project_row_id(project), **options)
        }

    wrong = {
        ("status", "completed", 1, 0, 7, 0),
        ("files", "", 2, 15, 2, 16),
        ("tag", "red", 1, 0, 0, 0),
    }
    assert await differing() == wrong
    assert await differing(fix=True) == wrong
    assert await differing() == set()
    assert await counted(project) == right
    async with database.read() as session:
        name = select(ProjectCounter.name).where(ProjectCounter.dim == "tag")
        assert await session.scalar(name) == "Red"


async def test_a_recount_of_one_project_looks_at_no_other(
    project, make_project, upload_asset, change, database, project_row_id
):
    other = await make_project()
    await upload_asset(project=other)
    await change(delete(ProjectCounter))
    assert await recount(database, await project_row_id(project)) == []
    assert len(await recount(database)) == 2


async def test_recounts_and_changes_at_once_end_well(
    database, another_database, project, upload_asset, change, write, actor
):
    assets = [await upload_asset("red", "blue") for _ in range(12)]
    await change(update(ProjectCounter).values(n=ProjectCounter.n + 100))

    async def keep_counting(on):
        for _ in range(3):
            await recount(on, fix=True)

    await asyncio.gather(
        keep_counting(database),
        keep_counting(another_database),
        *(write(service.remove, actor, one) for one in assets[:6]),
        *(write(service.update, actor, one, {"tags": ["red"]}) for one in assets[6:]),
    )
    assert await recount(database) == []


async def test_two_who_correct_at_once_do_not_both_add_what_is_missing(
    database, another_database, project, upload_asset, change, project_row_id
):
    await upload_asset("red")
    await change(update(ProjectCounter).values(n=100))
    row_id, corrected = await project_row_id(project), asyncio.Event()

    async def first():
        async with database.write() as session:
            await recounting._correct(session, "project", row_id, project)
            corrected.set()
            await asyncio.sleep(0.2)

    async def second():
        await corrected.wait()
        async with another_database.write() as session:
            return await recounting._correct(session, "project", row_id, project)

    assert (await asyncio.gather(first(), second()))[1] == []
    assert await recount(database) == []


@pytest.fixture
def command(settings, monkeypatch, capsys):
    """Runs `mediakeep recount …`; returns its exit code and what it printed."""
    monkeypatch.setenv("MEDIAKEEP_DATA", str(settings.data))
    monkeypatch.setenv("MEDIAKEEP_SECRET_KEY", SECRET)
    if settings.database_url:
        monkeypatch.setenv("MEDIAKEEP_DATABASE_URL", settings.database_url)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["mediakeep", "recount", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0, capsys.readouterr().out.splitlines()

    return lambda *arguments: asyncio.to_thread(run, *arguments)


async def test_the_command_says_what_differs_and_corrects_it(command, project, upload_asset, change):
    await upload_asset("Red", size=10)
    assert await command() == (0, ["Nothing is wrong."])
    await change(update(ProjectCounter).values(n=3))
    lines = [
        f"project {project}, assets: 3, and there are 1",
        f"project {project}, files: 3 of 10 bytes, and there are 1 of 10",
        f"project {project}, tag red: 3, and there are 1",
    ]
    assert await command() == (1, [*lines, "3 counters differ."])
    assert await command("--fix") == (0, [*(f"{line} (fixed)" for line in lines), "3 counters differ."])
    assert await command() == (0, ["Nothing is wrong."])


async def test_an_owners_counters_tell_what_lists_have(
    project, actor, upload_asset, make_asset, generate_for, database, owner
):
    red = await upload_asset("Red", "blue", size=10)
    await upload_asset("red", size=5, project=None)
    empty = await make_asset("red")
    async with database.write() as session:
        await service.remove(session, actor, red)

    async def counted():
        async with database.read() as session:
            rows = await session.scalars(select(OwnerCounter).where(OwnerCounter.owner_id == owner))
            found = {}
            for row in rows:
                n, size = found.get((row.dim, row.val), (0, 0))
                found[row.dim, row.val] = (n + row.n, size + row.bytes)
            return {key: value for key, value in found.items() if value != (0, 0)}

    row_id = next(val.partition(":")[2] for dim, val in await counted() if dim == "fileless")
    assert await counted() == {
        ("listed", "image"): (1, 5),
        ("tag", "red"): (1, 0),
        ("fileless", f"project_id:{row_id}"): (1, 0),
    }
    await generate_for(empty, "completed", model="", size=7)
    assert await counted() == {
        ("listed", "image"): (2, 12),
        ("tag", "red"): (2, 0),
        ("project_id", row_id): (1, 0),
    }


def test_differences_of_nothing_are_none():
    one = counters.of_asset(1, ["Red"], 5, is_image=True)
    assert one == {
        ("project", 1, "assets", ""): counters.Count(n=1),
        ("project", 1, "tag", "red"): counters.Count(n=1, name="Red"),
        ("project", 1, "files", ""): counters.Count(n=1, bytes=5),
    }
    assert counters.of_asset(None, ["Red"], 5, is_image=True) == {}
