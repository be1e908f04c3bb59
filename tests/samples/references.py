"""Files that name other files and addresses, in every way their formats know, hoping that a decoder follows."""

import base64
import struct
from collections.abc import Callable
from pathlib import Path

from tests.samples import films, hostile, papers, pictures
from tests.samples.mutations import ogg_checksums

NEIGHBOUR = "secret.mp4"  # beside the upload, for relative names
ADDRESS = "http://127.0.0.1:9/secret.mp4"


def texts(secret: Path) -> dict[str, bytes]:
    """Playlists, session descriptions, markup and scripts that name `secret`, its neighbour and an address."""
    uri = secret.as_uri()
    written = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{uri}\n#EXTINF:9,\n{NEIGHBOUR}\n#EXT-X-ENDLIST\n",
        "hls-key": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{uri}"\n#EXTINF:9,\n{NEIGHBOUR}\n#EXT-X-ENDLIST\n',
        "hls-map": f'#EXTM3U\n#EXT-X-MAP:URI="{uri}"\n#EXTINF:9,\n{ADDRESS}\n#EXT-X-ENDLIST\n',
        "hls-concat": f"#EXTM3U\n#EXTINF:9,\nconcat:{ADDRESS}|file://{secret}\n#EXT-X-ENDLIST\n",
        "hls-subfile": f"#EXTM3U\n#EXTINF:9,\nsubfile,,start,0,end,99,,:{secret}\n#EXT-X-ENDLIST\n",
        "hls-master": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\n{ADDRESS}\n#EXT-X-STREAM-INF:BANDWIDTH=8\n{uri}\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{NEIGHBOUR}'\nduration 1\n",
        "ffconcat-path": f"ffconcat version 1.0\nfile '{secret}'\nfile '{uri}'\nfile '{ADDRESS}'\n",
        "sdp": hostile.SDP.decode(),
        "sdp-file": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=control:{uri}\n"
        "m=audio 5006 RTP/AVP 0\n",
        "dash": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
        f'<AdaptationSet><Representation id="0"><BaseURL>{uri}</BaseURL></Representation></AdaptationSet>'
        f"</Period></MPD>",
        "smooth": f'<SmoothStreamingMedia><StreamIndex Url="{uri}"/></SmoothStreamingMedia>',
        "imf": f'<?xml version="1.0"?><CompositionPlaylist><Id>{uri}</Id></CompositionPlaylist>',
        "svg": f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"><style>'
        f'@import "{uri}";</style><image xlink:href="{NEIGHBOUR}"/><image href="{uri}"/><use href="{ADDRESS}#a"/></svg>',
        "svg-entity": f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "{uri}">]>'
        f'<svg xmlns="http://www.w3.org/2000/svg"><text>&x;</text></svg>',
        "html": f'<html><img src="{uri}"><iframe src="{ADDRESS}"></iframe></html>',
        "xml-entity": f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "{uri}">]><a>&x;</a>',
        "xml-include": f'<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="{uri}"/></a>',
        "postscript": f"%!PS-Adobe-3.0 EPSF-3.0\n({secret}) (r) file 99 string readstring\n",
        "mvg": f"push graphic-context\nviewbox 0 0 9 9\nimage over 0,0 0,0 '{secret}'\npop graphic-context\n",
        "asx": f'<asx version="3.0"><entry><ref href="{uri}"/></entry></asx>',
        "pls": f"[playlist]\nFile1={secret}\nNumberOfEntries=1\n",
        "cue": f'FILE "{NEIGHBOUR}" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
        "vpx-list": f"{secret}\n{NEIGHBOUR}\n",
        "ffmetadata": hostile.FFMETADATA.decode(),
        "srt": hostile.SRT.decode(),
    }
    return {name: text.encode() for name, text in written.items()}


