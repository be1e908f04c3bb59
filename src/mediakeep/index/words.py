"""The words of a text: the one tokeniser, for what is indexed, what is looked for, and what is shown as found.

Both engines get words that are already told apart and folded, so that they cannot disagree about either.

A word is a run of letters and digits, without case and accents: "Über-Größe_2" holds uber, grosse and 2. Scripts that
put no spaces between words (Chinese, Japanese, Thai, …) have a word a character; so has each emoji or other symbol.
Punctuation holds none.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

#: Longer ones are cut; what is looked for is cut alike.
MAX_LENGTH = 64

_ASCII_WORD = re.compile(r"[a-z0-9]+")

#: How the names begin of characters that stand in no run.
_UNSPACED = ("CJK ", "HIRAGANA ", "KATAKANA", "COMBINING KATAKANA", "THAI ", "LAO ", "KHMER ", "MYANMAR ")

_ZERO_WIDTH_SPACE = "\u200b"

_SKIN_TONES = range(0x1F3FB, 0x1F400)

_VARIATION_SELECTORS = range(0xFE00, 0xFE10)

_MOST_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class Token:
    """A word and where it stands: `text[start:end]`, in characters (code points)."""

    word: str
    start: int
    end: int


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return [word[:MAX_LENGTH] for word in text.translate(_FOLDING).split()]


def tokens(text: str) -> Iterator[Token]:
    """The same words with their places."""
    if text.isascii():
        for found in _ASCII_WORD.finditer(text.lower()):
            yield Token(found[0][:MAX_LENGTH], found.start(), found.end())
        return
    word, start, end = "", 0, 0
    for at, character in enumerate(text):
        folded = _FOLDING[ord(character)]
        for mark in folded:
            if mark != " ":
                word, start, end = word + mark, start if word else at, at + 1
            elif word:
                yield Token(word[:MAX_LENGTH], start, end)
                word = ""
        if not folded and word:  # an accent belongs to its letter
            end = at + 1
    if word:
        yield Token(word[:MAX_LENGTH], start, end)


class _Folding(dict[int, str]):
    """What each character comes to: "" what is passed over, " " what separates, " x " a word of its own."""

    def __missing__(self, code: int) -> str:
        folded = _fold(chr(code))
        if len(self) < _MOST_KEPT:
            self[code] = folded
        return folded


_FOLDING = _Folding()


def _fold(character: str) -> str:
    category = unicodedata.category(character)
    if _is_passed_over(character, category):
        return ""
    if category == "So":
        return f" {character} "
    if category[0] not in "LNM":
        return " "
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold()).casefold()
    return "".join(map(_part, plain))


def _part(character: str) -> str:
    """What a character that others are made of comes to."""
    category = unicodedata.category(character)
    if _is_passed_over(character, category) or category[0] not in "LNM":
        return ""
    if unicodedata.name(character, "").startswith(_UNSPACED):
        return f" {character} "
    return character


def _is_passed_over(character: str, category: str) -> bool:
    """Accents, and what only says how its neighbours are drawn. Marks that tell words apart, as India's vowels, stay."""
    code = ord(character)
    return (
        (category == "Cf" and character != _ZERO_WIDTH_SPACE)
        or category == "Me"
        or code in _SKIN_TONES
        or code in _VARIATION_SELECTORS
        or _is_accent(unicodedata.combining(character))
    )


def _is_accent(combining_class: int) -> bool:
    """Above, below and through the letter (https://www.unicode.org/reports/tr44/#Canonical_Combining_Class_Values).

    1 is what strikes through, 10 to 35 are the points of Hebrew and Arabic.
    """
    return combining_class == 1 or 10 <= combining_class <= 35 or combining_class >= 200
