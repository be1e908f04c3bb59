"""Full-text search: what is found, in which order, and where it stands; the same on both engines."""

import uuid
from contextlib import suppress

import pytest
from sqlalchemy import select

from mediakeep.assets import generations, tags
from mediakeep.assets import service as assets
from mediakeep.assets.models import Asset
from mediakeep.assets.queries import Filters
from mediakeep.collections import service as collections
from mediakeep.errors import PermissionDenied
from mediakeep.index.models import SearchDocument
from mediakeep.search import text as searching
from mediakeep.search.text import Match

# What is found


@pytest.mark.parametrize(
    "query",
    [
        "dragon",
        "DRAGON",
        "dragon castle",
        "castle dragon",
        "dragon winter",
        "red",
        '"dragon over the castle"',
        '"dark red"',
        "dra*",
        "cast* win*",
        '"dragon over" cas*',
        "dragon-over",
        "uber",
        "Über",
        "ÜBER",
        "U\u0308ber",
        "grosse",
        "größe",
        "東京",
        "京タ",
        "ﬁlm",
        "film",
        "🐉",
        "2026",
        "it's",
        "dragon dragon dragon",
        '"dragon over',
        "dragon !!! castle",
    ],
)
async def test_an_asset_is_found_by_its_words(add, found, query):
    asset = await add(
        "Dragon_over-the castle 🐉.png",
        "Über die Größe: it's 東京タワー in winter, film of 2026",
        ["dark red", "Night"],
    )
    await add("something else", "nothing of that", ["blue"])
    assert await found(query) == [asset]


@pytest.mark.parametrize(
    "query",
    [
        "drago",
        "ragon",
        "dragon tower",
        '"castle dragon"',
        '"the dragon"',
        '"red night"',
        '"castle uber"',
        "dr*",
        "d*",
        "京東",
        "大阪",
        "🐲",
        "*ragon",
        "name:dragon",
    ],
)
async def test_an_asset_is_not_found_by_what_it_does_not_say(add, found, query):
    await add("Dragon over the castle 🐉", "über 東京タワー", ["dark red", "night"])
    assert await found(query) == []


async def test_a_beginning_of_two_letters_matches_whole_words_only(add, found):
    short, _ = await add("ab cd"), await add("abacus")
    assert await found("ab*") == await found("ab") == [short]


@pytest.mark.parametrize(
    "query",
    [
        "",
        " ",
        "!?.,;:",
        '"',
        '""',
        '" "',
        "*",
        "***",
        "-",
        "^",
        "()",
        "\0",
        "\u200b",
        "\ue000o1",
        "'",
        "\\",
        "|&",
    ],
)
async def test_a_query_without_a_word_finds_nothing(add, search, query):
    await add('! ? " *')
    assert await search(query) == searching.Found(hits=[], total=0)


@pytest.mark.parametrize(
    "query",
    [
        "dragon AND",
        "OR dragon",
        "NOT dragon",
        "NEAR(dragon castle)",
        "NEAR(dragon castle, 5",
        "name : dragon",
        "{name} : dragon",
        "- name : dragon",
        "^dragon",
        "dragon*castle*",
        'dragon" OR "castle',
        "dragon'); DROP TABLE assets; --",
        "dragon' | 'castle",
        "dragon:*A & !castle",
        "dragon <-> castle",
        "dragon\\'",
        "dragon\0castle",
        "\ud800dragon",
        "dragon " * 10_000,
        " ".join(f"word{n}" for n in range(10_000)),
        "x" * 100_000,
        "😀" * 3000,
        "東" * 3000,
        '"' * 999,
        "* " * 999,
        "\u0301" * 999,
        "%_%",
        "dragon%20castle",
        "select 1",
        "\ue001o2 dragon",
    ],
    ids=range(30),
)
@pytest.mark.parametrize("fuzzy", [False, True])
async def test_no_query_breaks_anything(add, search, query, fuzzy):
    asset = await add(
        "dragon castle near and or not name drop table assets select 1 20castle", tags=["o", "a"]
    )
    told = await search(query, fuzzy=fuzzy)
    assert [hit.asset_id for hit in told.hits] in ([], [asset])


