"""Names and tags as people type them: cleaned, bounded, compared without case."""

import unicodedata
from collections.abc import Iterable

from mediakeep.errors import InvalidInput

MAX_NAME_LENGTH = 255
MAX_DESCRIPTION_LENGTH = 10_000
MAX_TAG_LENGTH = 64
MAX_TAGS = 100

# Marks that change the direction of the text around them, and so make one name look like another
# (https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters).
_BIDI_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean_file_name(given: str) -> str:
    """A file's name as data: without directories, control and bidi characters, at most 255 characters.

    The extension stays when the name is cut. "file" where nothing is left.
    """
    base = given.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(mark for mark in base if not _is_unseen(mark)).strip()
    if kept in {"", ".", ".."}:
        return "file"
    if len(kept) <= MAX_NAME_LENGTH:
        return kept
    stem, dot, extension = kept.rpartition(".")
    if not dot or not stem or len(extension) > 16:
        return kept[:MAX_NAME_LENGTH]
    return stem[: MAX_NAME_LENGTH - len(extension) - 1] + dot + extension


def check_text(value: str, *, field: str, max_length: int, multiline: bool = False) -> str:
    """The text as given. Raises `InvalidInput` where it is too long or holds what no database or page can show."""
    if len(value) > max_length:
        raise InvalidInput(f"{field} has at most {max_length} characters.", field=field)
    for mark in value:
        if (unicodedata.category(mark) in {"Cc", "Cs"}) and not (multiline and mark in "\n\r\t"):
            raise InvalidInput(f"{field} must not contain control characters.", field=field)
    return value


def check_name(value: str) -> str:
    name = check_text(value.strip(), field="name", max_length=MAX_NAME_LENGTH)
    if not name:
        raise InvalidInput("name must not be empty.", field="name")
    return name


def check_description(value: str | None) -> str:
    """None is no description. Raises `InvalidInput`."""
    return check_text(value or "", field="description", max_length=MAX_DESCRIPTION_LENGTH, multiline=True)


def check_tags(given: Iterable[str]) -> list[str]:
    """Tags trimmed, each once (the first spelling counts), in the order given. Raises `InvalidInput`."""
    tags: dict[str, str] = {}
    for one in given:
        tag = check_text(one.strip(), field="tags", max_length=MAX_TAG_LENGTH)
        if tag:
            tags.setdefault(fold(tag), tag)
    if len(tags) > MAX_TAGS:
        raise InvalidInput(f"An asset has at most {MAX_TAGS} tags.", field="tags")
    return list(tags.values())


def fold(text: str) -> str:
    """The form in which two spellings of one word are equal: NFC, without case (Unicode §3.13)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _is_unseen(mark: str) -> bool:
    return mark in _BIDI_MARKS or unicodedata.category(mark) in {"Cc", "Cs"}
