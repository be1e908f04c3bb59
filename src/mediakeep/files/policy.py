"""What a door takes: formats and sizes, and the sentences with which it refuses."""

import mimetypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from mediakeep.errors import MediakeepError, UnsupportedMedia
from mediakeep.media.formats import (
    Family,
    Format,
    find_format_by_extension,
    find_format_by_media_type,
    get_format,
)
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
    """A door's rules. `invalid_type(found, claimed)` makes its refusal of a media type, `too_large(found)` that of a size.

    `claimed` is the type that the upload names, "" where it names none; the format is None before the content is known.
    """

    formats: frozenset[str]
    max_bytes: int
    invalid_type: Callable[[str, str], MediakeepError]
    too_large: Callable[[Format | None], MediakeepError]
    #: The families that may have fewer bytes than `max_bytes`.
    family_max_bytes: Mapping[Family, int] = field(default_factory=dict)

    def check_size(self, size: int, found: Format | None = None) -> None:
        """Raises the door's refusal once a file has more bytes than it takes, of whatever it is known to be."""
        limit = self.family_max_bytes.get(found.family, self.max_bytes) if found else self.max_bytes
        if size > min(limit, self.max_bytes):
            raise self.too_large(found)

    def check_family(self, family: str, found: Format) -> None:
        """Raises the door's refusal where a container of its formats turns out to hold what none of them is for."""
        if family not in {get_format(name).family for name in self.formats}:
            raise self.invalid_type(found.media_type.replace(found.family, family, 1), "")

    def check_type(self, head: bytes, *, file_name: str, declared: str | None) -> Format | None:
        """The format of the content, None of an empty one, which is refused as such.

        Raises the door's refusal where the content is none of its types, or not what it is said to be.
        """
        if not head:
            return None
        found = sniff(head)
        claims = (_claim_of_type(declared), _claim_of_name(file_name))
        if found is None or found.name not in self.formats:
            raise self.invalid_type(
                _found_type(found, head, declared), next(filter(None, claims), None) or ""
            )
        for claim in claims:
            if claim and not _agree(found, claim):
                raise UnsupportedMedia(
                    f"Invalid file type: the content is {found.media_type}, but the upload says {claim}."
                )
        return found


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