async def test_words_past_the_sixteenth_do_not_count(add, found):
    asset = await add(" ".join(f"word{n}" for n in range(16)))
    assert await found(" ".join(f"word{n}" for n in range(99))) == [asset]
    assert await found(" ".join(f"word{n}" for n in range(1, 18))) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (("name",), ["name"]),
        (("description",), ["description"]),
        (("tags",), ["tags"]),
        (("name", "tags"), ["name", "tags"]),
        (("name", "name", "tags", "tags"), ["name", "tags"]),
        (("prompts",), []),
        ((), []),
    ],
)
async def test_a_search_is_within_its_fields(add, search, found, fields, expected):
    ids = {
        "name": await add("dragon", "castle"),
        "description": await add("castle", "dragon"),
        "tags": await add("castle", "", ["dragon"]),
    }
    for query in ("dragon", "dra*", '"dragon"'):
        assert set(await found(query, fields=fields)) == {ids[field] for field in expected}
    assert await found("dragon castle", fields=("name",)) == []


# Order


async def test_a_name_counts_more_than_a_tag_and_a_tag_more_than_a_description(add, search):
    in_description = await add("one two three", "four five dragon", ["six"])
    in_tags = await add("one two three", "four five six", ["dragon"])
    in_name = await add("one two dragon", "three four five", ["six"])
    for number in range(9):  # a word that most have tells nothing
        await add(f"other {number}")
    for query in ("dragon", "dra*"):
        hits = (await search(query)).hits
        assert [hit.asset_id for hit in hits] == [in_name, in_tags, in_description]
        assert 1.0 == hits[0].score > hits[1].score > hits[2].score > 0


async def test_what_is_found_as_well_is_the_newest_first(add, search):
    ids = [await add("dragon") for _ in range(5)]
    hits = (await search("dragon")).hits
    assert [hit.asset_id for hit in hits] == ids[::-1]
    assert {hit.score for hit in hits} == {1.0}


async def test_a_short_name_is_a_better_match_than_a_long_one(add, found):
    exact = await add("dragon")
    longer = await add("a dragon and many other things that were there as well")
    for number in range(9):
        await add(f"other {number}")
    assert await found("dragon") == [exact, longer]


async def test_both_words_in_the_name_are_better_than_one_of_them(add, found):
    both = await add("dragon castle", "nothing")
    one = await add("dragon nothing", "castle")
    for number in range(9):
        await add(f"other {number}")
    assert await found("dragon castle") == [both, one]


async def test_pages_follow_one_another(add, search):
    ids = [await add(f"dragon {number}") for number in range(5)]
    pages = [await search("dragon", limit=2, offset=offset) for offset in (0, 2, 4, 6, 2**31)]
    assert [[hit.asset_id for hit in page.hits] for page in pages] == [
        [ids[4], ids[3]],
        [ids[2], ids[1]],
        [ids[0]],
        [],
        [],
    ]
    assert {page.total for page in pages} == {5}


async def test_only_the_newest_are_ranked_and_the_others_follow(add, search, monkeypatch):
    monkeypatch.setattr(searching, "RANKED", 3)
    searching._queries.cache_clear()
    best_of_all = await add("dragon")
    ids = [best_of_all, *[await add("some other name", f"dragon {'x ' * n}") for n in range(4)]]
    hits = (await search("dragon")).hits
    assert {hit.asset_id for hit in hits[:3]} == set(ids[2:])
    assert [(hit.asset_id, hit.score) for hit in hits[3:]] == [(ids[1], 0.0), (ids[0], 0.0)]
    for size in (1, 2):
        paged = [await search("dragon", limit=size, offset=offset) for offset in range(0, 6, size)]
        assert [hit for page in paged for hit in page.hits] == hits
    searching._queries.cache_clear()


