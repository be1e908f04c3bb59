"""The rules of upload doors that refuse in the same words, whatever their formats."""

from mediakeep.errors import TooLarge, UnsupportedMedia
from mediakeep.files.policy import Policy
from mediakeep.media.formats import Format, get_format
from mediakeep.settings import MIB, Settings

_PLURALS = {"image": "images", "video": "videos", "audio": "audio", "document": "documents"}


def policy_of(settings: Settings, formats: tuple[str, ...]) -> Policy:
    """The rules of a door that takes these formats, up to the size that the settings name."""
    allowed = describe_formats(formats)

    def invalid_type(found: str, _claimed: str) -> UnsupportedMedia:
        return UnsupportedMedia(f"Invalid file type: {found}. Allowed: {allowed}")

    def too_large(_found: Format | None) -> TooLarge:
        return TooLarge(f"File too large. Maximum size is {settings.max_upload_bytes / MIB:.1f}MB")

    return Policy(
        formats=frozenset(formats),
        max_bytes=settings.max_upload_bytes,
        invalid_type=invalid_type,
        too_large=too_large,
    )


def describe_formats(names: tuple[str, ...]) -> str:
    """Such as `images (jpg, png), videos (mp4)`."""
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(get_format(name).family, []).append(name)
    return ", ".join(f"{_PLURALS[family]} ({', '.join(formats)})" for family, formats in families.items())
