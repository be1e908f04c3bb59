"""What a file is, by its first bytes; nothing is decoded and no claim is believed."""

import re
import struct
from collections.abc import Callable

from mediakeep.media.formats import Format, get_format

HEAD_BYTES = 4096  # what `sniff` wants to see

_HEIC_BRANDS = frozenset((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
# "Some HEIF": only the compatible brands say which codec (ISO/IEC 23008-12 §10.2).
_HEIF_BRANDS = frozenset((b"mif1", b"mif2", b"msf1", b"miaf", b"MiHB", b"MiHE"))
_M4A_BRANDS = frozenset((b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "))
_MP4_BRANDS = frozenset(
    b"isom mp41 mp42 mp71 avc1 av01 hvc1 dash M4VH M4VP MSNV mmp4 XAVC cmfc cmf2 cmfv msdh NDSC ndsc".split()
) | {b"M4V ", b"F4V ", b"F4P "}
_ISO_BRAND = re.compile(rb"iso[2-9a-c]")
_3GP_BRAND = re.compile(rb"3g[p2egsrhmt][0-9a-z ]|kddi")
# Boxes that a QuickTime file without `ftyp` may start with (QuickTime File Format, "Overview").
_QUICKTIME_ATOMS = frozenset((b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"))

_MP3_KBPS_V1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_KBPS_V2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MP3_HERTZ_V1 = (44_100, 48_000, 32_000)

_PDF_HEADER = re.compile(rb"%PDF-[0-9]\.[0-9]")
_PDF_HEADER_WITHIN = 1024  # ISO 32000-1 annex H, implementation note 13
_BLANK = b"\0\t\n\f\r \xef\xbb\xbf"
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\f\r"))

_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_VIDEO = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")
_ASF_AUDIO = bytes.fromhex("409e69f84d5bcf11a8fd00805f5c442b")

_OGG_AUDIO = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")
_DIB_HEADER_BYTES = frozenset((12, 16, 40, 52, 56, 64, 108, 124))
_DIB_BITS = frozenset((0, 1, 2, 4, 8, 16, 24, 32))  # 0: the embedded JPEG or PNG says

_OTHER_BRANDS = {b"crx ": "image/x-canon-cr3", b"mif1": "image/heif", b"msf1": "image/heif"}
_OTHERS = (
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"\x1f\x8b", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\x7fELF", "application/x-elf"),
    (b"MZ", "application/vnd.microsoft.portable-executable"),
    (b"\xff\x0a", "image/jxl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"\0\0\x01\0", "image/vnd.microsoft.icon"),
    (b"8BPS", "image/vnd.adobe.photoshop"),
    (b"v/1\x01", "image/x-exr"),
    (b"DDS ", "image/vnd.ms-dds"),
    (b"MThd", "audio/midi"),
    (b"#!AMR", "audio/amr"),
    (b"\0\0\x01\xba", "video/mpeg"),
    (b"\0\0\x01\xb3", "video/mpeg"),
    (b"%!PS", "application/postscript"),
    (b"{\\rtf", "application/rtf"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
)
_TEXTS = (
    (re.compile(rb"#EXTM3U"), "application/vnd.apple.mpegurl"),
    (re.compile(rb"v=0\r?\no="), "application/sdp"),
    (
        re.compile(
            rb"(?:<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE svg[^>]*>|\s)*<svg[\s>]", re.IGNORECASE | re.DOTALL
        ),
        "image/svg+xml",
    ),
    (
        re.compile(
            rb"(?:<!--.*?-->|\s)*<(?:!doctype html|html|head|body|script|title|iframe)\b",
            re.IGNORECASE | re.DOTALL,
        ),
        "text/html",
    ),
    (re.compile(rb"<\?xml"), "application/xml"),
)


def sniff(head: bytes) -> Format | None:
    """The format of the file that begins with `head` (`HEAD_BYTES` suffice); None when it is none of ours.

    Only what begins as a medium is one: text (a playlist, HTML, SDP) never is, whatever it is called.
    """
    by_magic = _BY_FIRST_BYTE.get(head[:1])
    name = by_magic(head) if by_magic else None
    name = name or _iso_media(head) or _quicktime(head) or _mp3(head) or _pdf(head)
    return get_format(name) if name else None


def describe(head: bytes) -> str:
    """The media type of a file by its first bytes, also of types that we do not take, for a refusal to name."""
    known = sniff(head)
    return known.media_type if known else _describe_other(head)


def _jpeg(head: bytes) -> str | None:
    return "jpg" if head.startswith(b"\xff\xd8\xff") else None


def _png(head: bytes) -> str | None:
    return "png" if head.startswith(b"\x89PNG\r\n\x1a\n") else None


def _gif(head: bytes) -> str | None:
    return "gif" if head.startswith((b"GIF87a", b"GIF89a")) else None


def _riff(head: bytes) -> str | None:
    # RF64 and BW64 are WAVE past 4 GB (EBU Tech 3306, ITU-R BS.2088).
    if head.startswith((b"RF64", b"BW64")):
        return "wav" if head[8:12] == b"WAVE" else None
    if not head.startswith(b"RIFF"):
        return None
    return {b"WEBP": "webp", b"WAVE": "wav", b"AVI ": "avi"}.get(head[8:12])


def _bmp(head: bytes) -> str | None:
    # Two letters prove nothing ("BMW is a car"): the header behind them has to make sense.
    if not head.startswith(b"BM") or len(head) < 30:
        return None
    pixels_at, header_bytes = struct.unpack_from("<II", head, 10)
    planes, bits = struct.unpack_from("<HH", head, 22 if header_bytes == 12 else 26)
    valid = header_bytes in _DIB_HEADER_BYTES and planes == 1 and bits in _DIB_BITS
    return "bmp" if valid and pixels_at >= 14 + header_bytes else None


def _tiff(head: bytes) -> str | None:
    big = head.startswith((b"II\x2b\0", b"MM\0\x2b"))
    if not big and not head.startswith((b"II\x2a\0", b"MM\0\x2a")):
        return None
    return "tiff" if big or not _raw_photo(head) else None


def _raw_photo(head: bytes) -> str | None:
    """The media type of a camera's raw file that dresses as TIFF; its first picture is a mere preview."""
    if head[8:10] == b"CR":
        return "image/x-canon-cr2"
    tags = _tiff_tags(head)
    if 50706 in tags:  # DNGVersion
        return "image/x-adobe-dng"
    # NewSubfileType 1 (a reduced picture) first, with the real one in a SubIFD: NEF, ARW, PEF.
    return "image/x-raw" if tags.get(254) == 1 and 330 in tags else None


def _tiff_tags(head: bytes) -> dict[int, int]:
    order = "<" if head[:1] == b"I" else ">"
    if len(head) < 8:
        return {}
    (at,) = struct.unpack_from(order + "I", head, 4)
    if at + 2 > len(head):
        return {}
    (count,) = struct.unpack_from(order + "H", head, at)
    count = min(count, (len(head) - at - 2) // 12)
    entries = (struct.unpack_from(order + "HHII", head, at + 2 + 12 * index) for index in range(count))
    return {
        tag: value if kind == 4 else value >> (0 if order == "<" else 16) for tag, kind, _, value in entries
    }


def _matroska(head: bytes) -> str | None:
    """WebM or Matroska by the DocType of the EBML header (RFC 8794 §11.2.6)."""
    if not head.startswith(b"\x1a\x45\xdf\xa3") or len(head) < 5:
        return None
    length, at = _ebml_length(head, 4)
    end = min(len(head), at + length)
    while at + 3 < end:
        identifier_bytes = 9 - head[at].bit_length()
        identifier = head[at : at + identifier_bytes]
        length, at = _ebml_length(head, at + identifier_bytes)
        if identifier == b"\x42\x82":
            return {b"webm": "webm", b"matroska": "mkv"}.get(head[at : at + length].rstrip(b"\0"))
        at += length
    return None


def _ebml_length(head: bytes, at: int) -> tuple[int, int]:
    """The variable-size integer at `at` without its marker, and where the data begins (RFC 8794 §4)."""
    if at >= len(head):
        return 0, len(head)
    size = 9 - head[at].bit_length()
    value = int.from_bytes(head[at : at + size], "big") & ((1 << 7 * size) - 1)
    return value, at + size


def _flv(head: bytes) -> str | None:
    valid = (
        head.startswith(b"FLV\x01") and len(head) >= 9 and not head[4] & 0xFA and head[5:9] == b"\0\0\0\x09"
    )
    return "flv" if valid else None


def _asf(head: bytes) -> str | None:
    return "wmv" if head.startswith(_ASF_HEADER) and not _asf_is_audio(head) else None


def _asf_is_audio(head: bytes) -> bool:
    """Whether a Windows Media file has sound only, as far as `head` shows the whole header."""
    if len(head) < 24 or _ASF_VIDEO in head:
        return False
    (header_bytes,) = struct.unpack_from("<Q", head, 16)
    return _ASF_AUDIO in head and header_bytes <= len(head)


def _flac(head: bytes) -> str | None:
    return "flac" if head.startswith(b"fLaC") else None


def _ogg(head: bytes) -> str | None:
    if not head.startswith(b"OggS\0") or len(head) < 28:
        return None
    first = head[27 + head[26] :]
    if first.startswith(_OGG_AUDIO):
        return "ogg"
    # A skeleton track comes first in some files; the codecs' first pages follow it.
    skeleton = first.startswith(b"fishead\0") and b"\x80theora" not in head
    return "ogg" if skeleton and any(codec in head for codec in _OGG_AUDIO) else None


def _tagged(head: bytes) -> str | None:
    """What follows an ID3v2 tag: MP3, or FLAC where somebody tagged one so."""
    end = id3_bytes(head)
    if not end:
        return None
    rest = head[end:].lstrip(b"\0")
    if not rest:  # the tag is longer than what we see: a cover, and then nearly always MP3
        return "mp3"
    return _flac(rest) or ("mp3" if _is_mp3(rest) else None)


def id3_bytes(head: bytes) -> int:
    """Length of the ID3v2 tag that `head` begins with, 0 when there is none. id3.org/id3v2.4.0-structure §3.1."""
    if not head.startswith(b"ID3") or len(head) < 10:
        return 0
    major, revision, flags = head[3:6]
    if major not in {2, 3, 4} or revision == 0xFF or flags & 0x0F or max(head[6:10]) > 0x7F:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if flags & 0x10 else 0)


def _mp3(head: bytes) -> str | None:
    if head[:1] not in {b"\xff", b"\0"}:
        return None
    frames = head.lstrip(b"\0")  # some encoders pad in front
    return "mp3" if _is_mp3(frames) else None


def _is_mp3(data: bytes) -> bool:
    length = mp3_frame_bytes(data)
    # Two frames in a row, unless the file ends with the first: eleven set bits alone are found anywhere.
    return bool(length) and (len(data) < length + 4 or bool(mp3_frame_bytes(data[length : length + 4])))


def mp3_frame_bytes(data: bytes) -> int:
    """Length of the MPEG audio layer III frame that `data` begins with, 0 when it begins with none."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE6 != 0xE2:
        return 0
    version, rate, hertz = data[1] >> 3 & 3, data[2] >> 4, data[2] >> 2 & 3
    if version == 1 or rate in {0, 15} or hertz == 3:
        return 0
    first = version == 3
    kbps = (_MP3_KBPS_V1 if first else _MP3_KBPS_V2)[rate]
    sample_rate = _MP3_HERTZ_V1[hertz] >> {3: 0, 2: 1, 0: 2}[version]
    return (144_000 if first else 72_000) * kbps // sample_rate + (data[2] >> 1 & 1)


def _iso_media(head: bytes) -> str | None:
    """The format by the brands of a file-type box (ISO/IEC 14496-12 §4.3)."""
    if head[4:8] != b"ftyp":
        return None
    size = int.from_bytes(head[:4], "big")
    if not 16 <= size <= HEAD_BYTES:
        return None
    major = head[8:12]
    compatible = [head[at : at + 4] for at in range(16, min(size, len(head)) - 3, 4)]
    if major in _HEIF_BRANDS:
        return _first(_image_brand, compatible)
    return _brand(major) or _first(_brand, compatible)


def _first(name_of: Callable[[bytes], str | None], brands: list[bytes]) -> str | None:
    return next(filter(None, map(name_of, brands)), None)


def _image_brand(brand: bytes) -> str | None:
    if brand in _AVIF_BRANDS:
        return "avif"
    return "heic" if brand in _HEIC_BRANDS else None


def _brand(brand: bytes) -> str | None:
    if brand == b"qt  ":
        return "mov"
    if brand in _M4A_BRANDS:
        return "m4a"
    if _3GP_BRAND.fullmatch(brand):
        return "3gp"
    if brand in _MP4_BRANDS or _ISO_BRAND.fullmatch(brand):
        return "mp4"
    return _image_brand(brand)


def _quicktime(head: bytes) -> str | None:
    """QuickTime from before `ftyp`: a chain of known atoms up to the film or its data."""
    at = 0
    while at + 8 <= len(head):
        size, atom = struct.unpack_from(">I4s", head, at)
        # A first byte that prints would be a size of 512 MB and more: it is text that happens to read "…mdat".
        if atom not in _QUICKTIME_ATOMS or size >> 24 >= 0x20:
            return None
        if atom == b"moov":
            return (
                "mov"
                if head[at + 12 : at + 16] in {b"mvhd", b"cmov", b"rmra", b"udta", b"trak", b"iods"}
                else None
            )
        if atom == b"mdat":
            return "mov"
        if size < 8:
            return None
        at += size
    return None


def _pdf(head: bytes) -> str | None:
    found = _PDF_HEADER.search(head, 0, _PDF_HEADER_WITHIN + 8)
    if not found:
        return None
    before = head[: found.start()]
    if not before.strip(_BLANK):
        return "pdf"
    # Binary junk may precede the header (MacBinary, a printer's preamble); a text that quotes one is no PDF, nor is
    # an archive that holds one.
    junk = before.translate(None, _CONTROLS) != before and not _magic(head)
    return "pdf" if junk else None


_BY_FIRST_BYTE: dict[bytes, Callable[[bytes], str | None]] = {
    b"\xff": _jpeg,
    b"\x89": _png,
    b"G": _gif,
    b"R": _riff,
    b"B": lambda head: _bmp(head) or _riff(head),
    b"I": lambda head: _tiff(head) or _tagged(head),
    b"M": _tiff,
    b"\x1a": _matroska,
    b"F": _flv,
    b"0": _asf,
    b"f": _flac,
    b"O": _ogg,
}


def _magic(head: bytes) -> str | None:
    return next((media_type for magic, media_type in _OTHERS if head.startswith(magic)), None)


def _describe_other(head: bytes) -> str:
    return _describe_relative(head) or _magic(head) or _describe_text(head)


def _describe_relative(head: bytes) -> str | None:
    """The media type of what looks like one of our formats and is not."""
    if head.startswith((b"II\x2a\0", b"MM\0\x2a")):
        return _raw_photo(head)
    if head.startswith(b"OggS"):
        return "video/ogg" if b"\x80theora" in head else "application/ogg"
    if head.startswith(_ASF_HEADER):
        return "audio/x-ms-wma"
    if head[4:8] == b"ftyp":
        return _OTHER_BRANDS.get(head[8:12], "application/mp4")
    if head.startswith(b"FORM") and head[8:12] in {b"AIFF", b"AIFC"}:
        return "audio/aiff"
    return _describe_stream(head)


def _describe_stream(head: bytes) -> str | None:
    if head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xF6 == 0xF0:
        return "audio/aac"
    return "video/mp2t" if head[:1] == b"G" and head[188:189] == b"G" else None


def _describe_text(head: bytes) -> str:
    body = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, media_type in _TEXTS:
        if pattern.match(body):
            return media_type
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text/plain"  # UTF-16 with its mark
    return "text/plain" if body and _is_text(head) else "application/octet-stream"


def _is_text(head: bytes) -> bool:
    if head.translate(None, _CONTROLS.replace(b"\x1b", b"")) != head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # a character cut by the end of the head
    return True