async def test_a_total_is_counted_up_to_a_bound(add, search, monkeypatch):
    monkeypatch.setattr(searching, "MOST_COUNTED", 2)
    searching._queries.cache_clear()
    for _ in range(4):
        await add("dragon")
    assert (await search("dragon")).total == 2
    searching._queries.cache_clear()


# Fuzzy


@pytest.mark.parametrize(
    "query", ["charcter", "chracter", "charakter", "characterr", "haracter", "CHARCTER", "charcter dragon"]
)
async def test_a_slip_finds_the_word_that_was_meant(add, found, query):
    asset = await add("Character of a dragon")
    await add("chapter")
    assert await found(query) == []
    assert await found(query, fuzzy=True) == [asset]


async def test_short_words_bear_one_slip_and_shortest_none(add, found):
    await add("sword ox")
    assert len(await found("sord", fuzzy=True)) == 1
    assert await found("srd", fuzzy=True) == []
    assert await found("oy", fuzzy=True) == []


async def test_phrases_and_beginnings_are_taken_as_they_are(add, found):
    await add("character of a dragon")
    assert await found('"charcter of"', fuzzy=True) == []
    assert await found("charct*", fuzzy=True) == []


async def test_another_s_words_find_nothing_of_one_s_own(add, found, stranger):
    await add("character", of=stranger)
    mine = await add("dragon chapter")
    await add("charter", of=stranger)  # nearer, and not to be reckoned with
    assert await found("charcter", fuzzy=True) == [mine]


async def test_a_word_that_was_found_for_another_is_told_as_such(add, search):
    await add("My Character")
    (hit,) = (await search("charcter", fuzzy=True)).hits
    assert hit.matches == (Match("name", 3, 12),)


# Whose, and where


async def test_everybody_finds_their_own(add, found, stranger, admin):
    mine, theirs = await add("dragon"), await add("dragon", of=stranger)
    assert await found("dragon") == [mine]
    assert await found("dragon", of=stranger) == [theirs]
    assert await found("dragon", of=admin) == []
    assert await found("dragon", of=admin, everyones=True) == [theirs, mine]
    with pytest.raises(PermissionDenied):
        await found("dragon", everyones=True)


async def test_a_search_is_within_its_project(add, found, add_project, stranger, admin):
    project, other = await add_project(), await add_project()
    theirs = await add_project(of=stranger)
    here = await add("dragon", project_id=project)
    there = await add("dragon", project_id=other)
    nowhere = await add("dragon")
    await add("dragon", of=stranger, project_id=theirs)
    assert await found("dragon", project_id=project) == [here]
    assert await found("dragon", of=admin, project_id=project) == [here]
    assert await found("dragon", in_projects=True) == [there, here]
    assert await found("dragon") == [nowhere, there, here]
    assert await found("dragon", project_id=2**40) == []


async def test_a_search_is_narrowed_like_a_list(add, found, database, owner, stranger):
    async with database.write() as session:
        client = await collections.create(session, owner, "client_id", {"name": "c"})
    with_client = await add("dragon", client_id=client.id)
    film = await add("dragon", type="video")
    tagged = await add("dragon", tags=["Red", "warm"])
    for filters, expected in (
        (Filters(client_id=client.public_id), [with_client]),
        (Filters(client_id=str(uuid.uuid4())), []),
        (Filters(types=("video", "audio")), [film]),
        (Filters(tag="RED"), [tagged]),
        (Filters(tag="\0"), []),
    ):
        assert await found("dragon", filters=filters) == expected
    assert await found("dragon", tags=("red", "WARM")) == [tagged]
    assert await found("dragon", tags=("red", "cold")) == []
    assert await found("dragon", tags=("red", "cold"), any_tag=True) == [tagged]
    assert await found("dragon", of=stranger, filters=Filters(client_id=client.public_id)) == []


async def test_what_belongs_to_a_collection_that_goes_is_found_no_more(add, found, database, owner):
    async with database.write() as session:
        project = await collections.create(session, owner, "project_id", {"name": "p", "description": ""})
    await add("dragon", project_id=project.id)
    async with database.write() as session:
        await collections.remove(session, owner, "project_id", project.public_id)
    assert await found("dragon") == []


