"""The tokeniser: which words a text holds, and where."""

import sys
import unicodedata

import pytest

from mediakeep.index.words import MAX_LENGTH, Token, tokens, words

#: Watching which lines they run would take several times as long, and they are those of the other tests.
a_million_calls = pytest.mark.no_cover


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \t\n!?.,;:-_'\"*()", []),
        ("Dragon_over-the castle.PNG", ["dragon", "over", "the", "castle", "png"]),
        ("IMG0042 v2.0", ["img0042", "v2", "0"]),
        ("Über Größe ÉCOLE", ["uber", "grosse", "ecole"]),
        ("U\u0308ber e\u0301cole", ["uber", "ecole"]),
        ("Ἀθῆναι ΟΔΟΣ οδος", ["αθηναι", "οδοσ", "οδοσ"]),
        ("Ёлка Йод", ["елка", "иод"]),
        ("ﬁlm ＦＵＬＬ 𝐁old", ["film", "full", "bold"]),
        ("شَمْس שָׁלוֹם", ["شمس", "שלום"]),
        ("किताब का", ["किताब", "का"]),
        ("東京タワー", ["東", "京", "タ", "ワ", "ー"]),
        ("バス", ["ハ", "\u3099", "ス"]),
        ("한국어", [unicodedata.normalize("NFKD", "한국어")]),
        ("abc東京def", ["abc", "東", "京", "def"]),
        ("ไทย", ["ไ", "ท", "ย"]),
        ("🐉dragon👍🏽❤️", ["🐉", "dragon", "👍", "❤"]),
        ("👨‍👩‍👧 🇩🇪", ["👨", "👩", "👧", "🇩", "🇪"]),
        ("Brand™ ©2026", ["brand", "™", "©", "2026"]),
        ("soft\u00adhyphen zero\u200bwidth\u200djoiner", ["softhyphen", "zero", "widthjoiner"]),
        ("½ x² Ⅷ", ["12", "x2", "viii"]),
        ("a\0b\ud800c\ue000d", ["a", "b", "c", "d"]),
        ("x" * 100, ["x" * MAX_LENGTH]),
    ],
)
def test_a_text_holds_these_words(text, expected):
    assert words(text) == expected


@a_million_calls
def test_words_and_tokens_agree_on_every_character():
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    for start in range(0, len(every), 4096):
        for between in ("", "a"):
            text = between.join(every[start : start + 4096])
            assert [token.word for token in tokens(text)] == words(text)


@a_million_calls
def test_a_word_holds_nothing_that_an_engine_would_read_as_more():
    for code in range(sys.maxunicode + 1):
        for word in words(chr(code)):
            assert not set(word) & set(" \t\r\n\v\f'\"\\:*&|!()<>{}+^-\0\ue000"), hex(code)
            assert not word.isascii() or word.isalnum(), hex(code)
            assert word == word.lower() or not word.isascii(), hex(code)


@a_million_calls
def test_what_is_folded_stays_as_it_is():
    for code in range(sys.maxunicode + 1):
        once = words(chr(code))
        assert words(" ".join(once)) == once, hex(code)


def test_places_are_those_of_the_text():
    text = "Große  ﬁlm: U\u0308ber-東京 👍🏽"
    assert [(token.word, text[token.start : token.end]) for token in tokens(text)] == [
        ("grosse", "Große"),
        ("film", "ﬁlm"),
        ("uber", "U\u0308ber"),
        ("東", "東"),
        ("京", "京"),
        ("👍", "👍"),
    ]
    assert list(tokens("A b2")) == [Token("a", 0, 1), Token("b2", 2, 4)]
