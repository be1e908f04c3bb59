"""Jobs at a ComfyUI server, from the first to the last."""

import asyncio
import json
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from pydantic import ValidationError
from starlette.responses import JSONResponse, RedirectResponse, Response

from mediakeep.jobs import schemas
from mediakeep.jobs.providers.base import (
    NotConfigured,
    NotSubmitted,
    ProviderAway,
    RefusedByProvider,
)
from mediakeep.jobs.providers.comfyui import progress, server
from mediakeep.settings import Settings
from tests.jobs.comfyui.conftest import JOB, OTHER, PATIENCE_SECONDS, PNG, URL
from tests.servers.comfyui import Cut, running_comfyui
from tests.servers.process import free_port


async def test_a_template_becomes_a_job_whose_outputs_are_fetched(provider, order, comfy, look, fetch):
    asked = order(strength=0.5, seed=7)
    schemas.check((await provider.describe("comfyui/sketch")).input_schema, asked.input)
    prepared = await provider.prepare(asked)
    assert await provider.submit(asked, json.loads(json.dumps(prepared))) == JOB
    assert (await look()).status == "waiting"

    comfy.begin(JOB)
    workflow, extra = comfy.running[0][2:4]
    assert workflow["2"] == {"class_type": "CLIPTextEncode", "inputs": {"text": "a ship", "clip": ["1", 1]}}
    assert workflow["3"]["inputs"]["text"] == "blurred"
    assert (workflow["6"]["inputs"]["denoise"], workflow["6"]["inputs"]["seed"]) == (0.5, 7)
    assert extra == {"client_id": JOB}
    kept, _, name = workflow["4"]["inputs"]["image"].partition("/")
    assert comfy.files["input", kept, name] == PNG

    comfy.end(JOB, {"8": {"images": [comfy.save("boat_1.png", b"the bytes", subfolder="made")]}})
    seen = await look()
    assert (seen.status, seen.progress) == ("succeeded", 1.0)
    assert [await fetch(output) for output in seen.outputs] == [b"the bytes"]


async def test_what_runs_at_once_has_ended_at_the_first_look(provider, order, comfy, look):
    comfy.at_once = {"a.png": b"a", "b.png": b"b"}
    await provider.submit(order(), await provider.prepare(order()))
    seen = await look()
    assert [dict(parse_qsl(one))["filename"] for one in seen.outputs] == ["a.png", "b.png"]
    assert seen.metrics == {"predict_time": 1.5}


def test_without_an_address_it_is_not_configured(provide):
    provider = provide()
    with pytest.raises(NotConfigured, match="MEDIAKEEP_COMFYUI_URL"):
        provider.check_configured()
    assert provider.listed() == []


def test_the_templates_are_listed(provider, folder):
    provider.check_configured()
    for name in ("upscale.json", ".hidden.json", "notes.txt", "of my own.json"):
        (folder / name).write_text("{}")
    (folder / "folder.json").mkdir()
    assert provider.listed() == ["comfyui/sketch", "comfyui/upscale"]


def test_templates_may_be_in_another_folder(provide, folder):
    elsewhere = folder.rename(folder.parent / "elsewhere")
    assert provide(comfyui_url=URL).listed() == []
    assert provide(comfyui_url=URL, comfyui_workflows=str(elsewhere)).listed() == ["comfyui/sketch"]


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8188", "ftp://host", "http://me:secret@host", "http://host:99999", "http://hö"]
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValidationError):
        Settings(comfyui_url=url)


async def test_the_token_is_sent_and_never_follows_a_redirect(provide, comfy, order, begun):
    comfy.token = "the secret token"
    with pytest.raises(ProviderAway, match="401"):
        await provide(comfyui_url=comfy.url, comfyui_token="wrong").look(JOB, order(), report=print)
    provider = provide(comfyui_url=comfy.url, comfyui_token="the secret token")
    assert "the secret token" not in f"{provider.library.settings!r} {provider._server!r}"
    assert (await provider.look(JOB, order(), report=print)).status == "running"
    assert comfy.seen[-1].headers["authorization"] == "Bearer the secret token"

    async with running_comfyui() as elsewhere:
        for path in (f"/history/{JOB}", "/queue", "/prompt"):
            comfy.answer(path, RedirectResponse(f"{elsewhere.url}{path}"))
        with pytest.raises(ProviderAway, match="307"):
            await provider.look(JOB, order(), report=print)
        with pytest.raises(ProviderAway, match="307"):
            await provider.cancel(JOB)
        with pytest.raises(RefusedByProvider, match="307"):
            await provider.submit(order(), {})
        assert elsewhere.seen == []


