"""Any picture of any file: an image, a page or a frame, cut, scaled and encoded as a `Transform` says."""

from collections.abc import Callable
from dataclasses import replace

from mediakeep.errors import UndecodableMedia
from mediakeep.media import document, image, libvips, pil, video
from mediakeep.media import pixels as arrays
from mediakeep.media.formats import Family, get_format
from mediakeep.media.libvips import Header, Picture
from mediakeep.media.limits import IMAGE_SECONDS, POSTER_SECONDS, Limits
from mediakeep.media.transform import (
    ANIMATED_FORMATS,
    DEFAULT_QUALITY,
    MAX_PIXELS,
    MAX_SIDE,
    OutputFormat,
    Point,
    Size,
    Transform,
    background_color,
    crop_start,
    fitted,
    whole_size,
)

ANIMATION_SECONDS = 30.0
#: The long side of a page's picture where nobody asks for a size.
PAGE_SIDE = 1600

_CANNOT_WRITE = "The picture cannot be written as {}: it takes more memory than is allowed."

# More would cost twice as much and save a twentieth of the bytes.
_WEBP_EFFORT = 2
# The slower ones cost four times as much for the same twentieth.
_AVIF_SPEED = 9
# Pillow is a sixth cheaper for a WebP, but holds the picture three times.
_MAX_PILLOW_PIXELS = 16_000_000
# libvips refuses longer ones, of which a crop would be taken.
_MAX_WHOLE_SIDE = 10_000_000
# Enough to see where on a page something is.
_GLANCE_SIDE = 256


def picture(path: str, format_name: str, transform: Transform, limits: Limits) -> bytes:
    """The file's picture as `transform` wants it, in its format: an image itself, a page of a PDF, a frame of a video.
    sRGB, upright, without metadata and location.

    Of an image and a video it is the transform `fitted` to the source; of a PDF as it was asked for, since a page has no
    pixels and can be drawn in any size. Raises `UndecodableMedia`.
    """
    for side in (transform.width, transform.height):
        if side is not None and not 1 <= side <= MAX_SIDE:
            raise UndecodableMedia(f"A side of a picture has 1 to {MAX_SIDE} pixels.")
    with libvips.plain_errors():
        return _MAKERS[get_format(format_name).family](path, format_name, transform, limits)


def picture_seconds(format_name: str, transform: Transform) -> float:
    """How long `picture` may take before its process is stopped."""
    if transform.animated and format_name in ANIMATED_FORMATS:
        return ANIMATION_SECONDS
    return POSTER_SECONDS if get_format(format_name).family == "video" else IMAGE_SECONDS


def _of_image(path: str, format_name: str, transform: Transform, limits: Limits) -> bytes:
    header = image.read_header(path, format_name, limits)
    source = (header.width, header.height)
    exact = _exact(transform, source)
    if exact.animated and {exact.format, format_name} <= ANIMATED_FORMATS and header.frame_count > 1:
        return _animation(path, format_name, header, exact, limits)
    size = _smaller(whole_size(exact, source), source)
    if format_name in pil.FORMATS:
        loaded = libvips.from_pixels(pil.shrink(path, format_name, header, size))
    else:
        loaded = libvips.load(path, format_name, header, size)
    return _still(_cut(loaded, source, exact), exact)


def _of_video(path: str, format_name: str, transform: Transform, limits: Limits) -> bytes:
    with video.shown_at(path, format_name, transform.seconds, limits) as shown:
        exact = _exact(transform, shown.size)
        pixels = shown.pixels(_smaller(whole_size(exact, shown.size), shown.size))
    return _still(_cut(libvips.from_pixels(pixels), shown.size, exact), exact)


def _of_page(path: str, format_name: str, transform: Transform, limits: Limits) -> bytes:  # noqa: ARG001
    with document.opened_page(path, transform.page) as page:
        # Lines, not pixels: the page is as large as the largest picture, so that none needs to be enlarged.
        is_sized = transform.width is not None or transform.height is not None
        source = page.size(MAX_SIDE if is_sized else PAGE_SIDE)
        exact = _exact(transform, source)
        whole = whole_size(exact, source)
        size = _smaller(whole, _box(exact))
        if exact.gravity == "smart" and whole != size:
            glance = page.size(_GLANCE_SIDE)
            drawn = page.draw(glance, (0, 0), glance)
            exact = replace(exact, gravity=_attention(libvips.from_pixels(drawn), whole, size))
        pixels = page.draw(whole, crop_start(exact.gravity, whole, size), size)
    return _still(libvips.from_pixels(pixels), exact)


