"""Real files damaged on purpose. A seed and a number always give the same one."""

import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from tests.samples import films, papers, pictures

Order = Literal["big", "little"]

# At least one of every format that any door takes, in the variants whose decoders differ.
SAMPLES: tuple[tuple[str, Callable[[], bytes]], ...] = (
    ("jpg", lambda: pictures.jpeg(160, 120, orientation=6, camera=True, place=(48.1, 11.5, 500.0))),
    ("jpg", lambda: pictures.jpeg(160, 120, progressive=True, profile=pictures.display_p3())),
    ("jpg", lambda: pictures.jpeg(160, 120, mode="CMYK")),
    ("png", lambda: pictures.png(80, 60)),
    ("png", lambda: pictures.png(80, 60, "RGBA")),
    ("png", lambda: pictures.png(80, 60, "P")),
    ("png", lambda: pictures.png(80, 60, "I;16")),
    ("gif", lambda: pictures.gif(3)),
    ("gif", lambda: pictures.gif(1)),
    ("webp", lambda: pictures.webp(1, 160, 120)),
    ("webp", lambda: pictures.webp(3, 160, 120)),
    ("bmp", lambda: pictures.bmp(64, 48)),
    ("tiff", lambda: pictures.tiff(1, 80, 60)),
    ("tiff", lambda: pictures.tiff(3, 80, 60)),
    ("heic", lambda: pictures.heic(160, 120, orientation=6)),
    ("avif", lambda: pictures.avif(1, 160, 120)),
    ("avif", lambda: pictures.avif(3, 160, 120)),
    ("mp4", lambda: films.video("mp4", 1.2, sound=True, place="+48.1+011.5/")),
    ("mp4", lambda: films.video("mp4", 1.2, rotation=90)),
    ("mov", lambda: films.video("mov", 1.2, sound=True, place="+48.1+011.5+500/")),
    ("avi", lambda: films.video("avi", 1.2, sound=True)),
    ("wmv", lambda: films.video("wmv", 1.2, sound=True)),
    ("flv", lambda: films.video("flv", 1.2, sound=True)),
    ("webm", lambda: films.video("webm", 1.2, sound=True)),
    ("mkv", lambda: films.video("mkv", 1.2, sound=True)),
    ("3gp", lambda: films.video("3gp", 1.2, sound=True)),
    ("mp3", lambda: films.sound("mp3", 1.0)),
    ("mp3", lambda: films.sound("mp3", 1.0, xing=False, cover=True)),
    ("wav", lambda: films.sound("wav", 0.5, sample_rate=16_000)),
    ("wav", lambda: films.sound("wav", 1.0, codec="adpcm_ms")),
    ("flac", lambda: films.sound("flac", 0.5)),
    ("ogg", lambda: films.sound("ogg", 1.0)),
    ("ogg", lambda: films.sound("ogg", 1.0, codec="flac")),
    ("m4a", lambda: films.sound("m4a", 1.0)),
    ("mp4", lambda: films.sound("mp4", 1.0, cover=True)),
    ("pdf", lambda: papers.pdf(3)),
    ("pdf", lambda: papers.pdf(1, password="secret")),
)


@dataclass(frozen=True, slots=True)
class Mutation:
    """`format` is that of the file it was made of; `done` tells how."""

    format: str
    done: str
    data: bytes


def mutation(seed: int, number: int) -> Mutation:
    """The damaged file of that number; consecutive numbers go through all samples."""
    dice = random.Random(f"{seed}/{number}")
    index = number % len(SAMPLES)
    name, data = SAMPLES[index][0], sample(index)
    ways = dice.choices(_WAYS, _WEIGHTS, k=dice.choice((1, 1, 1, 2, 2, 4)))
    for way in ways:
        data = way(dice, name, data)
    if mends := dice.random() < 0.5:
        data = _with_checksums(name, data)
    return Mutation(name, "+".join([way.__name__ for way in ways] + ["checksums"] * mends), data)


@cache
def sample(index: int) -> bytes:
    return SAMPLES[index][1]()


def _flip(dice: random.Random, name: str, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.choice((1, 2, 8, 64)) if data else 0):
        changed[_place(dice, data)] ^= 1 << dice.randrange(8)
    return bytes(changed)


