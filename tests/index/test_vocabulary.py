"""The vocabulary: which words are near, and which of them are held where, the same on both engines."""

import string

import pytest

from mediakeep import index
from mediakeep.index.service import owner_scope, project_scope
from mediakeep.index.vocabulary import edits, held_words, near_words


@pytest.fixture
def put(database):
    """Indexes an asset of this name."""

    async def put(asset_id, name, *, owner_id=1, project_id=None):
        document = index.Document(
            asset_id=asset_id,
            owner_id=owner_id,
            project_id=project_id,
            name=name,
            description="",
            tags=[],
            prompts="",
        )
        async with database.write() as session:
            await index.put_all(session, [document])

    return put


async def test_a_word_is_near_however_many_others_are_nearer(put, database):
    others = [f"charcter{letter}" for letter in string.ascii_lowercase]
    await put(1, " ".join(others))
    await put(2, "character")
    near = await near_words(database, "charcter")
    assert set(near) == {(1, word) for word in [*others, "character"]}
    assert near == sorted(near)


async def test_words_are_held_where_somebody_s_texts_hold_them(put, database):
    await put(1, "castle dragon", owner_id=1, project_id=7)
    await put(2, "castle grosse", owner_id=2)
    await put(3, "zauber", owner_id=1)
    words = ["castle", "dragon", "grosse", "zauber", "nothing"]
    for scope, held in (
        ("", {"castle", "dragon", "grosse", "zauber"}),
        (owner_scope(1), {"castle", "dragon", "zauber"}),
        (owner_scope(2), {"castle", "grosse"}),
        (owner_scope(3), set()),
        (project_scope(7), {"castle", "dragon"}),
    ):
        assert await held_words(database, words, scope) == held
    assert await held_words(database, [], owner_scope(1)) == set()


async def test_hundreds_of_words_are_asked_for_at_once(put, database):
    words = [f"{one}{other}word" for one in string.ascii_lowercase for other in string.ascii_lowercase]
    await put(1, " ".join(words[:200]))
    assert await held_words(database, words, owner_scope(1)) == set(words[:200])


def test_edits_of_long_words_end_at_the_bound():
    word = "a" * 24
    assert edits(word, "b" + word[1:23] + "b", 2) == 2
    assert edits(word, "b" + word[1:22] + "bb", 2) == 3
    assert edits(word, "bb" + word, 2) == 2
    assert edits("xy" + word, word + "xy", 3) == 4
