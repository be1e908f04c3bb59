"""Everything about a file that an answer must contain, and the proof that it decodes."""

from mediakeep.media import audio, document, image, video
from mediakeep.media.facts import Facts
from mediakeep.media.formats import get_format
from mediakeep.media.limits import Limits

__all__ = ["Facts", "probe"]

_PROBES = {"image": image.probe, "video": video.probe, "audio": audio.probe, "document": document.probe}


def probe(path: str, format_name: str, limits: Limits) -> Facts:
    """The facts of the file at `path`, which `sniff` called `format_name`; for an image with its thumbnail.

    Raises `UndecodableMedia`, whose sentence is for the caller, when the file is over a limit or cannot be decoded.
    """
    return _PROBES[get_format(format_name).family](path, format_name, limits)