def _overwrite(dice: random.Random, name: str, data: bytes) -> bytes:
    start, end = _block(dice, data)
    filling = dice.choice((b"\0", b"\xff", b"A", dice.randbytes(1)))
    return data[:start] + filling * (end - start) + data[end:]


def _noise(dice: random.Random, name: str, data: bytes) -> bytes:
    start, end = _block(dice, data)
    return data[:start] + dice.randbytes(end - start) + data[end:]


def _swap(dice: random.Random, name: str, data: bytes) -> bytes:
    (a, b), (c, d) = sorted((_block(dice, data), _block(dice, data)))
    b, d = min(b, c), max(c, d)
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _remove(dice: random.Random, name: str, data: bytes) -> bytes:
    start, end = _block(dice, data)
    return data[:start] + data[end:]


def _duplicate(dice: random.Random, name: str, data: bytes) -> bytes:
    start, end = _block(dice, data)
    return data[:end] + data[start:end] * dice.choice((1, 2, 50)) + data[end:]


def _truncate(dice: random.Random, name: str, data: bytes) -> bytes:
    return data[: _place(dice, data) if dice.random() < 0.5 else dice.randrange(len(data) + 1)]


def _extreme(dice: random.Random, name: str, data: bytes) -> bytes:
    """A size, a count or an offset of the format's own structure, set to what no one expects."""
    if name == "pdf":
        return _extreme_numbers(dice, data)
    fields = list(_fields(name, data))
    changed = bytearray(data)
    for at, width, order in dice.sample(fields, min(len(fields), dice.choice((1, 1, 2, 5)))):
        old = int.from_bytes(data[at : at + width], order)
        top = 1 << 8 * width
        values = (0, 1, 2, 7, 8, 255, top - 1, top - 8, top // 2, top // 2 - 1, old + 1, old - 1, old * 2)
        values += (len(data), 0x10000, dice.randrange(top), 1 << dice.randrange(8 * width))
        changed[at : at + width] = (dice.choice(values) % top).to_bytes(width, order)
    return bytes(changed)


def _extreme_numbers(dice: random.Random, data: bytes) -> bytes:
    numbers = list(re.finditer(rb"(?<![0-9.])[0-9]+", data))
    for found in sorted(
        dice.sample(numbers, min(len(numbers), dice.choice((1, 2, 5)))), key=lambda found: -found.start()
    ):
        value = dice.choice(
            (b"0", b"-1", b"1", b"2147483647", b"4294967296", b"99999999999999999999", b"1e9")
        )
        data = data[: found.start()] + value + data[found.end() :]
    return data


def _splice(dice: random.Random, name: str, data: bytes) -> bytes:
    """The beginning of one file, the end of another."""
    other = sample(dice.randrange(len(SAMPLES)))
    return data[: _place(dice, data)] + other[_place(dice, other) :]


def _other_body(dice: random.Random, name: str, data: bytes) -> bytes:
    """The header of one file, the whole of another behind it."""
    return data[: dice.choice((4, 8, 12, 32, 64, 512))] + sample(dice.randrange(len(SAMPLES)))


def _insert(dice: random.Random, name: str, data: bytes) -> bytes:
    at = _place(dice, data)
    other = sample(dice.randrange(len(SAMPLES)))
    start, end = _block(dice, other)
    return data[:at] + other[start:end] + data[at:]


_WAYS = (
    _extreme,
    _flip,
    _overwrite,
    _noise,
    _swap,
    _remove,
    _duplicate,
    _truncate,
    _splice,
    _other_body,
    _insert,
)
_WEIGHTS = (8, 4, 2, 2, 1, 2, 1, 2, 1, 1, 1)


def _place(dice: random.Random, data: bytes) -> int:
    """Somewhere in `data`, as often as not near its beginning, where the structure is."""
    near = min(len(data), 1024) if dice.random() < 0.5 else len(data)
    return dice.randrange(max(1, near))


def _block(dice: random.Random, data: bytes) -> tuple[int, int]:
    start = _place(dice, data)
    return start, min(len(data), start + dice.choice((1, 4, 16, 64, 512, 4096)))


def _fields(name: str, data: bytes) -> Iterator[tuple[int, int, Order]]:
    """Where sizes, counts, offsets and the like are: offset, width in bytes and byte order."""
    walk = _WALKS.get(name)
    found = False
    for at, width, order in walk(data) if walk else ():
        if 0 <= at <= len(data) - width:
            found = True
            yield at, width, order
    if not found:
        for at in range(0, min(len(data) - 4, 64), 2):
            yield at, 2, "big"


_BOXES = b"moov trak mdia minf stbl dinf edts udta meta ilst iprp ipco moof traf mvex".split()


def _iso(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int, Order]]:
    at, end = start, len(data) if end is None else end
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        size = size if size >= 8 else end - at
        yield at, 4, "big"
        if kind in _BOXES:
            yield from _iso(data, at + (12 if kind == b"meta" else 8), min(end, at + size))
        else:
            for word in range(at + 8, min(at + size, at + 96, end) - 3, 4):
                yield word, 4, "big"
            for word in range(at + 8, min(at + size, at + 32, end) - 1, 2):
                yield word, 2, "big"
        at += size


