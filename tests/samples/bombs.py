"""Small files that promise, nest or repeat so much that a careless decoder never ends or takes all memory."""

import io
import struct
import zlib
from collections.abc import Callable

from PIL import Image

from tests.samples import films, hostile, papers, pictures
from tests.samples.mutations import ogg_checksums
from tests.samples.references import box, rewritten

MIB = 1 << 20
_MOST = 0xFFFFFFFF


def _zeros(size: int) -> bytes:
    """`size` zeros, compressed: a block that stands for itself, again and again (RFC 1950, RFC 1951)."""
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compress(bytes(size % MIB), 9, wbits=-15)
    return b"\x78\xda" + block * (size // MIB) + last + struct.pack(">HH", size % 65_521, 1)


# Pictures


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png_of(
    width: int, height: int, bits: int, color: int, packed: bytes, *extra: bytes, interlaced: int = 0
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlaced)
    chunks = [_png_chunk(b"IHDR", header), *extra, _png_chunk(b"IDAT", packed), _png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def png_with(name: bytes, head: bytes, times: int = 1) -> bytes:
    """A small PNG with compressed metadata that inflate to 128 MiB, `times` over."""
    chunk = _png_chunk(name, head + _zeros(128 * MIB))
    data = pictures.png(64, 48)
    return data[:33] + chunk * times + data[33:]


def png_with_many_chunks() -> bytes:
    data = pictures.png(64, 48)
    return data[:33] + _png_chunk(b"tEXt", b"a\0b") * 200_000 + data[33:]


def png_interlaced() -> bytes:
    """As large as is allowed, interlaced, so that all of it is in memory at once."""
    return _png_of(10_000, 10_000, 1, 0, _zeros(13 * MIB), interlaced=1)


def png_of_sixteen_bits() -> bytes:
    return _png_of(10_000, 10_000, 16, 6, _zeros(10_000 * 80_001))


def png_animation() -> bytes:
    """An APNG that announces four thousand million frames, some of them huge."""
    control = _png_chunk(b"acTL", struct.pack(">II", _MOST, 0))
    frame = _png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 0x7FFFFFFF, 0x7FFFFFFF, 0, 0, 1, 0, 0, 0))
    data = pictures.png(64, 48)
    return data[:33] + control + frame * 1000 + data[33:]


