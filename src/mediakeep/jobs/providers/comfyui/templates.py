"""Workflow templates: what ComfyUI exports as API format, and which of its inputs a job fills. See docs/comfyui.md."""

import copy
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mediakeep.errors import InvalidInput
from mediakeep.jobs import schemas
from mediakeep.jobs.providers.base import UnknownModel, drawn

_SUFFIX: Final = ".json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_MAX_BYTES = 4 << 20
_MOST_INPUTS = 100
_TITLE_CHARACTERS = 200
_DESCRIPTION_CHARACTERS = 2000

#: Single values only: a list in a workflow is a wire to another node.
_TYPES: Final = frozenset({"string", "integer", "number", "boolean"})
_OF_SCHEMA: Final = frozenset(
    {
        *("type", "title", "description", "format", "enum", "default", "minLength", "maxLength"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    }
)
_OF_SLOT: Final = frozenset({"where", "required", "random"})

#: What a random number is drawn from where its input names no bounds: what every node takes.
_LEAST_RANDOM, _GREATEST_RANDOM = 0, 2**32 - 1


@dataclass(frozen=True, kw_only=True)
class Slot:
    """An input of the model. `places` are the inputs of nodes that it fills: (node id, input's name)."""

    name: str
    places: tuple[tuple[str, str], ...]
    is_file: bool
    #: The bounds of what is drawn where the input is absent, both included; None where nothing is.
    random: tuple[int, int] | None
    #: What the file says is put in where the input is absent; None leaves what the workflow has.
    default: Any  # a single JSON value


@dataclass(frozen=True, kw_only=True)
class Template:
    """`version` is the beginning of the file's SHA-256."""

    title: str
    description: str
    version: str
    slots: tuple[Slot, ...]
    input_schema: Mapping[str, Any]
    workflow: Mapping[str, Any]


def names(folder: Path) -> list[str]:
    """The templates that there are, whether or not they can be used."""
    if not folder.is_dir():
        return []
    files = (one for one in folder.iterdir() if one.suffix == _SUFFIX and one.is_file())
    return sorted(one.stem for one in files if _NAME.fullmatch(one.stem))


def read(folder: Path, name: str) -> Template:
    """Raises `UnknownModel` where there is none of this name, or it is wrong; then the sentence says what."""
    path = folder / f"{name}{_SUFFIX}"
    if not _NAME.fullmatch(name) or not path.is_file():
        raise UnknownModel(
            "There is no ComfyUI workflow of this name; GET /api/v2/models lists what there is."
        )
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        return _parsed(name, content)
    except OSError as error:
        raise UnknownModel(f"The template {path.name} cannot be read.") from error
    except _Wrong as error:
        raise UnknownModel(f"The template {path.name} is wrong: {error}.") from error


def filled(template: Template, values: Mapping[str, Any], *, job_id: str) -> dict[str, Any]:
    """The workflow with these values in their places; what is random is the same whenever a job is asked again."""
    workflow = {node: copy.deepcopy(one) for node, one in template.workflow.items()}
    for slot in template.slots:
        value = values.get(slot.name, slot.default)
        if slot.random is not None and slot.name not in values:
            value = drawn(slot.name, slot.random, job_id=job_id)
        if value is None:
            continue
        for node, name in slot.places:
            workflow[node]["inputs"][name] = value
    return workflow


class _Wrong(Exception):
    """What is wrong with a template: a sentence without its end."""


def _parsed(name: str, content: bytes) -> Template:
    if len(content) > _MAX_BYTES:
        raise _Wrong(f"it has more than {_MAX_BYTES >> 20} MB")
    try:
        given = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _Wrong("it is no JSON") from error
    if not isinstance(given, dict):
        raise _Wrong("it is no JSON object")
    workflow = _workflow(given)
    fragments = _inputs(given.get("inputs", {}))
    slots = tuple(_slot(one, fragment, workflow) for one, fragment in fragments.items())
    return Template(
        title=_text(given, "title", _TITLE_CHARACTERS) or name,
        description=_text(given, "description", _DESCRIPTION_CHARACTERS),
        version=hashlib.sha256(content).hexdigest()[:12],
        slots=slots,
        input_schema=_schema(slots, fragments, workflow),
        workflow=workflow,
    )


def _no_number(name: str) -> float:
    raise ValueError(name)


def _text(given: Mapping[str, Any], name: str, characters: int) -> str:
    text = given.get(name, "")
    if not isinstance(text, str):
        raise _Wrong(f"'{name}' is no text")
    return text[:characters]


def _workflow(given: Mapping[str, Any]) -> dict[str, Any]:
    workflow = given.get("workflow")
    if isinstance(workflow, dict) and isinstance(workflow.get("nodes"), list):
        raise _Wrong("'workflow' is what ComfyUI saves; it must be what it exports as API format")
    if not isinstance(workflow, dict) or not workflow:
        raise _Wrong("it has no 'workflow', which is what ComfyUI exports as API format")
    for node, one in workflow.items():
        is_node = isinstance(one, dict) and isinstance(one.get("class_type"), str)
        if not is_node or not isinstance(one.get("inputs"), dict):
            raise _Wrong(f"'workflow' is not in API format: node {node[:50]} lacks 'class_type' or 'inputs'")
    return workflow


def _inputs(inputs: object) -> dict[str, dict[str, Any]]:
    if not isinstance(inputs, dict) or not all(isinstance(one, dict) for one in inputs.values()):
        raise _Wrong("'inputs' must be an object of objects")
    if len(inputs) > _MOST_INPUTS:
        raise _Wrong(f"it has more than {_MOST_INPUTS} inputs")
    return inputs


def _slot(name: str, fragment: Mapping[str, Any], workflow: Mapping[str, Any]) -> Slot:
    unknown = sorted(set(fragment) - _OF_SCHEMA - _OF_SLOT)
    if unknown:
        raise _Wrong(f"input '{name}' has '{unknown[0]}', which means nothing here")
    kind = fragment.get("type")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise _Wrong(f"input '{name}' must have a 'type' among {', '.join(sorted(_TYPES))}")
    is_file = fragment.get("format") == "uri"
    if is_file and (kind != "string" or "default" in fragment):
        raise _Wrong(f"input '{name}' is a file ('format': 'uri'): a string, without a default")
    for flag in ("required", "random"):
        if not isinstance(fragment.get(flag, False), bool):
            raise _Wrong(f"'{flag}' of input '{name}' must be true or false")
    return Slot(
        name=name,
        places=_places(name, fragment.get("where"), workflow),
        is_file=is_file,
        random=_bounds(name, fragment) if fragment.get("random") else None,
        default=fragment.get("default"),
    )


def _places(name: str, where: object, workflow: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Where a slot's value goes, from "6.text" or a list of such."""
    listed = [where] if isinstance(where, str) else where
    if not isinstance(listed, list) or not listed or not all(isinstance(one, str) for one in listed):
        raise _Wrong(f"input '{name}' must say 'where' it goes, such as \"6.text\", or several in a list")
    return tuple(_place(name, one, workflow) for one in listed)


def _place(name: str, where: str, workflow: Mapping[str, Any]) -> tuple[str, str]:
    node, _, field = where.partition(".")
    if node not in workflow:
        raise _Wrong(f"input '{name}' goes to {where[:100]}, but there is no node {node[:50]}")
    inputs = workflow[node]["inputs"]
    if field not in inputs:
        raise _Wrong(f"input '{name}' goes to {where[:100]}, but node {node} has no such input")
    if isinstance(inputs[field], list):
        raise _Wrong(f"input '{name}' goes to {where[:100]}, which is wired to another node")
    return node, field


def _bounds(name: str, fragment: Mapping[str, Any]) -> tuple[int, int]:
    least = fragment.get("minimum", _LEAST_RANDOM)
    greatest = fragment.get("maximum", max(_GREATEST_RANDOM, least) if isinstance(least, int) else 0)
    are_numbers = isinstance(least, int) and isinstance(greatest, int)
    if fragment["type"] != "integer" or not are_numbers or least > greatest:
        raise _Wrong(f"input '{name}' is random: an integer whose minimum, if any, is not above its maximum")
    if "default" in fragment:
        raise _Wrong(f"input '{name}' is random, so it has no default")
    return least, greatest


def _schema(
    slots: Sequence[Slot], fragments: Mapping[str, Mapping[str, Any]], workflow: Mapping[str, Any]
) -> dict[str, Any]:
    properties: dict[str, dict[str, Any]] = {}
    required: list[str] = []
    for slot in slots:
        fragment = fragments[slot.name]
        properties[slot.name] = {key: value for key, value in fragment.items() if key in _OF_SCHEMA}
        # The file that a workflow was made with is on somebody's ComfyUI, or no longer.
        if fragment.get("required", slot.is_file):
            required.append(slot.name)
        elif slot.random is None and not slot.is_file:
            properties[slot.name].setdefault("default", _present(slot, workflow))
    schema = schemas.bounded({"properties": properties, "required": required})
    _check_defaults(schema)
    return schema


def _present(slot: Slot, workflow: Mapping[str, Any]) -> Any:  # a single JSON value
    node, field = slot.places[0]
    return workflow[node]["inputs"][field]


def _check_defaults(schema: Mapping[str, Any]) -> None:
    defaults = {
        name: one["default"] for name, one in schema["properties"].items() if one.get("default") is not None
    }
    try:
        schemas.check({**schema, "required": []}, defaults)
    except InvalidInput as error:
        raise _Wrong(f"a default does not fit its input: {error.detail.rstrip('.')}") from error