def _animation(path: str, format_name: str, header: Header, transform: Transform, limits: Limits) -> bytes:
    """All frames, each treated as the first; what is worth seeing in that decides where all are cropped."""
    width, height = _box(transform)
    if header.frame_count * width * height > limits.max_animation_pixels:
        raise UndecodableMedia(
            f"The animation would have {header.frame_count * width * height} pixels ({width} × {height} × "
            f"{header.frame_count} frames); the limit is {limits.max_animation_pixels}."
        )
    source = (header.width, header.height)
    whole = whole_size(transform, source)
    if transform.gravity == "smart":
        first = libvips.load(path, format_name, header, _smaller(whole, source)).copy_memory()
        transform = replace(transform, gravity=_attention(first, whole, _smaller(whole, (width, height))))
    frames = libvips.load_frames(path, header, _smaller(whole, source))
    finished = [_finished(_cut(frame, source, transform), transform) for frame in frames]
    return _encoded(libvips.animate(finished, *libvips.frame_timing(path)), transform)


def _still(cut: Picture, transform: Transform) -> bytes:
    return _encoded(_finished(libvips.without_idle_alpha(cut), transform), transform)


def _exact(transform: Transform, source: Size) -> Transform:
    """With both sides and without `inside`, also where the caller did not see to it."""
    if transform.width is None or transform.height is None or transform.fit == "inside":
        return fitted(transform, source, max_side=MAX_SIDE, max_pixels=MAX_SIDE * MAX_SIDE)
    return transform


def _cut(loaded: Picture, source: Size, transform: Transform) -> Picture:
    """The part that will be seen, in its final size, of a picture that was loaded in that or in its own size."""
    whole = whole_size(transform, source)
    if max(whole) > _MAX_WHOLE_SIDE:
        raise UndecodableMedia("The picture is too narrow to be enlarged so far.")
    size = _smaller(whole, _box(transform))
    gravity = transform.gravity
    if gravity == "smart" and whole != size:
        loaded = loaded.copy_memory()
        gravity = _attention(loaded, whole, size)
    if (loaded.width, loaded.height) != whole:
        loaded = libvips.resize(loaded, whole)
    return loaded if whole == size else loaded.crop(*crop_start(gravity, whole, size), *size)


def _attention(seen: Picture, whole: Size, size: Size) -> Point:
    """Where to crop to `size` what `seen` shows in another size than the `whole` that it is cropped from."""
    width = round(size[0] * seen.width / whole[0])
    height = round(size[1] * seen.height / whole[1])
    return libvips.attention(seen, (max(1, width), max(1, height)))


def _finished(cut: Picture, transform: Transform) -> Picture:
    """Blurred, on its background, padded."""
    color = background_color(transform)
    seen = libvips.blur(cut, transform.blur) if transform.blur else cut
    seen = libvips.flatten(seen, color)
    size = _box(transform)
    return seen if (seen.width, seen.height) == size else libvips.pad(seen, size, color)


def _encoded(seen: Picture, transform: Transform) -> bytes:
    width, height = _box(transform)
    if width * height > MAX_PIXELS.get(transform.format, MAX_SIDE * MAX_SIDE):
        most = MAX_PIXELS[transform.format]
        raise UndecodableMedia(f"Pictures written as {transform.format} have at most {most} pixels.")
    quality = transform.quality or DEFAULT_QUALITY.get(transform.format, 0)
    try:
        return _ENCODERS[transform.format](seen, quality)
    # Pillow's, of which all but memory was seen to. libvips decodes only now: its errors may be the file's.
    except (OSError, ValueError, RuntimeError) as error:
        raise UndecodableMedia(_CANNOT_WRITE.format(transform.format)) from error


def _webp(seen: Picture, quality: int) -> bytes:
    if libvips.is_animation(seen):
        return libvips.encode_webp(seen, quality, _WEBP_EFFORT)
    if seen.width * seen.height > _MAX_PILLOW_PIXELS:
        seen = seen.copy_memory()  # decoded: what fails from here on is not the file's fault
        with libvips.plain_errors(_CANNOT_WRITE.format("webp")):
            return libvips.encode_webp(seen, quality, _WEBP_EFFORT)
    return arrays.encode_webp(libvips.to_pixels(seen), quality, _WEBP_EFFORT)


def _box(transform: Transform) -> Size:
    assert transform.width is not None
    assert transform.height is not None
    return transform.width, transform.height


def _smaller(size: Size, bound: Size) -> Size:
    return min(size[0], bound[0]), min(size[1], bound[1])


# Each the cheaper of Pillow and libvips.
_ENCODERS: dict[OutputFormat, Callable[[Picture, int], bytes]] = {
    "jpg": lambda seen, quality: arrays.encode_jpeg(libvips.to_pixels(seen), quality),
    "png": lambda seen, _: libvips.encode_png(seen),
    "webp": _webp,
    "avif": lambda seen, quality: arrays.encode_avif(libvips.to_pixels(seen), quality, _AVIF_SPEED),
    "gif": lambda seen, _: libvips.encode_gif(seen),
}

_MAKERS: dict[Family, Callable[[str, str, Transform, Limits], bytes]] = {
    "image": _of_image,
    "video": _of_video,
    "document": _of_page,
}
