"""Variants: what callers have had made is accounted for, capped for each file and kept within the budget."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from sqlalchemy import delete, inspect, select, text, update
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from mediakeep.assets.models import Asset
from mediakeep.db import migrate as migrations
from mediakeep.db import now_plus, open_database
from mediakeep.errors import Unavailable
from mediakeep.files import service, variants
from mediakeep.files.fsck import check_library
from mediakeep.files.models import Variant
from mediakeep.files.renditions import rendition_prefix
from mediakeep.files.variants import VariantLog, adopt, evict
from mediakeep.settings import Settings
from mediakeep.storage import Stored
from mediakeep.tasks.registry import registered_tasks
from mediakeep.tasks.worker import drain
from tests.conftest import SECRET
from tests.samples import pictures


@pytest.fixture
def limited(library):
    """The same library with other limits."""

    def limited(**settings):
        return replace(library, settings=library.settings.model_copy(update=settings))

    return limited


@pytest.fixture
async def file(keep):
    """A file that an asset refers to."""
    file, _ = await keep()
    return file


@pytest.fixture
def key_of():
    """Where a variant of a file lives."""
    return lambda file, name: f"{rendition_prefix(file.public_id)}/{name}.webp"


@pytest.fixture
def make(library, key_of):
    """Stores variants of a file, one after the other, and tells the log; each has 100 bytes.

    SQLite's clock tells milliseconds apart, so there is more than one between any two.
    """

    async def make(log, file, *names, is_preset=False, size=100):
        for name in names:
            key = key_of(file, name)
            await library.store.put_bytes(key, b"." * size, media_type="image/webp")
            log.made(file.public_id, key, size, is_preset=is_preset)
            await asyncio.sleep(0.002)

    return make


@pytest.fixture
def rows(library):
    """The variants that have a row, by the name that `make` gave them."""

    async def rows():
        async with library.database.read() as session:
            found = await session.scalars(select(Variant).order_by(Variant.used_at))
            return {row.key.rpartition("/")[2].removesuffix(".webp"): row for row in found}

    return rows


@pytest.fixture
def stored(library):
    """The variants that have bytes, by the same names."""

    async def stored():
        keys = [one.key async for one in library.store.iter_keys("renditions")]
        return {key.rpartition("/")[2].removesuffix(".webp") for key in keys if key.endswith(".webp")}

    return stored


@pytest.fixture
def grow_old(library, key_of):
    """Has the last use of a file's variant be so long ago."""

    async def grow_old(file, name, seconds):
        async with library.database.write() as session:
            old = update(Variant).where(Variant.key == key_of(file, name))
            await session.execute(old.values(used_at=now_plus(-seconds)))

    return grow_old


@pytest.fixture
def failing(library, monkeypatch):
    """Has the next write transactions fail, as when the database is away."""

    def failing(times):
        write, left = library.database.write, [None] * times

        @asynccontextmanager
        async def write_or_fail():
            if left:
                left.pop()
                raise ConnectionRefusedError("the database is away")
            async with write() as session:
                yield session

        monkeypatch.setattr(library.database, "write", write_or_fail)

    return failing


@pytest.fixture
async def another_process(library, library_settings):
    """The library as another process has it open."""
    database = open_database(library_settings)
    yield replace(library, database=database)
    await database.close()


async def test_what_was_made_is_accounted_for(library, file, make, rows):
    log = VariantLog(library)
    await make(log, file, "small", is_preset=True)
    await make(log, file, "large", size=200)
    assert await rows() == {}
    await log.flush()
    found = await rows()
    assert {name: (row.file_id, row.size, row.is_preset) for name, row in found.items()} == {
        "small": (file.id, 100, True),
        "large": (file.id, 200, False),
    }
    assert abs(found["small"].used_at - datetime.now(UTC)) < timedelta(seconds=10)