async def test_the_websocket_gets_the_token_and_never_follows_a_redirect(comfy, monkeypatch):
    comfy.token = "the secret token"
    monkeypatch.setattr(progress, "LISTEN_SECONDS", PATIENCE_SECONDS)
    ours = server.Server(url=comfy.url, token="the secret token")
    async with progress.listening(ours, JOB) as messages:
        assert (await anext(messages))[0] == "status"

    comfy.token = ""  # which is not sent elsewhere anyway

    async def redirect(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        there = f"{comfy.url.replace('http', 'ws')}/ws?clientId={JOB}"
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(redirect, "127.0.0.1", 0) as listener:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        async with progress.listening(server.Server(url=url, token="the secret token"), JOB) as messages:
            assert [message async for message in messages] == []


async def since_never(provider, order):
    return await provider.find(order, {}, since=datetime(2026, 1, 1, tzinfo=UTC))


async def test_an_old_server_gives_an_id_of_its_own(provider, order, comfy):
    comfy.is_old = True
    reference = await provider.submit(order(), {"1": {}})
    assert reference == comfy.waiting[0][1] != JOB


async def test_half_a_surrogate_pair_in_a_prompt_is_sent(provider, order, comfy):
    await provider.submit(order(), {"2": {"class_type": "X", "inputs": {"text": "\ud83d"}}})
    assert comfy.requests("/prompt")[0].json["prompt"]["2"]["inputs"]["text"] == "\ud83d"


async def test_where_nobody_listens_nothing_was_submitted(provide, order):
    provider = provide(comfyui_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(NotSubmitted, match="cannot be reached"):
        await provider.submit(order(), {})
    with pytest.raises(ProviderAway, match="cannot be reached"):
        await provider.prepare(order())


async def test_where_there_is_no_tls_nothing_was_submitted(provide, order, comfy):
    url = comfy.url.replace("http://", "HTTPS://")
    with pytest.raises(NotSubmitted, match="cannot be reached"):
        await provide(comfyui_url=url).submit(order(), {})
    async with progress.listening(server.Server(url=url.lower(), token=""), JOB) as messages:
        assert [message async for message in messages] == []


async def test_a_server_that_has_enough_is_asked_again(provider, order, comfy):
    comfy.answer("/prompt", Response(status_code=429))
    with pytest.raises(NotSubmitted):
        await provider.submit(order(), {})


NODE_ERRORS = {
    "error": {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation"},
    "node_errors": {
        "1": {
            "class_type": "CheckpointLoaderSimple",
            "errors": [
                {
                    "type": "value_not_in_list",
                    "message": "Value not in list",
                    "details": "ckpt_name: 'x' not in ['/opt/models/a.safetensors']",
                }
            ],
        },
        "6": {
            "class_type": "KSampler",
            "errors": [{"message": "Value bigger than max", "details": "steps"}],
        },
        "7": {"class_type": "VAEDecode", "errors": "none"},
    },
}


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            JSONResponse(NODE_ERRORS, 400),
            "ComfyUI refused the workflow: CheckpointLoaderSimple (node 1): Value not in list (ckpt_name: 'x' not in ['…/a.safetensors']); KSampler (node 6): Value bigger than max (steps).",
        ),
        (
            JSONResponse(
                {"error": {"message": "Cannot execute.", "details": "Node ID '#9'"}, "node_errors": []}, 400
            ),
            "ComfyUI refused the workflow: Cannot execute (Node ID '#9').",
        ),
        (JSONResponse({"error": "no prompt"}, 400), "ComfyUI refused the workflow: no prompt."),
        (
            JSONResponse({"error": 5, "node_errors": {"1": None}}, 400),
            "refused the workflow: it answered 400.",
        ),
        (JSONResponse([], 400), "ComfyUI answered 400 to the workflow."),
        (Response("<html>", 404), "ComfyUI answered 404 to the workflow."),
        (Response("Unauthorized", 401), "ComfyUI answered 401 to the workflow."),
    ],
)
async def test_a_workflow_that_is_refused_says_why(provider, order, comfy, answer, sentence):
    comfy.answer("/prompt", answer)
    with pytest.raises(RefusedByProvider) as refusal:
        await provider.submit(order(), {})
    assert sentence in str(refusal.value)


async def test_errors_of_any_length_make_a_sentence_that_can_be_kept(provider, order, comfy):
    one = {"message": "m\0" * 5000, "details": "d\n" * 5000}
    errors = {str(number): {"class_type": "C" * 500, "errors": [one] * 9} for number in range(9)}
    comfy.answer("/prompt", JSONResponse({"error": {}, "node_errors": errors}, 400))
    with pytest.raises(RefusedByProvider) as refusal:
        await provider.submit(order(), {})
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 2000


