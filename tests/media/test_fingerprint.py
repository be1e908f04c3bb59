import base64
import time

import numpy as np
import pytest
from PIL import Image

from mediakeep.media.fingerprint import fingerprint, thumbhash
from tests.samples import pictures


def pattern(width: int, height: int, seed: int, *, transparent: bool) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    alpha = (x * x * 3 + y * 7) % 256 if transparent else np.full_like(x, 255)
    channels = (
        (x * 7 + y * 3 + seed * 11) % 256,
        (x * x + y * 5 + seed) % 256,
        255 - (x * 3 + y * y) % 256,
        alpha,
    )
    return np.stack(channels, -1).astype(np.uint8)


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)


def apart(one: Image.Image, other: Image.Image) -> int:
    first, second = (fingerprint(pixels(picture)).phash & (1 << 64) - 1 for picture in (one, other))
    return (first ^ second).bit_count()


@pytest.mark.parametrize(
    ("width", "height", "seed", "transparent", "expected"),
    [
        (32, 24, 0, False, "61170a458c4066996868798a878787765042038867"),
        (32, 24, 0, True, "a127861c860750677a798b8607262480872624122073667308"),
        (24, 32, 1, False, "a12706450c50866587a988a8777768576250046a7a"),
        (24, 32, 1, True, "e117861c0608606687c9887a270757a0a66758061252857703"),
        (32, 32, 2, False, "a117062f0a0558972a69a78a69a977888776351130064b08"),
        (32, 32, 2, True, "e1178615040805593a798ca987140154b07576570212558526"),
        (100, 3, 3, False, "60170a4982c9a160878787770177989f68"),
        (7, 50, 4, False, "a2170a690686708878798888767025f8ec"),
        (7, 50, 4, True, "e21786190217878098b89777900599fc858767874049ab"),
    ],
)
def test_thumbhash_is_the_published_one(width, height, seed, transparent, expected):
    """Values of rgbaToThumbHash in the npm package thumbhash 0.1.1."""
    grid = (pattern(width, height, seed, transparent=transparent) / 255).astype(np.float32)
    assert thumbhash(grid, width, height).hex() == expected


def test_a_thumbhash_tells_the_average_colour_and_the_shape():
    found = base64.b64decode(fingerprint(pixels(Image.new("RGB", (300, 200), (128, 128, 128)))).thumbhash)
    assert found[0] & 63 == round(63 * 128 / 255)
    assert found[4] & 0x80  # landscape


def test_the_dominant_colour_is_the_one_of_most_pixels():
    picture = Image.new("RGB", (100, 100), (200, 30, 40))
    picture.paste((10, 10, 250), (0, 0, 100, 40))
    assert fingerprint(pixels(picture)).dominant_color == "#c81e28"


def test_transparent_parts_count_as_white():
    picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    assert fingerprint(pixels(picture)).dominant_color == "#ffffff"


@pytest.mark.parametrize("size", [(1, 1), (2, 500), (500, 2), (31, 33)])
def test_every_size_has_a_fingerprint(size):
    found = fingerprint(pixels(Image.new("RGB", size, (10, 200, 30))))
    assert found.dominant_color == "#0ac81e"
    assert found.thumbhash


@pytest.mark.parametrize(
    "changed",
    [
        pictures.photo(480, 360).resize((160, 120)),
        pictures.photo(480, 360).point([min(255, round(value * 1.15)) for value in range(256)] * 3),
        pictures.photo(480, 360).crop((5, 4, 475, 356)),
        pictures.photo(480, 360).quantize(32).convert("RGB"),
    ],
    ids=["smaller", "brighter", "cropped", "fewer colours"],
)
def test_a_changed_copy_has_a_near_phash(changed):
    assert apart(pictures.photo(480, 360), changed) <= 8


def test_another_picture_has_a_far_phash():
    other = pictures.photo(480, 360).transpose(Image.Transpose.ROTATE_90)
    assert apart(pictures.photo(480, 360), other) > 16


def test_flat_pictures_have_one_phash():
    hashes = {fingerprint(pixels(Image.new("RGB", (90, 60), (level,) * 3))).phash for level in (0, 90, 255)}
    assert len(hashes) <= 2  # black has no average to lie above the median


def test_a_fingerprint_is_cheap():
    """0.25 ms where nothing else runs; the bound leaves room for a busy machine."""
    picture = pixels(pictures.photo(512, 341))
    fingerprint(picture)
    spent = []
    for _ in range(20):
        start = time.process_time()
        fingerprint(picture)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.002
