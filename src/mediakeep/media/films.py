"""Films made of still pictures: a movement over one, or several that fade into one another.

Plain functions from files to a file; `film_pool.py` runs them, `local_models.py` says what may be asked for.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, replace
from itertools import pairwise
from typing import Literal, get_args

import numpy as np

from mediakeep.errors import UndecodableMedia
from mediakeep.media import canvas, mp4
from mediakeep.media.canvas import Part, Still
from mediakeep.media.limits import Limits
from mediakeep.media.mp4 import Frame
from mediakeep.media.transform import Anchor, Point, Size, anchor_point

Direction = Literal["in", "out", "left", "right", "up", "down", "random"]
FilmFit = Literal["contain", "cover"]
#: Told the share that is done, from above 0 to 1.
Report = Callable[[float], None]

# Where frames are as fine as what they are made of, sharpness comes and goes as their pixels meet and part: by half of
# the energy between neighbours in noise like a photo's. With a quarter more pixels it is 0 to 7 %.
_FINENESS = 1.25

_STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
_DIRECTIONS = tuple(name for name in get_args(Direction) if name != "random")


def ken_burns(
    source: str,
    target: str,
    *,
    duration: float,
    width: int,
    height: int,
    fps: int,
    zoom: float,
    direction: Direction,
    gravity: Anchor,
    seed: int,
    limits: Limits,
    report: Report,
) -> None:
    """Write a film of `duration` seconds that moves over one picture, gently at its beginning and end.

    `in` and `out` go between as much of the picture as fits and a part `zoom` times smaller at `gravity`. The others
    move a view of that smaller size, at most by its own length; `random` is one of all these by `seed`. The file at
    `source` is an image; the sides of the film are even. Raises `UndecodableMedia`, and `Unavailable` where the film
    cannot be written.
    """
    size = (width, height)
    still = canvas.read_still(source, limits)
    if direction == "random":
        direction = _DIRECTIONS[seed % len(_DIRECTIONS)]
    start, end = _course(still, size, zoom, direction, gravity)
    scale = _FINENESS * width / min(start.width, end.width)
    laid_out = canvas.load(still, _around(start, end), scale)
    count = frame_count(duration, fps)
    with mp4.written(target, size, fps) as write:
        for index in range(count):
            write(laid_out.frame(_between(start, end, _eased(index / max(1, count - 1))), size))
            report((index + 1) / count)


def slideshow(
    sources: Sequence[str],
    target: str,
    *,
    seconds_per_image: float,
    fade: float,
    fit: FilmFit,
    width: int,
    height: int,
    fps: int,
    limits: Limits,
    report: Report,
) -> None:
    """Write a film that shows each picture for some seconds, in the last `fade` of which the next one appears.

    `contain` shows pictures whole on black, `cover` fills the film with the part that draws the eye. The files are
    images; the sides of the film are even. At most two pictures are in memory. Raises `UndecodableMedia`, which names
    the picture by its number from 1 on, and `Unavailable` where the film cannot be written.
    """
    stills = []
    for number, source in enumerate(sources, 1):
        with _numbered(number):
            stills.append(canvas.read_still(source, limits))
    starts = [frame_count(number * seconds_per_image, fps) for number in range(len(stills) + 1)]
    done = 0
    with mp4.written(target, (width, height), fps) as write:
        for frame in _faded(_shown(stills, fit, (width, height)), starts, round(fade * fps)):
            write(frame)
            done += 1
            report(done / starts[-1])


def frame_count(seconds: float, fps: int) -> int:
    """How many frames a film of this length has."""
    return round(seconds * fps)


def _shown(stills: Sequence[Still], fit: FilmFit, size: Size) -> Iterator[Frame]:
    """Each picture as a frame."""
    for number, still in enumerate(stills, 1):
        with _numbered(number):
            yield _covering(still, size) if fit == "cover" else _contained(still, size)


def _faded(pictures: Iterator[Frame], starts: Sequence[int], fade: int) -> Iterator[Frame]:
    """All frames: each picture from its start to the next one's, the last `fade` of them mixed with that."""
    current = next(pictures)
    for start, end in pairwise(starts):
        following = next(pictures, None)
        mixed = min(fade, end - start) if following is not None else 0
        for _ in range(end - start - mixed):
            yield current
        if following is not None:
            for index in range(1, mixed + 1):
                yield _mix(current, following, _eased(index / (mixed + 1)))
            current = following


