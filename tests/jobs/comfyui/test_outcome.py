"""What came out of a workflow."""

import json
from urllib.parse import parse_qsl

import pytest
from starlette.responses import Response

from tests.jobs.comfyui.conftest import JOB


def error(**given):
    data = {"prompt_id": JOB, "node_id": "6", "node_type": "KSampler", **given}
    return [["execution_start", {"prompt_id": JOB}], ["execution_error", data]]


@pytest.mark.parametrize("kind", ["images", "gifs", "video", "videos", "audio"])
async def test_outputs_of_every_kind_are_found(begun, look, kind):
    file = begun.save("a.mp4", b"a", subfolder="films") | {"format": "video/h264-mp4", "frame_rate": 8.0}
    begun.end(JOB, {"8": {kind: [file], "animated": [True]}, "9": {"text": ["a boat"]}})
    assert [dict(parse_qsl(one)) for one in (await look()).outputs] == [
        {"filename": "a.mp4", "subfolder": "films", "type": "output"}
    ]


async def test_previews_count_only_where_nothing_was_saved(begun, look, comfy):
    preview = begun.save("p.png", b"p", kind="temp")
    saved = begun.save("a&b=ü.png", b"a")
    begun.end(JOB, {"7": {"images": [preview]}, "8": {"images": [saved, saved]}})
    assert [dict(parse_qsl(one))["filename"] for one in (await look()).outputs] == ["a&b=ü.png"]
    comfy.history[JOB]["outputs"].pop("8")
    assert [dict(parse_qsl(one))["filename"] for one in (await look()).outputs] == ["p.png"]


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        [],
        {"8": []},
        {"8": {"images": {}}},
        {"8": {"images": ["a.png", None, {}]}},
        {"8": {"images": [{"filename": "a.png", "type": "input"}]}},
        {"8": {"images": [{"filename": "a.png", "type": ["output"]}]}},
        {"8": {"images": [{"filename": "", "type": "output"}]}},
        {"8": {"images": [{"filename": 5, "type": "output"}]}},
        {"8": {"images": [{"filename": "a\nb", "type": "output"}]}},
        {"8": {"images": [{"filename": "\ud83d", "type": "output"}]}},
        {"8": {"images": [{"filename": "a" * 501, "type": "output"}]}},
        {"8": {"images": [{"filename": "a", "subfolder": ["b"], "type": "output"}]}},
        {"8": {"latents": [{"filename": "a.latent", "subfolder": "", "type": "output"}]}},
    ],
)
async def test_a_workflow_that_saved_nothing_has_failed(begun, look, outputs):
    begun.end(JOB, {})
    answer = {JOB: begun.history[JOB] | {"outputs": outputs}}
    begun.answer(f"/history/{JOB}", Response(json.dumps(answer)))
    seen = await look()
    assert (seen.status, seen.error) == (
        "failed",
        "The workflow saved no file; it needs a node that does, such as SaveImage.",
    )


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        (
            error(exception_message="Allocation on device.\nThis error means …", traceback=["File …"]),
            "KSampler (node 6) failed: Allocation on device.",
        ),
        (
            error(exception_message="\n[Errno 2] No such file: '/home/me/ComfyUI/input/a.png'"),
            "KSampler (node 6) failed: [Errno 2] No such file: '…/a.png'.",
        ),
        (
            error(exception_message="No model in C:\\Comfy\\models\\a"),
            "KSampler (node 6) failed: No model in …/a.",
        ),
        (
            error(exception_message="See https://example.com/a/b 1/2"),
            "KSampler (node 6) failed: See https://example.com/a/b 1/2.",
        ),
        (error(exception_message=""), "KSampler (node 6) failed: it did not say why."),
        (error(exception_message=5, node_type=None), "The workflow failed: it did not say why."),
        ([], "The workflow failed: it did not say why."),
        (
            [5, ["execution_error"], [5, {}], ["execution_error", []]],
            "The workflow failed: it did not say why.",
        ),
        (5, "The workflow failed: it did not say why."),
    ],
)
async def test_a_node_that_fails_says_why(begun, look, messages, sentence):
    begun.end(JOB, {}, status="error")
    begun.history[JOB]["status"]["messages"] = messages
    seen = await look()
    assert (seen.status, seen.error) == ("failed", sentence)


async def test_what_was_not_completed_has_failed(begun, look):
    begun.end(JOB, {"8": {"images": [begun.save("a.png", b"a")]}})
    begun.history[JOB]["status"]["completed"] = False
    assert (await look()).status == "failed"


async def test_what_was_interrupted_is_cancelled(begun, look):
    begun.interrupt(JOB)
    seen = await look()
    assert (seen.status, seen.error) == ("cancelled", "It was interrupted at the ComfyUI server.")


async def test_old_servers_note_no_status(begun, look):
    begun.is_old = True
    begun.end(JOB, {"8": {"images": [begun.save("a.png", b"a")]}})
    seen = await look()
    assert (seen.status, len(seen.outputs), seen.metrics) == ("succeeded", 1, {})


@pytest.mark.parametrize(
    "times", [(None, 5), ("1", "2"), (5, 4), (-1, 5), (1, 10**400), ([], {}), (1.5, float("1e300"))]
)
async def test_times_that_are_none_are_left_out(begun, look, times):
    kinds = ("execution_start", "execution_success")
    messages = [[kind, {"timestamp": time}] for kind, time in zip(kinds, times, strict=True)]
    begun.end(JOB, {"8": {"images": [begun.save("a.png", b"a")]}}, messages=messages)
    assert (await look()).metrics == {}
