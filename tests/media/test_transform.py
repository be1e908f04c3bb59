import dataclasses
import itertools
import math

import pytest

from mediakeep.media.transform import Transform, background_color, crop_start, fitted, whole_size

PHOTO = (4000, 3000)
BOUNDS = {"max_side": 2560, "max_pixels": 40_000_000}
FITS = ("inside", "cover", "contain", "fill")
SOURCES = (
    (4000, 3000),
    (3000, 4000),
    (100, 100),
    (1, 1),
    (1, 5000),
    (5000, 1),
    (7, 3),
    (9999, 2),
    (641, 480),
)
SIDES = (None, 1, 2, 3, 100, 641, 2560)


def asked(source=PHOTO, **wishes):
    return fitted(Transform(**wishes), source, **BOUNDS)


def size(source=PHOTO, **wishes):
    exact = asked(source, **wishes)
    return exact.width, exact.height


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({"width": 800, "height": 800}, (800, 600)),
        ({"width": 800, "height": 300}, (400, 300)),
        ({"width": 800, "height": 800, "fit": "cover"}, (800, 800)),
        ({"width": 800, "height": 800, "fit": "contain"}, (800, 800)),
        ({"width": 800, "height": 300, "fit": "fill"}, (800, 300)),
        ({"width": 800}, (800, 600)),
        ({"height": 300}, (400, 300)),
    ],
)
def test_every_fit_has_its_exact_size(wishes, expected):
    assert size(**wishes) == expected


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({"width": 8000, "height": 8000}, (4000, 3000)),
        ({"width": 8000, "height": 4000, "fit": "cover"}, (4000, 2000)),
        ({"width": 2000, "height": 6000, "fit": "cover"}, (1000, 3000)),
        ({"width": 8000, "height": 1000, "fit": "fill"}, (4000, 1000)),
        # Padding is no enlargement.
        ({"width": 8000, "height": 4000, "fit": "contain"}, (8000, 4000)),
    ],
)
def test_nothing_is_enlarged(wishes, expected):
    assert size(**wishes) == expected
    assert max(whole_size(asked(**wishes), PHOTO)) <= 4000


@pytest.mark.parametrize(
    ("fit", "expected"),
    [("inside", (2560, 1920)), ("cover", (2560, 2000)), ("contain", (2560, 2000)), ("fill", (2560, 2000))],
)
def test_it_is_enlarged_where_that_is_wanted(fit, expected):
    assert size((400, 300), width=2560, height=2000, fit=fit, enlarge=True) == expected


def test_a_contained_picture_grows_only_where_that_is_wanted():
    box = {"width": 800, "height": 800, "fit": "contain"}
    assert whole_size(asked((400, 300), **box), (400, 300)) == (400, 300)
    assert whole_size(asked((400, 300), **box, enlarge=True), (400, 300)) == (800, 600)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("enlarge", [False, True])
def test_with_one_side_every_fit_is_the_whole_picture(fit, enlarge):
    assert asked(width=777, fit=fit, enlarge=enlarge, gravity="top") == asked(width=777)
    assert asked(height=777, fit=fit, enlarge=enlarge, gravity=(0.1, 0.2)) == asked(height=777)


def test_sides_that_nobody_asked_for_stay_within_the_bounds():
    assert size((8000, 6000)) == (2560, 1920)
    assert size((8000, 6000), enlarge=True) == (2560, 1920)
    assert size((100, 5000), width=100) == (51, 2560)
    assert size((10, 500), width=400, enlarge=True) == (51, 2560)
    few = fitted(Transform(), (4000, 3000), max_side=8192, max_pixels=1_000_000)
    assert (few.width, few.height) == (1154, 866)
    wide = fitted(Transform(width=3000, enlarge=True), (400, 300), max_side=8192, max_pixels=1_000_000)
    assert (wide.width, wide.height) == (1154, 866)


def test_sides_that_were_asked_for_are_taken_as_they_are():
    assert size((8000, 6000), width=4000, height=4000) == (4000, 3000)
    assert size((8000, 6000), width=4000, height=4000, fit="cover") == (4000, 4000)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("fit", FITS)
def test_every_size_holds_the_rules(fit, source):
    for width, height, enlarge, max_pixels in itertools.product(
        SIDES, SIDES, (False, True), (50, 40_000_000)
    ):
        wishes = Transform(width=width, height=height, fit=fit, enlarge=enlarge)
        exact = fitted(wishes, source, max_side=2560, max_pixels=max_pixels)
        assert exact.fit in {"fill", "cover", "contain"}
        assert exact.width >= 1
        assert exact.height >= 1
        assert width is None or exact.width <= width
        assert height is None or exact.height <= height
        if width is None or height is None:
            assert exact.width * exact.height <= max_pixels
            assert width is not None or exact.width <= 2560
            assert height is not None or exact.height <= 2560
        whole = whole_size(exact, source)
        if not enlarge:
            assert whole[0] <= source[0]
            assert whole[1] <= source[1]
        if exact.fit == "cover":
            assert whole[0] >= exact.width
            assert whole[1] >= exact.height
        if exact.fit == "contain":
            assert whole[0] <= exact.width
            assert whole[1] <= exact.height


