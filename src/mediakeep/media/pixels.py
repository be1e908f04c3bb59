"""Pictures as arrays, `pixels[y, x, channel]`: 8-bit sRGB, with a fourth channel where parts are transparent."""

import io

import numpy as np
import numpy.typing as npt
from PIL import AvifImagePlugin, Image, WebPImagePlugin  # noqa: F401 registered before a process is forked

Pixels = npt.NDArray[np.uint8]

# As are the others: at the first picture Pillow would look for them.
Image.preinit()


def encode_jpeg(pixels: Pixels, quality: int = 80) -> bytes:
    """A JPEG without any metadata; transparent parts become white."""
    # Pillow, since libvips' threads cost more than encoding a thumbnail.
    return _encode(flatten(pixels), "JPEG", quality=quality)


def encode_png(pixels: Pixels) -> bytes:
    return _encode(flatten(pixels), "PNG")


def encode_webp(pixels: Pixels, quality: int, effort: int) -> bytes:
    return _encode(pixels, "WEBP", quality=quality, method=effort)


def encode_avif(pixels: Pixels, quality: int, speed: int) -> bytes:
    return _encode(pixels, "AVIF", quality=quality, speed=speed, max_threads=1)


def _encode(pixels: Pixels, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def flatten(pixels: Pixels) -> Pixels:
    """RGB, with white behind what is transparent."""
    if pixels.shape[2] == 3:
        return pixels
    color, alpha = pixels[..., :3].astype(np.uint16), pixels[..., 3:].astype(np.uint16)
    return ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
