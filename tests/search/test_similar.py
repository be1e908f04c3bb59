"""Similar assets and duplicates from rows alone, as several processes have them, on both engines."""

import itertools
import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    String,
    case,
    cast,
    delete,
    insert,
    literal,
    select,
    text,
    update,
)

from mediakeep.accounts.actor import Actor
from mediakeep.accounts.service import add_user
from mediakeep.assets.models import Asset
from mediakeep.assets.service import remove
from mediakeep.collections.models import Client
from mediakeep.db import now_plus, open_database
from mediakeep.db.base import table_of
from mediakeep.errors import BadRequest, NotFound, PermissionDenied
from mediakeep.features import metadata as _all_tables  # noqa: F401
from mediakeep.files.models import File
from mediakeep.search import hashes, similar
from mediakeep.search.similar import Similar

#: About half of its bits set, and the first, so that it is negative as a signed number.
PHASH = 0x9669_F00F_3CC3_A55A - (1 << 64)

NUMBERS = itertools.count(1)


def flipped(bits, phash=PHASH):
    """A hash so many bits from another."""
    return int(np.int64(phash) ^ np.int64((1 << bits) - 1))


def actor_of(user_id, *, is_admin=False):
    return Actor(user_id=user_id, email="", is_admin=is_admin, scopes=frozenset({"read"}))


@pytest.fixture
async def users(database):
    async with database.write() as session:
        rows = [
            await add_user(session, email=f"{n}@example.com", password_hash="", is_admin=False)
            for n in range(3)
        ]
    return [actor_of(row.id) for row in rows]


@pytest.fixture
def owner(users):
    return users[1]


@pytest.fixture
def process(database):
    """What a server process has at hand."""
    known = Similar(database)
    yield known
    known.close()


@pytest.fixture
async def another_process(settings):
    database = open_database(settings)
    known = Similar(database)
    yield known
    known.close()
    await database.close()


@pytest.fixture
def keep(database, owner):
    """Makes an asset, of a new file or of one there is; returns it."""

    async def keep(phash=PHASH, *, file_id=None, of=owner, type_="image", **columns):
        async with database.write() as session:
            if file_id is None:
                file_id = await session.scalar(insert(File).values(file_row(phash)).returning(File.id))
            row = {**asset_row(of.user_id, file_id), "type": type_, **columns}
            asset_id = await session.scalar(insert(Asset).values(row).returning(Asset.id))
            return await session.get_one(Asset, asset_id)

    return keep


def file_row(phash):
    number = next(NUMBERS)
    return {
        "public_id": str(uuid.uuid4()),
        "sha256": f"{number:064x}",
        "key": f"files/{number}",
        "format": "jpg",
        "media_type": "image/jpeg",
        "size": 1,
        "facts": {},
        "phash": phash,
    }


def asset_row(owner_id, file_id):
    return {
        "public_id": str(uuid.uuid4()),
        "owner_id": owner_id,
        "file_id": file_id,
        "type": "image",
        "name": "a",
        "file_name": "a",
        "folded": "a",
        "tags": [],
        "metadata_": {},
        "visibility": "public",
        "size": 1,
    }


@pytest.fixture
def neighbours(process, owner):
    """Asset, distance and exactness of what looks like an asset."""

    async def neighbours(asset, distance=8, *, by=process, actor=owner):
        found, total = await by.neighbours(actor, asset.public_id, distance=distance, limit=100, offset=0)
        assert total == len(found)
        return [(one.asset_id, one.distance, one.exact) for one in found]

    return neighbours


@pytest.fixture
def groups(process, owner):
    """The ids of each group, with distance and exactness."""

    async def groups(distance=8, *, by=process, actor=owner):
        found, total = await by.duplicates(actor, distance=distance, limit=100, offset=0)
        assert total == len(found)
        return [(list(one.asset_ids), one.distance, one.exact) for one in found]

    return groups


# Neighbours


async def test_what_is_near_is_found_nearest_first_and_of_equals_the_newest(keep, neighbours):
    one = await keep()
    six, three, other_three, far = [await keep(flipped(bits)) for bits in (6, 3, 3, 20)]
    assert await neighbours(one) == [(other_three.id, 3, False), (three.id, 3, False), (six.id, 6, False)]
    assert await neighbours(six) == [(other_three.id, 3, False), (three.id, 3, False), (one.id, 6, False)]
    assert await neighbours(far) == []


