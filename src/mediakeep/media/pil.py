"""Pillow for the pictures that our libvips cannot read: BMP, HEIC, AVIF."""

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pillow_heif
from PIL import Image, ImageOps

from mediakeep.errors import UndecodableMedia
from mediakeep.media import icc, libvips
from mediakeep.media.libvips import DAMAGED, Header
from mediakeep.media.pixels import Pixels
from mediakeep.media.transform import Size

FORMATS = {"bmp": "BMP", "heic": "HEIF", "avif": "AVIF"}

_ORIENTATION = 0x0112
# What Pillow's plugins raise over a broken file; SyntaxError is their "not mine".
_BROKEN = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, RuntimeError, Warning),
    *(ArithmeticError, struct.error, Image.DecompressionBombError),
)

pillow_heif.register_heif_opener(thumbnails=False)
# Our own limits are checked between header and pixels; Pillow's would refuse what they allow.
Image.MAX_IMAGE_PIXELS = None


def read_header(path: str, format_name: str) -> Header:
    """The header of the first or only picture. Raises `UndecodableMedia`."""
    with _opened(path, format_name) as image:
        orientation = int(image.getexif().get(_ORIENTATION, 1))
        swapped = 5 <= orientation <= 8
        return Header(
            width=image.height if swapped else image.width,
            height=image.width if swapped else image.height,
            orientation=orientation,
            # A HEIC's further pictures are bursts and previews, no frames.
            frame_count=getattr(image, "n_frames", 1) if format_name == "avif" else 1,
            exif=image.info.get("exif") or b"",
            profile=image.info.get("icc_profile") or b"",
        )


def shrink(path: str, format_name: str, header: Header, size: Size) -> Pixels:
    """The first picture, upright, in exactly this size. Raises `UndecodableMedia`, also when it is truncated."""
    with _opened(path, format_name) as image:
        image.load()
        mode = "RGBA" if image.has_transparency_data else "RGB"
        plain = image if image.mode == mode else image.convert(mode)
        stored = size[::-1] if 5 <= header.orientation <= 8 else size
        small = plain.resize(stored, Image.Resampling.BICUBIC, reducing_gap=2.0)
        pixels = np.ascontiguousarray(np.asarray(ImageOps.exif_transpose(small)))
    wide = header.profile and not icc.is_srgb(header.profile)
    return libvips.convert(pixels, header.profile) if wide else pixels


@contextmanager
def _opened(path: str, format_name: str) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(path, formats=(FORMATS[format_name],)) as image:
                yield image
    except _BROKEN as error:
        raise UndecodableMedia(DAMAGED) from error