def test_a_shape_is_kept_to_half_a_pixel():
    for side in range(1, 400):
        width, height = size((641, 480), width=side)
        assert width == side
        assert math.isclose(height, side * 480 / 641, abs_tol=0.5)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"width": 800, "height": 600}, {"width": 800}),
        ({"width": 800, "height": 600, "fit": "cover"}, {"width": 800, "height": 600, "fit": "contain"}),
        ({"width": 800, "height": 600, "fit": "cover", "gravity": "smart"}, {"width": 800, "fit": "fill"}),
        ({"width": 9000, "height": 9000}, {"width": 4000, "height": 3000}),
        ({"width": 8000, "height": 4000, "fit": "cover"}, {"width": 4000, "height": 2000, "fit": "cover"}),
        ({"width": 800, "height": 800, "enlarge": True}, {"width": 800, "height": 800}),
        (
            {"width": 800, "height": 800, "fit": "contain", "enlarge": True, "gravity": "top"},
            {"width": 800, "height": 800, "fit": "contain"},
        ),
        ({"width": 800, "gravity": "smart"}, {"width": 800}),
        ({"width": 800, "background": "FF0000FF"}, {"width": 800, "background": "ff0000ff"}),
        ({"width": 800, "background": "ffffffff"}, {"width": 800}),
        ({"width": 800, "background": "00000000"}, {"width": 800}),
        ({"width": 800, "background": "ff000000", "format": "png"}, {"width": 800, "format": "png"}),
        ({"width": 800, "background": "00000080"}, {"width": 800, "background": "7f7f7fff"}),
        ({"width": 800, "format": "png", "quality": 3}, {"width": 800, "format": "png", "quality": None}),
        ({"width": 800, "format": "jpg", "animated": True}, {"width": 800, "format": "jpg"}),
    ],
)
def test_what_gives_the_same_picture_is_the_same_transform(one, other):
    assert asked(**one) == asked(**other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"gravity": "top-left"}, {"gravity": "left"}),
        ({"gravity": "bottom"}, {"gravity": "center"}),
        ({"gravity": (0.0, 0.9)}, {"gravity": "left"}),
        ({"gravity": (0.5, 0.1)}, {"gravity": "center"}),
        ({"gravity": (0.61, 0.1)}, {"gravity": (0.61, 0.8)}),
        ({"gravity": (0.95, 0.1)}, {"gravity": "right"}),
    ],
)
def test_only_the_side_that_is_cropped_tells_crops_apart(one, other):
    square = {"width": 300, "height": 300, "fit": "cover"}
    assert asked(**square, **one) == asked(**square, **other)


def test_crops_that_differ_are_different_transforms():
    square = {"width": 300, "height": 300, "fit": "cover"}
    gravities = ("left", "center", "right", "smart", (0.4, 0.5), (0.6, 0.5))
    assert len({asked(**square, gravity=gravity) for gravity in gravities}) == len(gravities)


def test_a_normal_form_crops_as_what_was_asked_for():
    for x, y in itertools.product((0.0, 0.13, 0.377, 0.5, 0.51, 0.9, 1.0), repeat=2):
        exact = asked((641, 480), width=111, height=222, fit="cover", gravity=(x, y))
        whole = whole_size(exact, (641, 480))
        assert crop_start(exact.gravity, whole, (111, 222)) == crop_start((x, y), whole, (111, 222))


@pytest.mark.parametrize("fit", FITS)
def test_what_is_fitted_stays_as_it_is(fit):
    exact = asked(width=300, height=200, fit=fit, gravity=(0.3, 0.3))
    assert fitted(exact, PHOTO, **BOUNDS) == exact


@pytest.mark.parametrize(
    ("gravity", "start"),
    [
        ("center", (20, 30)),
        ("top", (20, 0)),
        ("bottom", (20, 60)),
        ("left", (0, 30)),
        ("right", (40, 30)),
        ("top-left", (0, 0)),
        ("top-right", (40, 0)),
        ("bottom-left", (0, 60)),
        ("bottom-right", (40, 60)),
    ],
)
def test_an_anchor_says_where_to_crop(gravity, start):
    assert crop_start(gravity, (100, 100), (60, 40)) == start


def test_a_focal_point_is_the_middle_of_the_crop_as_far_as_the_picture_allows():
    assert crop_start((0.4, 0.6), (100, 100), (20, 20)) == (30, 50)
    assert crop_start((0.01, 0.99), (100, 100), (20, 20)) == (0, 80)


def test_a_background_is_opaque_where_the_format_is():
    assert background_color(Transform(format="jpg")) == (255, 255, 255, 255)
    assert background_color(Transform(format="webp"))[3] == 0
    assert background_color(Transform(format="jpg", background="00000080")) == (127, 127, 127, 255)
    assert background_color(Transform(format="png", background="01020380")) == (1, 2, 3, 128)


def test_what_has_nothing_to_do_with_size_is_kept():
    wishes = Transform(width=100, blur=2.5, page=3, seconds=4.5, quality=33, format="webp", animated=True)
    exact = fitted(wishes, PHOTO, **BOUNDS)
    assert dataclasses.replace(exact, width=100, height=None, fit="inside") == wishes
