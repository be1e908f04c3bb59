"""Every picture that is made of a file, whatever the file is."""

from collections.abc import Callable

from mediakeep.media import document, image, video, waveform
from mediakeep.media.formats import Family, get_format
from mediakeep.media.limits import IMAGE_SECONDS, PEAKS_SECONDS, POSTER_SECONDS, Limits

_WAVEFORM_HEIGHT = 192


def thumbnail(path: str, format_name: str, limits: Limits) -> bytes:
    """A JPEG of at most 512 px: the image small, a video's poster, page 1, or the drawn waveform.

    sRGB, without metadata and location. Raises `UndecodableMedia`; also for a PDF that needs a password, and for what
    has neither picture nor sound.
    """
    return _THUMBNAILS[get_format(format_name).family](path, format_name, limits)


def thumbnail_seconds(format_name: str) -> float:
    """How long `thumbnail` may take before its process is stopped."""
    return _SECONDS[get_format(format_name).family]


def _waveform(path: str, format_name: str, limits: Limits) -> bytes:
    peaks = waveform.peaks(path, format_name, limits)
    return waveform.draw_jpeg(peaks, image.THUMBNAIL_SIDE, _WAVEFORM_HEIGHT)


def _poster(path: str, format_name: str, limits: Limits) -> bytes:
    try:
        return video.poster(path, format_name, limits)
    except video.NoPictureError:
        return _waveform(path, format_name, limits)


_THUMBNAILS: dict[Family, Callable[[str, str, Limits], bytes]] = {
    "image": image.thumbnail,
    "video": _poster,
    "audio": _waveform,
    "document": document.page_picture,
}
_SECONDS: dict[Family, float] = {
    "image": IMAGE_SECONDS,
    "video": POSTER_SECONDS,
    "audio": PEAKS_SECONDS,
    "document": IMAGE_SECONDS,
}
