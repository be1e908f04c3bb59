import io
import os
import statistics
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageSequence

from mediakeep.errors import UndecodableMedia
from mediakeep.media import image as images
from mediakeep.media import libvips, pil
from mediakeep.media.picture import PAGE_SIDE, picture, picture_seconds
from mediakeep.media.pool import DecodePool
from mediakeep.media.transform import MAX_PIXELS, MAX_SIDE, Transform, fitted
from tests.samples import films, hostile, papers, pictures

BERLIN = (52.5163, 13.3777, 34.5)
MIB = 1 << 20
FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "avif": "AVIF", "gif": "GIF"}
SEE_THROUGH = ("png", "webp", "avif", "gif")
RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)

STILLS = {
    "jpg": pictures.jpeg(),
    "png": pictures.png(),
    "gif": pictures.gif(1, 320, 240),
    "webp": pictures.webp(),
    "bmp": pictures.bmp(),
    "tiff": pictures.tiff(),
    "heic": pictures.heic(),
    "avif": pictures.avif(),
}
Made = Callable[..., Image.Image]


@pytest.fixture
def encoded(saved, limits) -> Callable[..., bytes]:
    """The picture of a file's bytes: first its format, then what to make of it; PNG where nothing is said."""

    def make(data: bytes, name: str, **wishes: object) -> bytes:
        return picture(saved(data), name, Transform(**{"format": "png", **wishes}), limits)

    return make


@pytest.fixture
def made(encoded) -> Made:
    """The same, opened as what it should be."""

    def make(data: bytes, name: str = "png", **wishes: object) -> Image.Image:
        kind = FORMATS[wishes.get("format", "png")]
        image = Image.open(io.BytesIO(encoded(data, name, **wishes)), formats=(kind,))
        image.load()
        return image

    return make