def media(secret: Path) -> dict[str, tuple[str, bytes]]:
    """Real media, by format, that name `secret` or its neighbour where their format lets them."""
    uri = secret.as_uri().encode()
    name, path = NEIGHBOUR.encode(), str(secret).encode()
    link = b"\x03-->\0\x03\0" + uri
    return {
        "mov-dref-url": ("mov", _data_reference(_entry(b"url ", uri + b"\0"))),
        "mov-dref-url-http": ("mov", _data_reference(_entry(b"url ", ADDRESS.encode() + b"\0"))),
        "mov-dref-urn": ("mov", _data_reference(_entry(b"urn ", b"x\0" + uri + b"\0"))),
        "mov-dref-alias": ("mov", _data_reference(_entry(b"alis", _alias(name, path)))),
        "mov-dref-resource": ("mov", _data_reference(_entry(b"rsrc", _alias(name, path)))),
        "mp4-dref-url": ("mp4", _data_reference(_entry(b"url ", uri + b"\0"), "mp4")),
        "mp4-dref-alias": ("mp4", _data_reference(_entry(b"alis", _alias(name, path)), "mp4")),
        "mov-reference-movie": ("mov", _reference_movie(uri)),
        "mkv-linked-segments": ("mkv", _linked_segments(name)),
        "webm-linked-segments": ("webm", _linked_segments(name, "webm")),
        "avi-gab2-hls": ("avi", _subtitled_avi(texts(secret)["hls"])),
        "avi-gab2-concat": ("avi", _subtitled_avi(texts(secret)["ffconcat-path"])),
        "mp3-linked-cover": ("mp3", _id3(b"APIC", link) + films.sound("mp3", 0.5)),
        "mp3-linked-sound": ("mp3", _id3(b"LINK", b"AUD\0" + uri) + films.sound("mp3", 0.5)),
        "flac-linked-cover": ("flac", _linked_flac(uri)),
        "ogg-linked-cover": ("ogg", _linked_ogg(uri)),
        "pdf-actions": ("pdf", _pdf_actions(path, uri)),
        "pdf-external-streams": ("pdf", _pdf_streams(path, uri)),
        "pdf-forms": ("pdf", _pdf_forms(uri)),
        "jpg-xmp": ("jpg", _jpeg_xmp(uri)),
        "gif-and-script": ("gif", hostile.gif_and_script()),
        "pdf-and-zip": ("pdf", hostile.pdf_and_zip()),
        "jpg-and-hls": ("jpg", pictures.jpeg(64, 48) + texts(secret)["hls"]),
        "jpg-and-html": ("jpg", pictures.jpeg(64, 48) + hostile.HTML),
        "png-and-mp4": ("png", pictures.png(64, 48) + films.video("mp4", 0.5)),
        "mp3-and-pdf": ("mp3", films.sound("mp3", 0.5) + papers.pdf()),
        "wav-and-concat": ("wav", films.sound("wav", 0.5) + texts(secret)["ffconcat"]),
    }


def _entry(kind: bytes, data: bytes) -> bytes:
    """An entry of `dref`; its flag for "in this file" is not set (ISO/IEC 14496-12 §8.7.2)."""
    return box(kind, b"\0\0\0\0" + data)


def _alias(name: bytes, path: bytes) -> bytes:
    """A Macintosh alias record with a relative and an absolute path, as FFmpeg's mov.c reads it."""
    head = b"\0" * 10 + bytes((3,)) + b"Mac".ljust(27, b"\0") + b"\0" * 12
    head += bytes((len(name),)) + name.ljust(63, b"\0") + b"\0" * 16 + struct.pack(">HH", 1, 1) + b"\0" * 16
    paths = b"".join(
        struct.pack(">HH", kind, len(text)) + text + b"\0" * (len(text) % 2)
        for kind, text in ((2, b"Mac:" + path.replace(b"/", b":")), (18, path), (0, b"Mac"))
    )
    return head + paths + struct.pack(">HH", 0xFFFF, 0)


def _data_reference(entry: bytes, format_name: str = "mov") -> bytes:
    table = struct.pack(">II", 0, 1) + entry
    return rewritten(films.video(format_name, 1.0), b"dref", lambda _: table)