async def test_the_distance_asked_for_is_the_last_that_counts(keep, neighbours):
    one = await keep()
    found = [(await keep(flipped(bits))).id for bits in (0, 1, 8, 9, 16, 17)]
    for distance, count in ((0, 1), (1, 2), (7, 2), (8, 3), (9, 4), (16, 5)):
        assert [asset for asset, *_ in await neighbours(one, distance)] == found[:count]


async def test_negative_hashes_and_their_positive_neighbours_are_near(keep, neighbours):
    negative = await keep(PHASH)
    positive = await keep(int(np.int64(PHASH) ^ np.int64(-(1 << 63))))
    assert await neighbours(negative, 1) == [(positive.id, 1, False)]
    assert await neighbours(positive, 1) == [(negative.id, 1, False)]


async def test_the_same_content_is_exact_and_comes_before_what_only_looks_the_same(keep, neighbours):
    one = await keep()
    copy = await keep(file_id=one.file_id)
    twin = await keep(PHASH)
    assert await neighbours(one, 0) == [(copy.id, 0, True), (twin.id, 0, False)]


@pytest.mark.parametrize("phash", [None, 0, 1, -1])
async def test_without_a_hash_that_tells_only_the_same_content_is_found(keep, neighbours, phash):
    one = await keep(phash)
    copy = await keep(file_id=one.file_id)
    await keep(phash)
    almost_flat = await keep(0b1111110)
    assert await neighbours(one, 16) == [(copy.id, 0, True)]
    assert await neighbours(almost_flat, 16) == []


async def test_somebody_else_s_are_never_found(keep, neighbours, users):
    one = await keep()
    theirs = await keep(of=users[2])
    await keep(file_id=one.file_id, of=users[2])
    assert await neighbours(one) == []
    with pytest.raises(NotFound):
        await neighbours(theirs)


async def test_an_admin_finds_what_its_owner_has(keep, neighbours, users, owner):
    one, near = await keep(), await keep(flipped(2))
    admin = actor_of(users[0].user_id, is_admin=True)
    await keep(of=admin)
    assert await neighbours(one, actor=admin) == [(near.id, 2, False)]


async def test_what_is_deleted_is_not_found_from_then_on(keep, neighbours, database, owner):
    one, near, copy = await keep(), await keep(flipped(2)), await keep()
    assert len(await neighbours(one)) == 2
    async with database.write() as session:
        await remove(session, owner, near.public_id)
    assert await neighbours(one) == [(copy.id, 0, False)]
    with pytest.raises(NotFound):
        await neighbours(near)


async def test_what_belongs_to_a_deleted_client_is_not_found(keep, neighbours, database, owner):
    async with database.write() as session:
        client = Client(public_id=str(uuid.uuid4()), owner_id=owner.user_id, name="a")
        session.add(client)
    one, near = await keep(), await keep(flipped(2), client_id=client.id)
    assert await neighbours(one) == [(near.id, 2, False)]
    async with database.write() as session:
        await session.execute(update(Client).values(gone_at=now_plus()))
    assert await neighbours(one) == []


async def test_what_another_process_takes_in_is_found_at_once(
    keep, neighbours, another_process, settings, owner
):
    one = await keep()
    assert await neighbours(one) == []
    assert await neighbours(one, by=another_process) == []
    expected = []
    for _ in range(3):
        expected.insert(0, ((await keep(flipped(3))).id, 3, False))
        assert await neighbours(one) == expected
        assert await neighbours(one, by=another_process) == expected


async def test_a_transaction_that_began_before_the_last_look_is_not_overlooked(
    keep, neighbours, database, settings, owner
):
    """On PostgreSQL others can write while one transaction is open; on SQLite the look falls into it."""
    one = await keep()
    async with database.write() as session:
        file_id = await session.scalar(insert(File).values(file_row(flipped(1))).returning(File.id))
        late = await session.scalar(
            insert(Asset).values(asset_row(owner.user_id, file_id)).returning(Asset.id)
        )
        if not database.is_sqlite:
            await keep(flipped(30))
        assert await neighbours(one) == []
    assert await neighbours(one) == [(late, 1, False)]


