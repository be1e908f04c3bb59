"""What makes a workflow a model, and what a job makes of it."""

import json
import re
from pathlib import Path

import pytest

from mediakeep.jobs.providers.base import (
    UnknownModel,
    drawn,
)
from mediakeep.jobs.providers.comfyui import ComfyUI, templates
from tests.jobs.comfyui.conftest import JOB, OTHER


async def test_a_model_has_the_schema_of_its_template(provider, sketch):
    model = await provider.describe("comfyui/sketch")
    assert (model.model_id, model.provider) == ("comfyui/sketch", "comfyui")
    assert (model.title, model.description) == ("Sketch to picture", "Paints over a sketch.")
    assert re.fullmatch("[0-9a-f]{12}", model.version or "")
    schema = model.input_schema
    assert list(schema["properties"]) == list(sketch["inputs"])
    assert schema["required"] == ["prompt", "image"]
    assert schema["properties"]["strength"] == {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0.75,
    }
    assert schema["properties"]["sampler"]["enum"] == ["euler", "dpmpp_2m"]
    assert schema["properties"]["image"]["format"] == "uri"
    for name in ("prompt", "image", "seed"):
        assert "default" not in schema["properties"][name]


async def test_what_is_absent_stays_as_the_workflow_has_it(provider, order, sketch):
    prepared = await provider.prepare(order(seed=sketch["workflow"]["6"]["inputs"]["seed"]))
    for node in ("1", "3", "5", "6", "7", "8"):
        assert prepared[node] == sketch["workflow"][node]


async def test_a_default_of_the_template_fills_several_places(provider, folder, sketch, order):
    sketch["inputs"]["steps"] |= {"default": 4, "where": ["6.steps", "6.cfg"]}
    (folder / "sketch.json").write_text(json.dumps(sketch))
    prepared = await provider.prepare(order())
    assert (prepared["6"]["inputs"]["steps"], prepared["6"]["inputs"]["cfg"]) == (4, 4)


async def test_what_is_random_is_a_jobs_own_and_stays(provider, order):
    async def seed(job_id):
        return (await provider.prepare(order(job_id)))["6"]["inputs"]["seed"]

    assert await seed(JOB) == await seed(JOB) != await seed(OTHER)
    assert 0 <= await seed(JOB) < 2**32


@pytest.mark.parametrize("bounds", [(0, 0), (5, 9), (-3, -1), (2**40, 2**64 - 1)])
def test_what_is_random_keeps_its_bounds(bounds):
    found = {drawn("seed", bounds, job_id=str(number)) for number in range(200)}
    assert min(found) >= bounds[0]
    assert max(found) <= bounds[1]
    assert len(found) == min(bounds[1] - bounds[0] + 1, 200)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [({}, (0, 2**32 - 1)), ({"minimum": 2**40}, (2**40, 2**40)), ({"minimum": 1, "maximum": 6}, (1, 6))],
)
def test_bounds_of_what_is_random(folder, sketch, bounds, expected):
    sketch["inputs"]["seed"] |= bounds
    (folder / "sketch.json").write_text(json.dumps(sketch))
    assert templates.read(folder, "sketch").slots[-1].random == expected


@pytest.mark.parametrize(
    "model_id", ["comfyui/none", "comfyui/..%2Fsketch", "comfyui/../comfyui/sketch", "comfyui/folder"]
)
async def test_a_model_that_is_none_is_unknown(provider, folder, model_id):
    (folder / "folder.json").mkdir()
    (folder.parent / "outside.json").write_text((folder / "sketch.json").read_text())
    with pytest.raises(UnknownModel, match="no ComfyUI workflow of this name"):
        await provider.describe(model_id)


