import io
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from mediakeep.errors import UndecodableMedia
from mediakeep.media import image
from mediakeep.media.exif import read_exif
from mediakeep.media.probe import probe
from tests.samples import bombs, hostile, pictures

BERLIN = (52.5163, 13.3777, 34.5)
ANTARCTIC = (-77.85, -166.67, -12.0)
DAMAGED = "The image is truncated or damaged and cannot be decoded."

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


def opened(jpeg: bytes) -> Image.Image:
    return Image.open(io.BytesIO(jpeg), formats=("JPEG",))


def corners(picture: Image.Image) -> list[str]:
    """The strongest channel of each quarter's middle: top left, top right, bottom left, bottom right."""
    width, height = picture.size
    places = ((1, 1), (3, 1), (1, 3), (3, 3))
    found = [picture.getpixel((width * x // 4, height * y // 4)) for x, y in places]
    return [
        "white" if min(color) > 170 else ["red", "green", "blue"][int(np.argmax(color))] for color in found
    ]


@pytest.mark.parametrize("name", STILLS)
def test_every_still_format_is_measured_and_made_small(name, saved, limits):
    facts = probe(saved(STILLS[name]), name, limits)
    assert (facts.width, facts.height) == (320, 240)
    assert corners(opened(facts.thumbnail)) == ["red", "green", "blue", "white"]
    assert facts.thumbhash
    assert facts.dominant_color.startswith("#")
    assert -(1 << 63) <= facts.phash < 1 << 63


@pytest.mark.parametrize("name", ["jpg", "heic"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_shown_upright(name, orientation, saved, limits):
    make = pictures.jpeg if name == "jpg" else pictures.heic
    facts = probe(saved(make(320, 240, orientation=orientation)), name, limits)
    assert (facts.width, facts.height) == (320, 240)
    thumbnail = opened(facts.thumbnail)
    assert thumbnail.size == (320, 240)
    assert corners(thumbnail) == ["red", "green", "blue", "white"]


def test_a_thumbnail_fits_512_pixels_and_keeps_the_shape(saved, limits):
    assert opened(image.thumbnail(saved(pictures.jpeg(1200, 800)), "jpg", limits)).size == (512, 341)
    assert opened(image.thumbnail(saved(pictures.jpeg(800, 1200)), "jpg", limits)).size == (341, 512)


def test_a_small_image_is_not_enlarged(saved, limits):
    assert opened(image.thumbnail(saved(pictures.jpeg(64, 48)), "jpg", limits)).size == (64, 48)


def test_a_thumbnail_carries_no_metadata(saved, limits):
    data = pictures.jpeg(camera=True, place=BERLIN, profile=pictures.display_p3())
    thumbnail = opened(image.thumbnail(saved(data), "jpg", limits))
    assert not thumbnail.getexif()
    assert "icc_profile" not in thumbnail.info


def test_camera_and_time_are_read(saved, limits):
    details = probe(saved(pictures.jpeg(camera=True)), "jpg", limits).details
    assert details["camera_make"] == "Mediakeep"
    assert details["camera_model"] == "Tester 1"
    assert details["lens"] == "50mm f/1.8"
    assert details["taken_at"] == "2024-05-01T12:34:56+02:00"
    assert details["iso"] == 400


@pytest.mark.parametrize("place", [BERLIN, ANTARCTIC])
def test_the_place_is_read(place, saved, limits):
    location = probe(saved(pictures.jpeg(place=place)), "jpg", limits).location
    assert location["latitude"] == pytest.approx(place[0], abs=1e-5)
    assert location["longitude"] == pytest.approx(place[1], abs=1e-5)
    assert location["altitude"] == place[2]


def test_an_image_without_place_has_none(saved, limits):
    assert probe(saved(pictures.jpeg(camera=True)), "jpg", limits).location is None


def test_broken_exif_is_ignored(saved, limits):
    data = pictures.jpeg(camera=True)
    at = data.index(b"Exif\0\0") + 6
    facts = probe(saved(data[: at + 8] + b"\xff" * 40 + data[at + 48 :]), "jpg", limits)
    assert facts.width == 320


def test_wide_colours_become_srgb_and_are_named(saved, limits):
    plain = probe(saved(pictures.jpeg()), "jpg", limits)
    wide = probe(saved(pictures.jpeg(profile=pictures.display_p3())), "jpg", limits)
    assert wide.details["color_profile"] == "Display P3"
    red = [opened(facts.thumbnail).getpixel((40, 40)) for facts in (plain, wide)]
    assert red[1][0] > red[0][0] + 5  # P3's red is redder than sRGB's


@pytest.mark.parametrize("data", [pictures.jpeg(mode="CMYK"), pictures.jpeg(mode="L")])
def test_cmyk_and_grey_become_a_normal_jpeg(data, saved, limits):
    assert opened(probe(saved(data), "jpg", limits).thumbnail).mode == "RGB"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "I;16", "P", "1"])
def test_every_kind_of_png_is_read(mode, saved, limits):
    assert probe(saved(pictures.png(mode=mode)), "png", limits).width == 320


def test_transparency_becomes_white(saved, limits):
    thumbnail = opened(probe(saved(pictures.png(mode="RGBA")), "png", limits).thumbnail)
    assert min(thumbnail.getpixel((5, 2))) > 240


@pytest.mark.parametrize(
    ("name", "make"), [("gif", pictures.gif), ("webp", pictures.webp), ("avif", pictures.avif)]
)
def test_animations_count_their_frames(name, make, saved, limits):
    facts = probe(saved(make(5)), name, limits)
    assert facts.details["frame_count"] == 5
    assert facts.duration_seconds is None
    assert corners(opened(facts.thumbnail)) == ["red", "green", "blue", "white"]


def test_an_animation_tells_how_long_it_runs(saved, limits):
    assert probe(saved(pictures.gif(5)), "gif", limits).details["animation_seconds"] == 0.5


def test_pages_of_a_tiff_are_counted(saved, limits):
    assert probe(saved(pictures.tiff(3)), "tiff", limits).details["page_count"] == 3


@pytest.mark.parametrize("name", STILLS)
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_a_truncated_image_is_refused(name, share, saved, limits):
    data = STILLS[name]
    with pytest.raises(UndecodableMedia) as refusal:
        probe(saved(data[: int(len(data) * share)]), name, limits)
    assert refusal.value.detail == DAMAGED


@pytest.mark.parametrize(("name", "make"), [("gif", pictures.gif), ("webp", pictures.webp)])
def test_an_animation_truncated_in_its_last_frame_is_refused(name, make, saved, limits):
    with pytest.raises(UndecodableMedia):
        probe(saved(make(4)[:-20]), name, limits)


@pytest.mark.parametrize("name", STILLS)
def test_bytes_after_the_end_are_accepted(name, saved, limits):
    assert probe(saved(STILLS[name] + b"more bytes" * 100), name, limits).width == 320


@pytest.mark.parametrize("name", STILLS)
def test_a_bare_beginning_is_refused(name, saved, limits):
    with pytest.raises(UndecodableMedia):
        probe(saved(STILLS[name][:40]), name, limits)


def test_content_of_another_format_is_refused(saved, limits):
    with pytest.raises(UndecodableMedia):
        probe(saved(pictures.jpeg()), "png", limits)


def test_too_many_pixels_are_refused_by_the_header(saved, limits):
    with pytest.raises(UndecodableMedia) as refusal:
        probe(saved(hostile.png_bomb()), "png", limits)
    expected = "The image has 2500000000 pixels (50000 × 50000); the limit is 100000000."
    assert refusal.value.detail == expected


def test_heic_and_avif_have_a_limit_of_their_own(saved, limits):
    small = type(limits)(**{**_values(limits), "max_heif_pixels": 1000})
    for name in ("heic", "avif"):
        with pytest.raises(UndecodableMedia, match="the limit is 1000"):
            probe(saved(STILLS[name]), name, small)
    assert probe(saved(STILLS["jpg"]), "jpg", small).width == 320


def test_too_many_frames_are_refused_at_once(saved, limits):
    with pytest.raises(UndecodableMedia) as refusal:
        probe(saved(hostile.gif_bomb()), "gif", limits)
    assert refusal.value.detail == "The animation has 10000 frames; the limit is 300."


def test_too_many_pixels_of_all_frames_are_refused(saved, limits):
    with pytest.raises(UndecodableMedia, match="562500000 pixels"):
        probe(saved(hostile.gif_bomb(250, 1500, 1500)), "gif", limits)


def test_a_gif_with_a_script_behind_it_is_a_gif(saved, limits):
    assert probe(saved(hostile.gif_and_script()), "gif", limits).width == 64


def test_no_refusal_names_the_file(saved, limits):
    path = saved(pictures.png()[:3000])
    with pytest.raises(UndecodableMedia) as refusal:
        probe(path, "png", limits)
    assert path not in refusal.value.detail


def test_svg_has_no_loader(saved):
    code = "import sys\nfrom mediakeep.media.libvips import Image\nImage.new_from_file(sys.argv[1])"
    run = subprocess.run(
        [sys.executable, "-c", code, saved(hostile.SVG)], capture_output=True, text=True, check=False
    )
    assert "not a known file format" in run.stderr


def test_a_rendition_is_summarised_like_its_original(saved, limits):
    facts = probe(saved(pictures.jpeg()), "jpg", limits)
    summary = image.summarize(facts.thumbnail)
    assert (summary.phash ^ facts.phash).bit_count() <= 8


@pytest.mark.parametrize("channels", [5, 6])
def test_further_channels_of_a_tiff_are_left_out(channels, saved, limits):
    facts = probe(saved(bombs.tiff_of_channels(channels)), "tiff", limits)
    assert (facts.width, facts.height) == (40, 30)
    assert opened(facts.thumbnail).getpixel((20, 15)) == pytest.approx((200, 60, 20), abs=6)


@pytest.mark.parametrize(("channels", "photometric"), [(2, 2), (2, 1), (3, 1), (6, 1)])
def test_a_tiff_of_odd_channels_has_a_picture(channels, photometric, saved, limits):
    facts = probe(saved(bombs.tiff_of_channels(channels, photometric)), "tiff", limits)
    assert opened(facts.thumbnail).size == (40, 30)


def test_measures_that_no_camera_has_are_left_out():
    block = Image.Exif()
    block.get_ifd(pictures.EXIF_IFD).update({0x829D: -4.0, 0x920A: 3e9, 0x829A: 0.01})
    block.get_ifd(pictures.GPS_IFD).update({1: "N", 2: (1.0, 2.0, 3.0), 3: "E", 4: (1.0, 2.0, 3.0), 6: 4e9})
    details, location = read_exif(block.tobytes())
    assert details == {"exposure_seconds": 0.01}
    assert set(location) == {"latitude", "longitude"}


def test_thousands_of_broken_tags_say_nothing():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert read_exif(bombs.exif_overlapping()) == ({}, None)
    assert said == []


def _values(limits) -> dict[str, int]:
    return {name: getattr(limits, name) for name in limits.__dataclass_fields__}
