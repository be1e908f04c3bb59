"""libvips for files that nobody has checked: few loaders, no cache, every refusal in our words."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyvips

from mediakeep.errors import UndecodableMedia
from mediakeep.media import icc
from mediakeep.media.pixels import Pixels

# The published stubs refuse what libvips takes (names of enumerations, single numbers): its images are Any to us.
Picture = Any
Image: Any = pyvips.Image

DAMAGED = "The image is truncated or damaged and cannot be decoded."

_LOADERS = {"jpg": "jpegload", "png": "pngload", "webp": "webpload", "gif": "gifload", "tiff": "tiffload"}

# A cached operation would answer with the old picture after a file was replaced.
pyvips.cache_set_max(0)
pyvips.operation_block_set("VipsForeignLoad", True)
for _name in ("Jpeg", "Png", "Webp", "Nsgif", "Tiff"):
    pyvips.operation_block_set(f"VipsForeignLoad{_name}", False)


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture says before any pixel is decoded. `width` and `height` are as displayed."""

    width: int
    height: int
    orientation: int = 1
    frame_count: int = 1
    page_count: int = 1
    duration_seconds: float = 0
    exif: bytes = b""
    profile: bytes = b""
    is_cmyk: bool = False


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turns libvips' errors into `UndecodableMedia`; their text names paths and functions."""
    try:
        yield
    except pyvips.Error as error:
        raise UndecodableMedia(DAMAGED) from error


def read_header(path: str, format_name: str) -> Header:
    """The header of a still or of an animation's first frame. Raises `UndecodableMedia`."""
    with plain_errors():
        image = Image.new_from_file(path, access="sequential")
        fields = set(image.get_fields())
        if not image.get("vips-loader").startswith(_LOADERS[format_name]):
            raise UndecodableMedia(DAMAGED)
        orientation = image.get("orientation") if "orientation" in fields else 1
        swapped = 5 <= orientation <= 8
        pages = image.get("n-pages") if "n-pages" in fields else 1
        animated = format_name in {"gif", "webp"}
        return Header(
            width=image.height if swapped else image.width,
            height=image.width if swapped else image.height,
            orientation=orientation,
            frame_count=pages if animated else 1,
            page_count=1 if animated else pages,
            duration_seconds=sum(image.get("delay")) / 1000 if "delay" in fields and pages > 1 else 0,
            exif=image.get("exif-data") if "exif-data" in fields else b"",
            profile=image.get("icc-profile-data") if "icc-profile-data" in fields else b"",
            is_cmyk=image.interpretation == "cmyk",
        )


def shrink(path: str, format_name: str, header: Header, side: int) -> Pixels:
    """The first frame, upright, its long side at most `side`. Raises `UndecodableMedia`, also when it is truncated."""
    options = {"height": side, "size": "down"}
    if header.is_cmyk or (header.profile and not icc.is_srgb(header.profile)):
        options["output_profile"] = "srgb"
    with plain_errors():
        if format_name == "jpg":
            image = _reduced_jpeg(path, header, side).thumbnail_image(side, **options)
        else:
            image = Image.thumbnail(path, side, fail_on="truncated", **options)
        return _to_pixels(image)


def _reduced_jpeg(path: str, header: Header, side: int) -> Picture:
    """A JPEG decoded at 1/2, 1/4 or 1/8, as small as is still enough; `thumbnail` itself would decode twice that size,
    which costs half as much again.
    """
    longest = max(header.width, header.height)
    factor = next((factor for factor in (8, 4, 2) if longest >= side * factor), 1)
    return Image.jpegload(path, shrink=factor, access="sequential", fail_on="truncated")


def convert(pixels: Pixels, profile: bytes) -> Pixels:
    """Colours of `profile` as sRGB. Raises `UndecodableMedia` when the profile makes no sense."""
    height, width, bands = pixels.shape
    with plain_errors():
        image = Image.new_from_memory(pixels.tobytes(), width, height, bands, "uchar").copy(
            interpretation="srgb"
        )
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
        return _to_pixels(image.icc_transform("srgb"))


def _to_pixels(image: Picture) -> Pixels:
    """8-bit sRGB; grey, 16-bit and float files arrive in other spaces."""
    if image.interpretation != "srgb":
        image = image.colourspace("srgb")
    if image.bands > 4:  # a TIFF may have any number of further channels
        image = image.extract_band(0, n=3)
    if image.format != "uchar":
        image = image.cast("uchar")
    pixels: Pixels = image.numpy()
    return pixels
