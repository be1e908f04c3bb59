"""Stills and animations."""

import io
import struct
from functools import cache

import numpy as np
import pillow_heif
from PIL import Image, ImageCms

pillow_heif.register_heif_opener(thumbnails=False)

ORIENTATION, MAKE, MODEL, EXIF_IFD, GPS_IFD = 0x0112, 0x010F, 0x0110, 0x8769, 0x8825
# Upright, the picture's corners: red top left, green top right, blue bottom left, white bottom right.
RED, GREEN, BLUE, WHITE = (220, 20, 20), (20, 180, 20), (20, 20, 220), (250, 250, 250)

# What a viewer does to show each EXIF orientation upright, undone.
_TURNED = {
    1: (),
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_90,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_270,),
}


@cache
def photo(width: int = 320, height: int = 240, noise: int = 6) -> Image.Image:
    """Something like a photo: coloured quarters, soft waves, grain."""
    y, x = np.mgrid[0:height, 0:width]
    corners = np.array(((RED, GREEN), (BLUE, WHITE)), float)
    pixels = corners[(2 * y // height), (2 * x // width)]
    waves = 20 * np.sin(x / 17 + y / 29) + 15 * np.cos(x / 41 - y / 13)
    grain = np.random.default_rng(7).normal(0, noise, (height, width))
    return Image.fromarray((pixels + (waves + grain)[..., None]).clip(0, 255).astype(np.uint8))


def exif(
    *, orientation: int = 1, camera: bool = False, place: tuple[float, float, float] | None = None
) -> bytes:
    """An EXIF block; `place` is latitude, longitude and altitude."""
    block = Image.Exif()
    block[ORIENTATION] = orientation
    if camera:
        block[MAKE], block[MODEL] = "Mediakeep", "Tester 1"
        block.get_ifd(EXIF_IFD).update(
            {0x9003: "2024:05:01 12:34:56", 0x9011: "+02:00", 0xA434: "50mm f/1.8", 0x8827: 400, 0x829D: 1.8}
        )
    if place:
        block.get_ifd(GPS_IFD).update(_gps(*place))
    return block.tobytes()


def _gps(latitude: float, longitude: float, altitude: float) -> dict[int, object]:
    return {
        1: "N" if latitude >= 0 else "S",
        2: _degrees(latitude),
        3: "E" if longitude >= 0 else "W",
        4: _degrees(longitude),
        5: b"\0" if altitude >= 0 else b"\1",
        6: abs(altitude),
    }


def _degrees(value: float) -> tuple[float, float, float]:
    minutes, degrees = abs(value) % 1 * 60, int(abs(value))
    return float(degrees), float(int(minutes)), round(minutes % 1 * 60, 4)


@cache
def jpeg(
    width: int = 320,
    height: int = 240,
    *,
    orientation: int = 1,
    camera: bool = False,
    place: tuple[float, float, float] | None = None,
    profile: bytes = b"",
    mode: str = "RGB",
    progressive: bool = False,
    quality: int = 85,
    noise: int = 6,
) -> bytes:
    """A JPEG of `width` × `height` as displayed; stored turned when `orientation` says so."""
    picture = photo(width, height, noise)
    for turn in _TURNED[orientation]:
        picture = picture.transpose(turn)
    block = exif(orientation=orientation, camera=camera, place=place)
    return _saved(
        picture.convert(mode),
        "JPEG",
        exif=block,
        icc_profile=profile,
        progressive=progressive,
        quality=quality,
    )


@cache
def display_p3() -> bytes:
    """A Display P3 profile: sRGB's, with wider primaries and its own name."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    primaries = {b"rXYZ": (0.51512, 0.24120, -0.00105), b"gXYZ": (0.29198, 0.69225, 0.04189)}
    primaries[b"bXYZ"] = (0.15710, 0.06657, 0.78407)
    for index in range(struct.unpack_from(">I", profile, 128)[0]):
        name, at, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        if name in primaries:
            struct.pack_into(">3i", profile, at + 8, *(round(value * 65536) for value in primaries[name]))
        if name == b"desc":
            text = "Display P3".encode("utf-16-be")
            assert profile[at : at + 4] == b"mluc"
            assert size >= 28 + len(text)
            struct.pack_into(">II", profile, at + 20, len(text), 28)
            profile[at + 28 : at + 28 + len(text)] = text
    return bytes(profile)


@cache
def png(width: int = 320, height: int = 240, mode: str = "RGB") -> bytes:
    picture = photo(width, height)
    if mode == "RGBA":
        picture = picture.copy()
        picture.putalpha(Image.linear_gradient("L").resize((width, height)))
    elif mode == "I;16":
        return _saved(Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) << 8), "PNG")
    else:
        picture = picture.convert(mode)
    return _saved(picture, "PNG")


@cache
def gif(frames: int = 3, width: int = 64, height: int = 48) -> bytes:
    return _animated("GIF", frames, width, height)


@cache
def webp(frames: int = 1, width: int = 320, height: int = 240) -> bytes:
    return _animated("WEBP", frames, width, height)


@cache
def avif(frames: int = 1, width: int = 320, height: int = 240) -> bytes:
    return _animated("AVIF", frames, width, height)


@cache
def bmp(width: int = 320, height: int = 240) -> bytes:
    return _saved(photo(width, height), "BMP")


@cache
def tiff(pages: int = 1, width: int = 320, height: int = 240) -> bytes:
    rest = [photo(width, height)] * (pages - 1)
    return _saved(photo(width, height), "TIFF", compression="tiff_lzw", save_all=True, append_images=rest)


@cache
def heic(width: int = 320, height: int = 240, *, orientation: int = 1) -> bytes:
    picture = photo(width, height)
    for turn in _TURNED[orientation]:
        picture = picture.transpose(turn)
    return _saved(picture, "HEIF", exif=exif(orientation=orientation, camera=True))


def _animated(kind: str, frames: int, width: int, height: int) -> bytes:
    """Frames of plain colours after a photo, 100 ms each."""
    first = photo(width, height)
    rest = [
        Image.new("RGB", (width, height), (index * 40 % 256, 80, 255 - index * 30 % 256))
        for index in range(1, frames)
    ]
    return _saved(first, kind, **({"save_all": True, "append_images": rest, "duration": 100} if rest else {}))


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
