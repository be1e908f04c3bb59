"""Lists of a library that is large enough for each way to them: all give what a look at every asset gives."""

import json
import random
from itertools import count

import pytest
from bench.catalogue import Catalogue, fill_postgresql, fill_sqlite
from sqlalchemy import select

from mediakeep.accounts.actor import Actor
from mediakeep.assets import lists, plans, project_lists
from mediakeep.assets.models import Asset
from mediakeep.assets.project_lists import ProjectFilters
from mediakeep.assets.queries import Filters, Page, Told
from mediakeep.assets.recount import recount
from mediakeep.assets.text import fold
from mediakeep.collections.models import Client, Project
from mediakeep.http.v1.schemas import SHAPE as PROJECT_SHAPE
from mediakeep.http.v2.schemas import SHAPE
from mediakeep.index.words import words

_SIZE = 3000
_TOLD = Told(base="http://localhost", public_base="http://localhost")


@pytest.fixture
async def library_of_many(database, settings, owner, monkeypatch):
    """What there is to ask for, all assets, newest first, and their owner."""
    for name, number in {"MANY": 50, "_FEW": 20, "MOST_COUNTED": 100}.items():
        monkeypatch.setattr(plans, name, number)
    caches = (lists._list_queries, project_lists._queries)
    for each in caches:
        each.cache_clear()
    catalogue = Catalogue(_SIZE, owner_id=owner, dialect_name=database.dialect_name)
    if database.is_sqlite:
        fill_sqlite(settings.data / "mediakeep.db", catalogue.rows())
    else:
        await fill_postgresql(settings.database_url, catalogue.rows())
    await recount(database, fix=True)
    async with database.read() as session:
        rows = await session.scalars(select(Asset).order_by(Asset.created_at.desc(), Asset.id.desc()))
        clients = dict((await session.execute(select(Client.id, Client.public_id))).all())
        projects = dict((await session.execute(select(Project.id, Project.public_id))).all())
    actor = Actor(user_id=owner, email="", is_admin=False, scopes=frozenset({"read"}), sign_in_id=1)
    yield catalogue.said, list(rows), actor, clients, projects
    for each in caches:
        each.cache_clear()


@pytest.fixture
def ways(monkeypatch):
    """The ways that were taken."""
    taken = set()
    for name in ("best_way", "best_way_with_words"):
        chosen = getattr(plans, name)

        def noted(*arguments, chosen=chosen, **options):
            way = chosen(*arguments, **options)
            taken.add("tag" if way.startswith("tag") else way)
            return way

        for module in (lists, project_lists):
            monkeypatch.setattr(module, name, noted)
    return taken


def _holds(asset, typed, *, fields):
    texts = [
        " ".join(getattr(asset, field)) if field == "tags" else getattr(asset, field) for field in fields
    ]
    there = [word for text in texts for word in words(text)]
    return all(any(word.startswith(each) for word in there) for each in words(typed))


def _expected(matching, page):
    key = {"created_at": lambda one: (one.created_at, one.id)}.get(
        page.sort_by, lambda one: (getattr(one, page.sort_by), one.id)
    )
    ordered = sorted(matching, key=key, reverse=page.descending)
    return [one.public_id for one in ordered[page.offset : page.offset + page.limit]]


def _check(given, total, matching, page, asked):
    shown = [one["id"] for one in json.loads(given)]
    assert shown == _expected(matching, page), asked
    if total < plans.MOST_COUNTED or page.offset + page.limit < len(matching) <= total:
        assert total == len(matching), asked
    else:
        known = page.offset + len(shown) + 1 if shown else 0
        assert plans.MOST_COUNTED <= total <= max(plans.MOST_COUNTED, len(matching), known), asked


