"""What models take, as JSON Schema: made small and harmless, and used to check inputs.

Anybody may publish a model, and with it a schema that takes for ever to check: patterns, references that refer to one
another, a thousand levels. So of a schema only what is understood is kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeGuard

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from mediakeep.errors import InvalidInput

_MOST_PROPERTIES = 200
_MOST_VALUES = 500
_DEEPEST = 4
_LONGEST_TEXT = 2000
_LONGEST_NAME = 200
_LARGEST_NUMBER = 2**63
#: Of a whole schema: references to the same thing are each written out.
_MOST_NODES = 2000
_MOST_CHARACTERS = 256_000

_TYPES: Final = frozenset({"string", "integer", "number", "boolean", "array", "object", "null"})
_NUMBERS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_COUNTS: Final = ("minLength", "maxLength", "minItems", "maxItems")
_TEXTS: Final = ("title", "description", "format")

_LONGEST_REASON = 200
_MOST_ERRORS = 20


@dataclass
class _Room:
    """How much more of a schema is kept. What comes after that allows everything."""

    nodes: int = _MOST_NODES
    characters: int = _MOST_CHARACTERS

    def take(self, kept: object, *, nodes: int = 0) -> bool:
        """Whether there is room for this."""
        self.nodes -= nodes
        self.characters -= len(str(kept))
        return self.nodes >= 0 and self.characters >= 0


def bounded(schema: object, components: object = None) -> dict[str, Any]:
    """JSON Schema (2020-12) of an object with what is understood of `schema`; `components` is where its references lead.

    Understood: type, enum, default, bounds of numbers, lengths, items and properties; `$ref` and `allOf` as Replicate's
    schemas have them; whatever is not, allows everything. Without `properties` it is not known what the model takes.
    """
    kept = _kept(schema, components if isinstance(components, Mapping) else {}, _Room(), depth=0)
    return {**kept, "type": "object"}


def _kept(schema: object, components: Mapping[str, Any], room: _Room, *, depth: int) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return {}
    parts = _referred(schema, components)
    kept: dict[str, Any] = {}
    for one in parts:
        kept |= _plain(one)
    if not room.take(kept):
        return {}
    for one in parts:
        named = _named(one)
        if named is not None and room.take([name for name, _ in named], nodes=len(named)):
            kept["properties"] = {
                name: _kept(value, components, room, depth=depth + 1) for name, value in named
            }
        if isinstance(one.get("items"), Mapping) and room.take("items", nodes=1):
            kept["items"] = _kept(one["items"], components, room, depth=depth + 1)
    if "required" in kept and "properties" in kept:
        kept["required"] = [name for name in kept["required"] if name in kept["properties"]]
    if any(one.get("nullable") is True for one in parts):
        _allow_null(kept)
    return kept


def _named(schema: Mapping[str, Any]) -> list[tuple[str, Any]] | None:
    """The first properties of a schema; None where it does not say."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return None
    return sorted(((name, one) for name, one in properties.items() if _is_name(name)), key=_turn)[
        :_MOST_PROPERTIES
    ]


def _allow_null(kept: dict[str, Any]) -> None:
    """As OpenAPI 3.0 means its `nullable`, which JSON Schema does not know."""
    if "type" in kept:
        kept["type"] = [kept["type"], "null"]
    if "enum" in kept and None not in kept["enum"]:
        kept["enum"] = [*kept["enum"], None]


def _turn(named: tuple[str, Any]) -> float:
    """Replicate says by `x-order` in which order a model's author wants the inputs shown."""
    order = named[1].get("x-order") if isinstance(named[1], Mapping) else None
    return order if _is_number(order) else _MOST_PROPERTIES


