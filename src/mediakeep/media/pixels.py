"""Pictures as arrays, `pixels[y, x, channel]`: 8-bit sRGB, with a fourth channel where parts are transparent."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


def encode_jpeg(pixels: Pixels, quality: int = 80) -> bytes:
    """A JPEG without any metadata; transparent parts become white."""
    # Pillow, since libvips' threads cost more than encoding a thumbnail.
    return _encode(pixels, "JPEG", quality=quality)


def encode_png(pixels: Pixels) -> bytes:
    return _encode(pixels, "PNG")


def _encode(pixels: Pixels, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(flatten(pixels)).save(buffer, kind, **options)
    return buffer.getvalue()


def flatten(pixels: Pixels) -> Pixels:
    """RGB, with white behind what is transparent."""
    if pixels.shape[2] == 3:
        return pixels
    color, alpha = pixels[..., :3].astype(np.uint16), pixels[..., 3:].astype(np.uint16)
    return ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
