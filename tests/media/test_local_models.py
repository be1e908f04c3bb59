import inspect
import math

import jsonschema
import pytest

from mediakeep.errors import InvalidInput
from mediakeep.media import films, local_models
from mediakeep.media.local_models import MODELS, parse, timeout_seconds

IMAGE = {"image": "https://example.org/1.jpg"}
IMAGES = {"images": ["https://example.org/1.jpg", "https://example.org/2.jpg"]}
LEAST = {"local/ken-burns": IMAGE, "local/slideshow": IMAGES}
RENDERINGS = {"local/ken-burns": films.ken_burns, "local/slideshow": films.slideshow}

# Within and beyond each bound.
BOUNDS = {
    "duration": ((1, 60), (0.99, 60.1)),
    "width": ((64, 1920), (62, 65, 1922, 640.5)),
    "height": ((64, 1920), (0, -2, 63, 1000000)),
    "fps": ((1, 60), (0, 61, 23.976)),
    "zoom": ((1, 2), (0.9, 2.1)),
    "direction": (("in", "random"), ("sideways", "", 1)),
    "gravity": (("smart", "top-left"), ("middle", None)),
    "seed": ((0, 2**32 - 1), (-1, 2**32)),
    "seconds_per_image": ((1, 20), (0.5, 21)),
    "fade": ((0, 1), (-0.1, 5.1)),
    "fit": (("contain", "cover"), ("inside",)),
    "image": (("x",), ("", None, 7, ["x"])),
    "images": ((["x"], ["x"] * 50), ([], ["x"] * 51, "x", [""], [None])),
}
FIELDS = [(model, name) for model in MODELS for name in MODELS[model].input_schema["properties"]]


@pytest.mark.parametrize("model", MODELS)
def test_a_model_says_what_it_takes(model):
    schema = MODELS[model].input_schema
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["required"] == list(LEAST[model])
    for name, field in schema["properties"].items():
        assert field["description"].endswith(".")
        assert ("default" in field) == (name not in LEAST[model])
    assert MODELS[model].title
    assert MODELS[model].description.endswith(".")


@pytest.mark.parametrize(("model", "name"), FIELDS)
def test_schema_and_parser_agree_on_every_bound(model, name):
    checker = jsonschema.Draft202012Validator(MODELS[model].input_schema)
    within, beyond = BOUNDS[name]
    for value in within:
        values = LEAST[model] | {name: value}
        assert checker.is_valid(values)
        assert getattr(parse(model, values), name) == value
    for value in beyond:
        values = LEAST[model] | {name: value}
        assert not checker.is_valid(values)
        with pytest.raises(InvalidInput) as refusal:
            parse(model, values)
        assert refusal.value.detail.startswith(name)
        assert refusal.value.members["errors"][0]["field"].split(".")[0] == name


@pytest.mark.parametrize("model", MODELS)
def test_what_is_not_said_is_the_default(model):
    film = parse(model, LEAST[model])
    properties = MODELS[model].input_schema["properties"]
    assert film.model_dump() == LEAST[model] | {
        name: field["default"] for name, field in properties.items() if "default" in field
    }
    assert (film.width, film.height, film.fps) == (1280, 720, 24)


@pytest.mark.parametrize("model", MODELS)
def test_what_no_model_knows_does_not_matter(model):
    assert parse(model, LEAST[model] | {"prompt": "a cat", "first_frame_image": "y"}) == parse(
        model, LEAST[model]
    )


@pytest.mark.parametrize("model", MODELS)
def test_everything_said_reaches_the_rendering(model):
    film = parse(model, LEAST[model])
    rendering = film.rendering(["/1", "/2"][: len(film.images)])
    assert rendering.func is RENDERINGS[model]
    told = inspect.signature(rendering.func).bind(
        *rendering.args, target="/t", limits=0, report=0, **rendering.keywords
    )
    said = film.model_dump(exclude={"image", "images"})
    assert {name: told.arguments[name] for name in said} == said
    assert set(told.arguments) - set(said) <= {"source", "sources", "target", "limits", "report"}


def test_everything_wrong_is_named():
    with pytest.raises(InvalidInput) as refusal:
        parse("local/ken-burns", {"width": 65, "fps": "many"})
    errors = refusal.value.members["errors"]
    assert [one["field"] for one in errors] == ["image", "width", "fps"]
    assert refusal.value.detail == (
        "image: Field required; width: Input should be a multiple of 2; "
        "fps: Input should be a valid integer, unable to parse string as an integer"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_number_is_no_number(value):
    with pytest.raises(InvalidInput, match="duration: Input should be a finite number"):
        parse("local/ken-burns", IMAGE | {"duration": value})


def test_a_film_that_is_too_much_together_is_refused():
    largest = {"width": 1920, "height": 1080, "fps": 30}
    parse("local/ken-burns", IMAGE | largest | {"duration": 60})
    with pytest.raises(InvalidInput) as refusal:
        parse("local/ken-burns", IMAGE | largest | {"duration": 60, "fps": 60})
    assert refusal.value.detail == (
        "The film would have 7464960000 pixels (1920 × 1080 × 3600 frames); the limit is 4000000000."
    )
    with pytest.raises(InvalidInput, match="6220800000 pixels"):
        parse("local/slideshow", {"images": ["x"] * 50} | largest | {"seconds_per_image": 2})


def test_a_fade_is_no_longer_than_its_image():
    parse("local/slideshow", IMAGES | {"seconds_per_image": 2, "fade": 2})
    with pytest.raises(InvalidInput) as refusal:
        parse("local/slideshow", IMAGES | {"seconds_per_image": 1, "fade": 2})
    assert refusal.value.detail == "fade must not be longer than seconds_per_image."


def test_a_larger_film_may_take_longer():
    small = parse("local/ken-burns", IMAGE)
    assert timeout_seconds(small) == 62
    assert timeout_seconds(parse("local/ken-burns", IMAGE | {"duration": 60})) == 305
    assert timeout_seconds(parse("local/slideshow", IMAGES)) == 77
    assert local_models.MAX_FILM_PIXELS / local_models._PIXELS_PER_SECOND == 800