def _referred(schema: Mapping[str, Any], components: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the schema refers to, then itself, which counts for more."""
    parts: list[object] = [schema]
    if isinstance(every := schema.get("allOf"), list) and len(every) == 1:
        parts.insert(0, every[0])
    found: list[Mapping[str, Any]] = []
    for part in parts:
        if not isinstance(part, Mapping):
            continue
        reference = part.get("$ref")
        if isinstance(reference, str):
            target = components.get(reference.rpartition("/")[2])
            if isinstance(target, Mapping):
                found.append(target)
        found.append(part)
    return found


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The members that stand for themselves."""
    kept: dict[str, Any] = {
        name: text[:_LONGEST_TEXT] for name in _TEXTS if isinstance(text := schema.get(name), str)
    }
    if isinstance(type_ := schema.get("type"), str) and type_ in _TYPES:
        kept["type"] = type_
    kept |= {name: value for name in _NUMBERS if _is_number(value := schema.get(name))}
    kept |= {name: value for name in _COUNTS if _is_count(value := schema.get(name))}
    if kept.get("multipleOf", 1) <= 0:
        del kept["multipleOf"]
    choices = schema.get("enum")
    if isinstance(choices, list) and 0 < len(choices) <= _MOST_VALUES and all(map(_is_value, choices)):
        kept["enum"] = list(choices)
    if isinstance(names := schema.get("required"), list):
        kept["required"] = [one for one in names[:_MOST_PROPERTIES] if isinstance(one, str)]
    if (default := schema.get("default")) is not None and _is_value(default):
        kept["default"] = default
    return kept


def _is_name(name: object) -> bool:
    return isinstance(name, str) and len(name) <= _LONGEST_NAME and "\0" not in name


def _is_count(value: object) -> bool:
    return _is_number(value) and isinstance(value, int) and value >= 0


def _is_number(value: object) -> TypeGuard[int | float]:
    """One that JSON can carry, and arithmetic bear."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < _LARGEST_NUMBER  # which is not so of NaN


def _is_value(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT and "\0" not in value
    return value is None or isinstance(value, bool) or _is_number(value)


def known(schema: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Those of the inputs that the schema knows, and the names of the others. Without `properties` it knows all."""
    names = schema.get("properties", values)
    return {name: value for name, value in values.items() if name in names}, [
        name for name in values if name not in names
    ]


def _check_choice(
    _validator: object, choices: Sequence[Any], value: object, _schema: object
) -> Iterator[ValidationError]:
    """`enum` of single values. The library compares one by one: half a minute for a long list and many choices."""
    if value not in choices or (value in (0, 1) and not _has_of_kind(choices, value)):
        yield ValidationError(f"{value!r} is not one of {choices!r}")


def _has_of_kind(choices: Sequence[Any], value: object) -> bool:
    """Python takes true for 1 and false for 0, JSON does not."""
    return any(isinstance(one, bool) is isinstance(value, bool) for one in choices if one == value)


_Checker = extend(Draft202012Validator, {"enum": _check_choice})  # type: ignore[no-untyped-call]  # has no annotations


def check(schema: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Raise `InvalidInput`, which names every input that is missing or wrong, in the schema's words."""
    missing = [name for name in schema.get("required", ()) if name not in values]
    errors = [{"field": f"input.{name}", "reason": "it is required."} for name in missing]
    present = {name: value for name, value in schema.items() if name != "required"}
    try:
        wrong = list(islice(_Checker(present).iter_errors(dict(values)), _MOST_ERRORS))
    except OverflowError as error:
        raise InvalidInput("A number is too large.", field="input") from error
    errors += [{"field": _field(error), "reason": _reason(error)} for error in wrong]
    if errors:
        raise refusal(errors)


def refusal(errors: Sequence[Mapping[str, str]]) -> InvalidInput:
    """What says all that is wrong, each with `field` and `reason`; its sentence says the first three."""
    sentence = "; ".join(f"{one['field']}: {one['reason']}" for one in errors[:3])
    refused = InvalidInput(sentence, field=errors[0]["field"])
    refused.members["errors"] = list(errors)
    return refused


def _field(error: ValidationError) -> str:
    return ".".join(["input", *(str(one)[:100] for one in error.absolute_path)])


def _reason(error: ValidationError) -> str:
    """The validator's words, without a value of any length before them."""
    shown = error.message if len(error.message) <= _LONGEST_REASON else _without_value(error)
    return f"{shown[:_LONGEST_REASON]}."


def _without_value(error: ValidationError) -> str:
    return f"the value does not fit: {error.validator} is {str(error.validator_value)[:150]}"