async def test_a_clock_that_is_set_does_not_hide_what_is_new(keep, neighbours, process, owner):
    one = await keep()
    await neighbours(one)
    known = await process._known.of(owner.user_id)
    known._looked_at += timedelta(days=1)  # as if the clock had been put back since
    near = await keep(flipped(3))
    assert await neighbours(one) == [(near.id, 3, False)]
    known._looked_at -= timedelta(days=1)  # as if it had been put forward
    await keep(flipped(4), updated_at=now_plus(-3600))
    assert len(await neighbours(one)) == 2


async def test_a_fingerprint_that_a_task_writes_later_is_found_then(
    keep, neighbours, database, another_process
):
    one = await keep()
    film = await keep(None, type_="video", updated_at=now_plus(-3600))
    assert await neighbours(one) == await neighbours(film) == []
    async with database.write() as session:
        await session.execute(update(File).where(File.id == film.file_id).values(phash=flipped(2)))
    assert await neighbours(one) == [(film.id, 2, False)]
    assert await neighbours(film, by=another_process) == [(one.id, 2, False)]


async def test_an_asset_that_gets_another_file_is_found_by_that(keep, neighbours, database):
    one, other = await keep(), await keep(flipped(30))
    changing = await keep(flipped(1))
    assert await neighbours(one) == [(changing.id, 1, False)]
    async with database.write() as session:
        await session.execute(
            update(Asset).where(Asset.id == changing.id).values(file_id=other.file_id, updated_at=now_plus())
        )
    assert await neighbours(one) == []
    assert await neighbours(other) == [(changing.id, 0, True)]


async def test_what_is_read_again_is_kept_once(keep, neighbours, process, owner, monkeypatch):
    monkeypatch.setattr(hashes, "_PORTION", 3)
    one, *_ = [await keep(flipped(number)) for number in range(10)]
    for _ in range(3):
        assert len(await neighbours(one, 16)) == 9
    known = await process._known.of(owner.user_id)
    version = known.version
    await known.refresh(process._database)
    assert (known.table.shape, known.version) == ((3, 10), version)


async def test_hashes_of_owners_who_were_not_asked_about_for_long_are_let_go(keep, database, users, owner):
    known = hashes.KnownHashes(database, max_bytes=30_000)
    for user in users:
        await keep(of=user)
        await known.of(user.user_id)
    assert list(known._kept) == [users[2].user_id]
    assert (await known.of(owner.user_id)).table.shape == (3, 1)


async def test_hashes_are_read_anew_when_many_are_gone(
    keep, neighbours, process, monkeypatch, database, owner
):
    monkeypatch.setattr(similar, "_MANY_GONE", 2)
    one = await keep()
    for _ in range(4):
        await keep(flipped(1))
    assert len(await neighbours(one)) == 4
    async with database.write() as session:
        await session.execute(delete(Asset).where(Asset.id != one.id))
    assert await neighbours(one) == []
    assert await neighbours(one) == []
    assert (await process._known.of(owner.user_id)).table.shape == (3, 1)


async def test_pages_follow_one_another(keep, process, owner):
    one = await keep()
    for bits in (1, 2, 3, 4, 5):
        await keep(flipped(bits))
    pages = [
        await process.neighbours(owner, one.public_id, distance=8, limit=2, offset=offset)
        for offset in (0, 2, 4, 6)
    ]
    assert [[near.distance for near in page] for page, _ in pages] == [[1, 2], [3, 4], [5], []]
    assert {total for _, total in pages} == {5}


async def test_more_than_the_bound_are_not_told(keep, neighbours, monkeypatch):
    monkeypatch.setattr(similar, "MOST_NEIGHBOURS", 3)
    one = await keep()
    for bits in (5, 1, 4, 2, 3):
        await keep(flipped(bits))
    assert [distance for _, distance, _ in await neighbours(one)] == [1, 2, 3]


