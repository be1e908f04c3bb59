import struct

import pytest

from mediakeep.media.sniff import HEAD_BYTES, describe, sniff
from tests.samples import films, hostile, papers, pictures

VIDEOS = ("mp4", "mov", "mkv", "webm", "avi", "flv", "wmv", "3gp")
SOUNDS = ("mp3", "wav", "flac", "ogg", "m4a")
STILLS = {
    "jpg": pictures.jpeg,
    "png": pictures.png,
    "gif": pictures.gif,
    "webp": pictures.webp,
    "bmp": pictures.bmp,
    "tiff": pictures.tiff,
    "heic": pictures.heic,
    "avif": pictures.avif,
    "pdf": papers.pdf,
}
MP3_FRAME = b"\xff\xfb\x90\x00" + b"\0" * 413  # 128 kbit/s at 44,100 Hz: 417 bytes


def name_of(data: bytes) -> str | None:
    found = sniff(data[:HEAD_BYTES])
    return found.name if found else None


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    body = b"ftyp" + major + b"\0\0\0\0" + b"".join(compatible)
    return struct.pack(">I", len(body) + 4) + body + b"\0\0\0\x08mdat"


def id3(size: int, version: int = 3) -> bytes:
    return b"ID3" + bytes((version, 0, 0, 0, 0, size >> 7, size & 0x7F)) + b"\0" * size


def ebml(doctype: bytes) -> bytes:
    content = b"\x42\x86\x81\x01\x42\x82" + bytes((0x80 | len(doctype),)) + doctype
    return b"\x1a\x45\xdf\xa3" + bytes((0x80 | len(content),)) + content


def asf(*streams: bytes) -> bytes:
    return sniffed_asf_header(len(streams)) + b"".join(streams)


def sniffed_asf_header(count: int) -> bytes:
    return bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + struct.pack(
        "<QIBB", 30 + 16 * count, count, 1, 2
    )


ASF_AUDIO = bytes.fromhex("409e69f84d5bcf11a8fd00805f5c442b")
ASF_VIDEO = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")


@pytest.mark.parametrize("name", STILLS)
def test_pictures_and_papers_are_known_by_content(name):
    assert name_of(STILLS[name]()) == name


@pytest.mark.parametrize("name", VIDEOS)
def test_videos_are_known_by_content(name):
    assert name_of(films.video(name)) == name


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds_are_known_by_content(name):
    assert name_of(films.sound(name)) == name


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (ftyp(b"mif1", b"mif1", b"heic"), "heic"),
        (ftyp(b"mif1", b"mif1", b"avif"), "avif"),
        (ftyp(b"msf1", b"msf1", b"hevc"), "heic"),
        (ftyp(b"avis", b"avis", b"avif"), "avif"),
        (ftyp(b"qt  "), "mov"),
        (ftyp(b"M4A ", b"mp42"), "m4a"),
        (ftyp(b"M4V ", b"mp42"), "mp4"),
        (ftyp(b"3gp5", b"isom"), "3gp"),
        (ftyp(b"3g2a"), "3gp"),
        (ftyp(b"isom", b"3gp4"), "mp4"),
        (ftyp(b"iso6", b"dash"), "mp4"),
        (ftyp(b"XXXX", b"mp42"), "mp4"),
        (b"\0\0\0\x08wide\0\0\1\0mdat", "mov"),
        (b"\0\0\0\x08free\0\0\0\x6cmoov\0\0\0\x64mvhd", "mov"),
        (b"\0\0\0\x6cmoov\0\0\0\x64mvhd", "mov"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "wav"),
        (b"RIFF\0\0\0\0AVI LIST", "avi"),
        (id3(100) + MP3_FRAME * 2, "mp3"),
        (id3(100, version=4) + b"fLaC\0\0\0\x22", "flac"),
        (id3(8000), "mp3"),
        (b"\0" * 700 + MP3_FRAME * 2, "mp3"),
        (MP3_FRAME * 2, "mp3"),
        (ebml(b"webm"), "webm"),
        (ebml(b"matroska"), "mkv"),
        (asf(ASF_AUDIO, ASF_VIDEO), "wmv"),
        (b"II\x2b\0\x08\0\0\0", "tiff"),
        (b"\xef\xbb\xbf\r\n%PDF-1.7\n", "pdf"),
        (b"\x00\x05junk" + b"\0" * 122 + b"%PDF-1.4\n", "pdf"),
        (hostile.gif_and_script(), "gif"),
        (hostile.pdf_and_zip(), "pdf"),
    ],
)
def test_the_odder_ways_to_begin_are_known(data, name):
    assert name_of(data) == name


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        *(
            (text, kind)
            for text, kind in zip(
                hostile.PLAYLISTS.values(),
                (
                    "application/vnd.apple.mpegurl",
                    "text/plain",
                    "application/sdp",
                    "text/plain",
                    "text/plain",
                    "text/html",
                ),
                strict=True,
            )
        ),
        (hostile.SVG, "image/svg+xml"),
        (b"<!-- a --><svg>", "image/svg+xml"),
        (b"<?xml version='1.0'?><feed/>", "application/xml"),
        (b"BMW is a car, and this sentence goes on for some time.", "text/plain"),
        (b"A page about %PDF-1.4 and its header", "text/plain"),
        (b"HTTP/1.1 200 OK\r\n\r\n%PDF-1.4", "text/plain"),
        (hostile.zip_with_pdf(), "application/zip"),
        (b"ID3 is a tag of music files", "text/plain"),
        (b"the mdat of it, and the freemoovmvhd", "text/plain"),
        (b"aaaaftypisom and so on and so on", "application/mp4"),
        (b"RIFFxxxxSTUF", "text/plain"),
        (b"GIF88a", "text/plain"),
        (b"\xff\xfeh\0e\0l\0l\0o\0", "text/plain"),
        (b"\xff\xfb\x90\x00" + b"x" * 1000, "application/octet-stream"),
        (b"\xff\xf1\x50\x80" + b"\0" * 100, "audio/aac"),
        (b"II\x2a\0\x10\0\0\0CR\x02\0", "image/x-canon-cr2"),
        (b"II\x2a\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 50706, 1, 4, 1), "image/x-adobe-dng"),
        (ftyp(b"crx ", b"crx "), "image/x-canon-cr3"),
        (ftyp(b"mif1", b"mif1"), "image/heif"),
        (b"\xff\x0a\x00", "image/jxl"),
        (b"PK\x03\x04", "application/zip"),
        (b"\x7fELF\x02", "application/x-elf"),
        (b"OggS\0\x02" + b"\0" * 20 + b"\x01\x2a\x80theora", "video/ogg"),
        (asf(ASF_AUDIO), "audio/x-ms-wma"),
        (ebml(b"strange"), "application/octet-stream"),
        (b"FLV\x01", "application/octet-stream"),
        (b"", "application/octet-stream"),
        (bytes(range(256)), "application/octet-stream"),
    ],
)
def test_what_is_none_of_ours_is_refused_by_name(data, media_type):
    assert name_of(data) is None
    assert describe(data) == media_type


def test_no_beginning_however_short_raises():
    samples = [make() for make in STILLS.values()] + [films.video(name) for name in VIDEOS]
    samples += [films.sound(name) for name in SOUNDS] + list(hostile.PLAYLISTS.values())
    for data in samples:
        for length in range(64):
            describe(data[:length])


def test_a_known_file_is_described_by_its_type():
    assert describe(pictures.jpeg()) == "image/jpeg"
