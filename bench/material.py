"""What is uploaded: photos and a film made by code, kept between runs since they take a while to make."""

import io
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.clients import Item

KEPT = Path(".cache/bench/material")

FILM_BYTES = 45_000_000
_FILM_WIDTH, _FILM_HEIGHT, _FILM_FPS, _FILM_SECONDS = 1920, 1080, 30, 20
_FILM_BIT_RATE = 17_000_000

Floats = npt.NDArray[np.float32]


def photos(number: int, *, start: int = 0) -> list[Item]:
    """Different JPEGs of 1200 × 800 pixels and about 150 KB, from the photo numbered `start` on."""
    return list(_photos("photo", number, start, width=1200, height=800, grain=0))


def small_photos(number: int, *, start: int = 0) -> list[Item]:
    """Different JPEGs of 390 × 260 pixels and about 20 KB, as thumbnails are."""
    return list(_photos("small", number, start, width=390, height=260, grain=0))


def large_photos(number: int, *, start: int = 0) -> list[Item]:
    """Different JPEGs of 6000 × 4000 pixels, 24 megapixels and about 8 MB."""
    return list(_photos("large", number, start, width=6000, height=4000, grain=8))


def films(number: int, *, start: int = 0) -> list[Item]:
    """MP4 files of 45 MB: 20 seconds of 1080p with sound. The same film with another number in its last box."""
    film = _kept("film.mp4", _make_film)
    return [
        Item(
            name=f"film-{index}.mp4",
            media_type="video/mp4",
            parts=(memoryview(film)[:-16], index.to_bytes(16, "big")),
        )
        for index in range(start, start + number)
    ]


def large_film(size: int) -> Item:
    """An MP4 of so many bytes, most of them zeros in a free box at its end. It takes no more memory than a small one."""
    film = _kept("film.mp4", _make_film)
    filling = size - len(film)
    zeros = memoryview(bytes(16 << 20))
    whole, rest = divmod(filling - 8, len(zeros))
    head = struct.pack(">I4s", filling, b"free")
    parts: list[bytes | memoryview] = [film, head, *[zeros] * whole, zeros[:rest]]
    return Item(name="large.mp4", media_type="video/mp4", parts=parts)


def _photos(kind: str, number: int, start: int, *, width: int, height: int, grain: float) -> Iterator[Item]:
    for index in range(start, start + number):

        def make(index: int = index) -> bytes:
            picture = _photo(index, width, height, grain)
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=85)
            return buffer.getvalue()

        name = f"{kind}-{index}.jpg"
        yield Item(name=name, media_type="image/jpeg", parts=(_kept(name, make),))


def _kept(name: str, make: Callable[[], bytes]) -> bytes:
    path = KEPT / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(".new")
        made.write_bytes(make())
        made.rename(path)
    return path.read_bytes()


def _photo(index: int, width: int, height: int, grain: float) -> Image.Image:
    """A different cut of one landscape, mirrored, lit and tinted in its own way; `grain` is the sensor's noise."""
    chance = np.random.default_rng(index)
    light, tint, noise = _landscape(width + width // 4, height + height // 4)
    top, left = chance.integers(height // 4), chance.integers(width // 4)
    cut = np.s_[top : top + height, left : left + width]
    lit = light[cut] * 45 + noise[cut] * grain + chance.uniform(100, 150)
    pixels = lit[..., None] + tint[cut] * chance.uniform(10, 30, 3).astype(np.float32)
    if chance.random() < 0.5:
        pixels = pixels[:, ::-1]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@cache
def _landscape(width: int, height: int) -> tuple[Floats, Floats, Floats]:
    """Light, tint and noise of a scene whose detail falls off with its fineness, as that of natural pictures does."""
    chance = np.random.default_rng(11)
    light = _cloud(chance, width, height)
    small = np.stack([_cloud(chance, width // 8, height // 8) for _ in range(3)], axis=-1)
    tint = [
        Image.fromarray(small[..., channel]).resize((width, height), Image.Resampling.BILINEAR)
        for channel in range(3)
    ]
    noise = chance.standard_normal((height, width), dtype=np.float32)
    return light, np.stack([np.asarray(channel) for channel in tint], axis=-1), noise


def _cloud(chance: np.random.Generator, width: int, height: int) -> Floats:
    """Noise whose amplitude falls with its frequency to the power of 1.5, of mean 0 and deviation 1."""
    noise = np.fft.rfft2(chance.standard_normal((height, width), dtype=np.float32))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = 1
    cloud = np.fft.irfft2(noise / frequency**1.5, s=(height, width)).astype(np.float32)
    cloud -= cloud.mean()
    scaled: Floats = cloud / cloud.std()
    return scaled


def _make_film() -> bytes:
    """A slow pan over a landscape, filled up to `FILM_BYTES` with a free box (ISO/IEC 14496-12 §8.1.2)."""
    path = KEPT / "film.part"  # a name, since FFmpeg opens it again to put the index first
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=_FILM_FPS)
        stream.width, stream.height, stream.pix_fmt = _FILM_WIDTH, _FILM_HEIGHT, "yuv420p"
        stream.bit_rate = _FILM_BIT_RATE
        stream.options = {
            "preset": "ultrafast",
            "nal-hrd": "cbr",
            "maxrate": str(_FILM_BIT_RATE),
            "bufsize": str(_FILM_BIT_RATE),
        }
        voice = container.add_stream("aac", rate=48_000)
        voice.layout, voice.bit_rate = "stereo", 128_000
        for frame in _film_frames():
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for sound in _film_sounds(voice.rate):
            container.mux(voice.encode(sound))
        container.mux(voice.encode(None))
    film = path.read_bytes()
    path.unlink()
    filling = FILM_BYTES - len(film)
    if filling < 64:
        raise ValueError(f"the film has {len(film)} bytes, more than the {FILM_BYTES} wanted")
    return film + struct.pack(">I4s", filling, b"free") + bytes(filling - 8)


def _film_frames() -> Iterator[av.VideoFrame]:
    scene = np.asarray(_photo(0, _FILM_WIDTH * 3 // 2, _FILM_HEIGHT * 3 // 2, 0))
    chance = np.random.default_rng(3)
    grain = chance.normal(0, 4, scene.shape).astype(np.int16)
    for index in range(_FILM_FPS * _FILM_SECONDS):
        step = index * 5 // 6
        shift_y, shift_x = chance.integers(0, 500, 2)
        pixels = scene[step : step + _FILM_HEIGHT, step : step + _FILM_WIDTH].astype(np.int16)
        pixels += grain[shift_y : shift_y + _FILM_HEIGHT, shift_x : shift_x + _FILM_WIDTH]
        frame = av.VideoFrame.from_ndarray(pixels.clip(0, 255).astype(np.uint8))
        frame.pts, frame.time_base = index, Fraction(1, _FILM_FPS)
        yield frame


def _film_sounds(rate: int) -> Iterator[av.AudioFrame]:
    times = np.arange(rate * _FILM_SECONDS) / rate
    loudness = 0.5 + 0.5 * np.sin(times * 3)
    samples = (np.sin(times * 440 * 2 * np.pi) * loudness * 0.5).astype(np.float32)
    for start in range(0, len(samples), 1024):
        part = samples[start : start + 1024]
        frame = av.AudioFrame.from_ndarray(np.stack([part, part]), "fltp", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        yield frame