async def test_200_000_hashes_give_what_comparing_with_each_gives(
    database, process, neighbours, users, owner
):
    """Inserted in bulk, so that all have the same time; every hundredth is somebody else's."""
    random = np.random.default_rng(3)
    phashes = random.integers(-(1 << 63), 1 << 63, 200_000, np.int64)
    for begin in range(0, 2_000, 4):  # 500 families, of which every 25th has lost one to somebody else
        phashes[begin + 1 : begin + 4] = phashes[begin] ^ (1 << random.integers(0, 63, 3))
    mine = np.arange(len(phashes)) % 100 != 0
    await insert_in_bulk(database, phashes.tolist(), mine=owner.user_id, theirs=users[2].user_id)
    for number in (1, 6, 401, 1_999, 150_001):
        async with database.read() as session:
            asked = await session.get_one(Asset, number + 1)
        apart = np.bitwise_count((phashes ^ phashes[number]).view(np.uint64))
        near = [n for n in np.flatnonzero((apart <= 12) & mine).tolist() if n != number]
        expected = sorted((int(apart[n]), -n) for n in near)
        assert [(apart, 1 - asset) for asset, apart, _ in await neighbours(asked, 12)] == expected
        assert expected or number == 150_001
    assert (await process._known.of(owner.user_id)).table.shape[1] == mine.sum()
    found, total = await process.duplicates(owner, distance=2, limit=1_000, offset=0)
    families = [[n + 1 for n in range(end, end - 4, -1) if mine[n]] for end in range(1_999, 0, -4)]
    assert [list(group.asset_ids) for group in found] == families
    assert total == 500