@pytest.mark.parametrize(
    "answer",
    [
        Response(status_code=500),
        Response(status_code=502),
        Response("hello"),
        JSONResponse([]),
        JSONResponse({"prompt_id": 5}),
        JSONResponse({"prompt_id": "../queue"}),
        JSONResponse({"prompt_id": "a" * 101}),
        Cut(),
        Cut(b'{"prompt_id": "x"}' * 9),
    ],
)
async def test_where_the_answer_is_lost_it_is_not_known_whether_it_has_begun(provider, order, comfy, answer):
    comfy.answer("/prompt", answer)
    with pytest.raises(ProviderAway):
        await provider.submit(order(), {})


@pytest.mark.parametrize("is_old", [False, True])
async def test_what_was_submitted_is_found_wherever_it_is(provider, order, comfy, is_old):
    comfy.is_old = is_old
    comfy.put(OTHER, {}, {"client_id": OTHER})
    reference = await provider.submit(order(), {"8": {}})
    assert await since_never(provider, order()) == [reference]
    comfy.begin(reference)
    assert await since_never(provider, order()) == [reference]
    comfy.end(reference, {})
    assert await since_never(provider, order()) == [reference]


async def test_what_was_never_submitted_is_not_found(provider, order, comfy):
    comfy.put(OTHER, {}, {"client_id": OTHER})
    comfy.begin(OTHER)
    comfy.end(OTHER, {})
    assert await since_never(provider, order()) == []


@pytest.mark.parametrize("answer", [JSONResponse([]), Response("hello"), Response(status_code=500)])
async def test_a_search_that_gets_nonsense_is_made_again(provider, order, comfy, answer):
    comfy.answer("/history", answer)
    with pytest.raises(ProviderAway):
        await since_never(provider, order())


async def test_what_waits_is_taken_out_of_the_queue(provider, comfy):
    comfy.put(OTHER, {})
    comfy.begin(OTHER)
    comfy.put(JOB, {})
    assert await provider.cancel(JOB) is True
    assert (comfy.waiting, len(comfy.running)) == ([], 1)
    assert comfy.requests("/interrupt") == []


@pytest.mark.parametrize("is_old", [False, True])
async def test_what_runs_is_interrupted(provider, begun, look, is_old):
    begun.is_old = is_old
    assert await provider.cancel(JOB) is False
    assert begun.requests("/interrupt")[0].json == {"prompt_id": JOB}
    assert begun.running == []


async def test_what_begins_while_it_is_taken_out_is_interrupted(provider, comfy, look):
    comfy.put(JOB, {})
    queued = {"queue_running": [], "queue_pending": comfy.waiting[:]}
    comfy.begin(JOB)
    comfy.answer("/queue", JSONResponse(queued))
    assert await provider.cancel(JOB) is False
    assert (await look()).status == "cancelled"


@pytest.mark.parametrize("is_old", [False, True])
async def test_what_has_ended_is_left_alone_and_so_are_others(provider, begun, is_old):
    begun.is_old = is_old
    begun.end(JOB, {})
    begun.put(OTHER, {})
    begun.begin(OTHER)
    assert await provider.cancel(JOB) is False
    assert len(begun.running) == 1
    assert begun.requests("/interrupt") == []


async def test_what_the_server_does_not_know_needs_no_cancelling(provider, comfy):
    assert await provider.cancel(JOB) is True


async def test_a_cancel_that_is_not_taken_is_made_again(provider, begun):
    begun.answer("/interrupt", Response(status_code=500))
    with pytest.raises(ProviderAway, match="500"):
        await provider.cancel(JOB)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Response(status_code=404), RefusedByProvider),
        (Response(status_code=400), RefusedByProvider),
        (Response(status_code=500), ProviderAway),
        (Response(status_code=401), ProviderAway),
        (RedirectResponse("http://169.254.169.254/"), ProviderAway),
        (Response(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), ProviderAway),
        (Cut(b"half of it is missing"), ProviderAway),
        (Cut(), ProviderAway),
    ],
)
async def test_an_output_that_cannot_be_had_says_so(comfy, fetch, answer, kind):
    comfy.answer("/view", answer)
    with pytest.raises(kind):
        await fetch("filename=a.png")


async def test_an_output_that_is_gone_is_refused(fetch):
    with pytest.raises(RefusedByProvider, match="no longer has an output"):
        await fetch("filename=a.png&subfolder=&type=output")


async def test_of_an_output_no_more_is_taken_than_the_receiver_allows(comfy, fetch):
    comfy.save("a.png", b"a" * 100_000)
    with pytest.raises(RefusedByProvider, match="too large"):
        await fetch("filename=a.png&type=output", most=1000)
    assert len(await fetch("filename=a.png&type=output", most=100_000)) == 100_000