def _mix(one: Frame, other: Frame, share: float) -> Frame:
    weight = np.uint16(round(share * 256))
    return ((one * (256 - weight) + other * weight + np.uint16(128)) >> 8).astype(np.uint8)


def _contained(still: Still, size: Size) -> Frame:
    scale = min(size[0] / still.size[0], size[1] / still.size[1])
    inner = (_even(still.size[0] * scale, size[0]), _even(still.size[1] * scale, size[1]))
    whole = Part(0, 0, *still.size)
    return canvas.load(still, whole, scale).framed(whole, inner, size)


def _covering(still: Still, size: Size) -> Frame:
    wide = _widest(still, size)
    part = _placed(still, wide, canvas.attention(still, wide))
    return canvas.load(still, part, size[0] / part.width).frame(part, size)


def _course(
    still: Still, size: Size, zoom: float, direction: Direction, gravity: Anchor
) -> tuple[Part, Part]:
    """The parts of the picture that the film begins and ends with."""
    wide = _widest(still, size)
    tight = (wide[0] / zoom, wide[1] / zoom)
    point = canvas.attention(still, tight) if gravity == "smart" else anchor_point(gravity)
    if direction in _STEPS:
        x, y = _STEPS[direction]
        middle = _placed(still, tight, point)
        return _moved(still, middle, -x, -y), _moved(still, middle, x, y)
    course = (_placed(still, wide, point), _placed(still, tight, point))
    return course if direction == "in" else course[::-1]


def _widest(still: Still, size: Size) -> tuple[float, float]:
    """As much of the picture as fits into the shape of the film, in its own pixels."""
    width = min(still.size[0], still.size[1] * size[0] / size[1])
    return width, min(still.size[1], width * size[1] / size[0])


def _placed(still: Still, size: tuple[float, float], point: Point) -> Part:
    """A part of this size as close around the point as the picture's edges allow."""
    left, top = (
        min(max(share * whole - side / 2, 0.0), whole - side)
        for share, whole, side in zip(point, still.size, size, strict=True)
    )
    return Part(left, top, *size)


def _moved(still: Still, middle: Part, x: int, y: int) -> Part:
    return replace(
        middle,
        left=_along(middle.left, middle.width, still.size[0], x),
        top=_along(middle.top, middle.height, still.size[1], y),
    )


def _along(start: float, view: float, whole: float, sign: int) -> float:
    """Where a view is at one end of its way, which is as long as the picture allows and at most its own length."""
    room = whole - view
    reach = min(room, view) / 2
    return min(max(start, reach), room - reach) + sign * reach if sign else start


def _around(one: Part, other: Part) -> Part:
    """The part that holds both, and whatever is between them."""
    left, top = min(one.left, other.left), min(one.top, other.top)
    right = max(one.left + one.width, other.left + other.width)
    bottom = max(one.top + one.height, other.top + other.height)
    return Part(left, top, right - left, bottom - top)


def _between(start: Part, end: Part, share: float) -> Part:
    """On the way from one part to the other. A zoom looks even when each frame enlarges by the same factor."""
    if start.width != end.width:
        width = start.width * (end.width / start.width) ** share
        share = (width - start.width) / (end.width - start.width)
    left, top, width, height = (
        one + (other - one) * share for one, other in zip(astuple(start), astuple(end), strict=True)
    )
    return Part(left, top, width, height)


def _eased(share: float) -> float:
    return share * share * (3 - 2 * share)


def _even(side: float, most: int) -> int:
    return min(most, max(2, round(side / 2) * 2))


@contextmanager
def _numbered(number: int) -> Iterator[None]:
    try:
        yield
    except UndecodableMedia as error:
        raise UndecodableMedia(f"Image {number}: {error.detail}") from error