async def test_what_was_made_anew_has_the_new_size(library, file, make, rows):
    log = VariantLog(library)
    for size in (100, 50):
        await make(log, file, "small", size=size)
        await log.flush()
    assert {name: row.size for name, row in (await rows()).items()} == {"small": 50}


async def test_nothing_is_written_while_nothing_is_noted(library, failing):
    failing(1)
    await VariantLog(library).flush()


async def test_a_use_is_told_once_an_hour(library, file, make, rows, grow_old, key_of, monkeypatch):
    log = VariantLog(library)
    await make(log, file, "small")
    await log.flush()
    await grow_old(file, "small", 100)
    old = (await rows())["small"].used_at

    log.used(file.public_id, key_of(file, "small"), 100, is_preset=False)
    await log.flush()
    assert (await rows())["small"].used_at == old

    monkeypatch.setattr(variants, "_TOLD_SECONDS", 0)
    log.used(file.public_id, key_of(file, "small"), 100, is_preset=False)
    await log.flush()
    assert (await rows())["small"].used_at > old + timedelta(seconds=90)


async def test_one_that_another_process_made_is_accounted_for_when_it_is_used(library, file, rows, key_of):
    log = VariantLog(library)
    log.used(file.public_id, key_of(file, "small"), 100, is_preset=True)
    await log.flush()
    assert [(name, row.size, row.is_preset) for name, row in (await rows()).items()] == [("small", 100, True)]


async def test_a_late_note_does_not_hide_a_later_use(library, file, rows, key_of, monkeypatch):
    late, early = VariantLog(library), VariantLog(library)
    late.made(file.public_id, key_of(file, "small"), 100, is_preset=False)
    await asyncio.sleep(0.05)
    early.used(file.public_id, key_of(file, "small"), 100, is_preset=False)
    await early.flush()
    used_at = (await rows())["small"].used_at
    await late.flush()
    assert (await rows())["small"].used_at == used_at


async def test_a_file_keeps_no_more_than_its_cap_and_the_oldest_go(limited, file, make, rows, stored):
    log = VariantLog(limited(rendition_variants=3))
    await make(log, file, "e", "d", "c", "b", "a")
    await log.flush()
    assert list(await rows()) == ["c", "b", "a"]
    assert await stored() == {"a", "b", "c"}


async def test_one_that_is_used_again_is_not_the_oldest(limited, file, make, rows, key_of, monkeypatch):
    monkeypatch.setattr(variants, "_TOLD_SECONDS", 0)
    log = VariantLog(limited(rendition_variants=2))
    await make(log, file, "a", "b")
    await log.flush()
    log.used(file.public_id, key_of(file, "a"), 100, is_preset=False)
    await make(log, file, "c")
    await log.flush()
    assert set(await rows()) == {"a", "c"}


async def test_presets_are_exempt_from_the_cap(limited, file, make, rows, stored):
    log = VariantLog(limited(rendition_variants=1))
    await make(log, file, "p", "q", "r", is_preset=True)
    await make(log, file, "a", "b")
    await log.flush()
    assert set(await rows()) == await stored() == {"p", "q", "r", "b"}


@pytest.mark.parametrize("flushed_between", [True, False])
@pytest.mark.parametrize("first", ["made", "used"])
@pytest.mark.parametrize("asked_as_preset", [(True, False), (False, True)])
async def test_a_preset_stays_exempt_whoever_asks_for_the_same_by_its_numbers(
    library, file, rows, key_of, asked_as_preset, first, flushed_between
):
    log = VariantLog(library)
    getattr(log, first)(file.public_id, key_of(file, "card"), 100, is_preset=asked_as_preset[0])
    if flushed_between:
        await log.flush()
    log.used(file.public_id, key_of(file, "card"), 100, is_preset=asked_as_preset[1])
    await log.flush()
    assert (await rows())["card"].is_preset