# At once


async def test_a_change_is_found_at_once_and_what_was_before_no_more(
    add, found, database, owner, add_project
):
    asset = await add("dragon", "old", ["red"])
    project = await add_project()
    async with database.write() as session:
        row = await session.get(Asset, asset)
        changes = {"name": "castle", "tags": ["blue"], "project_id": None}
        await assets.update(session, owner, row.public_id, changes)
    for query in ("dragon", "red"):
        assert await found(query) == []
    for query in ("castle", "blue", "castle old"):
        assert await found(query) == [asset]
    assert await found("castle", project_id=project) == []


async def test_what_is_deleted_is_found_no_more(add, found, database):
    first, second = await add("dragon"), await add("dragon")
    async with database.write() as session:
        await assets.remove_all(session, [await session.get(Asset, first)])
    assert await found("dragon") == [second]
    async with database.read() as session:
        assert list(await session.scalars(select(SearchDocument.asset_id))) == [second]


async def test_what_was_rolled_back_is_not_found(add, found, database, owner):
    asset = await add("dragon")
    with suppress(ZeroDivisionError):
        async with database.write() as session:
            row = await session.get(Asset, asset)
            await assets.update(session, owner, row.public_id, {"name": "castle"})
            raise ZeroDivisionError
    assert await found("castle") == []
    assert await found("dragon") == [asset]


async def test_a_tag_that_is_renamed_is_found_by_its_new_name(add, found, database, owner):
    async with database.write() as session:
        project = await collections.create(session, owner, "project_id", {"name": "p", "description": ""})
    asset = await add("dragon", tags=["old one", "red"], project_id=project.id)
    async with database.write() as session:
        await tags.rename_tag(session, owner, project.public_id, "old one", "new one")
    assert await found("old") == []
    assert await found('"new one" red') == [asset]


async def test_an_asset_is_found_by_the_prompts_of_its_generations(add, add_project, found, database, owner):
    asset = await add("portrait", project_id=await add_project())
    async with database.write() as session:
        public_id = (await session.get(Asset, asset)).public_id
        made = [
            await generations.create(session, owner, public_id, parameters={"positive_prompt": prompt})
            for prompt in ("epic warrior", "misty forest")
        ]
    assert await found('"epic warrior" forest portrait') == [asset]
    async with database.write() as session:
        await generations.remove(session, owner, made[0].public_id)
    assert await found("warrior") == []
    assert await found("forest") == [asset]
    async with database.write() as session:
        await assets.update(session, owner, public_id, {"name": "picture"})
    assert await found("forest picture") == [asset]


# Places


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("dragon", [("name", 0, 6, None), ("tags", 5, 11, 1)]),
        ("uber", [("description", 4, 8, None)]),
        ("grosse*", [("description", 14, 19, None)]),
        ('"grosse it"', [("description", 14, 23, None)]),
        ("it's", [("description", 21, 25, None)]),
        ("東京", [("description", 26, 28, None)]),
        ("dra* red", [("name", 0, 6, None), ("tags", 5, 11, 1), ("tags", 1, 4, 1)]),
        ("zoe", [("name", 7, 11, None)]),
        ("👍", [("name", 12, 13, None)]),
    ],
)
async def test_places_are_those_of_the_text_as_it_was_written(add, search, query, expected):
    await add("DRAGON Zoe\u0308 👍🏽", "the über alle Größe, it's 東京タワー", ["night", "(red)dragon"])
    found = await search(query)
    (hit,) = found.hits
    assert sorted((one.field, one.start, one.end, one.index) for one in hit.matches) == sorted(expected)


async def test_places_are_told_of_the_fields_that_were_searched(add, search):
    await add("dragon", "dragon", ["dragon"])
    (hit,) = (await search("dragon", fields=("description",))).hits
    assert hit.matches == (Match("description", 0, 6),)


async def test_places_of_a_field_are_bounded(add, search):
    await add("a", "dragon " * 1000)
    (hit,) = (await search("dragon")).hits
    assert len(hit.matches) == 100