async def test_lists_are_what_a_look_at_every_asset_gives(database, library_of_many, ways):
    said, every, actor, clients, _ = library_of_many
    chance = random.Random(1)
    for _ in range(150):
        tag = chance.choice([*[None] * 6, said.tags[0], said.tags[3], said.tags[40], said.tags[1900]])
        q = chance.choice(
            [None, None, said.words[0][:4], said.words[0], said.words[300], said.names[2], "nobody says this"]
        )
        client = chance.choice([None, None, None, None, 1, 2])
        kind = chance.choice([None, None, None, "image", "video"])
        after = chance.choice([None, None, None, every[_SIZE // 3].created_at])
        page = Page(
            limit=chance.choice([5, 50]),
            offset=chance.choice([0, 0, 7, 60]),
            sort_by=chance.choice(["created_at", "created_at", "name", "size"]),
            descending=chance.random() < 0.5,
        )
        filters = Filters(
            client_id=client and clients[client],
            types=(kind,) if kind else (),
            tag=tag,
            q=q,
            created_after=after,
        )
        given, total = await lists.list_json(database, actor, filters, page, shape=SHAPE, told=_TOLD)
        matching = [
            one
            for one in every
            if (client is None or one.client_id == client)
            and (kind is None or one.type == kind)
            and (tag is None or fold(tag) in {fold(each) for each in one.tags})
            and (q is None or _holds(one, q, fields=("name", "tags", "description")))
            and (after is None or one.created_at > after)
        ]
        _check(given, total, matching, page, (filters, page))
    assert ways >= {plans.IN_ORDER, plans.NEWEST, "tag", "client_id", "q"}


async def test_projects_lists_are_what_a_look_at_every_asset_gives(database, library_of_many, ways):
    said, every, _, _, _ = library_of_many
    chance = random.Random(2)
    for number in count():
        tags = tuple(chance.sample([said.tags[0], said.tags[1], said.tags[40]], chance.choice([0, 0, 1, 2])))
        search = chance.choice(["", "", said.words[0][:4], said.words[300]])
        any_tag, generated = chance.random() < 0.3, chance.choice([None, None, True, False])
        page = Page(
            limit=chance.choice([5, 50]), offset=chance.choice([0, 0, 7]), descending=chance.random() < 0.5
        )
        sort_by = chance.choice(["created_at", "created_at", "name", "updated_at"])
        project_id = chance.choice([1, 1, 2, 60])
        filters = ProjectFilters(search=search, tags=tags, any_tag=any_tag, has_generations=generated)
        given, total = await project_lists.list_json(
            database, project_id, filters, page, sort_by, shape=PROJECT_SHAPE, told=_TOLD
        )
        wanted = {fold(tag) for tag in tags}
        matching = [
            one
            for one in every
            if one.project_id == project_id
            and one.type == "image"
            and (
                not wanted
                or (any if any_tag else all)(tag in {fold(each) for each in one.tags} for tag in wanted)
            )
            and (not search or _holds(one, search, fields=("name", "description")))
            and (generated is None or bool(one.generation_count) == generated)
        ]
        sorted_page = Page(limit=page.limit, offset=page.offset, sort_by=sort_by, descending=page.descending)
        _check(given, total, matching, sorted_page, (filters, page, sort_by))
        if number == 120:
            break
    assert ways >= {plans.IN_ORDER, plans.NEWEST, "tag"}


async def test_no_list_looks_at_every_asset(database, library_of_many, monkeypatch):
    """Nor at a tag's assets again for each asset of a list."""
    said, _, actor, clients, _ = library_of_many
    found = []
    fetch = database.fetch

    async def explained(query, values):
        async with database.read_engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            if database.is_sqlite:
                sql, given = query.for_sqlite(values)
                rows = await driver.execute_fetchall(f"EXPLAIN QUERY PLAN {sql}", given)
            else:
                await driver.execute("SET enable_seqscan = off")  # as in a library a hundred times as large
                sql, given = query.for_postgresql(values)
                rows = await driver.fetch(f"EXPLAIN {sql}", *given)
        found.append("\n".join(str(row[-1]) for row in rows))
        return await fetch(query, values)

    monkeypatch.setattr(database, "fetch", explained)
    page = Page(limit=50, offset=0)
    for filters in (
        Filters(),
        Filters(types=("video",)),
        Filters(client_id=clients[1]),
        Filters(tag=said.tags[0]),
        Filters(tag=said.tags[1900]),
        Filters(client_id=clients[1], tag=said.tags[0], types=("image",)),
        Filters(q=said.words[0]),
        Filters(q=said.words[0], tag=said.tags[0]),
    ):
        await lists.list_json(database, actor, filters, page, shape=SHAPE, told=_TOLD)
    for filters in (
        ProjectFilters(),
        ProjectFilters(tags=(said.tags[0],)),
        ProjectFilters(tags=(said.tags[0], said.tags[1])),
        ProjectFilters(tags=(said.tags[0], said.tags[1]), any_tag=True),
        ProjectFilters(search=said.words[0]),
        ProjectFilters(has_generations=True),
    ):
        await project_lists.list_json(
            database, 1, filters, page, "created_at", shape=PROJECT_SHAPE, told=_TOLD
        )
    for plan in found:
        assert "CORRELATED LIST SUBQUERY" not in plan, plan
        assert "SCAN assets" not in plan, plan
        assert "SCAN asset_tags" not in plan, plan
        assert "Seq Scan on assets" not in plan, plan