async def test_one_file_s_variants_do_not_count_for_another(limited, file, keep, make, rows):
    other, _ = await keep(pictures.png())
    log = VariantLog(limited(rendition_variants=2))
    await make(log, other, "x", "y")
    await make(log, file, "a", "b", "c")
    await log.flush()
    assert set(await rows()) == {"x", "y", "b", "c"}


async def test_more_than_one_batch_over_the_cap_goes_at_once(limited, file, make, rows, stored, monkeypatch):
    monkeypatch.setattr(variants, "_BATCH", 2)
    log = VariantLog(limited(rendition_variants=1))
    await make(log, file, *"abcdefg")
    await log.flush()
    assert set(await rows()) == await stored() == {"g"}


async def test_over_the_budget_those_unused_for_longest_go_presets_too(
    library, limited, file, make, rows, stored, grow_old
):
    log = VariantLog(library)
    await make(log, file, *"abcdefghij")
    await make(log, file, "preset", is_preset=True)
    await log.flush()
    await grow_old(file, "preset", 300)
    await grow_old(file, "j", 200)
    await evict(limited(rendition_budget_bytes=1000))  # of which 1,100 are used, and 900 are to be left
    assert set(await rows()) == await stored() == set("abcdefghi")


async def test_a_budget_that_is_kept_costs_nobody_anything(library, limited, file, make, rows):
    log = VariantLog(library)
    await make(log, file, *"abcdefghij")
    await log.flush()
    with capture_logs() as logs:
        await evict(limited(rendition_budget_bytes=1000))
    assert len(await rows()) == 10
    assert logs == []


async def test_eviction_goes_on_batch_by_batch_and_says_in_one_line_what_it_did(
    library, limited, file, make, rows, stored, monkeypatch
):
    log = VariantLog(library)
    await make(log, file, *"abcdefghij")
    await log.flush()
    monkeypatch.setattr(variants, "_BATCH", 2)
    with capture_logs() as logs:
        await evict(limited(rendition_budget_bytes=300))
    assert set(await rows()) == await stored() == {"i", "j"}
    (line,) = logs
    assert (line["event"], line["count"], line["freed_bytes"], line["left_bytes"]) == (
        "variants.evicted",
        8,
        800,
        200,
    )


async def test_rows_whose_bytes_are_gone_are_evicted_like_any_other(library, limited, file, rows, key_of):
    log = VariantLog(library)
    for name in "ab":
        log.made(file.public_id, key_of(file, name), 100, is_preset=False)
    await log.flush()
    await evict(limited(rendition_budget_bytes=150))
    assert set(await rows()) == {"b"}


def test_eviction_is_a_periodic_task(settings):
    assert registered_tasks()["files.evict_variants"].every(settings) == 60


async def test_variants_keep_no_file_alive_and_go_with_it(library, keep, make, rows, stored):
    file, asset_id = await keep()
    log = VariantLog(library)
    await make(log, file, "small")
    await log.flush()
    async with library.database.write() as session:
        await session.execute(delete(Asset).where(Asset.id == asset_id))
    async with library.database.read() as session:
        assert await service.find_unreferenced(session, limit=10) == [file.id]
    async with library.database.write() as session:
        await service.release(session, [file.id])
    assert await rows() == {}
    await drain(library)
    assert await stored() == set()


async def test_what_was_made_of_a_file_that_is_gone_gets_no_row(library, keep, make, rows):
    file, asset_id = await keep()
    other, _ = await keep(pictures.png())
    async with library.database.write() as session:
        await session.execute(delete(Asset).where(Asset.id == asset_id))
        await service.release(session, [file.id])
    log = VariantLog(library)
    await make(log, file, "late")
    await make(log, other, "sound")
    await log.flush()
    assert set(await rows()) == {"sound"}
    assert not log._made


