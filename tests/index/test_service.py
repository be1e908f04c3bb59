"""What is indexed: at once, wholly, and without a trace of what was before; the vocabulary."""

import asyncio
import random

import pytest
from sqlalchemy import func, select, text

from mediakeep import index
from mediakeep.db import open_database
from mediakeep.index import vocabulary as near
from mediakeep.index.models import SearchDocument, Term, TermGram
from mediakeep.index.query import matching, parse, spell
from mediakeep.index.vocabulary import clear_terms, edits, grams_of, near_words


@pytest.fixture
def put(database):
    async def put(asset_id, name="", description="", tags=(), prompts="", owner_id=1, project_id=None):
        async with database.write() as session:
            document = index.Document(
                asset_id=asset_id,
                owner_id=owner_id,
                project_id=project_id,
                name=name,
                description=description,
                tags=tags,
                prompts=prompts,
            )
            await index.put_all(session, [document])

    return put


@pytest.fixture
def remove(database):
    async def remove(*asset_ids):
        async with database.write() as session:
            await index.remove(session, asset_ids)

    return remove


@pytest.fixture
def found(database):
    """The assets that a query finds, straight from the engine's index."""

    async def found(query, *, scope="", **options):
        asked = matching(database.dialect_name)
        spelt = spell(database.dialect_name, parse(query), scope=scope, **options)
        statement = select(asked.asset_id).select_from(asked.source).where(asked.condition)
        async with database.read() as session:
            return sorted(await session.scalars(statement, {"matching": spelt.matching}))

    return found


@pytest.fixture
def check_fts(database):
    """FTS5's own check that it holds what the documents say."""

    async def check():
        if database.is_sqlite:
            async with database.write() as session:
                await session.execute(
                    text("INSERT INTO search_fts (search_fts, rank) VALUES ('integrity-check', 1)")
                )

    return check


async def test_what_is_put_is_found_until_it_is_removed(put, remove, found, check_fts):
    await put(1, "dragon"), await put(2, "dragon castle")
    assert await found("dragon") == [1, 2]
    await put(1, "tower")
    assert await found("dragon") == [2]
    await remove(1, 2, 3)
    assert await found("dragon") == await found("tower") == []
    await check_fts()


async def test_each_field_is_found_by_itself(put, found):
    await put(1, "alpha", "beta", ["gamma"], "delta")
    for field, word in {"name": "alpha", "description": "beta", "tags": "gamma", "prompts": "delta"}.items():
        assert await found(word) == await found(word, fields=(field,)) == [1]
        others = tuple(one for one in ("name", "description", "tags", "prompts") if one != field)
        assert await found(word, fields=others) == []


async def test_prompts_stay_unless_others_are_given(put, found):
    await put(1, "name", prompts="epic warrior")
    await put(1, "other", prompts=None)
    assert await found('"epic warrior" other') == [1]
    await put(1, "other", prompts="")
    assert await found("warrior") == []


async def test_a_scope_is_an_owner_s_or_a_project_s(put, found):
    await put(1, "dragon", owner_id=1, project_id=12)
    await put(2, "dragon", owner_id=12, project_id=1)
    assert await found("dragon", scope=index.service.owner_scope(1)) == [1]
    assert await found("dragon", scope=index.service.project_scope(1)) == [2]
    assert await found("dragon", scope=index.service.owner_scope(2)) == []
    await put(1, "dragon", owner_id=1, project_id=None)
    assert await found("dragon", scope=index.service.project_scope(12)) == []


@pytest.mark.parametrize("words", ["o1", "p12", "\ue000o1", "\ue000p12", "\ue000"])
async def test_no_text_makes_a_scope(put, found, words):
    await put(1, words, words, [words], words, owner_id=7)
    assert await found("x OR o2") == []
    for scope in (index.service.owner_scope(1), index.service.project_scope(12)):
        assert await found("o1 p12", scope=scope) == await found("o1", scope=scope) == []


async def test_no_phrase_goes_from_one_field_or_tag_to_the_next(put, found):
    await put(1, "one two", "three four", ["five six", "seven", "nine"], "eight")
    assert await found('"one two" "three four" "five six"') == [1]
    for phrase in (
        "two three",
        "four five",
        "six seven",
        "seven nine",
        "nine eight",
        "two five",
        "seven three",
    ):
        assert await found(f'"{phrase}"') == []


async def test_a_long_text_is_found_by_its_first_words_alike(put, found, check_fts):
    many = " ".join(f"w{n}" for n in range(9000))
    await put(1, " ".join(["same"] * 300), many, [f"t{n} same" for n in range(3000)], many)
    assert await found('"w8190 w8191"', fields=("description",)) == [1]
    assert await found("w8192", fields=("description",)) == []
    assert await found('"w4094 w4095"', fields=("prompts",)) == [1]
    assert await found("w4096", fields=("prompts",)) == []
    assert await found("t0", fields=("tags",)) == [1]
    assert await found("same", fields=("tags",)) == []  # it has its 250 places in the name
    assert await found('"w8191 w0"') == []
    await check_fts()