def _png(data: bytes) -> Iterator[tuple[int, int, Order]]:
    at = 8
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield at, 4, "big"
        for word in range(at + 8, min(at + 8 + size, at + 32), 4):
            yield word, 4, "big"
            yield word, 1, "big"
        at += 12 + size


def _riff(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int, Order]]:
    at, end = start, len(data) if end is None else end
    while at + 8 <= end:
        kind, size = struct.unpack_from("<4sI", data, at)
        yield at + 4, 4, "little"
        if kind in {b"RIFF", b"LIST"}:
            yield from _riff(data, at + 12, min(end, at + 8 + size))
        else:
            for word in range(at + 8, min(at + 8 + size, at + 72, end) - 3, 2):
                yield word, 4 if word % 4 else 2, "little"
        at += 8 + size + size % 2


def _tiff(data: bytes) -> Iterator[tuple[int, int, Order]]:
    order: Order = "little" if data[:1] == b"I" else "big"
    yield 4, 4, order
    at = int.from_bytes(data[4:8], order)
    for _ in range(8):
        if not 8 <= at < len(data) - 2:
            return
        count = int.from_bytes(data[at : at + 2], order)
        yield at, 2, order
        for entry in range(at + 2, min(at + 2 + 12 * count, len(data) - 12), 12):
            yield from (
                (entry, 2, order),
                (entry + 2, 2, order),
                (entry + 4, 4, order),
                (entry + 8, 4, order),
            )
        at += 2 + 12 * count
        yield at, 4, order
        at = int.from_bytes(data[at : at + 4], order)


def _jpeg(data: bytes) -> Iterator[tuple[int, int, Order]]:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        (size,) = struct.unpack_from(">H", data, at + 2)
        yield at + 1, 1, "big"
        yield at + 2, 2, "big"
        for place in range(at + 4, min(at + 2 + size, at + 24)):
            yield place, 1, "big"
            yield place, 2, "big"
        if data[at + 1] == 0xE1:  # EXIF
            for offset, width, order in _tiff(data[at + 10 : at + 2 + size]):
                yield at + 10 + offset, width, order
        at += 2 + size


def _gif(data: bytes) -> Iterator[tuple[int, int, Order]]:
    yield from ((6, 2, "little"), (8, 2, "little"), (10, 1, "little"))
    for found in re.finditer(rb"\x21[\xf9\xff\xfe]|\x2c\0\0\0\0", data):
        for at in range(found.start() + 1, found.start() + 13):
            yield at, 1, "little"
            yield at, 2, "little"


def _bmp(data: bytes) -> Iterator[tuple[int, int, Order]]:
    for at in (2, 10, 14, 18, 22, 30, 34, 46, 50):
        yield at, 4, "little"
    yield from ((26, 2, "little"), (28, 2, "little"))


# EBML, Segment, Info, Tracks, TrackEntry, Video, Audio, Cluster, Tags, Tag, SimpleTag, Cues, CuePoint, positions.
_MASTERS = tuple(
    bytes.fromhex(identifier)
    for identifier in (
        *("1a45dfa3", "18538067", "1549a966", "1654ae6b", "ae", "e0", "e1"),
        *("1f43b675", "1254c367", "7373", "67c8", "1c53bb6b", "bb", "b7"),
    )
)


def _ebml(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int, Order]]:
    at, end = start, len(data) if end is None else end
    while at + 2 < end and data[at]:
        named = at + 9 - data[at].bit_length()
        if named >= end or not data[named]:
            return
        width = 9 - data[named].bit_length()
        size = int.from_bytes(data[named : named + width], "big") & ((1 << 7 * width) - 1)
        body = named + width
        yield at, named - at, "big"
        yield named, width, "big"
        if data[at:named] in _MASTERS:
            yield from _ebml(data, body, min(end, body + size))
        elif 0 < size <= 16:
            yield body, size, "big"
        at = body + size