def png(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def quarters(width: int = 200, height: int = 200) -> bytes:
    """Red top left, green top right, blue bottom left, yellow bottom right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height))
    image.paste(BLUE, (0, height // 2, width, height))
    image.paste(YELLOW, (width // 2, height // 2, width, height))
    return png(image)


def ramp(width: int = 256, height: int = 64) -> bytes:
    """Red grows to the right from 0 to 255, green downwards: every pixel says where it was."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return png(Image.fromarray(np.dstack((x, y, np.zeros_like(x))).round().astype(np.uint8)))


def animation(kind: str, *, sizes: tuple[int, int] = (60, 40), loop: int = 3) -> bytes:
    """Three frames with a red, a green and a blue half, each on black, shown for 100, 250 and 400 ms."""
    frames = []
    for color in (RED, GREEN, BLUE):
        frame = Image.new("RGB", sizes)
        frame.paste(color, (0, 0, sizes[0] // 2, sizes[1]))
        frames.append(frame)
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=[100, 250, 400], loop=loop)
    return buffer.getvalue()


def near(color: object, wanted: tuple[int, ...], by: int = 12) -> bool:
    return all(abs(a - b) <= by for a, b in zip(color, wanted, strict=True))


def blurred_edge(deviations: float) -> float:
    """How bright a blurred edge from black to white is, so many standard deviations behind it."""
    return 255 * statistics.NormalDist().cdf(deviations)


def opacity(image: Image.Image, x: int, y: int) -> int:
    return image.convert("RGBA").getpixel((x, y))[3]


# Fits


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("name", STILLS)
def test_every_format_becomes_every_other(name, output, made):
    image = made(STILLS[name], name, width=80, height=60, fit="fill", format=output)
    assert image.size == (80, 60)
    corners = [image.convert("RGB").getpixel(place) for place in ((20, 15), (60, 15), (20, 45), (60, 45))]
    assert [int(np.argmax(corner)) for corner in corners[:3]] == [0, 1, 2]
    assert min(corners[3]) > 170


def test_inside_keeps_the_shape(made):
    image = made(quarters(400, 200), width=100, height=100)
    assert image.size == (100, 50)
    assert near(image.getpixel((2, 2)), RED)
    assert near(image.getpixel((97, 47)), YELLOW)


def test_fill_stretches(made):
    image = made(quarters(400, 200), width=100, height=100, fit="fill")
    assert image.size == (100, 100)
    assert near(image.getpixel((25, 25)), RED)
    assert near(image.getpixel((75, 75)), YELLOW)


def test_fill_may_shrink_one_side_and_enlarge_the_other(made):
    image = made(quarters(400, 20), width=100, height=100, fit="fill")
    assert image.size == (100, 100)
    assert near(image.getpixel((25, 25)), RED)
    assert near(image.getpixel((75, 75)), YELLOW)


def test_cover_crops_both_ends(made):
    image = made(ramp(256, 64), width=64, height=64, fit="cover")
    assert image.size == (64, 64)
    assert near(image.getpixel((0, 32)), (96, 129, 0), 4)
    assert near(image.getpixel((63, 32)), (159, 129, 0), 4)


@pytest.mark.parametrize(
    ("gravity", "left", "top"),
    [
        ("center", 64, 64),
        ("top", 64, 0),
        ("bottom", 64, 128),
        ("left", 0, 64),
        ("right", 128, 64),
        ("top-left", 0, 0),
        ("top-right", 128, 0),
        ("bottom-left", 0, 128),
        ("bottom-right", 128, 128),
    ],
)
def test_a_crop_lies_at_its_anchor(gravity, left, top, made):
    wide = made(ramp(256, 128), width=128, height=128, fit="cover", gravity=gravity)
    assert near(wide.getpixel((0, 64)), (left, 128, 0), 4)
    high = made(ramp(128, 256), width=128, height=128, fit="cover", gravity=gravity)
    assert near(high.getpixel((64, 0)), (129, top, 0), 4)


@pytest.mark.parametrize(("x", "left"), [(0.0, 0), (0.25, 32), (0.4, 70), (0.9, 192), (1.0, 192)])
def test_a_focal_point_is_the_middle_of_the_crop(x, left, made):
    image = made(ramp(256, 64), width=64, height=64, fit="cover", gravity=(x, 0.2))
    assert near(image.getpixel((0, 32)), (left, 129, 0), 4)


@pytest.mark.parametrize("name", ["png", "jpg", "bmp", "heic"])
@pytest.mark.parametrize("place", [30, 400])
def test_smart_finds_what_people_look_at(name, place, made):
    scene = Image.new("RGB", (512, 128), (120, 130, 140))
    draw = ImageDraw.Draw(scene)
    draw.ellipse((place, 24, place + 80, 104), fill=(230, 60, 40))
    for step in range(0, 80, 8):
        draw.line((place + step, 34, place + step, 94), fill=(250, 240, 90), width=2)
    buffer = io.BytesIO()
    kind = {"jpg": "JPEG", "heic": "HEIF"}.get(name, name.upper())
    scene.save(buffer, kind, **({} if kind == "BMP" else {"quality": 90}))
    for side in (64, 128):
        image = made(buffer.getvalue(), name, width=side, height=side, fit="cover", gravity="smart")
        reds = np.asarray(image.convert("RGB"), int)
        assert ((reds[..., 0] - reds[..., 2]) > 80).mean() > 0.2


def test_smart_finds_it_also_where_the_picture_is_enlarged(made):
    scene = Image.new("RGB", (120, 20), (120, 130, 140))
    scene.paste((240, 40, 30), (96, 4, 112, 16))
    image = made(png(scene), width=200, height=200, fit="cover", gravity="smart")
    assert near(image.getpixel((100, 100)), (240, 40, 30), 30)


def test_contain_pads_with_the_background(made):
    image = made(quarters(200, 100), width=100, height=100, fit="contain", background="102030ff")
    assert image.size == (100, 100)
    assert image.mode == "RGB"
    for place in ((0, 0), (50, 24), (50, 76), (99, 99)):
        assert near(image.getpixel(place), (0x10, 0x20, 0x30), 1)
    assert near(image.getpixel((2, 27)), RED)
    assert near(image.getpixel((97, 73)), YELLOW)


@pytest.mark.parametrize("output", SEE_THROUGH)
def test_contain_pads_with_nothing_where_the_format_can(output, made):
    image = made(quarters(200, 100), width=100, height=100, fit="contain", format=output)
    assert opacity(image, 50, 10) == 0
    assert opacity(image, 50, 50) == 255


def test_contain_pads_a_jpeg_with_white(made):
    image = made(quarters(200, 100), width=100, height=100, fit="contain", format="jpg")
    assert near(image.getpixel((50, 10)), (255, 255, 255), 4)


def test_contain_pads_with_half_transparent_colours(made):
    wishes = {"width": 100, "height": 100, "fit": "contain", "background": "ff000080"}
    assert made(quarters(200, 100), **wishes).getpixel((50, 10)) == (255, 0, 0, 128)
    assert near(made(quarters(200, 100), **wishes, format="jpg").getpixel((50, 10)), (255, 127, 127), 4)


def test_contain_enlarges_only_where_that_is_wanted(made):
    box = {"width": 100, "height": 100, "fit": "contain", "background": "ffffffff"}
    assert near(made(quarters(40, 40), **box).getpixel((25, 25)), (255, 255, 255))
    assert near(made(quarters(40, 40), **box, enlarge=True).getpixel((25, 25)), RED)


@pytest.mark.parametrize("name", ["png", "bmp", "jpg"])
@pytest.mark.parametrize(("fit", "size"), [("fill", (300, 300)), ("cover", (300, 200))])
def test_a_picture_may_be_enlarged(name, fit, size, made):
    small = Image.open(io.BytesIO(quarters(60, 60)))
    buffer = io.BytesIO()
    small.save(buffer, {"jpg": "JPEG"}.get(name, name), **({"quality": 95} if name == "jpg" else {}))
    image = made(buffer.getvalue(), name, width=size[0], height=size[1], fit=fit)
    assert image.size == size
    corners = [image.getpixel((x, y)) for y in (20, size[1] - 20) for x in (20, 280)]
    assert all(near(*pair, 30) for pair in zip(corners, (RED, GREEN, BLUE, YELLOW), strict=True))


@pytest.mark.parametrize("source", [(1, 5000), (5000, 1), (1, 1), (3, 2)])
@pytest.mark.parametrize("name", ["png", "jpg", "webp", "bmp"])
@pytest.mark.parametrize("fit", ["inside", "cover", "contain", "fill"])
def test_extreme_shapes_have_a_picture(source, name, fit, encoded):
    buffer = io.BytesIO()
    Image.new("RGB", source, (200, 30, 40)).save(buffer, {"jpg": "JPEG"}.get(name, name.upper()))
    for width, height, gravity in ((512, 512, "center"), (1, 1, "smart"), (300, 1, (0.9, 0.9))):
        for enlarge in (False, True):
            wishes = Transform(width=width, height=height, fit=fit, enlarge=enlarge, gravity=gravity)
            exact = fitted(wishes, source, max_side=MAX_SIDE, max_pixels=MAX_SIDE**2)
            values = {name: getattr(exact, name) for name in ("width", "height", "fit", "enlarge", "gravity")}
            image = Image.open(io.BytesIO(encoded(buffer.getvalue(), name, **values)))
            assert image.size == (exact.width, exact.height)
            found = image.convert("RGBA").getpixel((exact.width // 2, exact.height // 2))
            assert found[3] == 0 or near(found[:3], (200, 30, 40))


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("blur", [0.0, 5.0, 200.0])
def test_a_single_pixel_is_a_picture(output, blur, made):
    image = made(STILLS["jpg"], "jpg", width=1, height=1, fit="fill", blur=blur, format=output)
    assert image.size == (1, 1)


def test_a_picture_that_was_not_fitted_is_fitted_here(made):
    assert made(quarters(400, 200), width=100).size == (100, 50)
    assert made(quarters(400, 200)).size == (400, 200)


@pytest.mark.parametrize("wishes", [{"width": MAX_SIDE + 1, "height": 1}, {"width": 1, "height": 0}])
def test_no_side_is_longer_than_we_write(wishes, encoded):
    with pytest.raises(UndecodableMedia, match="1 to 8192 pixels"):
        encoded(quarters(), "png", **wishes, fit="fill")


@pytest.mark.parametrize("output", MAX_PIXELS)
def test_what_an_encoder_has_no_memory_for_is_refused(output, encoded):
    with pytest.raises(UndecodableMedia, match="have at most"):
        encoded(quarters(), "png", width=MAX_SIDE, height=MAX_SIDE, fit="fill", format=output)


def test_a_line_cannot_be_enlarged_to_a_square_of_any_size(encoded):
    line = png(Image.new("L", (1, 5000)))
    with pytest.raises(UndecodableMedia, match="too narrow"):
        encoded(line, "png", width=MAX_SIDE, height=MAX_SIDE, fit="cover")


# Looks


def test_blur_is_measured_in_pixels_of_the_result(made):
    edge = Image.new("L", (800, 80))
    edge.paste(255, (400, 0, 800, 80))
    for width in (400, 800):
        image = made(png(edge), width=width, height=40, fit="fill", blur=10)
        assert image.getpixel((width // 2 + 10, 20))[0] == pytest.approx(blurred_edge(10.5 / 10), abs=6)


@pytest.mark.parametrize("sigma", [3.0, 8.0, 24.0, 60.0])
def test_blur_is_ablurred_edge(sigma, made):
    edge = Image.new("L", (400, 40))
    edge.paste(255, (200, 0, 400, 40))
    image = made(png(edge), width=400, height=40, fit="fill", blur=sigma)
    for pixels in (-round(2 * sigma), -round(sigma), 0, round(sigma)):
        found = image.getpixel((200 + pixels, 20))[0]
        assert found == pytest.approx(blurred_edge((pixels + 0.5) / sigma), abs=6)


def test_blur_leaves_the_padding_alone(made):
    image = made(quarters(200, 100), width=100, height=100, fit="contain", blur=6, background="000000ff")
    assert near(image.getpixel((50, 23)), (0, 0, 0), 0)


def test_blur_takes_no_colour_from_what_is_transparent(made):
    half = Image.new("RGBA", (100, 100), (0, 255, 0, 0))
    half.paste((255, 0, 0, 255), (0, 0, 50, 100))
    for sigma in (4, 20):
        image = made(png(half), width=100, height=100, fit="fill", blur=sigma)
        red, green, _, alpha = image.getpixel((50, 50))
        assert 90 < alpha < 165
        assert red > 245
        assert green < 10


@pytest.mark.parametrize("output", ["png", "webp", "avif"])
def test_transparency_is_kept(output, made):
    image = made(pictures.png(mode="RGBA"), width=160, height=120, fit="fill", format=output)
    assert opacity(image, 80, 1) < 10
    assert opacity(image, 80, 60) == pytest.approx(128, abs=6)
    assert opacity(image, 80, 118) > 245


def test_scaling_takes_no_colour_from_what_is_transparent(made):
    stripes = np.zeros((100, 100, 4), np.uint8)
    stripes[:, ::2] = (255, 0, 0, 255)
    stripes[:, 1::2] = (0, 255, 0, 0)
    image = made(png(Image.fromarray(stripes)), width=25, height=25, fit="fill")
    assert near(image.getpixel((12, 12)), (255, 0, 0, 128), 8)


def test_a_jpeg_has_white_behind_it(made):
    clear = png(Image.new("RGBA", (40, 40), (0, 0, 0, 0)))
    assert near(made(clear, width=40, height=40, fit="fill", format="jpg").getpixel((20, 20)), (255,) * 3, 2)


@pytest.mark.parametrize("output", FORMATS)
def test_a_background_is_behind_what_is_transparent(output, made):
    half = png(Image.new("RGBA", (40, 40), (255, 255, 255, 128)))
    image = made(half, width=40, height=40, fit="fill", background="0000ffff", format=output)
    assert near(image.convert("RGB").getpixel((20, 20)), (128, 128, 255), 6)
    assert opacity(image, 20, 20) == 255


def test_a_background_may_itself_be_half_transparent(made):
    clear = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    clear.paste((255, 0, 0, 255), (0, 0, 20, 40))
    image = made(png(clear), width=40, height=40, fit="fill", background="0000ff80")
    assert image.getpixel((30, 20)) == (0, 0, 255, 128)
    assert image.getpixel((5, 20)) == (255, 0, 0, 255)


def test_transparency_that_hides_nothing_is_left_out(made):
    opaque = png(Image.new("RGBA", (40, 40), (9, 99, 199, 255)))
    assert made(opaque, width=20, height=20, fit="fill").mode == "RGB"


@pytest.mark.parametrize("output", ["jpg", "webp", "avif"])
def test_quality_decides_the_size(output, encoded):
    sizes = [
        len(encoded(STILLS["jpg"], "jpg", width=300, height=200, fit="fill", format=output, quality=quality))
        for quality in (10, 50, 95)
    ]
    assert sizes[0] * 1.3 < sizes[1] < sizes[2] / 1.3


@pytest.mark.parametrize("output", ["jpg", "webp", "avif"])
def test_without_quality_it_is_the_formats_own(output, encoded):
    wishes = {"width": 100, "height": 75, "fit": "fill", "format": output}
    usual = {"jpg": 80, "webp": 80, "avif": 60}[output]
    assert encoded(STILLS["jpg"], "jpg", **wishes, quality=None) == encoded(
        STILLS["jpg"], "jpg", **wishes, quality=usual
    )


def test_a_png_keeps_every_colour(made):
    image = made(ramp(256, 64), width=256, height=64, fit="fill", format="png")
    assert np.array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(ramp(256, 64)))))


# What a file says about itself


@pytest.mark.parametrize("name", ["jpg", "png", "webp", "tiff", "heic", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_upright_before_it_is_cropped(name, orientation, made):
    data = pictures.jpeg(320, 240, orientation=orientation)
    if name != "jpg":
        stored, buffer = Image.open(io.BytesIO(data)), io.BytesIO()
        kind = "HEIF" if name == "heic" else name.upper()
        stored.save(buffer, kind, exif=pictures.exif(orientation=orientation))
        data = buffer.getvalue()
    whole = made(data, name, width=160, height=120, fit="fill")
    assert int(np.argmax(whole.getpixel((40, 30)))) == 0
    assert int(np.argmax(whole.getpixel((120, 30)))) == 1
    right = made(data, name, width=60, height=120, fit="cover", gravity="right")
    assert right.size == (60, 120)
    assert int(np.argmax(right.getpixel((30, 30)))) == 1
    assert min(right.getpixel((30, 90))) > 170


def test_a_turned_avif_is_decoded_in_its_shape(saved, limits):
    buffer = io.BytesIO()
    pictures.photo(320, 240).save(buffer, "AVIF", exif=pictures.exif(orientation=6))
    path = saved(buffer.getvalue())
    header = images.read_header(path, "avif", limits)
    assert (header.width, header.height) == (240, 320)
    assert pil.shrink(path, "avif", header, (120, 160)).shape == (160, 120, 3)


@pytest.mark.parametrize("output", FORMATS)
def test_nothing_of_the_files_metadata_is_left(output, encoded):
    data = pictures.jpeg(camera=True, place=BERLIN, orientation=6, profile=pictures.display_p3())
    result = encoded(data, "jpg", width=100, height=75, fit="fill", format=output)
    image = Image.open(io.BytesIO(result))
    assert not image.getexif()
    assert not {"icc_profile", "exif", "xmp", "comment", "photoshop"} & set(image.info)
    for trace in (b"Mediakeep", b"Exif", b"Display P3", b"Tester", b"xpacket"):
        assert trace not in result


def test_an_animations_metadata_is_gone_too(encoded):
    frames = [Image.new("RGB", (40, 30), color) for color in (RED, GREEN)]
    buffer = io.BytesIO()
    block = pictures.exif(camera=True, place=BERLIN)
    frames[0].save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        exif=block,
        icc_profile=pictures.display_p3(),
        xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>Mediakeep</x:xmpmeta>",
    )
    for output in ("webp", "gif"):
        result = encoded(
            buffer.getvalue(), "webp", width=20, height=15, fit="fill", format=output, animated=True
        )
        assert Image.open(io.BytesIO(result)).n_frames == 2
        for trace in (b"Mediakeep", b"EXIF", b"Exif", b"ICCP", b"xmpmeta", b"XMP "):
            assert trace not in result


@pytest.mark.parametrize("name", ["jpg", "png", "webp", "tiff", "heic", "avif"])
def test_wide_colours_become_srgb(name, made):
    kind = {"jpg": "JPEG", "heic": "HEIF"}.get(name, name.upper())
    found = []
    for options in ({}, {"icc_profile": pictures.display_p3()}):
        buffer = io.BytesIO()
        Image.new("RGB", (64, 64), (200, 100, 80)).save(buffer, kind, **options)
        found.append(made(buffer.getvalue(), name, width=64, height=64, fit="fill").getpixel((32, 32)))
    assert near(found[0], (200, 100, 80), 5)
    assert near(found[1], (216, 95, 73), 8)  # by the matrices of both spaces


def test_frames_of_an_animation_become_srgb(made):
    frames = [Image.new("RGB", (64, 64), (200, 100, 80 + index)) for index in range(2)]
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        lossless=True,
        icc_profile=pictures.display_p3(),
    )
    image = made(buffer.getvalue(), "webp", width=32, height=32, fit="fill", format="webp", animated=True)
    for frame in ImageSequence.Iterator(image):
        assert near(frame.convert("RGB").getpixel((16, 16)), (216, 95, 73), 10)


@pytest.mark.parametrize("output", FORMATS)
def test_cmyk_becomes_srgb(output, made):
    image = made(pictures.jpeg(mode="CMYK"), "jpg", width=80, height=60, fit="fill", format=output)
    corners = [image.convert("RGB").getpixel(place) for place in ((20, 15), (60, 15), (20, 45), (60, 45))]
    assert [int(np.argmax(corner)) for corner in corners[:3]] == [0, 1, 2]
    assert min(corners[3]) > 170


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "P", "1"])
@pytest.mark.parametrize("output", FORMATS)
def test_every_depth_becomes_eight_bits(mode, output, made):
    image = made(pictures.png(mode=mode), width=80, height=60, fit="fill", format=output)
    assert image.convert("RGBA").getpixel((60, 45))[0] > 170
    assert image.convert("RGBA").getpixel((20, 45))[0] < 120


# Animations


@pytest.mark.parametrize("source", ["gif", "webp"])
@pytest.mark.parametrize("output", ["gif", "webp"])
@pytest.mark.parametrize(
    ("wishes", "bright", "dark"),
    [
        ({"width": 30, "height": 20, "fit": "fill"}, (7, 10), (23, 10)),
        ({"width": 120, "height": 80, "fit": "fill"}, (20, 40), (100, 40)),
        ({"width": 20, "height": 40, "fit": "cover", "gravity": "center"}, (4, 20), (16, 20)),
        ({"width": 40, "height": 40, "fit": "cover", "gravity": "smart"}, (4, 20), None),
        ({"width": 60, "height": 60, "fit": "contain", "background": "000000ff"}, (15, 30), (15, 5)),
        ({"width": 60, "height": 40, "fit": "fill", "blur": 3}, (8, 20), (52, 20)),
        ({"width": 60, "height": 40, "fit": "fill", "blur": 12}, (2, 20), None),
    ],
)
def test_all_frames_of_an_animation_are_kept(source, output, wishes, bright, dark, made):
    image = made(animation(source.upper()), source, format=output, animated=True, **wishes)
    assert image.n_frames == 3
    assert image.size == (wishes["width"], wishes["height"])
    for frame, color in zip(ImageSequence.Iterator(image), (RED, GREEN, BLUE), strict=True):
        plain = frame.convert("RGB")
        assert int(np.argmax(plain.getpixel(bright))) == color.index(255)
        assert plain.getpixel(bright)[color.index(255)] > 150
        assert dark is None or max(plain.getpixel(dark)) < 60


@pytest.mark.parametrize("source", ["gif", "webp"])
@pytest.mark.parametrize("output", ["gif", "webp"])
@pytest.mark.parametrize("loop", [0, 3])
def test_an_animation_keeps_its_times(source, output, loop, made):
    image = made(
        animation(source.upper(), loop=loop),
        source,
        width=30,
        height=20,
        fit="fill",
        format=output,
        animated=True,
        background="00000080",
    )
    times = []
    for index in range(3):
        image.seek(index)
        image.load()
        times.append(image.info["duration"])
    assert times == [100, 250, 400]
    # A GIF counts how often it is repeated, a WebP how often it runs.
    runs = {"gif": {"gif": loop, "webp": loop and loop + 1}, "webp": {"gif": loop and loop - 1, "webp": loop}}
    assert image.info["loop"] == runs[source][output]


@pytest.mark.parametrize(
    ("output", "animated"),
    [("gif", False), ("webp", False), ("png", True), ("jpg", True), ("avif", True)],
)
def test_only_the_first_frame_is_kept_where_no_animation_is_wanted(output, animated, made):
    image = made(animation("GIF"), "gif", width=30, height=20, fit="fill", format=output, animated=animated)
    assert getattr(image, "n_frames", 1) == 1
    assert int(np.argmax(image.convert("RGB").getpixel((7, 10)))) == 0


def test_an_animation_keeps_what_is_transparent(made):
    frames = []
    for x in (0, 20):
        frame = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
        frame.paste((255, 0, 0, 255), (x, 0, x + 20, 40))
        frames.append(frame)
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    for output in ("webp", "gif"):
        wishes = {"width": 20, "height": 20, "fit": "fill", "format": output, "animated": True}
        for index, frame in enumerate(ImageSequence.Iterator(made(buffer.getvalue(), "webp", **wishes))):
            assert opacity(frame, 5, 10) == (255, 0)[index]
            assert opacity(frame, 15, 10) == (0, 255)[index]


def test_a_still_may_be_asked_for_as_animation(made):
    image = made(pictures.gif(1), "gif", width=30, height=20, fit="fill", format="gif", animated=True)
    assert image.n_frames == 1


def test_an_animation_is_not_enlarged_beyond_the_limit(encoded):
    with pytest.raises(UndecodableMedia, match=r"would have 201326592 pixels \(8192 × 8192 × 3 frames\)"):
        encoded(animation("GIF"), "gif", width=8192, height=8192, fit="fill", format="webp", animated=True)


def test_a_limit_of_frames_holds(encoded):
    with pytest.raises(UndecodableMedia, match="10000 frames"):
        encoded(hostile.gif_bomb(), "gif", width=8, height=8, fit="fill", format="webp", animated=True)


# Pages and frames


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_page_is_drawn(number, made):
    image = made(paper(), "pdf", page=number, width=100, height=100, fit="fill")
    assert near(image.getpixel((50, 50)), (RED, GREEN, BLUE)[number - 1], 2)


@pytest.mark.parametrize("number", [0, 4, 100_000])
def test_a_page_that_is_not_there_is_refused(number, encoded):
    with pytest.raises(UndecodableMedia) as refusal:
        encoded(paper(), "pdf", page=number)
    assert refusal.value.detail == f"The PDF has 3 pages; there is no page {number}."


@pytest.mark.parametrize(
    ("wishes", "size"),
    [
        ({}, (1131, PAGE_SIDE)),
        ({"width": 300}, (300, 425)),
        ({"height": 3000}, (2120, 3000)),
        ({"width": 500, "height": 500}, (353, 500)),
        ({"width": 500, "height": 500, "fit": "cover"}, (500, 500)),
        ({"width": 500, "height": 400, "fit": "contain"}, (500, 400)),
        ({"width": 500, "height": 400, "fit": "fill"}, (500, 400)),
    ],
)
def test_a_page_is_fitted_in_any_size(wishes, size, made):
    assert made(papers.pdf(), "pdf", **wishes).size == size


def test_a_page_is_drawn_sharp_in_every_size(made):
    image = made(papers.pdf(), "pdf", width=2000)
    column = np.asarray(image)[:, 1000, 1].astype(int)
    assert int((np.abs(np.diff(column)) > 20).sum()) <= 2  # white to red within a pixel or two


def test_part_of_a_page_is_drawn_at_its_place(made):
    top, bottom = (
        made(papers.pdf(), "pdf", width=400, height=200, fit="cover", gravity=gravity)
        for gravity in ("top", "bottom")
    )
    assert min(top.getpixel((200, 100))) > 240
    assert near(bottom.getpixel((200, 100)), (204, 26, 26), 3)
    middle = np.asarray(made(papers.pdf(), "pdf", width=400, height=200, fit="cover"))
    assert min(middle[90, 200]) > 240
    assert near(middle[110, 200], (204, 26, 26), 3)
    smart = made(papers.pdf(), "pdf", width=400, height=200, fit="cover", gravity="smart")
    assert smart.size == (400, 200)


def test_a_contained_page_is_enlarged_and_padded(made):
    image = made(papers.pdf(1, 10, 20), "pdf", width=400, height=400, fit="contain", background="0000ffff")
    assert near(image.getpixel((50, 200)), BLUE, 0)
    assert near(image.getpixel((200, 50)), (255, 255, 255), 0)
    assert near(image.getpixel((200, 390)), (204, 26, 26), 2)


@pytest.mark.parametrize("shape", [(2_000_000, 1_000_000), (2_000_000, 3), (1, 1)])
def test_a_page_of_any_size_is_drawn_no_larger(shape, made):
    assert max(made(papers.pdf(1, *shape), "pdf").size) == PAGE_SIDE
    assert made(papers.pdf(1, *shape), "pdf", width=64, height=64, fit="cover").size == (64, 64)


def test_a_page_behind_a_password_is_refused(encoded):
    with pytest.raises(UndecodableMedia, match="needs a password"):
        encoded(papers.pdf(password="secret"), "pdf")


@pytest.mark.parametrize(
    ("seconds", "second"),
    [(0.0, 0), (0.5, 0), (1.5, 1), (2.2, 2), (3.9, 3), (3600.0, 3), (1e15, 3), (None, 1)],
)
def test_the_frame_of_a_time_is_shown(seconds, second, made):
    image = made(films.video("mp4", 4.0), "mp4", width=80, height=60, fit="fill", seconds=seconds)
    assert near(image.getpixel((40, 40)), films.SECONDS[second], 30)


@pytest.mark.parametrize("name", ["mp4", "mov", "mkv", "webm", "avi", "flv", "wmv", "3gp"])
def test_every_video_format_has_the_frame_of_a_time(name, made):
    image = made(films.video(name, 3.0), name, width=80, height=60, fit="fill", seconds=2.4)
    assert near(image.getpixel((40, 40)), films.SECONDS[2], 30)
    last = made(films.video(name, 3.0), name, width=80, height=60, fit="fill", seconds=9999)
    assert near(last.getpixel((40, 40)), films.SECONDS[2], 30)


@pytest.mark.parametrize("wishes", [{"width": 60, "height": 60}, {"width": 300, "height": 100}])
@pytest.mark.parametrize("fit", ["cover", "contain", "fill"])
def test_a_frame_is_cut_as_any_picture(wishes, fit, made):
    image = made(films.video("mp4", 2.0), "mp4", **wishes, fit=fit, background="000000ff", format="webp")
    assert image.size == (wishes["width"], wishes["height"])
    assert near(image.getpixel((image.width // 2, image.height // 2)), films.SECONDS[1], 30)


def test_a_turned_videos_frame_is_upright(made):
    image = made(films.video("mp4", rotation=90), "mp4", width=60, height=80, fit="fill")
    pixels = np.asarray(image, int)
    assert pixels[:, -4:].mean() > pixels[:, :4].mean()  # the bar is on the right


def test_a_video_without_picture_is_refused(encoded):
    with pytest.raises(UndecodableMedia, match="no picture"):
        encoded(films.sound("mp4"), "mp4", width=10, height=10, fit="fill")


# Refusals


@pytest.mark.parametrize("share", [0.1, 0.6])
@pytest.mark.parametrize("name", [*STILLS, "mp4", "pdf"])
def test_a_broken_file_is_refused(name, share, encoded):
    data = {**STILLS, "mp4": films.video("mp4"), "pdf": paper()}[name]
    broken = b"%PDF-1.4\n" + b"nothing" * 50 if name == "pdf" else data[: int(len(data) * share)]
    with pytest.raises(UndecodableMedia) as refusal:
        encoded(broken, name, width=50, height=50, fit="fill")
    kind = {"mp4": "video", "pdf": "PDF"}.get(name, "image")
    assert refusal.value.detail.startswith(f"The {kind} is")


@pytest.mark.parametrize("name", ["gif", "webp"])
def test_a_broken_animation_is_refused(name, encoded):
    data = animation(name.upper(), sizes=(300, 200))
    with pytest.raises(UndecodableMedia):
        encoded(data[:-30], name, width=50, height=50, fit="fill", format="webp", animated=True)


def test_too_many_pixels_are_refused_by_the_header(encoded):
    with pytest.raises(UndecodableMedia, match="2500000000 pixels"):
        encoded(hostile.png_bomb(), "png", width=50, height=50, fit="fill")


@pytest.fixture
def pool():
    running = DecodePool(processes=1, memory_bytes=1024 * MIB)
    running.start()
    yield running
    running.close()


async def test_a_decode_process_makes_pictures(pool, saved, limits):
    path = saved(pictures.jpeg(2000, 1500))
    wishes = Transform(width=300, height=300, fit="cover", gravity="smart", blur=2, format="webp")
    data = await pool.run(picture, path, "jpg", wishes, limits, timeout_seconds=20)
    assert Image.open(io.BytesIO(data)).size == (300, 300)


async def test_a_decode_process_leaves_the_processor_to_the_server(pool):
    assert await pool.run(os.nice, 0, timeout_seconds=20) == min(19, os.nice(0) + 5)


def test_time_is_allowed_as_the_work_needs():
    still = Transform(width=10, height=10, format="webp")
    moving = Transform(width=10, height=10, format="webp", animated=True)
    assert picture_seconds("jpg", still) == picture_seconds("pdf", still) == 10
    assert picture_seconds("mp4", still) == 20
    assert picture_seconds("gif", moving) > picture_seconds("gif", still)


def test_a_large_jpeg_is_decoded_small(saved, limits, monkeypatch):
    load, factors = libvips.Image.jpegload, []

    def noted(path: str, **options: object) -> object:
        factors.append(options["shrink"])
        return load(path, **options)

    monkeypatch.setattr(
        libvips, "Image", type("Watched", (libvips.Image,), {"jpegload": staticmethod(noted)})
    )
    path = saved(pictures.jpeg(1600, 1200))
    for width, height in ((200, 150), (201, 151), (400, 300), (800, 600), (1600, 1200), (200, 1200)):
        picture(path, "jpg", Transform(width=width, height=height, fit="fill"), limits)
    assert factors == [8, 4, 4, 2, 1, 1]


def paper() -> bytes:
    """A red, a green and a blue page."""
    pages = [f"{r / 255} {g / 255} {b / 255} rg 0 0 200 200 re f".encode() for r, g, b in (RED, GREEN, BLUE)]
    kids = b"3 0 R 5 0 R 7 0 R"
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [%s] /Count 3 >>" % kids]
    for index, content in enumerate(pages):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents %d 0 R >>" % (4 + 2 * index)
        )
        objects.append(papers.stream_of(content))
    return papers.document([*objects, b"<< /Title (Colours) >>"])
