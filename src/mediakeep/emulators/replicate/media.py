"""Outputs: real, playable media, each different from all others by the id that it is made from."""

import colorsys
import hashlib
import io
from fractions import Fraction
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

_VIDEO_SIZE: Final = (320, 180)
_FRAMES_PER_SECOND: Final = 10
_FRAMES: Final = 20

#: Pixels of an image, about; its sides follow from the aspect ratio.
_IMAGE_PIXELS: Final = 384 * 384

_CELLS: Final = 8

#: Formats by the names that models have for them: media type, and Pillow's name.
IMAGE_FORMATS: Final = {
    "webp": ("image/webp", "WEBP"),
    "jpg": ("image/jpeg", "JPEG"),
    "png": ("image/png", "PNG"),
}


def make_video(name: str) -> bytes:
    """Two seconds of H.264 in MP4: the pattern of `name`, and a bar that moves across it."""
    width, height = _VIDEO_SIZE
    still = _pattern(name, width, height)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_FRAMES_PER_SECOND, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        for index in range(_FRAMES):
            pixels = still.copy()
            at = index * width // _FRAMES
            pixels[:, at : at + width // _FRAMES] = 255
            frame = av.VideoFrame.from_ndarray(pixels)
            frame.pts, frame.time_base = index, Fraction(1, _FRAMES_PER_SECOND)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def make_image(name: str, *, image_format: str, aspect_ratio: str) -> bytes:
    """The pattern of `name`. `aspect_ratio` is width to height, as in `16:9`."""
    across, down = (int(side) for side in aspect_ratio.split(":"))
    unit = (_IMAGE_PIXELS / (across * down)) ** 0.5
    buffer = io.BytesIO()
    pixels = _pattern(name, round(across * unit), round(down * unit))
    Image.fromarray(pixels).save(buffer, IMAGE_FORMATS[image_format][1])
    return buffer.getvalue()


def _pattern(name: str, width: int, height: int) -> NDArray[np.uint8]:
    """Cells in two shades of one hue, by the bits of the name's hash."""
    digest = hashlib.sha256(name.encode()).digest()
    bits = np.unpackbits(np.frombuffer(digest, np.uint8))[: _CELLS * _CELLS].reshape(_CELLS, _CELLS)
    hue = int.from_bytes(digest[-2:]) / 0xFFFF
    shades = np.array([colorsys.hsv_to_rgb(hue, 0.7, value) for value in (0.45, 0.85)]) * 255
    rows = np.arange(height) * _CELLS // height
    columns = np.arange(width) * _CELLS // width
    return shades.astype(np.uint8)[bits[rows[:, None], columns]]
