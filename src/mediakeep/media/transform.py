"""What a picture is to be turned into, in one normal form: what gives the same bytes is the same transform."""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

Size = tuple[int, int]
Point = tuple[float, float]
Fit = Literal["inside", "cover", "contain", "fill"]
OutputFormat = Literal["jpg", "png", "webp", "avif", "gif"]
Anchor = Literal[
    "center",
    "top",
    "bottom",
    "left",
    "right",
    "top-left",
    "top-right",
    "bottom-left",
    "bottom-right",
    "smart",
]

#: No side of a picture that we write is longer, whoever asks.
MAX_SIDE = 8192

#: No picture of these formats that we write is larger, width × height: where memory ends their encoders crash.
MAX_PIXELS: dict[str, int] = {"avif": 24_000_000, "gif": 32_000_000}

#: What an encoder is given where nobody says otherwise, 1–100. They look about alike; PNG and GIF have none.
DEFAULT_QUALITY = {"jpg": 80, "webp": 80, "avif": 60}

#: The formats that can hold an animation and that we write as one.
ANIMATED_FORMATS = frozenset({"gif", "webp"})

#: The formats that can be transparent.
ALPHA_FORMATS = frozenset({"png", "webp", "avif", "gif"})

_SHARES = {"left": 0.0, "top": 0.0, "right": 1.0, "bottom": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """`width` and `height` are in pixels of the result, None where nothing is asked of that side.

    `fit` says how they are meant: `inside` is the whole picture within the box, `cover` fills the box and crops
    towards `gravity` (an anchor, or the point that matters as shares of width and height), `contain` pads with
    `background`, `fill` stretches. Nothing is enlarged unless `enlarge`. `background` is `rrggbbaa` in hexadecimal,
    empty for transparent where `format` can be, else white; `blur` the Gaussian's sigma in pixels of the result, 0
    for none; `page` counts from 1; `seconds` is the time of a video's frame, None the poster's.
    """

    width: int | None = None
    height: int | None = None
    fit: Fit = "inside"
    enlarge: bool = False
    gravity: Anchor | Point = "center"
    blur: float = 0.0
    background: str = ""
    format: OutputFormat = "jpg"
    #: None where the format has none.
    quality: int | None = 80
    page: int = 1
    seconds: float | None = None
    #: Whether all frames of an animation are kept.
    animated: bool = False


def fitted(transform: Transform, source: Size, *, max_side: int, max_pixels: int) -> Transform:
    """The same picture, of a source of this width and height, asked for by its exact size.

    Its fit is `fill`, `cover` or `contain`, and both sides are given. Sides that nobody asked for stay within the two
    bounds, and those asked for with them; where both are asked for they are taken as they are.
    """
    asked = _written(transform)
    if asked.width is None or asked.height is None or asked.fit == "inside":
        return _filled(asked, _inside(asked, source, max_side, max_pixels))
    box = (asked.width, asked.height)
    if asked.fit == "fill":
        return _filled(asked, box if asked.enlarge else (min(box[0], source[0]), min(box[1], source[1])))
    return _contained(asked, source, box) if asked.fit == "contain" else _covering(asked, source, box)


def whole_size(transform: Transform, source: Size) -> Size:
    """The size that the whole picture gets, before what is too much is cropped or what is missing is padded.

    `transform` has both sides, and a fit of `fill`, `cover` or `contain`.
    """
    assert transform.width is not None
    assert transform.height is not None
    box = (transform.width, transform.height)
    if transform.fit == "fill":
        return box
    scales = (box[0] / source[0], box[1] / source[1])
    if transform.fit == "cover":
        size = _scaled(source, max(scales))
        return max(size[0], box[0]), max(size[1], box[1])
    size = _scaled(source, min(scales) if transform.enlarge else min(1.0, *scales))
    return min(size[0], box[0]), min(size[1], box[1])


def crop_start(gravity: Anchor | Point, whole: Size, box: Size) -> Size:
    """Left and top of a box that is cut out of a picture. `smart` counts as the centre: only the pixels tell."""
    x, y = gravity if isinstance(gravity, tuple) else anchor_point(gravity)
    return _start(x, whole[0], box[0]), _start(y, whole[1], box[1])


def anchor_point(anchor: Anchor) -> Point:
    """The point, in shares of width and height, that a crop towards an anchor is as close to as it can be."""
    words = anchor.split("-")
    x = next((_SHARES[word] for word in words if word in {"left", "right"}), 0.5)
    y = next((_SHARES[word] for word in words if word in {"top", "bottom"}), 0.5)
    return x, y


def background_color(transform: Transform) -> tuple[int, int, int, int]:
    """Red, green, blue and opacity, each 0–255, of what is behind the picture; opaque where the format needs it."""
    red, green, blue, alpha = bytes.fromhex(transform.background or "ffffff00")
    if transform.format in ALPHA_FORMATS:
        return red, green, blue, alpha
    red, green, blue = (round((part * alpha + 255 * (255 - alpha)) / 255) for part in (red, green, blue))
    return red, green, blue, 255


def _written(transform: Transform) -> Transform:
    """Without what makes no difference to the format that is written."""
    color = bytes(background_color(transform))
    unsaid = bytes(background_color(replace(transform, background="")))
    return replace(
        transform,
        background="" if color == unsaid or not color[3] else color.hex(),
        quality=transform.quality if transform.format in DEFAULT_QUALITY else None,
        animated=transform.animated and transform.format in ANIMATED_FORMATS,
    )


def _filled(transform: Transform, size: Size) -> Transform:
    """All of the picture and nothing but it, in this size."""
    return replace(transform, width=size[0], height=size[1], fit="fill", enlarge=False, gravity="center")


def _contained(transform: Transform, source: Size, box: Size) -> Transform:
    whole = whole_size(transform, source)
    if whole == box:  # nothing is left to pad
        return _filled(transform, box)
    plain = replace(transform, enlarge=False, gravity="center")
    return plain if whole_size(plain, source) == whole else replace(plain, enlarge=True)


def _covering(transform: Transform, source: Size, box: Size) -> Transform:
    scale = 1.0 if transform.enlarge else min(1.0, source[0] / box[0], source[1] / box[1])
    size = _scaled(box, scale)
    exact = replace(transform, width=size[0], height=size[1], enlarge=False)
    whole = whole_size(exact, source)
    if whole == size:  # nothing is left to crop
        return _filled(transform, size)
    return replace(exact, gravity=_plain_gravity(transform.gravity, whole, size))


def _inside(transform: Transform, source: Size, max_side: int, max_pixels: int) -> Size:
    sides = tuple(zip((transform.width, transform.height), source, strict=True))
    asked = [box / side for box, side in sides if box is not None]
    scale = min(asked, default=1.0)
    if not transform.enlarge:
        scale = min(scale, 1.0)
    if len(asked) == 2:
        return _scaled(source, scale)
    scale = min(scale, math.sqrt(max_pixels / (source[0] * source[1])))
    scale = min(scale, *(max_side / side for box, side in sides if box is None))
    return _within(_scaled(source, scale), max_pixels)


def _within(size: Size, max_pixels: int) -> Size:
    """Rounding, and a side that cannot be less than 1, may have brought it over the bound."""
    width, height = size
    if width * height <= max_pixels:
        return size
    return (width, max_pixels // width) if width < height else (max_pixels // height, height)


def _plain_gravity(gravity: Anchor | Point, whole: Size, box: Size) -> Anchor | Point:
    """The anchor that crops the same where there is one, the simplest first; else the very centre of the crop."""
    if gravity == "smart":
        return gravity
    start = crop_start(gravity, whole, box)
    for anchor in get_args(Anchor):
        if crop_start(anchor, whole, box) == start:
            return anchor  # type: ignore[no-any-return] # get_args forgets the type
    return (start[0] + box[0] / 2) / whole[0], (start[1] + box[1] / 2) / whole[1]


def _start(share: float, whole: int, box: int) -> int:
    return min(max(round(share * whole - box / 2), 0), whole - box)


def _scaled(size: Size, scale: float) -> Size:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