async def test_a_file_that_is_just_being_deleted_is_waited_for(library, keep, make, rows):
    file, asset_id = await keep()
    log = VariantLog(library)
    await make(log, file, "small")
    async with library.database.write() as session:
        await session.execute(delete(Asset).where(Asset.id == asset_id))
        await service.release(session, [file.id])
        flushing = asyncio.create_task(log.flush())
        await asyncio.sleep(0.1)
        assert not flushing.done()
    await flushing
    assert await rows() == {}


async def test_a_library_with_variants_is_sound(library, file, make):
    log = VariantLog(library)
    await make(log, file, "small", "large")
    await log.flush()
    assert [problem async for problem in check_library(library, verify_content=True, repair=False)] == []


async def test_two_processes_may_note_the_same_at_once(library, another_process, keep, rows, key_of):
    files = [(await keep(data))[0] for data in (pictures.jpeg(), pictures.png(), pictures.webp())]
    noted = [(file, str(number)) for number, file in enumerate(files * 60)]
    logs = VariantLog(library), VariantLog(another_process)
    for _ in range(10):
        for log, order in zip(logs, (noted, noted[::-1]), strict=True):
            for file, name in order:
                log.made(file.public_id, key_of(file, name), 100, is_preset=False)
        await asyncio.gather(*(log.flush() for log in logs))
    assert len(await rows()) == len(noted)


async def test_what_somebody_is_using_just_now_is_not_evicted_and_nobody_waits(
    library, limited, file, make, rows, key_of
):
    if library.database.is_sqlite:
        pytest.skip("it has one writer")
    log = VariantLog(library)
    await make(log, file, *"abc")
    await log.flush()
    # Whoever waited would wait for ever: the transaction ends after them.
    async with library.database.write() as session, asyncio.timeout(60):
        used = update(Variant).where(Variant.key == key_of(file, "a"))
        await session.execute(used.values(used_at=now_plus()))
        await evict(limited(rendition_budget_bytes=10))
    assert set(await rows()) == {"a"}


async def test_two_processes_trim_the_same_file_at_once(
    limited, library, another_process, file, make, rows, stored
):
    settings = limited(rendition_variants=5).settings
    logs = [VariantLog(replace(each, settings=settings)) for each in (library, another_process)]
    for log in logs:
        await make(log, file, *(str(number) for number in range(40)))
    await asyncio.gather(*(log.flush() for log in logs))
    for log in logs:  # what one had locked, the other has left
        await make(log, file, "last")
        await log.flush()
    assert len(await rows()) == 5
    assert await stored() == set(await rows())


async def test_a_failed_flush_keeps_the_notes(library, file, make, rows, failing):
    log = VariantLog(library)
    await make(log, file, "small")
    failing(1)
    with pytest.raises(ConnectionRefusedError):
        await log.flush()
    await log.flush()
    assert set(await rows()) == {"small"}


async def test_what_is_noted_while_a_flush_runs_is_kept(library, file, make, rows, monkeypatch):
    log = VariantLog(library)
    await make(log, file, "a", "b")
    trim = variants._trim

    async def trim_slowly(*arguments):
        monkeypatch.setattr(variants, "_trim", trim)
        await make(log, file, "b", size=50)
        await make(log, file, "c")
        await trim(*arguments)

    monkeypatch.setattr(variants, "_trim", trim_slowly)
    await log.flush()
    assert {name: row.size for name, row in (await rows()).items()} == {"a": 100, "b": 50, "c": 100}


async def test_a_store_that_fails_is_asked_again(limited, file, make, rows, stored, monkeypatch):
    library = limited(rendition_variants=1)
    log = VariantLog(library)
    await make(log, file, "a", "b")

    async def fail(_keys):
        monkeypatch.undo()
        raise Unavailable("Not now")

    monkeypatch.setattr(library.store, "delete", fail)
    with pytest.raises(Unavailable):
        await log.flush()
    assert set(await rows()) == {"b"}
    await log.flush()
    assert set(await rows()) == await stored() == {"b"}


