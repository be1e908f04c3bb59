"""Stills and animations: one decode gives the small picture and everything told about it."""

import io

import numpy as np
from PIL import Image

from mediakeep.errors import UndecodableMedia
from mediakeep.media import fingerprint, gif, icc, libvips, pil
from mediakeep.media.exif import read_exif
from mediakeep.media.facts import Detail, Facts
from mediakeep.media.libvips import Header
from mediakeep.media.limits import Limits
from mediakeep.media.pixels import Pixels, encode_jpeg
from mediakeep.media.transform import Size

THUMBNAIL_SIDE = 512


def probe(path: str, format_name: str, limits: Limits) -> Facts:
    """The facts of an image, with its thumbnail. Raises `UndecodableMedia` when it is over a limit or cannot be decoded;
    of an animation only the first frame is decoded.
    """
    header = read_header(path, format_name, limits)
    small = _thumbnail_pixels(path, format_name, header)
    details, location = read_exif(header.exif)
    summary = fingerprint.fingerprint(small)
    return Facts(
        width=header.width,
        height=header.height,
        details=_header_details(header) | details,
        location=location,
        thumbhash=summary.thumbhash,
        dominant_color=summary.dominant_color,
        phash=summary.phash,
        thumbnail=encode_jpeg(small),
    )


def thumbnail(path: str, format_name: str, limits: Limits) -> bytes:
    """A JPEG of at most 512 px on its long side, never enlarged. Raises `UndecodableMedia`."""
    header = read_header(path, format_name, limits)
    return encode_jpeg(_thumbnail_pixels(path, format_name, header))


def thumbnail_size(source: Size) -> Size:
    """The size of the thumbnail of a picture of this width and height; none is enlarged."""
    scale = min(1.0, THUMBNAIL_SIDE / max(source))
    return max(1, round(source[0] * scale)), max(1, round(source[1] * scale))


def summarize(picture: bytes) -> fingerprint.Fingerprint:
    """Placeholder, colour and hash of a JPEG of ours, such as a video's poster."""
    with Image.open(io.BytesIO(picture), formats=("JPEG",)) as image:
        return fingerprint.fingerprint(np.asarray(image.convert("RGB")))


def read_header(path: str, format_name: str, limits: Limits) -> Header:
    """What the file says before any pixel is decoded. Raises `UndecodableMedia`, also where it is over a limit."""
    read = pil.read_header if format_name in pil.FORMATS else libvips.read_header
    header = read(path, format_name)
    is_heif = format_name in {"heic", "avif"}
    _check(header, limits.max_heif_pixels if is_heif else limits.max_image_pixels, limits)
    if format_name == "gif" and not gif.is_whole(path):
        raise UndecodableMedia(libvips.DAMAGED)
    return header


def _check(header: Header, max_pixels: int, limits: Limits) -> None:
    width, height, frames = header.width, header.height, header.frame_count
    pixels = width * height
    if pixels > max_pixels:
        raise UndecodableMedia(
            f"The image has {pixels} pixels ({width} × {height}); the limit is {max_pixels}."
        )
    if frames > limits.max_frames:
        raise UndecodableMedia(f"The animation has {frames} frames; the limit is {limits.max_frames}.")
    if frames > 1 and frames * pixels > limits.max_animation_pixels:
        raise UndecodableMedia(
            f"The animation has {frames * pixels} pixels ({width} × {height} × {frames} frames); "
            f"the limit is {limits.max_animation_pixels}."
        )


def _thumbnail_pixels(path: str, format_name: str, header: Header) -> Pixels:
    size = thumbnail_size((header.width, header.height))
    shrink = pil.shrink if format_name in pil.FORMATS else libvips.shrink
    return shrink(path, format_name, header, size)


def _header_details(header: Header) -> dict[str, Detail]:
    details: dict[str, Detail] = {}
    if header.orientation != 1:
        details["orientation"] = header.orientation
    if name := icc.profile_name(header.profile):
        details["color_profile"] = name
    if header.page_count > 1:
        details["page_count"] = header.page_count
    if header.frame_count > 1:
        details["frame_count"] = header.frame_count
    if header.duration_seconds:
        details["animation_seconds"] = round(header.duration_seconds, 3)
    return details
