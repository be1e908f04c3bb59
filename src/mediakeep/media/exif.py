"""What cameras write into pictures: EXIF (CIPA DC-008) and the place where it was taken."""

import math
import struct
import warnings
from collections.abc import Mapping
from typing import Any

from PIL import Image

from mediakeep.media.facts import Detail, clean_text, iso_time

MAX_EXIF_BYTES = 1 << 20

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_TEXTS = {0x010F: "camera_make", 0x0110: "camera_model"}
_EXIF_NUMBERS = {0x829D: "f_number", 0x829A: "exposure_seconds", 0x920A: "focal_length_mm"}
_LENS, _TAKEN_AT, _OFFSET, _ISO = 0xA434, 0x9003, 0x9011, 0x8827

# What no camera exceeds, in seconds, millimetres or metres; a broken tag may be 1e300.
_MOST = 1e6

# Pillow parses tags lazily and raises whatever a broken one makes it stumble over.
_BROKEN = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    SyntaxError,
    OSError,
    ArithmeticError,
    struct.error,
    Warning,
)


def read_exif(data: bytes) -> tuple[dict[str, Detail], dict[str, float] | None]:
    """Details and location of an EXIF block, with or without its `Exif` prefix. A broken one tells nothing."""
    if not data or len(data) > MAX_EXIF_BYTES:
        return {}, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a line on stderr for each of thousands of broken tags
            exif = Image.Exif()
            exif.load(data)
            return _details(exif, exif.get_ifd(_EXIF_IFD)), _location(exif.get_ifd(_GPS_IFD))
    except _BROKEN:
        return {}, None


# Pillow's tag values have no types: each is checked here as it is read.
def _details(main: Mapping[int, Any], photo: Mapping[int, Any]) -> dict[str, Detail]:
    texts = {name: main.get(tag) for tag, name in _TEXTS.items()} | {"lens": photo.get(_LENS)}
    details: dict[str, Detail] = {
        name: text for name, value in texts.items() if isinstance(value, str) and (text := clean_text(value))
    }
    taken_at = iso_time(str(photo.get(_TAKEN_AT, "")), str(photo.get(_OFFSET, "")))
    if taken_at:
        details["taken_at"] = taken_at
    for tag, name in _EXIF_NUMBERS.items():
        number = _number(photo.get(tag))
        if number and 0 < number < _MOST:
            details[name] = round(number, 6)
    iso = photo.get(_ISO)
    if isinstance(iso, int) and iso > 0:
        details["iso"] = iso
    return details


def _location(gps: Mapping[int, Any]) -> dict[str, float] | None:
    latitude = _degrees(gps.get(2), gps.get(1), "S")
    longitude = _degrees(gps.get(4), gps.get(3), "W")
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    location = {"latitude": latitude, "longitude": longitude}
    altitude = _number(gps.get(6))
    if altitude is not None and abs(altitude) < _MOST:
        below_sea = gps.get(5) in {1, b"\1"}
        location["altitude"] = round(-altitude if below_sea else altitude, 2)
    return location


def _degrees(value: Any, reference: Any, negative: str) -> float | None:
    if not isinstance(value, tuple) or len(value) != 3 or not isinstance(reference, str):
        return None
    parts = [_number(part) for part in value]
    if None in parts:
        return None
    degrees: float = sum((part or 0) / 60**index for index, part in enumerate(parts))
    return round(-degrees if reference.strip().upper().startswith(negative) else degrees, 7)


def _number(value: Any) -> float | None:
    """A rational as float; None for none, and for 0/0 and 1/0."""
    if value is None:
        return None
    number: float = float(value)
    return number if math.isfinite(number) else None