async def test_an_open_log_writes_by_itself_whatever_the_database_did_before(
    library, file, make, rows, failing, monkeypatch
):
    monkeypatch.setattr(variants, "_FLUSH_SECONDS", 0.01)
    failing(3)
    with capture_logs() as logs:
        async with VariantLog(library) as log, asyncio.timeout(10):
            await make(log, file, "small")
            while not await rows():  # noqa: ASYNC110 the database says nothing by itself
                await asyncio.sleep(0.01)
    assert [line["event"] for line in logs] == ["variants.flush_failed"] * 3


async def test_a_log_writes_a_last_time_when_it_ends(library, file, make, rows):
    async with VariantLog(library) as log:
        await make(log, file, "small")
    assert set(await rows()) == {"small"}


async def test_a_database_that_is_away_does_not_keep_a_log_from_ending(library, file, make, failing):
    failing(100)
    async with VariantLog(library) as log:
        await make(log, file, "small")
    assert len(log._made) == 1


async def test_a_database_that_hangs_does_not_keep_a_log_from_ending(
    library, another_process, file, make, monkeypatch
):
    monkeypatch.setattr(variants, "_LAST_SECONDS", 0.1)

    @asynccontextmanager
    async def hang():
        await asyncio.sleep(60)
        yield

    monkeypatch.setattr(library.database, "write", hang)
    async with asyncio.timeout(5), VariantLog(library) as log:
        await make(log, file, "small")


async def test_memory_is_bounded_and_what_was_only_used_is_dropped_first(
    library, file, rows, key_of, monkeypatch
):
    monkeypatch.setattr(variants, "_MOST_NOTES", 10)
    log = VariantLog(library)
    for name in "abcdefgh":
        log.used(file.public_id, key_of(file, f"used-{name}"), 100, is_preset=False)
    for name in "abcdefgh":
        log.made(file.public_id, key_of(file, f"made-{name}"), 100, is_preset=False)
    with capture_logs() as logs:
        await log.flush()
    assert set(await rows()) == {*(f"made-{name}" for name in "abcdefgh"), "used-g", "used-h"}
    assert [(line["event"], line["count"]) for line in logs] == [("variants.notes_dropped", 6)]

    log.used(file.public_id, key_of(file, "used-a"), 100, is_preset=False)  # it was never told
    await log.flush()
    assert "used-a" in await rows()


async def test_memory_is_bounded_whatever_happens(library, file, key_of, monkeypatch):
    monkeypatch.setattr(variants, "_MOST_TOLD", 1000)
    log = VariantLog(library)
    for number in range(50_000):
        log.used(file.public_id, key_of(file, number), 100, is_preset=False)
        log.made(file.public_id, key_of(file, f"made-{number}"), 100, is_preset=False)
    assert len(log._made) + len(log._used) == variants._MOST_NOTES
    assert len(log._told_at) <= 1000


async def test_many_notes_are_written_in_several_short_transactions(library, file, rows, key_of, monkeypatch):
    monkeypatch.setattr(variants, "_BATCH", 3)
    log = VariantLog(library)
    for name in "abcdefgh":
        log.made(file.public_id, key_of(file, name), 100, is_preset=False)
    await log.flush()
    assert set(await rows()) == set("abcdefgh")


async def test_what_is_adopted_was_last_used_when_it_was_stored(library, file, rows, key_of):
    before = datetime.now(UTC) - timedelta(days=3)
    found = {
        Stored(key=key_of(file, "old"), size=7, modified_at=before): file.public_id,
        Stored(key=key_of(file, "of-nothing"), size=7, modified_at=before): "no such file",
    }
    await adopt(library, found)
    (row,) = (await rows()).values()
    assert (row.file_id, row.size, row.is_preset) == (file.id, 7, False)
    assert abs(row.used_at - before) < timedelta(seconds=10)
    assert await adopt(library, {one: found[one] for one in found if "/old." in one.key}) == 0