async def test_the_largest_texts_there_can_be_are_indexed(put, found, check_fts):
    await put(1, "ﷺ" * 255, "ﷺ " * 5000, ["\U0001f600" * 64] * 100, "東" * 20_000)
    await put(2, "x" * 255, "é" * 10_000, ["\u0301" * 64], "\0")
    assert await found('"東 東 東"') == [1]
    await check_fts()


async def test_index_and_vocabulary_agree_with_themselves_made_anew(
    put, remove, documents, vocabulary, database, check_fts
):
    rng = random.Random(4)
    words = ["dragon", "Über", "東京", "it's", "a\0b", "🐉", "castle", "x1", "tower", '"', "wörter", "grams"]
    state = {}

    def text_of(count):
        return " ".join(rng.choices(words, k=count))

    for _ in range(150):
        asset_id = rng.randrange(1, 20)
        if rng.random() < 0.25:
            state.pop(asset_id, None)
            await remove(asset_id)
        else:
            given = (text_of(2), text_of(4), [text_of(1) for _ in range(rng.randrange(3))], text_of(3))
            state[asset_id] = (*given, rng.randrange(3), rng.choice([None, 1, 2]))
            await put(asset_id, *given, owner_id=state[asset_id][4], project_id=state[asset_id][5])
    await check_fts()
    await clear_terms(database)
    incremental = await documents(), await vocabulary()
    assert set(incremental[0]) == set(state)
    await remove(*range(20))
    assert await documents() == {}
    await clear_terms(database)
    assert await vocabulary() == set()
    for asset_id, (*given, owner_id, project_id) in state.items():
        await put(asset_id, *given, owner_id=owner_id, project_id=project_id)
    assert (await documents(), await vocabulary()) == incremental
    await check_fts()


# Vocabulary


async def test_the_vocabulary_has_words_that_people_type(put, vocabulary):
    await put(1, "Dragon x1 ab 2026 8f3ad0", "Größe " + "y" * 25, ["東京", "🐉"], "warrior")
    assert await vocabulary() == {"dragon", "grosse", "warrior"}


async def test_words_that_nothing_holds_any_more_are_cleared(put, remove, vocabulary, database):
    await put(1, "dragon castle"), await put(2, "dragon")
    await remove(1)
    assert await clear_terms(database) == 1
    assert await vocabulary() == {"dragon"}
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(TermGram)) == len(grams_of("dragon"))
    assert await clear_terms(database) == 0


async def test_many_words_are_cleared_in_chunks(put, vocabulary, database, monkeypatch):
    monkeypatch.setattr(near, "_CHUNK", 3)
    await put(1, "one two three four five six seven")
    await put(1, "four eleven")
    assert await clear_terms(database) == 6
    assert await vocabulary() == {"four", "eleven"}


async def test_writers_of_the_same_new_words_do_not_hurt_one_another(settings, database, vocabulary):
    """They add words in one order, whatever the order of the texts."""
    words = [f"word{chr(97 + n)}{chr(97 + m)}" for n in range(20) for m in range(5)]
    others = [open_database(settings) for _ in range(3)]

    async def write(number, each):
        rng = random.Random(number)
        for turn in range(20):
            async with each.write() as session:
                document = index.Document(
                    asset_id=100 * number + turn,
                    owner_id=1,
                    project_id=None,
                    name="",
                    description=" ".join(rng.sample(words, 60)),
                    tags=[],
                )
                await index.put_all(session, [document])

    await asyncio.gather(*(write(number, each) for number, each in enumerate([database, *others])))
    assert await vocabulary() == set(words)
    async with database.read() as session:
        grams = await session.scalar(select(func.count()).select_from(TermGram))
    assert grams == sum(len(grams_of(word)) for word in words)
    for each in others:
        await each.close()


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("charcter", [(1, "character"), (2, "chapter")]),
        ("chraacter", [(1, "character")]),
        ("charter", [(1, "chapter"), (2, "character")]),
        ("dargon", [(1, "dragon")]),
        ("dragon", []),
        ("drag", []),
        ("xx", []),
        ("dragon1", []),
    ],
)
async def test_near_words_are_a_slip_or_two_away(put, database, word, expected):
    await put(1, "character chapter dragon castle")
    assert await near_words(database, word) == expected


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ("abc", "abc", 0),
        ("abc", "acb", 1),
        ("abc", "ab", 1),
        ("abc", "xabc", 1),
        ("abc", "abx", 1),
        ("abcd", "badc", 2),
        ("abcdef", "abxyef", 2),
        ("abc", "xyz", 3),
        ("", "abc", 3),
        ("ca", "abc", 3),
    ],
)
def test_edits_are_counted_up_to_a_bound(one, other, distance):
    for most in range(4):
        assert edits(one, other, most) == edits(other, one, most) == min(distance, most + 1)


async def test_a_word_has_its_runs_of_letters_once(put, database):
    await put(1, "banana"), await put(2, "banana")
    async with database.read() as session:
        term = (await session.scalars(select(Term))).one()
        grams = set(await session.scalars(select(TermGram.gram)))
    assert grams == grams_of("banana") == {"\ue000ba", "ban", "ana", "nan", "na\ue000"}
    assert term.gram_count == 5


async def test_sqlite_keeps_no_vectors(put, database):
    await put(1, "dragon")
    async with database.read() as session:
        assert (await session.scalar(select(SearchDocument.vector)) is None) == database.is_sqlite