def tiff_of(entries: list[tuple[int, int, int, int]], next_ifd: int = 0, data: bytes = b"") -> bytes:
    """A little-endian TIFF with one directory at 8, and `data` behind it."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II\x2a\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + struct.pack("<I", next_ifd) + data


def _tiff_picture(
    width: int, height: int, *more: tuple[int, int, int, int]
) -> list[tuple[int, int, int, int]]:
    own = {tag for tag, *_ in more}
    usual = [
        *((256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)),
        *((273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, min(_MOST, width * height))),
    ]
    return [entry for entry in usual if entry[0] not in own] + list(more)


def tiff_chain(length: int = 100_000) -> bytes:
    """Directories in a row, each with a picture of a few pixels, the last leading back to the first."""
    entries = _tiff_picture(4, 4)
    size = 6 + 12 * len(entries)
    ones = [tiff_of(entries, 8 + size * (index + 1))[8:] for index in range(length - 1)]
    return b"II\x2a\0\x08\0\0\0" + b"".join(ones) + tiff_of(entries, 8)[8:]


def tiff_of_channels(channels: int, photometric: int = 2) -> bytes:
    """40 × 30 pixels of RGB, unless `photometric` says that they are grey, with more channels than that or fewer."""
    pixels = bytes((200, 60, 20, 255, 128, 64)[:channels]) * (40 * 30)
    bits = struct.pack(f"<{channels}H", *(8,) * channels)
    kinds = [(262, 3, 1, photometric), (277, 3, 1, channels), (279, 4, 1, len(pixels))]
    entries = _tiff_picture(40, 30, *kinds)
    at = 8 + 6 + 12 * len(entries)
    placed = {258: (3, channels, at), 273: (4, 1, at + len(bits))}
    if channels <= 2:
        placed[258] = (3, channels, 8 | 8 << 16)  # two fit into the entry itself
    return tiff_of([(tag, *placed.get(tag, rest)) for tag, *rest in entries], 0, bits + pixels)


def tiff_deflated() -> bytes:
    packed = _zeros(100 * MIB)
    entries = _tiff_picture(10_000, 10_000, (259, 3, 1, 8), (279, 4, 1, len(packed)))
    at = 8 + 6 + 12 * len(entries)
    return tiff_of([(273, 4, 1, at) if tag == 273 else (tag, *rest) for tag, *rest in entries], 0, packed)


def jpeg_of_many_scans(scans: int = 3000, side: int = 9000) -> bytes:
    """A progressive JPEG that claims 81 million pixels and goes over them again and again."""
    data = bytearray(pictures.jpeg(64, 48, progressive=True))
    at = data.index(b"\xff\xc2")
    struct.pack_into(">HH", data, at + 5, side, side)
    last = data.rindex(b"\xff\xda")
    tables = data.rindex(b"\xff\xc4", 0, last)
    return bytes(data[:-2]) + bytes(data[tables:-2]) * scans + b"\xff\xd9"


def jpeg_of_many_segments() -> bytes:
    data = pictures.jpeg(64, 48)
    segments = b"".join(
        b"\xff\xe2\xff\xff" + b"ICC_PROFILE\0" + bytes((1 + index % 255, 255)) + bytes(0xFFFF - 16)
        for index in range(300)
    )
    return data[:2] + segments + data[2:]


def jpeg_with_exif(block: bytes) -> bytes:
    data = pictures.jpeg(64, 48)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block + data[2:]


def exif_overlapping() -> bytes:
    """Five thousand tags, each of which takes the whole block for its value."""
    return tiff_of([(tag, 2, 60_000, 8) for tag in range(0x9000, 0x9000 + 5000)])


def exif_cycle() -> bytes:
    """Directories for photo, place and interoperability that are all the first one."""
    return tiff_of([(0x8769, 4, 1, 8), (0x8825, 4, 1, 8), (0xA005, 4, 1, 8), (0x014A, 4, 1, 8)], 8)


def gif_of_codes() -> bytes:
    """One large frame of the longest runs that LZW can make."""
    side = 9990
    head = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return (
        head
        + b"\x2c"
        + struct.pack("<HHHHB", 0, 0, side, side, 0x40)
        + b"\2"
        + (b"\xff" * 256) * 4000
        + b"\0;"
    )


def webp_of_frames(frames: int = 20_000) -> bytes:
    still = pictures.webp(1, 16, 16)[12:]
    frame = struct.pack("<I", 0)[:3] * 2 + b"\x0f\0\0\x0f\0\0\x0a\0\0\0" + still
    whole = b"ANMF" + struct.pack("<I", len(frame)) + frame + b"\0" * (len(frame) % 2)
    extended = b"VP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + b"\xff\x3f\0\xff\x3f\0"
    body = b"WEBP" + extended + b"ANIM" + struct.pack("<IIH", 6, 0, 0) + whole * frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _heif_sized(data: bytes, width: int, height: int) -> bytes:
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


def avif_grid(rows: int, columns: int) -> bytes:
    """A grid of cells that all have the same bytes (ISO/IEC 23008-12 §6.6.2.3.2)."""
    data = pictures.avif(1, 128, 96)
    codec, pixels = _inner(data, b"av1C"), _inner(data, b"pixi")
    picture = data[data.index(b"mdat") + 4 :]
    whole, cells = 1, range(2, 2 + rows * columns)
    width, height = 128 * columns, 96 * rows
    grid = bytes((0, 1, rows - 1, columns - 1)) + struct.pack(">II", width, height)
    sizes = [box(b"ispe", struct.pack(">III", 0, *size)) for size in ((128, 96), (width, height))]
    properties = b"".join((*sizes, codec, pixels))
    linked = struct.pack(">IIH", 0, 1 + len(cells), whole) + b"\2\2\4"
    linked += b"".join(struct.pack(">H", cell) + b"\3\1\x83\4" for cell in cells)
    kinds = [(whole, b"grid"), *((cell, b"av01") for cell in cells)]
    items = b"".join(
        box(b"infe", b"\2\0\0\0" + struct.pack(">HH", number, 0) + kind + b"\0") for number, kind in kinds
    )
    made_of = struct.pack(f">HH{len(cells)}H", whole, len(cells), *cells)

    def meta(at: int) -> bytes:
        extents = [(whole, at + len(picture), len(grid)), *((cell, at, len(picture)) for cell in cells)]
        places = b"".join(struct.pack(">HHHII", number, 0, 1, start, size) for number, start, size in extents)
        parts = (
            box(b"hdlr", bytes(8) + b"pict" + bytes(13)),
            box(b"pitm", b"\0\0\0\0\0\1"),
            box(b"iloc", b"\0\0\0\0\x44\0" + struct.pack(">H", 1 + len(cells)) + places),
            box(b"iinf", struct.pack(">IH", 0, 1 + len(cells)) + items),
            box(b"iref", b"\0\0\0\0" + box(b"dimg", made_of)),
            box(b"iprp", box(b"ipco", properties) + box(b"ipma", linked)),
        )
        return box(b"meta", b"\0\0\0\0" + b"".join(parts))

    head = box(b"ftyp", b"avif\0\0\0\0avifmif1miaf")
    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", picture + grid)


def _inner(data: bytes, kind: bytes) -> bytes:
    """A whole box, found by its name."""
    at = data.index(kind) - 4
    return data[at : at + int.from_bytes(data[at : at + 4], "big")]


# Films and sounds


def _table(kind: bytes, content: bytes, format_name: str = "mp4") -> bytes:
    return rewritten(films.video(format_name, 1.0), kind, lambda _: content)


def nested_boxes(depth: int = 20_000, kind: bytes = b"moov") -> bytes:
    size = 8 * depth
    whole = b"".join(struct.pack(">I4s", size - 8 * index, kind) for index in range(depth))
    return box(b"ftyp", b"isom\0\0\0\0isom") + whole + films.video("mp4", 0.5)


def compressed_movie() -> bytes:
    """A film header that inflates to 256 MiB (`cmov`)."""
    packed = _zeros(256 * MIB)
    content = box(b"dcom", b"zlib") + box(b"cmvd", struct.pack(">I", 256 * MIB) + packed)
    return box(b"ftyp", b"qt  \0\0\0\0qt  ") + box(b"moov", box(b"cmov", content))


def many_tracks(tracks: int = 5000) -> bytes:
    data = films.video("mp4", 0.5)
    at = data.index(b"moov") - 4
    (size,) = struct.unpack_from(">I", data, at)
    movie = data[at + 8 : at + size]
    start = movie.index(b"trak") - 4
    (length,) = struct.unpack_from(">I", movie, start)
    track = movie[start : start + length]
    return data[:at] + box(b"moov", movie[:start] + track * tracks) + data[at + size :]


def vp8_of_16k(format_name: str = "webm") -> bytes:
    """VP8 frames that say they are 16,383 × 16,383 (RFC 6386 §9.1)."""
    data = films.video(format_name, 1.0)
    return data.replace(b"\x9d\x01\x2a\xa0\x00\x78\x00", b"\x9d\x01\x2a\xff\x3f\xff\x3f")


def png_in_mov() -> bytes:
    """A film whose one frame is a picture of 16,384 × 16,384."""
    bomb = hostile.png_bomb(16_384, 16_384)
    entry = box(
        b"png ",
        bytes(6) + struct.pack(">H", 1) + bytes(16) + struct.pack(">HHII", 64, 48, 72 << 16, 72 << 16) + bytes(4)
        + struct.pack(">H", 1) + bytes(32) + struct.pack(">Hh", 24, -1),
    )  # fmt: skip
    data = films.video("mov", 0.1)
    start = data.index(b"mdat") + 4
    tables = {
        b"stsd": struct.pack(">II", 0, 1) + entry,
        b"stsz": struct.pack(">III", 0, len(bomb), 1),
        b"stco": struct.pack(">III", 0, 1, start),
    }
    head, rest = data[: start - 8], data[start - 8 :]
    (size,) = struct.unpack_from(">I", rest)
    movie = rest[size:]
    for kind, content in tables.items():
        movie = rewritten(movie, kind, lambda _, content=content: content)
    return head + box(b"mdat", bomb) + movie


def flv_of_16k() -> bytes:
    """Sorenson H.263 with its size written out in 16 bits each."""
    data = bytearray(films.video("flv", 0.5))
    at = data.index(b"\x12\0\0\x84")
    # Picture size code 1 (16 bits each) behind the 17-bit start code, 5-bit version and 8-bit time.
    bits = int.from_bytes(data[at + 1 : at + 13], "big")
    keep = bits >> (96 - 30)
    changed = (keep << 35 | 1 << 32 | 0xFFFF << 16 | 0xFFFF) << (96 - 65)
    data[at + 1 : at + 13] = changed.to_bytes(12, "big")
    return bytes(data)


def silent_day(hours: int = 24) -> bytes:
    """A FLAC of silence: constant frames of 65,535 samples, nine bytes each (RFC 9639)."""
    frames = hours * 3600 * 44_100 // 65_535
    info = struct.pack(">HH", 65_535, 65_535) + bytes(6)
    info += (44_100 << 44 | 15 << 36 | frames * 65_535).to_bytes(8, "big") + bytes(16)
    return b"fLaC\x80\0\0\x22" + info + b"".join(_silence(number) for number in range(frames))


def _silence(number: int) -> bytes:
    head = b"\xff\xf8\x79\x08" + (chr(number) if not 0xD800 <= number < 0xE000 else "").encode() + b"\xff\xfe"
    head += bytes((_crc(head, 8, 0x07),))
    body = head + b"\0\0\0"
    return body + _crc(body, 16, 0x8005).to_bytes(2, "big")


def _crc(data: bytes, width: int, polynomial: int) -> int:
    value, top = 0, 1 << width - 1
    for byte in data:
        value ^= byte << width - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & (top * 2 - 1)
    return value


def ogg_of_streams(streams: int = 5000) -> bytes:
    head = b"OpusHead\1\1" + struct.pack("<HIHB", 0, 48_000, 0, 0)
    pages = b"".join(
        b"OggS\0\2" + bytes(8) + struct.pack("<III", serial, 0, 0) + bytes((1, len(head))) + head
        for serial in range(streams)
    )
    return ogg_checksums(pages) + films.sound("ogg", 0.5)


def wav_of(layout: bytes, data_size: int = _MOST, magic: bytes = b"RIFF", extra: bytes = b"") -> bytes:
    head = (
        magic + struct.pack("<I", _MOST) + b"WAVE" + extra + b"fmt " + struct.pack("<I", len(layout)) + layout
    )
    return head + b"data" + struct.pack("<I", data_size) + bytes(100_000)


def _layout(tag: int, channels: int, rate: int, bits: int) -> bytes:
    frame = channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, rate, rate * frame & _MOST, frame & 0xFFFF, bits)


def rf64() -> bytes:
    sizes = b"ds64" + struct.pack("<IQQQI", 28, 1 << 62, 1 << 62, 1 << 60, 0)
    return wav_of(_layout(1, 2, 44_100, 16), magic=b"RF64", extra=sizes)


def nested_lists(depth: int = 50_000) -> bytes:
    whole = b"".join(b"LIST" + struct.pack("<I", 12 * (depth - index)) + b"hdrl" for index in range(depth))
    return b"RIFF" + struct.pack("<I", len(whole) + 4) + b"AVI " + whole


def nested_elements(depth: int = 50_000) -> bytes:
    data = films.video("mkv", 0.5)
    at = data.index(bytes.fromhex("18538067"))
    tags = b"\x67\xc8\x01\xff\xff\xff\xff\xff\xff\xff" * depth  # SimpleTag in SimpleTag, of unknown size
    return (
        data[:at]
        + bytes.fromhex("1853806701ffffffffffffff1254c36701ffffffffffffff737301ffffffffffffff")
        + tags
    )


def mp3_of_tags() -> bytes:
    frame = b"TXXX" + struct.pack(">IH", 9, 0) + b"\0a\0bbbbbb"
    size = len(frame) * 100_000
    tag = b"ID3\3\0\0" + bytes((size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127))
    return tag + frame * 100_000 + films.sound("mp3", 0.5)


# Papers


def _paper(page: bytes, *more: bytes, kids: bytes = b"3 0 R", count: int = 1) -> bytes:
    return papers.document(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, count),
            b"<< /Type /Page /Parent 2 0 R %s >>" % page,
            *more,
            b"<< /Title (Bomb) >>",
        ]
    )


_SHEET = b"/MediaBox [0 0 600 800]"
_DRAWN = _SHEET + b" /Contents 4 0 R /Resources << /XObject << /X 5 0 R >> /Pattern << /P 5 0 R >> >>"


def pdf_of_pages(pages: int = 1_000_000) -> bytes:
    return _paper(_SHEET, kids=b"3 0 R " * pages, count=pages)


def pdf_of_lies() -> bytes:
    return _paper(_SHEET, count=2_147_483_647)


def pdf_that_is_its_own_child() -> bytes:
    return _paper(_SHEET, kids=b"2 0 R " * 100, count=1_000_000)


def pdf_of_operators() -> bytes:
    """Tens of millions of operators in 200 KB."""
    packed = zlib.compress(b"0 0 m 600 800 l 3 w S " * 2_500_000)
    return _paper(_DRAWN, papers.stream_of(packed, b"/Filter /FlateDecode"))


def pdf_of_inflation() -> bytes:
    """Compressed twice: a few KB become a gigabyte."""
    packed = zlib.compress(_zeros(1024 * MIB), 9)
    return _paper(_DRAWN, papers.stream_of(packed, b"/Filter [/FlateDecode /FlateDecode]"))


def pdf_of_forms(levels: int = 9) -> bytes:
    """Forms that draw ten of the next, nine deep: a thousand million in the end."""
    forms = [
        papers.stream_of(
            b"/X Do " * 10,
            b"/Type /XObject /Subtype /Form /BBox [0 0 600 800] /Resources << /XObject << /X %d 0 R >> >>"
            % (6 + level),
        )
        for level in range(levels)
    ]
    last = papers.stream_of(b"0 0 9 9 re f", b"/Type /XObject /Subtype /Form /BBox [0 0 600 800]")
    return _paper(_DRAWN, papers.stream_of(b"/X Do " * 10), *forms, last)


def pdf_of_tiles() -> bytes:
    """A page filled with a pattern whose tiles lie a hair apart."""
    pattern = (
        b"/Type /Pattern /PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 1 1] /XStep 0.001 /YStep 0.001"
    )
    tile = papers.stream_of(b"0 0 1 1 re f", pattern + b" /Resources << >>")
    return _paper(_DRAWN, papers.stream_of(b"/Pattern cs /P scn 0 0 600 800 re f"), tile)


def pdf_of_an_image(filters: bytes = b"/FlateDecode", side: int = 30_000) -> bytes:
    image = b"/Type /XObject /Subtype /Image /Width %d /Height %d /BitsPerComponent 8" % (side, side)
    packed = _zeros(900 * MIB) if filters == b"/FlateDecode" else pictures.jpeg(64, 48)
    stream = papers.stream_of(packed, image + b" /ColorSpace /DeviceGray /Filter " + filters)
    return _paper(_DRAWN, papers.stream_of(b"q 600 0 0 800 0 0 cm /X Do Q"), stream)


def pdf_of_brackets(depth: int = 1_000_000) -> bytes:
    return _paper(_SHEET + b" /Annots " + b"[" * depth + b"]" * depth)


def pdf_with_cyclic_table() -> bytes:
    data = papers.pdf()
    at = data.rindex(b"startxref")
    start = int(data[at:].split()[1])
    return data[:at].replace(b"trailer\n<<", b"trailer\n<< /Prev %d " % start) + data[at:]


def jpeg_of_100_megapixels() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (9999, 9999)).save(buffer, "JPEG", quality=1)
    return buffer.getvalue()


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "png-pixels": ("png", hostile.png_bomb),
    "png-iccp": ("png", lambda: png_with(b"iCCP", b"x\0\0")),
    "png-ztxt": ("png", lambda: png_with(b"zTXt", b"x\0\0", 50)),
    "png-itxt": ("png", lambda: png_with(b"iTXt", b"x\0\1\0\0\0", 50)),
    "png-chunks": ("png", png_with_many_chunks),
    "png-interlaced": ("png", png_interlaced),
    "png-16-bits": ("png", png_of_sixteen_bits),
    "png-animation": ("png", png_animation),
    "tiff-self": ("tiff", lambda: tiff_of(_tiff_picture(4, 4), 8)),
    "tiff-chain": ("tiff", tiff_chain),
    "tiff-pixels": ("tiff", lambda: tiff_of(_tiff_picture(100_000, 100_000, (278, 4, 1, 1)))),
    "tiff-counts": ("tiff", lambda: tiff_of(_tiff_picture(99, 99, (273, 4, _MOST, 8), (279, 4, _MOST, 8)))),
    "tiff-tiles": ("tiff", lambda: tiff_of(_tiff_picture(9999, 9999, (322, 4, 1, 1 << 30), (323, 4, 1, 1 << 30), (324, 4, 1, 8), (325, 4, 1, 8)))),
    "tiff-samples": ("tiff", lambda: tiff_of(_tiff_picture(9999, 9999, (277, 3, 1, 65_535)))),
    "tiff-deflated": ("tiff", tiff_deflated),
    "jpg-scans": ("jpg", jpeg_of_many_scans),
    "jpg-segments": ("jpg", jpeg_of_many_segments),
    "jpg-exif-overlapping": ("jpg", lambda: jpeg_with_exif(exif_overlapping())),
    "jpg-exif-cycle": ("jpg", lambda: jpeg_with_exif(exif_cycle())),
    "jpg-pixels": ("jpg", jpeg_of_100_megapixels),
    "gif-frames": ("gif", hostile.gif_bomb),
    "gif-codes": ("gif", gif_of_codes),
    "webp-frames": ("webp", webp_of_frames),
    "heic-pixels": ("heic", lambda: _heif_sized(pictures.heic(), _MOST, _MOST)),
    "heic-lie": ("heic", lambda: _heif_sized(pictures.heic(), 6000, 6000)),
    "avif-pixels": ("avif", lambda: _heif_sized(pictures.avif(), 65_535, 65_535)),
    "avif-lie": ("avif", lambda: _heif_sized(pictures.avif(), 6000, 6000)),
    "avif-grid": ("avif", lambda: avif_grid(8, 8)),
    "avif-grid-large": ("avif", lambda: avif_grid(250, 250)),
    "mp4-stts": ("mp4", lambda: _table(b"stts", struct.pack(">IIII", 0, 1, _MOST, 1))),
    "mp4-stts-entries": ("mp4", lambda: _table(b"stts", struct.pack(">II", 0, _MOST) + bytes(8_000))),
    "mp4-stsz": ("mp4", lambda: _table(b"stsz", struct.pack(">III", 0, 1, _MOST))),
    "mp4-stsz-many": ("mp4", lambda: _table(b"stsz", struct.pack(">III", 0, 1, 50_000_000))),
    "mp4-stsc": ("mp4", lambda: _table(b"stsc", struct.pack(">IIIII", 0, 1, 1, _MOST, 1))),
    "mp4-ctts": ("mp4", lambda: _table(b"ctts", struct.pack(">IIII", 0, 1, _MOST, 1))),
    "mp4-samples": ("mp4", lambda: _table(b"stts", struct.pack(">II", 0, 2_000_000) + struct.pack(">II", 1, 1) * 2_000_000)),
    "mp4-elst": ("mp4", lambda: _table(b"elst", struct.pack(">II", 0, 1_000_000) + struct.pack(">IiI", 1, 0, 65_536) * 1_000_000)),
    "mp4-nested": ("mp4", nested_boxes),
    "mp4-nested-trak": ("mp4", lambda: nested_boxes(kind=b"trak")),
    "mp4-tracks": ("mp4", many_tracks),
    "mov-compressed": ("mov", compressed_movie),
    "mov-16k": ("mov", png_in_mov),
    "webm-16k": ("webm", vp8_of_16k),
    "flv-64k": ("flv", flv_of_16k),
    "avi-nested": ("avi", nested_lists),
    "mkv-nested": ("mkv", nested_elements),
    "flac-day": ("flac", silent_day),
    "ogg-streams": ("ogg", ogg_of_streams),
    "wav-rf64": ("wav", rf64),
    "wav-endless": ("wav", lambda: wav_of(_layout(1, 1, 1, 8))),
    "wav-channels": ("wav", lambda: wav_of(_layout(1, 65_535, 44_100, 16))),
    "wav-rate": ("wav", lambda: wav_of(_layout(1, 1, _MOST, 16))),
    "wav-float": ("wav", lambda: wav_of(_layout(3, 2, 1, 64))),
    "mp3-tags": ("mp3", mp3_of_tags),
    "pdf-pages": ("pdf", pdf_of_pages),
    "pdf-lies": ("pdf", pdf_of_lies),
    "pdf-own-child": ("pdf", pdf_that_is_its_own_child),
    "pdf-points": ("pdf", lambda: papers.pdf(1, 2_000_000_000, 2_000_000_000)),
    "pdf-thin": ("pdf", lambda: papers.pdf(1, 2_000_000_000, 1)),
    "pdf-operators": ("pdf", pdf_of_operators),
    "pdf-inflation": ("pdf", pdf_of_inflation),
    "pdf-forms": ("pdf", pdf_of_forms),
    "pdf-tiles": ("pdf", pdf_of_tiles),
    "pdf-image": ("pdf", pdf_of_an_image),
    "pdf-image-lie": ("pdf", lambda: pdf_of_an_image(b"/DCTDecode")),
    "pdf-brackets": ("pdf", pdf_of_brackets),
    "pdf-cyclic-table": ("pdf", pdf_with_cyclic_table),
}  # fmt: skip