def _flv(data: bytes) -> Iterator[tuple[int, int, Order]]:
    yield from ((4, 1, "big"), (5, 4, "big"))
    at = 13
    while at + 11 < len(data):
        yield from (
            (at, 1, "big"),
            (at + 1, 3, "big"),
            (at + 4, 3, "big"),
            (at + 11, 1, "big"),
            (at + 12, 4, "big"),
        )
        at += 15 + int.from_bytes(data[at + 1 : at + 4], "big")


def _asf(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int, Order]]:
    at, end = start, len(data) if end is None else end
    while at + 24 <= end:
        size = int.from_bytes(data[at + 16 : at + 24], "little")
        yield at + 16, 8, "little"
        if at == 0:
            yield 24, 4, "little"
            yield from _asf(data, 30, min(end, size))
        else:
            for word in range(at + 24, min(at + size, at + 128, end) - 3, 2):
                yield word, 4 if word % 4 else 2, "little"
        if size < 24:
            return
        at += size


def _ogg(data: bytes) -> Iterator[tuple[int, int, Order]]:
    for found in re.finditer(b"OggS", data):
        at = found.start()
        for offset, width in ((4, 1), (5, 1), (6, 8), (14, 4), (18, 4), (26, 1), (27, 1), (28, 1)):
            yield at + offset, width, "little"
        for word in range(at + 28, at + 64, 2):
            yield word, 4, "little"


def _flac(data: bytes) -> Iterator[tuple[int, int, Order]]:
    at = 4
    while at + 4 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        yield from ((at, 1, "big"), (at + 1, 3, "big"))
        for word in range(at + 4, min(at + 4 + size, at + 38), 2):
            yield word, 2, "big"
        if data[at] & 0x80:
            return
        at += 4 + size


def _mp3(data: bytes) -> Iterator[tuple[int, int, Order]]:
    yield from ((5, 1, "big"), (6, 4, "big"), (14, 4, "big"))
    for found in re.finditer(rb"\xff[\xfa\xfb\xf2\xf3]|Xing|Info|APIC|T[A-Z]{3}", data[:16_384]):
        yield from (
            (found.start() + 1, 2, "big"),
            (found.start() + 4, 4, "big"),
            (found.start() + 8, 4, "big"),
        )


_WALKS: dict[str, Callable[[bytes], Iterator[tuple[int, int, Order]]]] = {
    "jpg": _jpeg,
    "png": _png,
    "gif": _gif,
    "webp": _riff,
    "bmp": _bmp,
    "tiff": _tiff,
    "avi": _riff,
    "wav": _riff,
    "wmv": _asf,
    "flv": _flv,
    "webm": _ebml,
    "mkv": _ebml,
    "mp3": _mp3,
    "flac": _flac,
    "ogg": _ogg,
} | dict.fromkeys(("heic", "avif", "mp4", "mov", "3gp", "m4a"), _iso)


def _with_checksums(name: str, data: bytes) -> bytes:
    """The checksums made right again, so that the damage reaches what lies behind them."""
    mend = {"png": png_checksums, "ogg": ogg_checksums}.get(name)
    return mend(data) if mend else data


def png_checksums(data: bytes) -> bytes:
    changed, at = bytearray(data), 8
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        end = at + 8 + size
        if end + 4 > len(data):
            break
        struct.pack_into(">I", changed, end, zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return bytes(changed)


def ogg_checksums(data: bytes) -> bytes:
    """RFC 3533, section 6."""
    starts = [found.start() for found in re.finditer(b"OggS", data)]
    if not starts:
        return data
    pages = [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]
    whole = [
        page[:22] + struct.pack("<I", _ogg_crc(page)) + page[26:] if len(page) > 26 else page
        for page in pages
    ]
    return data[: starts[0]] + b"".join(whole)


def _ogg_crc(page: bytes) -> int:
    value = 0
    for byte in page[:22] + b"\0\0\0\0" + page[26:]:
        value = (value << 8 & 0xFFFFFFFF) ^ _ogg_table()[value >> 24 ^ byte]
    return value


@cache
def _ogg_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
        table.append(value)
    return tuple(table)
