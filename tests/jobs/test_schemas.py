"""Schemas of models, which anybody may have written, and inputs against them."""

import json
import time
from contextlib import suppress
from itertools import product

import pytest

from mediakeep.errors import InvalidInput
from mediakeep.jobs import schemas
from mediakeep.jobs.providers import replicate as provider
from mediakeep.jobs.providers.base import digest
from mediakeep.jobs.values import read_data_url, replaced, texts_in, told

#: As large as what reads JSON lets through.
HUGE = 10**4290

ODD = [
    None,
    True,
    5,
    -1,
    0.5,
    HUGE,
    float("nan"),
    float("inf"),
    "",
    "x",
    "a\0b",
    "x" * 10**5,
    [],
    [1],
    {},
    {"a": 1},
]


def test_what_replicate_says_of_an_input_is_understood():
    components = {
        "aspect": {"type": "string", "title": "aspect", "enum": ["1:1", "16:9"]},
        "Input": {
            "type": "object",
            "title": "Input",
            "required": ["prompt", "gone"],
            "properties": {
                "seed": {"type": "integer", "nullable": True, "x-order": 2},
                "prompt": {"type": "string", "title": "Prompt", "x-order": 0},
                "aspect": {
                    "allOf": [{"$ref": "#/components/schemas/aspect"}],
                    "default": "1:1",
                    "description": "How wide",
                    "nullable": True,
                    "x-order": 1,
                },
                "images": {"type": "array", "items": {"type": "string", "format": "uri"}, "maxItems": 2},
                "scale": {"type": "number", "minimum": 0, "exclusiveMaximum": 10, "multipleOf": 0.5},
            },
        },
    }
    assert schemas.bounded(components["Input"], components) == {
        "type": "object",
        "title": "Input",
        "required": ["prompt"],
        "properties": {
            "prompt": {"type": "string", "title": "Prompt"},
            "aspect": {
                "type": ["string", "null"],
                "title": "aspect",
                "description": "How wide",
                "default": "1:1",
                "enum": ["1:1", "16:9", None],
            },
            "seed": {"type": ["integer", "null"]},
            "images": {"type": "array", "items": {"type": "string", "format": "uri"}, "maxItems": 2},
            "scale": {"type": "number", "minimum": 0, "exclusiveMaximum": 10, "multipleOf": 0.5},
        },
    }


def test_what_is_wrong_is_named_in_the_schemas_words():
    schema = {
        "type": "object",
        "required": ["prompt", "image"],
        "properties": {
            "prompt": {"type": "string", "maxLength": 3},
            "image": {"type": "string"},
            "steps": {"type": "integer", "maximum": 4},
            "shape": {"enum": ["a", "b"]},
            "parts": {"type": "array", "items": {"type": "integer"}},
        },
    }
    given = {"prompt": "long", "steps": 9, "shape": "c" * 300, "parts": [1, "x"], "other": 1}
    with pytest.raises(InvalidInput) as refused:
        schemas.check(schema, given)
    assert refused.value.members["errors"] == [
        {"field": "input.image", "reason": "it is required."},
        {"field": "input.prompt", "reason": "'long' is too long."},
        {"field": "input.steps", "reason": "9 is greater than the maximum of 4."},
        {"field": "input.shape", "reason": "the value does not fit: enum is ['a', 'b']."},
        {"field": "input.parts.1", "reason": "'x' is not of type 'integer'."},
    ]
    assert refused.value.detail == (
        "input.image: it is required.; input.prompt: 'long' is too long.; "
        "input.steps: 9 is greater than the maximum of 4."
    )


def test_no_more_errors_are_told_than_anybody_reads():
    schema = {"type": "object", "properties": {"a": {"items": {"type": "null"}}}}
    with pytest.raises(InvalidInput) as refused:
        schemas.check(schema, {"a": list(range(10_000))})
    assert len(refused.value.members["errors"]) == 20


def test_inputs_that_are_not_known_are_told_apart():
    schema = {"type": "object", "properties": {"a": {}}}
    assert schemas.known(schema, {"a": 1, "b": 2}) == ({"a": 1}, ["b"])
    assert schemas.known({"type": "object"}, {"a": 1, "b": 2}) == ({"a": 1, "b": 2}, [])
    assert schemas.known(schemas.bounded({"properties": {}}), {"a": 1}) == ({}, ["a"])


@pytest.mark.parametrize("schema", ODD, ids=lambda one: str(type(one)))
def test_a_schema_that_is_none_allows_everything(schema):
    assert schemas.bounded(schema, schema)["type"] == "object"
    schemas.check(schemas.bounded(schema, schema), {"a": 1})


def test_members_of_wrong_types_are_passed_over():
    """Each member of a schema with each odd value, and inputs of every kind against that."""
    members = (
        "type title description format minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength "
        "minItems maxItems enum default required properties items allOf $ref nullable x-order pattern anyOf not"
    )
    for member, odd in product(members.split(), [*ODD, ODD]):
        one = {"properties": {"a": {member: odd}, "b": {"items": {member: odd}}}, member: odd}
        kept = schemas.bounded(one, {"x": one})
        json.dumps(kept, allow_nan=False)
        for value in (1, 1e308, "x", "x" * 1000, None, [1, "x"], {"a": 1}, True):
            with suppress(InvalidInput):
                schemas.check(kept, {"a": value, "b": [value]})


