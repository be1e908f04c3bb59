"""A still picture laid out for filming: any part of it, between pixels as well, is quickly made a frame."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mediakeep.errors import UndecodableMedia
from mediakeep.media import image, libvips, pil
from mediakeep.media.formats import Format
from mediakeep.media.libvips import Header, Picture
from mediakeep.media.limits import Limits
from mediakeep.media.mp4 import Frame
from mediakeep.media.sniff import HEAD_BYTES, sniff
from mediakeep.media.transform import Point, Size

_WHITE = (255, 255, 255, 255)
# Enough to see where on a picture something is.
_GLANCE_SIDE = 256
# More adds nothing but memory, and little of that is needed to begin with.
_MAX_SCALE = 4.0
# Pixels around the part that is filmed, which the filter looks at.
_MARGIN = 4

# sRGB to Y, Cb and Cr of BT.709 in 16–235 and 16–240 (ITU-R BT.709-6 §3.3, §3.4): red, green, blue, constant.
_TO_BT709 = (
    *(0.182586, 0.614231, 0.062007, 16.0),
    *(-0.100644, -0.338572, 0.439216, 128.0),
    *(0.439216, -0.398942, -0.040274, 128.0),
)
_BLACK = (16, 128, 128)


@dataclass(frozen=True, slots=True)
class Part:
    """A rectangle of a picture, in the picture's own pixels and shares of them."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Still:
    """An image file that was found fit to be filmed. `size` is as displayed."""

    path: str
    format_name: str
    header: Header

    @property
    def size(self) -> Size:
        return self.header.width, self.header.height


@dataclass(frozen=True, slots=True)
class Canvas:
    """Y, and Cb and Cr at half its size, of a part of a picture."""

    planes: tuple[Image.Image, ...]
    part: Part

    def frame(self, part: Part, size: Size) -> Frame:
        """That part as a whole frame of even sides."""
        return _packed(self._scaled(part, size))

    def framed(self, part: Part, inner: Size, size: Size) -> Frame:
        """That part as large as `inner`, in the middle of a black frame; all sides are even."""
        left, top = ((whole - side) // 4 * 2 for whole, side in zip(size, inner, strict=True))
        planes = []
        for index, plane in enumerate(self._scaled(part, inner)):
            step = 2 if index else 1
            black = Image.new("L", (size[0] // step, size[1] // step), _BLACK[index])
            black.paste(plane, (left // step, top // step))
            planes.append(black)
        return _packed(planes)

    def _scaled(self, part: Part, size: Size) -> list[Image.Image]:
        across, down = self.planes[0].width / self.part.width, self.planes[0].height / self.part.height
        box = (
            max(0.0, (part.left - self.part.left) * across),
            max(0.0, (part.top - self.part.top) * down),
            min(self.planes[0].width, (part.left + part.width - self.part.left) * across),
            min(self.planes[0].height, (part.top + part.height - self.part.top) * down),
        )
        half, half_box = (size[0] // 2, size[1] // 2), (box[0] / 2, box[1] / 2, box[2] / 2, box[3] / 2)
        luma, *colors = self.planes
        # Pillow takes boxes between pixels: whole ones would make a slow movement jump.
        return [
            luma.resize(size, Image.Resampling.BICUBIC, box=box),
            *(plane.resize(half, Image.Resampling.BICUBIC, box=half_box) for plane in colors),
        ]


def read_still(path: str, limits: Limits) -> Still:
    """An image, whose type is what its bytes say, before any pixel is decoded. Raises `UndecodableMedia`."""
    with Path(path).open("rb") as file:
        found: Format | None = sniff(file.read(HEAD_BYTES))
    if found is None:
        raise UndecodableMedia("The content is of no known type; films are made of images.")
    if found.family != "image":
        raise UndecodableMedia(f"The content is {found.media_type}; films are made of images.")
    return Still(path, found.name, image.read_header(path, found.name, limits))


def load(still: Still, part: Part, scale: float) -> Canvas:
    """The canvas for frames within `part`, with `scale` pixels for each of the picture's, but at most four.

    Colours are sRGB, transparent parts white. Raises `UndecodableMedia`, also where the file is damaged.
    """
    whole = _scaled_size(still.size, min(1.0, scale))
    across, down = whole[0] / still.size[0], whole[1] / still.size[1]
    left, right = _bounds(part.left * across, part.width * across, whole[0])
    top, bottom = _bounds(part.top * down, part.height * down, whole[1])
    with libvips.plain_errors():
        cut = _loaded(still, whole).crop(left, top, right - left, bottom - top)
        pixels = libvips.to_pixels(libvips.flatten(cut, _WHITE))
    picture = Image.fromarray(pixels)
    if scale > 1:
        larger = _scaled_size(picture.size, min(_MAX_SCALE, scale))
        picture = picture.resize(larger, Image.Resampling.LANCZOS)
    luma, *colors = picture.convert("RGB", _TO_BT709).split()
    return Canvas(
        planes=(luma, *(plane.reduce(2) for plane in colors)),
        part=Part(left / across, top / down, (right - left) / across, (bottom - top) / down),
    )


def attention(still: Still, box: tuple[float, float]) -> Point:
    """The point, in shares of width and height, around which a box of the picture's pixels holds what people look at.

    Raises `UndecodableMedia`.
    """
    scale = min(1.0, _GLANCE_SIDE / max(still.size))
    glance = _scaled_size(still.size, scale)
    seen = tuple(min(whole, max(1, round(side * scale))) for side, whole in zip(box, glance, strict=True))
    if seen == glance:
        return 0.5, 0.5
    with libvips.plain_errors():
        small = libvips.flatten(_loaded(still, glance), _WHITE)
        return libvips.attention(small.copy_memory(), (seen[0], seen[1]))


def _loaded(still: Still, size: Size) -> Picture:
    if still.format_name in pil.FORMATS:
        return libvips.from_pixels(pil.shrink(still.path, still.format_name, still.header, size))
    return libvips.load(still.path, still.format_name, still.header, size)


def _scaled_size(size: Size, scale: float) -> Size:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _bounds(start: float, length: float, whole: int) -> tuple[int, int]:
    return max(0, math.floor(start) - _MARGIN), min(whole, math.ceil(start + length) + _MARGIN)


def _packed(planes: list[Image.Image]) -> Frame:
    width, height = planes[0].size
    return np.concatenate([np.asarray(plane).ravel() for plane in planes]).reshape(height * 3 // 2, width)
