"""What `/media` takes: formats, sizes, and the sentences with which 003 refuses."""

from mediakeep.errors import ContentTooLarge, UnsupportedMedia
from mediakeep.files.policy import Policy
from mediakeep.media.formats import Family, Format, find_format_by_media_type
from mediakeep.settings import MIB, Settings

#: The formats of each family, and the types that a refusal lists, in 003's words and order.
_FORMATS: dict[Family, tuple[str, ...]] = {
    "image": ("jpg", "png", "gif", "webp", "bmp", "tiff"),
    "video": ("mp4", "avi", "mov", "wmv", "flv", "webm", "mkv", "3gp"),
}
_ALLOWED: dict[Family, str] = {
    "image": "image/jpeg, image/png, image/gif, image/webp, image/bmp, image/tiff",
    "video": "video/mp4, video/avi, video/mov, video/wmv, video/flv, video/webm, video/mkv, video/3gp",
}


def policy_of(settings: Settings) -> Policy:
    """Images and videos, each up to its own limit or the one for all, whichever is smaller."""
    largest: dict[Family, int] = {
        "image": min(settings.media_max_bytes, settings.media_max_image_bytes),
        "video": min(settings.media_max_bytes, settings.media_max_video_bytes),
    }

    def too_large(found: Format | None) -> ContentTooLarge:
        family = found.family if found else None
        what, limit = (
            (f"{family.capitalize()} file", largest[family]) if family else ("File", max(largest.values()))
        )
        return ContentTooLarge(f"{what} too large. Maximum size is {limit / MIB:g}MB")

    return Policy(
        formats=frozenset(name for names in _FORMATS.values() for name in names),
        max_bytes=max(largest.values()),
        family_max_bytes=largest,
        invalid_type=_invalid_type,
        too_large=too_large,
    )


def _invalid_type(found: str, claimed: str) -> UnsupportedMedia:
    """In the words of the content's family; of what it is said to be, where its content tells none."""
    for media_type in (found, claimed):
        for family, allowed in _ALLOWED.items():
            if media_type.startswith(f"{family}/"):
                return UnsupportedMedia(f"Invalid {family} type. Allowed types: {allowed}")
        if find_format_by_media_type(media_type):
            break  # sound, or a document, whatever it is called
    return UnsupportedMedia("Invalid file type")
