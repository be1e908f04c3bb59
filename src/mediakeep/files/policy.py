"""What a door takes: formats and sizes, and the sentences with which it refuses."""

import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from mediakeep.errors import MediakeepError, UnsupportedMedia
from mediakeep.media.formats import Format, find_format_by_extension, find_format_by_media_type
from mediakeep.media.sniff import describe, sniff

# The containers of ISO 14496-12 are one family: cameras and tools name them for one another.
_ONE_FAMILY = (
    frozenset({"mp4", "mov", "m4a", "3gp"}),
    frozenset({"webm", "mkv"}),
    frozenset({"heic", "avif"}),
)

#: What clients send that do not know; the second is what tools for object stores say.
_CLAIM_NOTHING = frozenset({None, "", "application/octet-stream", "binary/octet-stream"})

# The platform's own tables differ from machine to machine.
_KNOWN_TYPES = mimetypes.MimeTypes(filenames=())


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A door's rules. `invalid_type(found)` makes its refusal of a media type, `too_large(size)` that of a size.

    `size` is None where only the Content-Length is known.
    """

    formats: frozenset[str]
    max_bytes: int
    invalid_type: Callable[[str], MediakeepError]
    too_large: Callable[[int | None], MediakeepError]

    def check_size(self, size: int) -> None:
        """Raises the door's refusal once a file has more bytes than it takes."""
        if size > self.max_bytes:
            raise self.too_large(size)

    def check_type(self, head: bytes, *, file_name: str, declared: str | None) -> None:
        """Raises the door's refusal where the content is none of its types, or not what it is said to be."""
        if not head:
            return  # an empty file is refused as such
        found = sniff(head)
        if found is None or found.name not in self.formats:
            raise self.invalid_type(_found_type(found, head, declared))
        for claim in (_claim_of_type(declared), _claim_of_name(file_name)):
            if claim and not _agree(found, claim):
                raise UnsupportedMedia(
                    f"Invalid file type: the content is {found.media_type}, but the upload says {claim}."
                )


def _found_type(found: Format | None, head: bytes, declared: str | None) -> str:
    if found:
        return found.media_type
    described = describe(head)
    if described == "application/octet-stream" and declared:
        return declared
    return described


def _claim_of_type(declared: str | None) -> str | None:
    return None if declared in _CLAIM_NOTHING else declared


def _claim_of_name(file_name: str) -> str | None:
    """The media type that an extension stands for; None where it is unknown, and claims nothing."""
    extension = PurePosixPath(file_name.lower()).suffix
    known = find_format_by_extension(extension.removeprefix(".")) if extension else None
    if known:
        return known.media_type
    claimed = _KNOWN_TYPES.types_map[True].get(extension)
    return None if claimed == "application/octet-stream" else claimed


def _agree(found: Format, claimed_type: str) -> bool:
    claimed = find_format_by_media_type(claimed_type)
    if claimed is None:
        return False
    return found.name == claimed.name or any(
        found.name in family and claimed.name in family for family in _ONE_FAMILY
    )