@pytest.mark.parametrize("point", [(0.5, None), (None, 0.5)])
async def test_half_a_focal_point_is_none(library, keep, point):
    _, asset_id = await keep()
    x, y = point

    async def change(x, y):
        async with library.database.write() as session:
            await session.execute(update(Asset).where(Asset.id == asset_id).values(focal_x=x, focal_y=y))

    await change(0.25, 0.75)
    with pytest.raises(IntegrityError):
        await change(x, y)
    await change(None, None)


@pytest.fixture(params=["sqlite", "postgres"])
async def before(request, tmp_path):
    """A database of the version before variants, with a file and an asset in it."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    database = open_database(Settings(data=tmp_path, database_url=url, secret_key=SECRET))
    async with database.write_engine.begin() as connection:
        await connection.run_sync(_upgrade, "0001")
        for statement in OLD_ROWS.split(";"):
            await connection.execute(text(statement))
    yield database
    await database.close()


OLD_ROWS = """\
INSERT INTO users (id, email, email_folded, password_hash, is_admin, is_founder, created_at)
VALUES (1, 'a', 'a', '', false, false, '2026-01-01 00:00:00');
INSERT INTO files (id, public_id, sha256, key, format, media_type, size, facts, created_at)
VALUES (1, 'a', 'a', 'files/ab/a', 'jpg', 'image/jpeg', 1, '{}', '2026-01-01 00:00:00');
INSERT INTO assets (id, public_id, owner_id, file_id, type, name, file_name, description, folded, tags, metadata,
visibility, size, created_at, updated_at)
VALUES (7, 'a', 1, 1, 'image', 'a', 'a', '', 'a', '[]', '{}', 'public', 1, '2026-01-01 00:00:00', '2026-01-01 00:00:00')
"""


def _upgrade(connection, version):
    command.upgrade(migrations._configuration(connection), version)


def _downgrade(connection, version):
    command.downgrade(migrations._configuration(connection), version)


def _indexes(connection):
    return sorted(one["name"] for one in inspect(connection).get_indexes("assets"))


async def test_a_database_of_the_version_before_is_upgraded_with_its_rows(before):
    async with before.write_engine.begin() as connection:
        indexes = await connection.run_sync(_indexes)
    await migrations.migrate(before)
    assert await migrations.is_current(before)
    async with before.write() as session:
        asset = (await session.scalars(select(Asset))).one()
        assert (asset.id, asset.file_id, asset.focal_x, asset.focal_y) == (7, 1, None, None)
        asset.focal_x, asset.focal_y = 0.25, 0.75
        session.add(Variant(key="renditions/ab/a/1.webp", file_id=1, size=3_000_000_000, is_preset=False))
    async with before.write_engine.begin() as connection:
        assert set(indexes) <= set(await connection.run_sync(_indexes))
        if before.is_sqlite:
            assert "AUTOINCREMENT" in await connection.scalar(
                text("SELECT sql FROM sqlite_master WHERE name = 'assets'")
            )


async def test_a_downgrade_undoes_the_upgrade(before):
    async with before.write_engine.begin() as connection:
        await connection.run_sync(_upgrade, "0002")
        await connection.run_sync(_downgrade, "0001")
        assert await connection.scalar(text("SELECT id FROM assets")) == 7
        await connection.run_sync(_upgrade, "0002")


async def test_models_and_migrations_agree(before):
    await migrations.migrate(before)
    async with before.write_engine.begin() as connection:
        found = await connection.run_sync(migrations.differences)
    if before.is_sqlite:  # to which one integer is as large as another
        found = [one for one in found if not (isinstance(one, list) and one[0][0] == "modify_type")]
        # SQLAlchemy reads no ON DELETE of a foreign key that came along with its column.
        found = [one for one in found if not (one[0].endswith("_fk") and "own_file_id" in one[1].columns)]
    assert found == []