@pytest.mark.parametrize("model_id", ["comfyui/", "comfyui/../x", "comfyui/.x", "comfyui/a/b", "x/comfyui/a"])
def test_ids_that_lead_elsewhere_are_no_models(model_id):
    assert not ComfyUI.model_ids.fullmatch(model_id)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"workflow": None}, "it has no 'workflow', which is what ComfyUI exports as API format"),
        ({"workflow": {"nodes": [], "links": []}}, "'workflow' is what ComfyUI saves"),
        ({"workflow": {"1": {"inputs": {}}}}, "node 1 lacks 'class_type' or 'inputs'"),
        ({"workflow": {"1": {"class_type": "X", "inputs": []}}}, "node 1 lacks 'class_type' or 'inputs'"),
        ({"title": 5}, "'title' is no text"),
        ({"inputs": []}, "'inputs' must be an object of objects"),
        ({"inputs": {"a": "6.steps"}}, "'inputs' must be an object of objects"),
        ({"inputs": {str(number): {} for number in range(101)}}, "more than 100 inputs"),
    ],
)
async def test_a_broken_template_says_what_is_wrong(provider, folder, sketch, change, reason):
    (folder / "sketch.json").write_text(json.dumps(sketch | change))
    with pytest.raises(UnknownModel, match=r"The template sketch\.json is wrong: ") as refusal:
        await provider.describe("comfyui/sketch")
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    ("fragment", "reason"),
    [
        ({"where": "6.steps"}, "input 'x' must have a 'type' among boolean, integer, number, string"),
        ({"type": "array", "where": "6.steps"}, "must have a 'type'"),
        ({"type": ["string"], "where": "6.steps"}, "must have a 'type'"),
        ({"type": "integer"}, "must say 'where' it goes"),
        ({"type": "integer", "where": []}, "must say 'where' it goes"),
        ({"type": "integer", "where": [6]}, "must say 'where' it goes"),
        ({"type": "integer", "where": "66.steps"}, "goes to 66.steps, but there is no node 66"),
        ({"type": "integer", "where": "6.stepz"}, "goes to 6.stepz, but node 6 has no such input"),
        ({"type": "integer", "where": "6"}, "goes to 6, but node 6 has no such input"),
        ({"type": "string", "where": "6.model"}, "goes to 6.model, which is wired to another node"),
        ({"type": "integer", "where": "6.steps", "minumum": 1}, "has 'minumum', which means nothing here"),
        (
            {"type": "integer", "where": "6.steps", "default": "x"},
            "a default does not fit its input: input.x",
        ),
        ({"type": "integer", "where": "6.steps", "maximum": 5}, "a default does not fit its input: input.x"),
        ({"type": "integer", "where": "4.image", "format": "uri"}, "is a file ('format': 'uri'): a string"),
        ({"type": "string", "where": "4.image", "format": "uri", "default": "a.png"}, "without a default"),
        ({"type": "integer", "where": "6.steps", "required": "yes"}, "'required' of input 'x' must be true"),
        ({"type": "number", "where": "6.cfg", "random": True}, "input 'x' is random: an integer"),
        ({"type": "integer", "where": "6.seed", "random": True, "minimum": 2, "maximum": 1}, "is random"),
        ({"type": "integer", "where": "6.seed", "random": True, "minimum": 0.5}, "is random"),
        ({"type": "integer", "where": "6.seed", "random": True, "default": 1}, "it has no default"),
    ],
)
async def test_a_wrong_input_says_what_is_wrong(provider, folder, sketch, fragment, reason):
    (folder / "sketch.json").write_text(json.dumps(sketch | {"inputs": {"x": fragment}}))
    with pytest.raises(UnknownModel) as refusal:
        await provider.describe("comfyui/sketch")
    assert reason in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"5", b'{"a": NaN}', b"[" * 100_000])
async def test_a_template_that_is_no_json_object_says_so(provider, folder, content):
    (folder / "sketch.json").write_bytes(content)
    with pytest.raises(UnknownModel, match="it is no JSON"):
        await provider.describe("comfyui/sketch")


async def test_a_template_that_is_too_large_is_not_read(provider, folder, monkeypatch):
    monkeypatch.setattr(templates, "_MAX_BYTES", 100)
    with pytest.raises(UnknownModel, match="it has more than"):
        await provider.describe("comfyui/sketch")


async def test_a_template_that_cannot_be_opened_says_so(provider, folder, monkeypatch):
    def fail(*_):
        raise PermissionError

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(UnknownModel, match=r"The template sketch\.json cannot be read"):
        await provider.describe("comfyui/sketch")


async def test_a_template_without_inputs_or_title_is_one(provider, folder, sketch, order):
    (folder / "plain.json").write_text(json.dumps({"workflow": sketch["workflow"]}))
    model = await provider.describe("comfyui/plain")
    assert (model.title, model.input_schema["properties"]) == ("plain", {})
    assert await provider.prepare(order(model_id="comfyui/plain")) == sketch["workflow"]


async def test_a_file_that_is_not_required_may_be_absent(provider, folder, sketch, order):
    sketch["inputs"]["image"]["required"] = False
    (folder / "sketch.json").write_text(json.dumps(sketch))
    given = order()
    del given.input["image"]
    assert (await provider.prepare(given))["4"]["inputs"]["image"] == "example.png"


def test_filling_leaves_the_template_as_it_is(folder, sketch):
    template = templates.read(folder, "sketch")
    templates.filled(template, {"prompt": "a ship"}, job_id=JOB)
    assert template.workflow == sketch["workflow"]
