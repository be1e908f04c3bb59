"""What is said of the bytes that are answered with: the headers."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from urllib.parse import quote

from mediakeep.http.conditions import ByteRange, http_date

# https://github.com/w3c/webappsec-csp: a file opened as a page of its own can run nothing and load nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src 'self'; sandbox"
# The browser's PDF viewer is a page that a sandbox would keep from starting.
_PDF_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

#: What a browser may show in place; everything else is a download.
INLINE_TYPES = frozenset(
    {
        "application/pdf",
        "audio/flac",
        "audio/mp4",
        "audio/mpeg",
        "audio/ogg",
        "audio/wav",
        "image/avif",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "video/mp4",
        "video/quicktime",
        "video/webm",
    }
)

RawHeaders = list[tuple[bytes, bytes]]


@dataclass(frozen=True, kw_only=True)
class Representation:
    """What is said of the bytes that are answered with, which are at hand or under `key` in the store.

    `sha256` is theirs (hex), `name` what a download is called, `max_age` seconds, None for what must not be kept by
    anybody, `vary` the request header that chose it.
    """

    media_type: str
    size: int
    sha256: str
    modified_at: datetime
    name: str
    max_age: int | None
    key: str = ""
    attachment: bool = False
    #: Whether pages of other origins may embed it.
    embeddable: bool = True
    vary: str = ""
    #: What a CDN is told to forget it by.
    tag: str = ""

    @property
    def etag(self) -> str:
        return f'"{self.sha256}"'

    @property
    def is_inline(self) -> bool:
        return self.media_type in INLINE_TYPES and not self.attachment

    @cached_property
    def validators(self) -> RawHeaders:
        """The headers that a 304 repeats (RFC 9110 §15.4.5)."""
        kept = "private, no-store" if self.max_age is None else f"public, max-age={self.max_age}"
        given = {
            "etag": self.etag,
            "last-modified": http_date(self.modified_at),
            "cache-control": kept,
            "vary": self.vary,
            "cache-tag": self.tag,
        }
        return raw_headers({name: value for name, value in given.items() if value})

    @cached_property
    def headers(self) -> RawHeaders:
        """All headers of the whole, but for its type and length."""
        return self.validators + raw_headers(
            {
                "accept-ranges": "bytes",
                "content-disposition": content_disposition(
                    "inline" if self.is_inline else "attachment", self.name
                ),
                "x-content-type-options": "nosniff",
                "content-security-policy": _PDF_POLICY if self.media_type == "application/pdf" else _POLICY,
                "cross-origin-resource-policy": "cross-origin" if self.embeddable else "same-origin",
            }
        )

    def headers_of_whole(self) -> RawHeaders:
        """The headers of a 200."""
        return [
            (b"content-type", self.media_type.encode()),
            (b"content-length", str(self.size).encode()),
            *self.headers,
        ]

    def headers_of_part(self, part: ByteRange) -> RawHeaders:
        """The headers of a 206 with one part."""
        return [
            (b"content-type", self.media_type.encode()),
            (b"content-length", str(part.end - part.start).encode()),
            (b"content-range", self.content_range(part).encode()),
            *self.headers,
        ]

    def headers_of_refusal(self) -> dict[str, str]:
        """The headers of a 412 or 416, which nobody may keep."""
        vary = {"vary": self.vary} if self.vary else {}
        return {"cache-control": "no-store", **vary}

    def content_range(self, part: ByteRange) -> str:
        return f"bytes {part.start}-{part.end - 1}/{self.size}"


#: What is answered with, and its bytes where they are at hand.
Answer = tuple[Representation, bytes | None]


def content_disposition(kind: str, name: str) -> str:
    """With the name in ASCII for old clients and in UTF-8 for all others (RFC 6266 §4.3, Appendix D)."""
    plain = "".join(mark if " " <= mark <= "~" and mark not in '"\\%' else "_" for mark in name)
    value = f'{kind}; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"


def raw_headers(headers: dict[str, str]) -> RawHeaders:
    """Headers as ASGI has them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