def _reference_movie(uri: bytes) -> bytes:
    reference = box(b"rdrf", b"\0\0\0\0url " + struct.pack(">I", len(uri) + 1) + uri + b"\0")
    movie = box(b"moov", box(b"rmra", box(b"rmda", reference)))
    return box(b"ftyp", b"qt  \0\0\0\0qt  ") + movie + films.video("mov", 1.0)


def box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data


_CONTAINERS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl"))


def rewritten(data: bytes, kind: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The ISO file with the content of all boxes of a kind changed, and the sizes around them."""
    parts, at = [], 0
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + size]
        if name in _CONTAINERS:
            content = rewritten(content, kind, change)
        parts.append(box(name, change(content) if name == kind else content))
        at += size
    return b"".join(parts)


def _element(identifier: str, data: bytes) -> bytes:
    return bytes.fromhex(identifier) + (1 << 56 | len(data)).to_bytes(8, "big") + data


def _linked_segments(name: bytes, format_name: str = "mkv") -> bytes:
    """Neighbours by name and UID, and a chapter that plays another segment (RFC 9559 §17)."""
    data = films.video(format_name, 1.0)
    at = data.index(bytes.fromhex("18538067"))
    size_bytes = 9 - data[at + 4].bit_length()
    unique = bytes(range(16))
    info = _element("3cb923", unique) + _element("3eb923", unique[::-1]) + _element("3e83bb", name)
    info += _element("3cb923", unique) + _element("3c83ab", name) + _element("73a4", unique)
    chapter = _element("73c4", b"\1") + _element("91", b"\0") + _element("6e67", unique[::-1])
    chapters = _element("45b9", _element("45dd", b"\1") + _element("b6", chapter))
    links = _element("1549a966", info) + _element("1043a770", chapters)
    return data[:at] + bytes.fromhex("1853806701ffffffffffffff") + links + data[at + 4 + size_bytes :]


def _subtitled_avi(text: bytes) -> bytes:
    """An AVI with a subtitle track that is a playlist (the GAB2 attack on FFmpeg, CVE-2016-1897's successor)."""
    data = films.video("avi", 0.5)
    header = struct.pack(
        "<4s4sIHHIIIIIIIIhhhh", b"txts", b"\0" * 4, 0, 0, 0, 0, 1, 10, 0, 5, 0, 0, 0, 0, 0, 0, 0
    )
    track = _chunk(b"LIST", b"strl" + _chunk(b"strh", header) + _chunk(b"strf", b""))
    gab2 = b"GAB2\0" + struct.pack("<HI", 2, 2) + b"\0\0" + struct.pack("<HI", 4, len(text)) + text
    at = data.index(b"hdrl") - 8
    (size,) = struct.unpack_from("<I", data, at + 4)
    headers = bytearray(data[at + 8 : at + 8 + size])
    streams = headers.index(b"avih") + 8 + 24
    headers[streams : streams + 4] = struct.pack("<I", 2)
    start = data.index(b"movi")
    (length,) = struct.unpack_from("<I", data, start - 4)
    frames = data[start + 4 : start + length]
    body = _chunk(b"LIST", bytes(headers) + track) + _chunk(b"LIST", b"movi" + _chunk(b"01tx", gab2) + frames)
    return _chunk(b"RIFF", b"AVI " + body)


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _id3(name: bytes, data: bytes) -> bytes:
    frame = name + struct.pack(">IH", len(data), 0) + data
    size = len(frame)
    return b"ID3\3\0\0" + bytes((size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127)) + frame


def _picture_block(uri: bytes) -> bytes:
    return (
        struct.pack(">I", 3)
        + struct.pack(">I", 3)
        + b"-->"
        + struct.pack(">I", 0)
        + struct.pack(">IIIII", 9, 9, 24, 0, len(uri))
        + uri
    )


def _linked_flac(uri: bytes) -> bytes:
    data, picture = films.sound("flac", 0.5), _picture_block(uri)
    return data[:42] + b"\6" + len(picture).to_bytes(3, "big") + picture + data[42:]


def _linked_ogg(uri: bytes) -> bytes:
    """A comment header of its own, in place of the encoder's, on one page."""
    data = films.sound("ogg", 0.5)
    second = data.index(b"OggS", 4)
    third = data.index(b"OggS", second + 4)
    comment = b"METADATA_BLOCK_PICTURE=" + base64.b64encode(_picture_block(uri))
    packet = b"OpusTags" + struct.pack("<I", 0) + struct.pack("<II", 1, len(comment)) + comment
    laces = bytes((255,)) * (len(packet) // 255) + bytes((len(packet) % 255,))
    page = data[second : second + 26] + bytes((len(laces),)) + laces + packet
    return ogg_checksums(data[:second] + page + data[third:])


def _pdf_of(catalog: bytes, page: bytes, *more: bytes) -> bytes:
    return papers.document(
        [
            b"<< /Type /Catalog /Pages 2 0 R %s >>" % catalog,
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] %s >>" % page,
            *more,
            b"<< /Title (Trap) >>",
        ]
    )


def _pdf_actions(path: bytes, uri: bytes) -> bytes:
    script = b"<< /S /JavaScript /JS (app.launchURL\\('%s'\\); this.submitForm\\('%s'\\);) >>" % (uri, uri)
    launch = b"<< /S /Launch /F (%s) /Win << /F (%s) >> >>" % (path, path)
    remote = b"<< /S /GoToR /F (%s) /D [0 /Fit] /Next << /S /URI /URI (%s) >> >>" % (path, uri)
    names = b"<< /JavaScript << /Names [(a) %s] >> >>" % script
    catalog = b"/OpenAction %s /AA << /WC %s >> /Names %s /URI << /Base (%s) >>" % (
        script,
        launch,
        names,
        uri,
    )
    link = b"<< /Type /Annot /Subtype /Link /Rect [0 0 200 200] /A %s >>" % remote
    return _pdf_of(catalog, b"/AA << /O %s /C %s >> /Annots [%s]" % (launch, remote, link))


def _pdf_streams(path: bytes, uri: bytes) -> bytes:
    resources = b"/Resources << /XObject << /I 5 0 R /R 6 0 R >> /Font << /F 7 0 R >> >> /Contents 4 0 R"
    elsewhere = b"/F << /FS /URL /F (%s) >> /FFilter /FlateDecode" % uri
    image = b"/Type /XObject /Subtype /Image /Width 9 /Height 9 /BitsPerComponent 8 /ColorSpace /DeviceRGB"
    reference = b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Ref << /F (%s) /Page 0 >>" % path
    return _pdf_of(
        b"/Metadata 9 0 R",
        resources,
        papers.stream_of(b"q 200 0 0 200 0 0 cm /I Do Q /R Do BT /F 9 Tf (abc) Tj ET"),
        papers.stream_of(b"", image + b" " + elsewhere),
        papers.stream_of(b"", reference),
        b"<< /Type /Font /Subtype /TrueType /BaseFont /Secret /FontDescriptor 8 0 R >>",
        b"<< /Type /FontDescriptor /FontName /Secret /Flags 4 /FontFile2 9 0 R >>",
        papers.stream_of(b"", b"/F (%s)" % path),
    )


def _pdf_forms(uri: bytes) -> bytes:
    form = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "%s">]><xdp:xdp>&x;</xdp:xdp>' % uri
    field = b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (a) /Rect [0 0 9 9] /AA << /F << /S /SubmitForm /F (%s) >> >> >>"
    return _pdf_of(
        b"/AcroForm << /XFA 4 0 R /NeedAppearances true /Fields [5 0 R] >>",
        b"/Annots [5 0 R]",
        papers.stream_of(form),
        field % uri,
    )


def _jpeg_xmp(uri: bytes) -> bytes:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><!DOCTYPE a [<!ENTITY x SYSTEM "%s">]>&x;</x:xmpmeta>' % uri
    segment = b"http://ns.adobe.com/xap/1.0/\0" + xmp
    data = pictures.jpeg(64, 48)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
