"""libvips for files that nobody has checked: few loaders, no cache, every refusal in our words.

What takes or gives a `Picture` computes little itself: a picture is made where it is saved, and its errors come then.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyvips

from mediakeep.errors import UndecodableMedia
from mediakeep.media import icc
from mediakeep.media.pixels import Pixels
from mediakeep.media.transform import Point, Size

# The published stubs refuse what libvips takes (names of enumerations, single numbers): its images are Any to us.
Picture = Any
Image: Any = pyvips.Image

DAMAGED = "The image is truncated or damaged and cannot be decoded."

#: A Gaussian costs as much as it is wide, so that a wider one is made of a smaller picture.
_MAX_SIGMA = 8

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
def plain_errors(sentence: str = DAMAGED) -> Iterator[None]:
    """Turns libvips' errors into `UndecodableMedia(sentence)`; their text names paths and functions."""
    try:
        yield
    except pyvips.Error as error:
        raise UndecodableMedia(sentence) from error


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


def load(path: str, format_name: str, header: Header, size: Size) -> Picture:
    """The first frame, upright, 8-bit sRGB, in exactly this size, which is at most its own. Its pixels are computed as
    they are read, once, from top to bottom; that raises libvips' error for a file that is truncated.
    """
    width, height = size
    options = {"height": height, "size": "force"}
    if header.is_cmyk or (header.profile and not icc.is_srgb(header.profile)):
        options["output_profile"] = "srgb"
    if format_name == "jpg":
        return _plain(_reduced_jpeg(path, header, size).thumbnail_image(width, **options))
    return _plain(Image.thumbnail(path, width, fail_on="truncated", **options))


def shrink(path: str, format_name: str, header: Header, size: Size) -> Pixels:
    """The pixels of `load`. Raises `UndecodableMedia`, also when the file is truncated."""
    with plain_errors():
        return to_pixels(load(path, format_name, header, size))


def load_frames(path: str, header: Header, size: Size) -> Iterator[Picture]:
    """Each frame of a GIF or WebP as `load` gives the first; they must be read in their order."""
    options = {"height": size[1], "size": "force"}
    if header.profile and not icc.is_srgb(header.profile):
        options["output_profile"] = "srgb"
    roll = Image.new_from_file(path, n=-1, access="sequential", fail_on="truncated")
    height = roll.get("page-height")
    for index in range(header.frame_count):
        frame = roll.crop(0, index * height, roll.width, height).copy()
        frame.set_type(pyvips.GValue.gint_type, "page-height", height)
        yield _plain(frame.thumbnail_image(size[0], **options))


def frame_timing(path: str) -> tuple[list[int], int]:
    """How long each frame of an animation is shown, in milliseconds, and how often it runs, 0 for without end."""
    image = Image.new_from_file(path, access="sequential")
    return image.get("delay"), image.get("loop")


def resize(image: Picture, size: Size) -> Picture:
    """In exactly this size, whatever that does to its shape."""
    return image.thumbnail_image(size[0], height=size[1], size="force")


def attention(image: Picture, box: Size) -> Point:
    """The point, in shares of width and height, that a box should be centred on to hold what people look at. `image` is
    in memory and no smaller than the box.
    """
    _, found = image.smartcrop(*box, interesting="attention", attention_x=True, attention_y=True)
    return found["attention_x"] / image.width, found["attention_y"] / image.height


def blur(image: Picture, sigma: float) -> Picture:
    """A Gaussian blur of `sigma` pixels of an 8-bit picture."""
    if sigma > _MAX_SIGMA:
        size = (image.width, image.height)
        scale = _MAX_SIGMA / sigma
        image = image.copy_memory()  # else each line of the small one is enlarged anew
        small = resize(image, (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))))
        return resize(blur(small, _MAX_SIGMA), size)
    if image.hasalpha():
        return image.premultiply().gaussblur(sigma, min_ampl=0.02).unpremultiply().cast("uchar")
    return image.gaussblur(sigma, min_ampl=0.02)


