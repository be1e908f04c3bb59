"""What is read out of a file once and kept in its row."""

import unicodedata
from dataclasses import dataclass, field
from datetime import datetime

Detail = str | int | float | bool

MAX_TEXT = 200  # characters of one text that a file tells about itself


@dataclass(frozen=True, slots=True)
class Facts:
    """`width` and `height` are pixels as displayed; what a file does not have is None.

    `details` are worth showing: camera, codecs, tags, `frame_count` … `location` has `latitude` and `longitude` in
    degrees and perhaps `altitude` in metres. `thumbhash` is base64, `dominant_color` `#rrggbb`, `phash` a signed
    64-bit integer, `thumbnail` a JPEG.
    """

    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None
    page_count: int | None = None
    details: dict[str, Detail] = field(default_factory=dict)
    location: dict[str, float] | None = None
    thumbhash: str | None = None
    dominant_color: str | None = None
    phash: int | None = None
    thumbnail: bytes | None = None


def clean_text(value: object) -> str:
    """A file's own words made safe to keep and show: one line, no control or bidi characters, bounded; may be empty."""
    text = str(value)[: 4 * MAX_TEXT]
    spaced = (" " if character.isspace() else character for character in text)
    kept = "".join(character for character in spaced if unicodedata.category(character)[0] != "C")
    return " ".join(kept.split())[:MAX_TEXT]


def iso_time(text: str, offset: str = "") -> str | None:
    """A camera's `2024:05:01 12:00:00` or a container's ISO time, as ISO 8601; None when it is no time."""
    text = text.strip().rstrip("\0")
    if text[4:5] == ":" and text[7:8] == ":":
        text = text[:10].replace(":", "-") + text[10:]
    try:
        return datetime.fromisoformat(text + offset.strip()).isoformat()
    except ValueError:
        return None
