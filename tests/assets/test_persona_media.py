"""What belongs to personas comes out of an index of its own, however much else its owner has."""

import pytest
from sqlalchemy import text

from mediakeep.accounts.actor import Actor
from mediakeep.assets import persona_media
from mediakeep.assets.persona_media import MediaFilters
from mediakeep.assets.recount import recount
from mediakeep.http.persona_media.schemas import SHAPE

_INDEX = "ix_assets_persona_media"

# Of fifty assets one is a persona's, in turn an image, a film and a sound.
_FILL = """\
INSERT INTO files (public_id, sha256, key, format, media_type, size, facts, created_at)
VALUES ('f', 'f', 'f', 'jpg', 'image/jpeg', 7, '{{}}', {now});
INSERT INTO personas (owner_id, name, description, created_at, updated_at)
SELECT {owner}, 'p', '', {now}, {now} FROM numbers WHERE i <= 4;
INSERT INTO assets (public_id, owner_id, file_id, type, name, file_name, description, folded, tags, metadata, visibility,
size, persona_id, created_at, updated_at)
SELECT 'a' || i, {owner}, (SELECT max(id) FROM files), CASE i / 50 % 3 WHEN 0 THEN 'image' WHEN 1 THEN 'video' ELSE 'audio' END,
'', 'n' || i, '', '', '[]', '{{}}', 'private', 7,
CASE WHEN i % 50 = 0 THEN (SELECT min(id) FROM personas) + i / 50 % 4 END, {time}, {time} FROM numbers
"""

_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 15000) SELECT i FROM n"

# Four media at every time, so that only their ids tell them apart.
_TIMES = {
    True: "strftime('%Y-%m-%d %H:%M:%f000', '2026-01-01', (i / 200) || ' seconds')",
    False: "timestamptz '2026-01-01' + (i / 200) * interval '1 second'",
}


@pytest.fixture
async def actor(database, owner):
    """The owner of 15,000 assets, 200 of which are media of four personas."""
    async with database.write_engine.begin() as connection:
        await connection.execute(text(f"CREATE TABLE numbers AS {_NUMBERS}"))
        statements = _FILL.format(
            owner=owner, time=_TIMES[database.is_sqlite], now="'2026-01-01 00:00:00+00'"
        )
        for statement in statements.split(";"):
            await connection.exec_driver_sql(statement)
    await recount(database, fix=True)
    if not database.is_sqlite:  # nobody has SQLite look at what its tables hold
        async with database.write_engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(text("VACUUM ANALYZE"))
    return Actor(user_id=owner, email="", is_admin=False, scopes=frozenset({"read"}), sign_in_id=1)


@pytest.fixture
def plans(database, monkeypatch):
    """How the database runs each hot query from here on."""
    found = []
    fetch = database.fetch

    async def explained(query, values):
        async with database.read_engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            if database.is_sqlite:
                sql, given = query.for_sqlite(values)
                rows = await driver.execute_fetchall(f"EXPLAIN QUERY PLAN {sql}", given)
            else:
                sql, given = query.for_postgresql(values)
                rows = await driver.fetch(f"EXPLAIN {sql}", *given)
        found.append("\n".join(str(row[-1]) for row in rows))
        return await fetch(query, values)

    monkeypatch.setattr(database, "fetch", explained)
    return found


@pytest.mark.parametrize("media_type", [None, "image", "video"])
async def test_a_page_and_its_count_come_from_the_index(database, actor, plans, media_type):
    filters = MediaFilters(media_type=media_type)
    shown = await persona_media.list_json(database, actor, filters, shape=SHAPE, limit=20, offset=0)
    assert len(shown) == 20
    assert await persona_media.count(database, actor, filters) == (100 if media_type else 200)
    assert _INDEX in plans[0]
    assert "Seq Scan on assets" not in plans[0]
    assert not any("assets" in plan and "owner_counters" in plan for plan in plans), plans


async def test_a_whole_list_goes_on_where_it_was_in_the_index(database, actor, plans, monkeypatch):
    monkeypatch.setattr(persona_media, "CHUNK", 30)
    whole = [
        one
        async for chunk in persona_media.iter_json(database, actor, MediaFilters(), shape=SHAPE, offset=0)
        for one in chunk
    ]
    assert len(whole) == len(set(whole)) == 200
    assert whole == await persona_media.list_json(
        database, actor, MediaFilters(), shape=SHAPE, limit=1000, offset=0
    )
    assert all(_INDEX in plan for plan in plans[:-1]), plans


@pytest.mark.parametrize("is_going", [False, True])
async def test_totals_come_from_counters_or_the_index(database, actor, plans, is_going):
    if is_going:  # an empty persona of the same owner: counters would still have what goes with one
        async with database.write_engine.begin() as connection:
            await connection.exec_driver_sql(
                "INSERT INTO personas (owner_id, name, description, created_at, updated_at, gone_at) SELECT owner_id, 'q', '',"
                " created_at, created_at, created_at FROM personas WHERE id = (SELECT min(id) FROM personas)"
            )
    totals = await persona_media.totals(database, actor)
    assert (totals.files, totals.images, totals.videos, totals.size) == (200, 100, 100, 1400)
    assert sorted(totals.per_persona.values()) == [50, 50, 50, 50]
    assert (_INDEX if is_going else "owner_counters") in plans[-1], plans
    assert "Seq Scan on assets" not in plans[-1]