def flatten(image: Picture, color: tuple[int, int, int, int]) -> Picture:
    """With a colour behind what is transparent; that is red, green, blue and opacity, each 0–255."""
    *solid, opacity = color
    if not image.hasalpha() or opacity == 0:
        return image
    if opacity == 255:
        return image.flatten(background=solid)
    behind = image.new_from_image(list(color)).copy(interpretation="srgb")
    return behind.composite2(image, "over").cast("uchar")


def pad(image: Picture, size: Size, color: tuple[int, int, int, int]) -> Picture:
    """In the middle of a plain of this size and colour."""
    if color[3] < 255 and not image.hasalpha():
        image = image.bandjoin(255)
    ink = color if image.hasalpha() else color[:3]
    left, top = (size[0] - image.width) // 2, (size[1] - image.height) // 2
    return image.embed(left, top, *size, extend="background", background=list(ink))


def without_idle_alpha(image: Picture) -> Picture:
    """Without its transparency where nothing is transparent; to know, a picture that could be is computed at once."""
    if not image.hasalpha():
        return image
    seen = image.copy_memory()
    return seen.extract_band(0, n=3) if seen.extract_band(3).min() == 255 else seen


def encode_png(image: Picture) -> bytes:
    # No row filter but this one, and no more effort: twice the time would save a twentieth. Never a palette.
    data: bytes = image.pngsave_buffer(compression=3, filter="sub", keep="none")
    return data


def encode_gif(image: Picture) -> bytes:
    data: bytes = image.gifsave_buffer(effort=1, dither=0.5, keep="none")
    return data


def encode_webp(image: Picture, quality: int, effort: int) -> bytes:
    data: bytes = image.webpsave_buffer(Q=quality, effort=effort, keep="none")
    return data


def animate(frames: list[Picture], delays: list[int], loop: int) -> Picture:
    """One picture of all frames below one another, as the savers want an animation. All are of one size."""
    if len({frame.bands for frame in frames}) > 1:
        frames = [frame if frame.hasalpha() else frame.bandjoin(255) for frame in frames]
    roll = Image.arrayjoin(frames, across=1).copy(interpretation="srgb")
    roll.set_type(pyvips.GValue.gint_type, "page-height", frames[0].height)
    roll.set_type(pyvips.GValue.array_int_type, "delay", delays)
    roll.set_type(pyvips.GValue.gint_type, "loop", loop)
    return roll


def is_animation(image: Picture) -> bool:
    """Whether it is one that `animate` made."""
    return bool(image.get_typeof("delay"))


def from_pixels(pixels: Pixels) -> Picture:
    height, width, bands = pixels.shape
    image = Image.new_from_memory(pixels.tobytes(), width, height, bands, "uchar")
    return image.copy(interpretation="srgb")


def to_pixels(image: Picture) -> Pixels:
    """The pixels of an 8-bit picture."""
    pixels: Pixels = image.numpy()
    return pixels


def convert(pixels: Pixels, profile: bytes) -> Pixels:
    """Colours of `profile` as sRGB. Raises `UndecodableMedia` when the profile makes no sense."""
    with plain_errors():
        image = from_pixels(pixels)
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
        return to_pixels(_plain(image.icc_transform("srgb")))


def _reduced_jpeg(path: str, header: Header, size: Size) -> Picture:
    """A JPEG decoded at 1/2, 1/4 or 1/8, as small as is still enough; `thumbnail` itself would decode twice that size,
    which costs half as much again.
    """
    # A side of 340.9 is enough for 341, one of 0.9 is none.
    least = tuple(max(1, side - 0.5) for side in size)
    factors = (f for f in (8, 4, 2) if header.width >= f * least[0] and header.height >= f * least[1])
    return Image.jpegload(path, shrink=next(factors, 1), access="sequential", fail_on="truncated")


def _plain(image: Picture) -> Picture:
    """8-bit sRGB; grey, 16-bit and float files arrive in other spaces."""
    if image.interpretation != "srgb":
        image = image.colourspace("srgb")
    if image.bands > 4:  # a TIFF may have any number of further channels
        image = image.extract_band(0, n=3)
    return image if image.format == "uchar" else image.cast("uchar")