async def insert_in_bulk(database, phashes, *, mine, theirs):
    """Files and assets with ids from 1, every hundredth of somebody else."""
    given = "SELECT key AS n, value AS phash FROM json_each(:given)"
    if not database.is_sqlite:
        given = (
            "SELECT n - 1 AS n, CAST(value AS bigint) AS phash "
            "FROM json_array_elements_text(CAST(:given AS json)) WITH ORDINALITY AS one (value, n)"
        )
    one = text(given).bindparams(given=json.dumps(phashes)).columns(n=Integer, phash=BigInteger).subquery()
    number = cast(1_000_000_000 + one.c.n, String)
    file = file_row(None) | {
        "id": one.c.n + 1,
        "public_id": "00000000-0000-4000-8000-00" + number,
        "sha256": "0" * 54 + number,
        "key": "files/" + number,
        "phash": one.c.phash,
    }
    owner_id = case((one.c.n % 100 == 0, theirs), else_=mine)
    asset = asset_row(owner_id, one.c.n + 1) | {
        "id": one.c.n + 1,
        "public_id": file["public_id"],
        "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    async with database.write() as session:
        for table, row in ((table_of(File), file), (table_of(Asset), asset)):
            values = {row_name.rstrip("_"): value for row_name, value in row.items()}
            chosen = [
                literal(value, table.c[name].type) if not isinstance(value, ColumnElement) else value
                for name, value in values.items()
            ]
            await session.execute(insert(table).from_select(list(values), select(*chosen)))


# Duplicates


async def test_groups_are_what_is_near_and_what_is_the_same_content(keep, groups):
    one, near = await keep(), await keep(flipped(4))
    alone = await keep(flipped(30))
    sound = await keep(None, type_="audio")
    same_sound = await keep(file_id=sound.file_id, type_="audio")
    copy = await keep(file_id=one.file_id)
    assert alone.id
    assert await groups() == [([copy.id, near.id, one.id], 4, False), ([same_sound.id, sound.id], 0, True)]
    assert await groups(3) == [([copy.id, one.id], 0, True), ([same_sound.id, sound.id], 0, True)]


async def test_two_files_that_look_the_same_are_not_exact(keep, groups):
    one, twin = await keep(), await keep()
    assert await groups(0) == [([twin.id, one.id], 0, False)]


async def test_what_others_connect_is_one_group_until_they_are_gone(keep, groups, database, owner):
    one, middle, last = await keep(), await keep(flipped(6)), await keep(flipped(12))
    assert await groups() == [([last.id, middle.id, one.id], 12, False)]
    async with database.write() as session:
        await remove(session, owner, middle.public_id)
    assert await groups() == []


async def test_flat_pictures_are_no_group(keep, groups):
    for phash in (0, 1, 1, 0, -1, 3, 0b11111):
        await keep(phash)
    assert await groups() == []


async def test_somebody_else_s_are_in_no_group(keep, groups, users):
    one = await keep()
    theirs = [await keep(of=users[2]), await keep(file_id=one.file_id, of=users[2])]
    assert await groups() == []
    assert await groups(actor=users[2]) == [([theirs[1].id, theirs[0].id], 0, False)]


async def test_an_admin_s_groups_are_everybody_s(keep, process, another_process, users, database):
    admin, mine, theirs = actor_of(users[0].user_id, is_admin=True), users[1], users[2]
    admin = replace(admin, scopes=frozenset({"read", "admin"}))

    async def groups(by=process):
        found, _ = await by.duplicates(admin, distance=4, limit=10, offset=0, everyones=True)
        return [list(group.asset_ids) for group in found]

    assert await groups() == []
    first = await keep(of=mine)
    assert await groups() == []
    second, far = await keep(flipped(3), of=theirs), await keep(flipped(30), of=theirs)
    assert await groups() == await groups(another_process) == [[second.id, first.id]]
    other = await keep(flipped(31), of=mine)
    assert await groups() == [[other.id, far.id], [second.id, first.id]]
    async with database.write() as session:
        await remove(session, mine, first.public_id)
    assert await groups() == await groups(another_process) == [[other.id, far.id]]
    for actor in (mine, actor_of(mine.user_id, is_admin=True)):
        with pytest.raises(PermissionDenied):
            await process.duplicates(actor, distance=4, limit=10, offset=0, everyones=True)


async def test_a_group_grows_and_goes_with_what_another_process_does(keep, groups, another_process, database):
    one, two = await keep(), await keep()
    for by in (None, another_process):
        assert await groups(**({"by": by} if by else {})) == [([two.id, one.id], 0, False)]
    three = await keep(flipped(1))
    assert await groups(by=another_process) == [([three.id, two.id, one.id], 1, False)]
    async with database.write() as session:
        await session.execute(delete(Asset).where(Asset.id != two.id))
    assert await groups() == await groups(by=another_process) == []


async def test_an_asset_that_gets_another_file_changes_its_group(keep, groups, database):
    one, two, three = await keep(), await keep(), await keep(flipped(30))
    assert len(await groups()) == 1
    async with database.write() as session:
        await session.execute(
            update(Asset).where(Asset.id == two.id).values(file_id=three.file_id, updated_at=now_plus())
        )
    assert one.id
    assert await groups() == [([three.id, two.id], 0, True)]


async def test_pages_of_groups_follow_one_another(keep, process, owner):
    expected = []
    for number in range(5):
        phash = int(np.int64(np.random.default_rng(number).integers(1 << 62)))
        expected.insert(0, [(await keep(phash)).id, (await keep(phash)).id][::-1])
    pages = [await process.duplicates(owner, distance=5, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert [list(group.asset_ids) for page, _ in pages for group in page] == expected
    assert {total for _, total in pages} == {5}


async def test_groups_of_more_than_the_bound_are_cut(keep, groups, monkeypatch):
    monkeypatch.setattr(similar, "MOST_MEMBERS", 3)
    monkeypatch.setattr(similar, "MOST_GROUPED", 5)
    for number in range(4):
        for _ in range(4):
            await keep(int(np.random.default_rng(number).integers(1 << 62)))
    assert [len(ids) for ids, _, _ in await groups()] == [3, 3]


async def test_what_takes_too_long_is_refused_with_a_sentence_and_not_tried_again_at_once(
    keep, groups, monkeypatch
):
    for bits in range(3):
        await keep(flipped(bits))
    monkeypatch.setattr(similar, "_MAX_SECONDS", -1.0)
    monkeypatch.setattr(similar, "_SLOW_SECONDS", -1.0)
    with pytest.raises(BadRequest, match="Ask for a smaller distance"):
        await groups(8)
    monkeypatch.setattr(similar, "_MAX_SECONDS", 20.0)
    with pytest.raises(BadRequest):
        await groups(8)
    assert len(await groups(7)) == 1


async def test_groups_that_were_slow_to_find_are_good_for_a_while_but_show_nothing_gone(
    keep, groups, monkeypatch, database
):
    monkeypatch.setattr(similar, "_SLOW_SECONDS", -1.0)
    one, two, three = await keep(), await keep(), await keep()
    assert len((await groups())[0][0]) == 3
    await keep()
    assert (await groups())[0][0] == [three.id, two.id, one.id]
    async with database.write() as session:
        await session.execute(delete(Asset).where(Asset.id == two.id))
    assert (await groups())[0][0] == [three.id, one.id]
    monkeypatch.setattr(similar, "_GOOD_SECONDS", -1.0)
    assert len((await groups())[0][0]) == 3
