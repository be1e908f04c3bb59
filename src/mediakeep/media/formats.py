"""The formats we know by content, and the names that the world calls them."""

from dataclasses import dataclass
from typing import Literal

Family = Literal["image", "video", "audio", "document"]


@dataclass(frozen=True, slots=True)
class Format:
    """A file format. Extensions are without dot; extensions and aliases all name this same format."""

    name: str
    media_type: str
    family: Family
    extensions: tuple[str, ...]
    media_type_aliases: tuple[str, ...] = ()


FORMATS: tuple[Format, ...] = (
    Format("jpg", "image/jpeg", "image", ("jpg", "jpeg", "jpe", "jfif"), ("image/jpg", "image/pjpeg")),
    Format("png", "image/png", "image", ("png", "apng"), ("image/x-png", "image/apng")),
    Format("gif", "image/gif", "image", ("gif",)),
    Format("webp", "image/webp", "image", ("webp",)),
    Format("bmp", "image/bmp", "image", ("bmp", "dib"), ("image/x-bmp", "image/x-ms-bmp")),
    Format("tiff", "image/tiff", "image", ("tiff", "tif"), ("image/tif", "image/x-tiff", "image/x-tif")),
    Format(
        "heic",
        "image/heic",
        "image",
        ("heic", "heif", "hif"),
        ("image/heif", "image/heic-sequence", "image/heif-sequence"),
    ),
    Format("avif", "image/avif", "image", ("avif", "avifs"), ("image/avif-sequence",)),
    Format("mp4", "video/mp4", "video", ("mp4", "m4v"), ("video/x-m4v", "application/mp4")),
    Format("mov", "video/quicktime", "video", ("mov", "qt"), ("video/mov", "video/qt", "video/x-quicktime")),
    Format("avi", "video/x-msvideo", "video", ("avi",), ("video/avi", "video/msvideo", "video/vnd.avi")),
    Format(
        "wmv",
        "video/x-ms-wmv",
        "video",
        ("wmv", "asf"),
        ("video/wmv", "video/x-ms-asf", "application/vnd.ms-asf"),
    ),
    Format("flv", "video/x-flv", "video", ("flv",), ("video/flv",)),
    Format("webm", "video/webm", "video", ("webm",), ("audio/webm",)),
    Format("mkv", "video/x-matroska", "video", ("mkv",), ("video/mkv", "video/matroska")),
    Format("3gp", "video/3gpp", "video", ("3gp", "3gpp", "3g2"), ("video/3gp", "video/3gpp2", "audio/3gpp")),
    Format(
        "mp3",
        "audio/mpeg",
        "audio",
        ("mp3",),
        ("audio/mp3", "audio/mpeg3", "audio/x-mp3", "audio/x-mpeg", "audio/x-mpeg-3", "audio/mpg"),
    ),
    Format(
        "wav",
        "audio/wav",
        "audio",
        ("wav", "wave"),
        ("audio/x-wav", "audio/wave", "audio/vnd.wave", "audio/x-pn-wav"),
    ),
    Format("m4a", "audio/mp4", "audio", ("m4a", "m4b"), ("audio/m4a", "audio/x-m4a")),
    Format("flac", "audio/flac", "audio", ("flac",), ("audio/x-flac",)),
    Format(
        "ogg",
        "audio/ogg",
        "audio",
        ("ogg", "oga", "opus"),
        ("application/ogg", "audio/opus", "audio/vorbis", "audio/x-ogg"),
    ),
    Format("pdf", "application/pdf", "document", ("pdf",), ("application/x-pdf",)),
)

_BY_NAME = {format_.name: format_ for format_ in FORMATS}
_BY_EXTENSION = {extension: format_ for format_ in FORMATS for extension in format_.extensions}
_BY_MEDIA_TYPE = {
    media_type: format_
    for format_ in FORMATS
    for media_type in (format_.media_type, *format_.media_type_aliases)
}


def get_format(name: str) -> Format:
    """The format called `name`, such as "jpg". Raises `KeyError` for a name that is none of ours."""
    return _BY_NAME[name]


def find_format_by_media_type(media_type: str) -> Format | None:
    """The format of a declared Content-Type; parameters and case do not matter (RFC 9110 §8.3.1)."""
    return _BY_MEDIA_TYPE.get(media_type.partition(";")[0].strip().lower())


def find_format_by_extension(extension: str) -> Format | None:
    """The format of a file name's extension, with or without its dot."""
    return _BY_EXTENSION.get(extension.removeprefix(".").lower())