@pytest.mark.parametrize(
    ("schema", "components"),
    [
        ({"$ref": "#/c/A"}, {"A": {"$ref": "#/c/A", "properties": {"a": {"$ref": "#/c/A"}}}}),
        (
            {"$ref": "#/c/A"},
            {"A": {"properties": {f"p{n}": {"$ref": "#/c/A"} for n in range(200)}}},
        ),
        (
            {"properties": {f"p{n}": {"$ref": "#/c/A"} for n in range(200)}},
            {"A": {"type": "string", "enum": ["x" * 2000] * 500, "description": "y" * 10**6}},
        ),
        ({"properties": {f"p{n}": {} for n in range(10**5)}}, {}),
        ({"allOf": [{"allOf": [{"allOf": []}]}] * 10**5}, {}),
        ({"properties": {"x" * 10**6: {}, "a\0": {}}, "required": ["x" * 10**6] * 1000}, {}),
    ],
    ids=["itself", "two hundred to the fourth", "long", "many", "allOf", "names"],
)
def test_a_schema_that_would_grow_stays_small(schema, components):
    kept = schemas.bounded(schema, components)
    assert len(json.dumps(kept)) < 1_000_000
    assert sum(1 for _ in _nodes(kept)) < 3000
    schemas.check({**kept, "required": []}, {"p1": {"p1": {"p1": 5}}, "a": "b"})


def _nodes(schema):
    yield schema
    for one in schema.get("properties", {}).values():
        yield from _nodes(one)


def test_a_pattern_is_never_tried():
    schema = schemas.bounded({"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}})
    began = time.process_time()
    schemas.check(schema, {"a": "a" * 40 + "!"})
    assert time.process_time() - began < 5


@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_numbers_that_no_arithmetic_bears_are_refused(value):
    schema = {"type": "object", "properties": {"a": {"type": "number", "multipleOf": 0.1}}}
    with pytest.raises(InvalidInput, match="A number is too large"):
        schemas.check(schema, {"a": value})


def test_what_another_program_may_have_written_differently_has_one_digest():
    assert digest({"a": 1.0, "b": [2.0, {"c": 1e16}]}) == digest({"b": [2, {"c": 10**16}], "a": 1})
    assert digest({"a": 1.5}) != digest({"a": 1})
    assert digest(True) != digest(1)


def test_texts_are_found_and_changed_wherever_they_are():
    value = {"a": "x", "b": [1, "y", {"c": "z"}], "d": None}
    assert list(texts_in(value)) == [("input.a", "x"), ("input.b.1", "y"), ("input.b.2.c", "z")]
    assert replaced(value, str.upper) == {"a": "X", "b": [1, "Y", {"c": "Z"}], "d": None}


def test_files_in_inputs_are_only_told_of():
    short = told({"a": "data:image/png;base64," + "A" * 1000, "b": "data:,short", "c": "x" * 1000})
    assert short == {
        "a": f"data:image/png;base64,{'A' * 18}… (1022 characters)",
        "b": "data:,short",
        "c": "x" * 1000,
    }
    assert told(short) == short


@pytest.mark.parametrize(
    ("url", "content"),
    [
        ("data:,a%20b", b"a b"),
        ("data:image/png;base64,aGVsbG8=", b"hello"),
        ("data:text/plain;charset=utf-8;base64,aGVsbG8=", b"hello"),
        ("data:,", b""),
    ],
)
def test_data_urls_are_read(url, content):
    assert read_data_url(url) == content


@pytest.mark.parametrize("url", ["data:", "data:nothing", "data:;base64,A", "data:,\ud800", "nonsense"])
def test_what_is_no_data_url_is_refused(url):
    with pytest.raises(ValueError, match="no data URL"):
        read_data_url(url)


def test_ids_of_predictions_are_what_paths_can_hold():
    good = ["x1", "a/b", "../..", "%2e%2e", "a" * 200]
    assert all(map(provider._is_reference, good))
    bad = ["", ".", "..", "a b", "a\0", "é", "a" * 201, 5, None, ["a"]]
    assert not any(map(provider._is_reference, bad))


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        ({"retry_after": 5}, 5.0),
        ({"ratelimit-reset": "7"}, 7.0),
        ({"ratelimit-reset": "0"}, 1.0),
        ({"retry_after": 99999}, 600.0),
        ({"retry_after": float("nan")}, 30.0),
        ({"retry_after": HUGE}, 30.0),
        ({"retry_after": {"a": 1}}, 30.0),
        ({}, 30.0),
    ],
)
def test_how_long_to_leave_the_provider_alone(answer, seconds):
    assert provider._seconds_to_wait(answer) == seconds
