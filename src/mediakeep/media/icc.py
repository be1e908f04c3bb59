"""The name of a colour profile (ICC.1:2022 §7.2, §9.2.41, §10.15)."""

import struct

from mediakeep.media.facts import clean_text


def profile_name(profile: bytes) -> str:
    """What a profile calls itself, such as "Display P3"; empty when it does not say."""
    try:
        return clean_text(_description(profile))
    except (struct.error, UnicodeDecodeError):
        return ""


def is_srgb(profile: bytes) -> bool:
    """Whether a profile is plain sRGB, so that there is nothing to convert (a conversion costs as much as decoding)."""
    name = profile_name(profile).lower()
    return name.startswith("srgb") and "linear" not in name


def _description(profile: bytes) -> str:
    (count,) = struct.unpack_from(">I", profile, 128)
    for index in range(min(count, 100)):
        signature, at, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        if signature == b"desc":
            return _text(profile[at : at + size])
    return ""


def _text(tag: bytes) -> str:
    if tag.startswith(b"mluc"):
        length, at = struct.unpack_from(">II", tag, 20)
        return tag[at : at + length].decode("utf-16-be")
    (length,) = struct.unpack_from(">I", tag, 8)  # version 2
    return tag[12 : 12 + length].split(b"\0")[0].decode("latin-1")
