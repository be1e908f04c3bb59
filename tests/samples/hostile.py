"""Files that want to cost too much, to be taken for something else, or to open other files."""

import struct
import zlib
from functools import cache

from tests.samples import papers, pictures

HLS = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
FFCONCAT = b"ffconcat version 1.0\nfile 'secret.mp4'\n"
SDP = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 5004 RTP/AVP 96\r\n"
FFMETADATA = b";FFMETADATA1\ntitle=x\n"
SRT = b"1\n00:00:00,000 --> 00:00:02,000\nhello\n"
HTML = b"<!DOCTYPE html><html><body><script>alert(1)</script></body></html>"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
PLAYLISTS = {"hls": HLS, "ffconcat": FFCONCAT, "sdp": SDP, "ffmetadata": FFMETADATA, "srt": SRT, "html": HTML}


@cache
def png_bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """A PNG that says it has 2.5 thousand million pixels; its data end early."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@cache
def gif_bomb(frames: int = 10_000, width: int = 500, height: int = 500) -> bytes:
    """A GIF of many frames, small because each draws one pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    control = b"\x21\xf9\x04\x04\x02\0\0\0"
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return head + (control + image) * frames + b";"


def gif_and_script() -> bytes:
    return pictures.gif(1) + b"/*<script>alert(1)</script>*/"


def pdf_and_zip() -> bytes:
    return papers.pdf() + b"PK\x03\x04" + b"\0" * 26 + b"PK\x05\x06" + b"\0" * 18


def zip_with_pdf() -> bytes:
    return b"PK\x03\x04\x14\0\0\0\0\0" + b"\0" * 16 + b"\x05\0\0\0a.pdf" + papers.pdf()
