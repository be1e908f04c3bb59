"""PDFs, by a writer of our own: a coloured page each, with or without a password."""

import hashlib
import struct
from functools import cache

_PADDING = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")


@cache
def pdf(pages: int = 1, width: float = 595, height: float = 842, *, password: str = "") -> bytes:
    """`pages` red pages of `width` × `height` points. With a `password` it is encrypted (RC4, ISO 32000-1 §7.6.3)."""
    content = b"0.8 0.1 0.1 rg 0 0 %d %d re f" % (width, height / 2)
    key, security = _security(password.encode()) if password else (b"", b"")
    kids = b" ".join(b"%d 0 R" % (4 + index) for index in range(pages))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, pages),
        stream_of(_encrypted(content, key, 3)),
    ]
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents 3 0 R >>" % (width, height)
    objects += [page] * pages
    objects.append(b"<< /Title (%s) >>" % _escaped(_encrypted(b"Paper", key, len(objects) + 1)))
    return document(objects, security)


def stream_of(data: bytes, entries: bytes = b"") -> bytes:
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(data), entries, data)


def document(objects: list[bytes], security: bytes = b"") -> bytes:
    """A PDF of these objects, numbered from 1: the catalogue first, the information last."""
    body, offsets = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"<< /Size %d /Root 1 0 R /Info %d 0 R %s >>" % (len(objects) + 1, len(objects), security)
    return body + b"xref\n0 %d\n0000000000 65535 f \n%strailer\n%s\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        table,
        trailer,
        len(body),
    )


def _security(password: bytes) -> tuple[bytes, bytes]:
    """The file's key and its trailer entries, by the standard handler of revision 2."""
    padded = (password + _PADDING)[:32]
    owner = _rc4(hashlib.md5(padded).digest()[:5], padded)
    identity, permissions = b"mediakeep-sample", -4
    key = hashlib.md5(padded + owner + struct.pack("<i", permissions) + identity).digest()[:5]
    user = _rc4(key, _PADDING)
    entries = b"/ID [<%s> <%s>] " % (identity.hex().encode(), identity.hex().encode())
    entries += b"/Encrypt << /Filter /Standard /V 1 /R 2 /Length 40 /P %d /O <%s> /U <%s> >>" % (
        permissions,
        owner.hex().encode(),
        user.hex().encode(),
    )
    return key, entries


def _encrypted(data: bytes, key: bytes, number: int) -> bytes:
    if not key:
        return data
    return _rc4(hashlib.md5(key + number.to_bytes(3, "little") + b"\0\0").digest()[: len(key) + 5], data)


def _escaped(data: bytes) -> bytes:
    return data.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)").replace(b"\r", b"\\r")


def _rc4(key: bytes, data: bytes) -> bytes:
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)
