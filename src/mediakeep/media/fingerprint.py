"""Small summaries of a picture: a placeholder to show at once, its main colour, and a hash that finds look-alikes."""

import base64
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mediakeep.media.pixels import Pixels

Floats = npt.NDArray[np.floating[Any]]

_GRID = 32
_LUMA = np.array((0.299, 0.587, 0.114), np.float32)
# Rows turn red, green, blue into ThumbHash's luminance, yellow-blue and red-green.
_LPQ = np.array(((1 / 3, 1 / 3, 1 / 3), (0.5, 0.5, -1), (1, -1, 0)), np.float32)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`thumbhash` is base64, `dominant_color` `#rrggbb`, `phash` a signed 64-bit integer."""

    thumbhash: str
    dominant_color: str
    phash: int


def fingerprint(pixels: Pixels) -> Fingerprint:
    """The summaries of an RGB or RGBA picture, `pixels[y, x, channel]`, best of a thumbnail's size. All three are
    computed on one grid of 32 × 32 averages, which is what they cost.
    """
    height, width = pixels.shape[:2]
    grid = _averages(pixels)
    color, alpha = grid[..., :3], grid[..., 3:]
    on_white = color * alpha + (1 - alpha) if alpha.size else color
    return Fingerprint(
        thumbhash=base64.b64encode(thumbhash(grid, width, height)).decode(),
        dominant_color=_dominant_color(on_white),
        phash=_phash(on_white @ _LUMA),
    )


def thumbhash(grid: Floats, width: int, height: int) -> bytes:
    """The ThumbHash of RGB or RGBA samples from 0 to 1, spread evenly over a picture of `width` × `height`.

    https://evanw.github.io/thumbhash/ (rgbaToThumbHash). Averages of any even grid do: its cosines span the picture.
    """
    color, alpha = grid[..., :3], grid[..., 3:]
    has_alpha = bool(alpha.size) and float(alpha.sum()) < alpha.size
    if has_alpha:
        average = (color * alpha).sum((0, 1)) / max(float(alpha.sum()), 1e-9)
        color = average * (1 - alpha) + color * alpha
    longest, limit = max(width, height), 5 if has_alpha else 7
    across = max(1, _round(limit * width / longest))
    down = max(1, _round(limit * height / longest))
    planes = _LPQ @ color.reshape(-1, 3).T
    lightness, yellow, red = planes.reshape(3, *grid.shape[:2])
    l_dc, l_ac, l_scale = _encode(lightness, max(3, across), max(3, down))
    p_dc, p_ac, p_scale = _encode(yellow, 3, 3)
    q_dc, q_ac, q_scale = _encode(red, 3, 3)
    landscape = width > height
    head = _round(63 * l_dc) | _round(31.5 + 31.5 * p_dc) << 6 | _round(31.5 + 31.5 * q_dc) << 12
    head |= _round(31 * l_scale) << 18 | has_alpha << 23
    tail = (
        (down if landscape else across)
        | _round(63 * p_scale) << 3
        | _round(63 * q_scale) << 9
        | landscape << 15
    )
    start = head.to_bytes(3, "little") + tail.to_bytes(2, "little")
    nibbles = l_ac + p_ac + q_ac
    if has_alpha:
        a_dc, a_ac, a_scale = _encode(alpha[..., 0], 5, 5)
        start += bytes((_round(15 * a_dc) | _round(15 * a_scale) << 4,))
        nibbles += a_ac
    nibbles += [0] * (len(nibbles) % 2)
    return start + bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))


def _encode(plane: Floats, across: int, down: int) -> tuple[float, list[int], float]:
    """Average, detail in 4-bit steps and its scale, of the lowest frequencies of one plane."""
    height, width = plane.shape
    waves = _cosines(height, 7)[:down] @ plane @ _cosines(width, 7)[:across].T / plane.size
    low = waves[_triangle(across, down)]
    scale = float(np.abs(low[1:]).max())
    steps = 15 * (0.5 + 0.5 / scale * low[1:]) if scale else np.zeros(len(low) - 1)
    return float(low[0]), np.floor(steps + 0.5).astype(int).tolist(), scale


@lru_cache(maxsize=64)
def _triangle(across: int, down: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    chosen = [(y, x) for y in range(down) for x in range(across) if x * down < across * (down - y)]
    return np.array([y for y, _ in chosen]), np.array([x for _, x in chosen])


@lru_cache(maxsize=256)
def _cosines(size: int, count: int) -> Floats:
    """`count` cosine waves over `size` samples: the rows of a DCT-II."""
    angles = np.outer(np.arange(count), np.arange(size) + 0.5) * (np.pi / size)
    return np.cos(angles).astype(np.float32)


def _round(value: float) -> int:
    return int(value + 0.5)  # as JavaScript's Math.round, for what is not negative


def _phash(luma: Floats) -> int:
    """DCT pHash: which of the 8 × 8 lowest frequencies lie above their median (phash.org), as a signed integer."""
    waves = _cosines(_GRID, 8)
    # Rounded, so that a flat picture's hash does not hang on the last bits of a sum.
    low = np.round(waves @ luma @ waves.T, 3).ravel()
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big", signed=True)


def _dominant_color(color: Floats) -> str:
    """The average of the fullest of 512 boxes of the colour cube."""
    pixels = color.reshape(-1, 3)
    boxes = (pixels * 7.999).astype(np.intp) @ np.array((64, 8, 1))
    fullest = int(np.bincount(boxes).argmax())
    red, green, blue = (int(255 * part + 0.5) for part in pixels[boxes == fullest].mean(0))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _averages(pixels: Pixels) -> Floats:
    """Area averages on the grid, from 0 to 1; colours are not weighed by alpha."""
    # Every second sample of a thumbnail tells as much, for a third of the time.
    pixels = pixels[:: max(1, pixels.shape[0] // 128), :: max(1, pixels.shape[1] // 128)]
    height, width, channels = pixels.shape
    rows = _areas(height) @ pixels.reshape(height, -1).astype(np.float32)
    grid = _areas(width) @ rows.reshape(_GRID, width, channels)
    return np.ascontiguousarray(grid) / np.float32(255)


@lru_cache(maxsize=128)
def _areas(size: int) -> Floats:
    """Row i averages what part i of the grid covers of `size` samples."""
    edges = np.linspace(0, size, _GRID + 1)
    starts, ends = edges[:-1, None], edges[1:, None]
    samples = np.arange(size)[None, :]
    covered = np.minimum(ends, samples + 1) - np.maximum(starts, samples)
    return (covered.clip(0) / (size / _GRID)).astype(np.float32)
