"""Opening video and audio through PyAV so that a file can name no other file and no address."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import av
from av.container import InputContainer

from mediakeep.errors import UndecodableMedia
from mediakeep.media.facts import Detail, clean_text
from mediakeep.media.limits import Limits

DAMAGED_VIDEO = "The video is truncated or damaged and cannot be decoded."
DAMAGED_AUDIO = "The audio is truncated or damaged and cannot be decoded."

# The one demuxer that may read a format. Without it FFmpeg would ask the bytes, and playlists answer.
_DEMUXERS = {
    "mp4": "mov",
    "mov": "mov",
    "m4a": "mov",
    "3gp": "mov",
    "webm": "matroska",
    "mkv": "matroska",
    "avi": "avi",
    "wmv": "asf",
    "flv": "flv",
    "mp3": "mp3",
    "wav": "wav",
    "flac": "flac",
    "ogg": "ogg",
}
_DEMUXER_NAMES = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,flv,mp3,wav,flac,ogg"
_TAGS = (
    "title",
    "artist",
    "album",
    "album_artist",
    "composer",
    "genre",
    "track",
    "date",
    "comment",
    "copyright",
)

MICROSECOND = 1e-6  # FFmpeg's AV_TIME_BASE

# What PyAV raises over broken content: FFmpeg's errors, and its own for values that make no sense, or (IndexError) for a
# stream that shows up only after the file was opened.
BROKEN = (av.FFmpegError, ValueError, OverflowError, ZeroDivisionError, IndexError)


@contextmanager
def open_media(path: str, format_name: str, limits: Limits, damaged: str) -> Iterator[InputContainer]:
    """The file opened as `format_name` and as nothing else. PyAV's errors inside become `UndecodableMedia(damaged)`."""
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": _DEMUXER_NAMES,
        "max_pixels": str(limits.max_video_pixels),
        "max_streams": "32",
    }
    try:
        with av.open(
            path, format=_DEMUXERS[format_name], options=options, metadata_errors="replace"
        ) as container:
            yield container
    except BROKEN as error:
        raise UndecodableMedia(damaged) from error


def read_tags(sources: Iterable[dict[str, str]]) -> dict[str, Detail]:
    """Title, artist and the like, from the container's metadata and its streams'; the first that has one counts."""
    found: dict[str, Detail] = {}
    for source in sources:
        lower = {name.lower(): value for name, value in source.items()}
        for name in _TAGS:
            text = clean_text(lower.get(name, ""))
            if text:
                found.setdefault(name, text)
    return found
