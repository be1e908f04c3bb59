"""Whether a submission fits, in the words of the validator that Replicate uses (gojsonschema)."""

from collections.abc import Iterator, Mapping, Sequence
from types import NoneType
from typing import Any, Final
from urllib.parse import urlsplit

from mediakeep.emulators.replicate.catalogue import Model, Property
from mediakeep.emulators.replicate.problems import Invalid

#: JSON as it was sent.
Json = Any

EVENTS: Final = ("start", "output", "logs", "completed")

_BODY: Final[Mapping[str, Property]] = {
    "version": {"type": "string"},
    "input": {"type": "object"},
    "webhook": {"type": "string", "format": "uri"},
    "webhook_events_filter": {"type": "array"},
    "stream": {"type": "boolean"},
}

_TYPES: Final[Mapping[type, str]] = {
    NoneType: "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def check_body(body: Json, *, needs_version: bool) -> list[Invalid]:
    """What is wrong with a submission's body, apart from the model's own inputs."""
    if not isinstance(body, dict):
        return [_wrong_type("", "object", body)]
    allowed = {name: one for name, one in _BODY.items() if needs_version or name != "version"}
    wrong = [_missing("", name) for name in ("version", "input") if name in allowed and name not in body]
    for name, value in body.items():
        if name in allowed:
            wrong += _check(name, value, allowed[name], ())
        else:
            sentence = f"Additional property {name} is not allowed"
            wrong.append(Invalid("", "additional_property_not_allowed", sentence))
    events = body.get("webhook_events_filter", [])
    for index, event in enumerate(events if isinstance(events, list) else []):
        wrong += _check(f"webhook_events_filter.{index}", event, {"type": "string"}, EVENTS)
    return wrong


def check_input(model: Model, given: Mapping[str, Json]) -> list[Invalid]:
    """What does not fit the model's schema. Inputs that it does not know are let through, as cog does."""
    wrong = [_missing("input", name) for name in model.required if name not in given]
    for name, value in given.items():
        if name in model.properties:
            choices = model.choices.get(name, ())
            rules = {"type": "string"} if choices else model.properties[name]
            wrong += _check(f"input.{name}", value, rules, choices)
    return wrong


def _check(field: str, value: Json, rules: Property, choices: Sequence[str]) -> Iterator[Invalid]:
    expected = rules["type"]
    if value is None and rules.get("nullable"):
        return
    if expected != _type_of(value) and not (expected == "number" and _type_of(value) == "integer"):
        yield _wrong_type(field, expected, value)
        return
    if choices and value not in choices:
        named = ", ".join(f'"{choice}"' for choice in choices)
        name = field.rpartition(".")[2]
        yield Invalid(field, "enum", f"{name} must be one of the following: {named}")
    if rules.get("format") == "uri" and not _is_uri(value):
        yield Invalid(field, "format", "Does not match format 'uri'")
    if "minimum" in rules and value < rules["minimum"]:
        yield Invalid(field, "number_gte", f"Must be greater than or equal to {rules['minimum']}")
    if "maximum" in rules and value > rules["maximum"]:
        yield Invalid(field, "number_lte", f"Must be less than or equal to {rules['maximum']}")


def _missing(field: str, name: str) -> Invalid:
    return Invalid(field, "required", f"{name} is required")


def _wrong_type(field: str, expected: str, value: Json) -> Invalid:
    return Invalid(field, "invalid_type", f"Invalid type. Expected: {expected}, given: {_type_of(value)}")


def _type_of(value: Json) -> str:
    if isinstance(value, float) and value.is_integer():
        return "integer"
    return _TYPES[type(value)]


def _is_uri(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme == "data" or (parts.scheme in {"http", "https"} and bool(parts.netloc))
