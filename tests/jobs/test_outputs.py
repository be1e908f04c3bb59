"""What models may answer with, and what is made of it."""

import asyncio
import base64
import json
import uuid
from contextlib import AsyncExitStack

import httpx
import pytest

from mediakeep import outbound
from mediakeep.files.receive import receiving
from mediakeep.jobs import outputs
from mediakeep.jobs.providers import replicate as provider
from tests.jobs.conftest import FLUX, MINIMAX, data_url
from tests.samples import films, pictures

#: Before anything is put in its place.
AsyncClient = httpx.AsyncClient


@pytest.fixture
def answer(monkeypatch):
    """Has the provider say this of every prediction, as JSON text or a value."""

    def answer(document):
        content = (document if isinstance(document, str) else json.dumps(document)).encode()
        transport = httpx.MockTransport(lambda _: httpx.Response(200, content=content))

        class Client(AsyncClient):
            def __init__(self, **_):
                super().__init__(transport=transport)

        async def reference(*_):
            return str(uuid.uuid4())

        monkeypatch.setattr(provider.Replicate, "submit", reference)
        monkeypatch.setattr(httpx, "AsyncClient", Client)

    return answer


_NOT_PUBLIC = "An output cannot be fetched: The URL's host is not at a public address."

REDIRECTS = {
    "http://169.254.169.254/latest": _NOT_PUBLIC,
    "http://[::ffff:10.0.0.1]/": _NOT_PUBLIC,
    "file:///etc/passwd": "An output cannot be fetched: The URL must begin with http:// or https://",
    "": "An output is behind too many redirects.",
}

DATA_REMOVED = "Replicate had removed the output before it could be fetched."

SPOILT = [
    ({"output": "html"}, "An output is text/html, which is none of the media that are kept."),
    ({"output": "zeros", "output_size": 100_000}, "An output is "),
    ({"output": "gone"}, "An output cannot be fetched: its address answers 404."),
    # Gone from the prediction, or just then from its address.
    ({"output_lifetime_seconds": 0}, (DATA_REMOVED, "An output cannot be fetched: its address answers 404.")),
    ({"outcome": "failed", "error": "No faces, please."}, "No faces, please."),
    ({"outcome": "aborted"}, "Replicate ended it before it had begun."),
    *(({"output": "redirect", "output_redirect": to}, sentence) for to, sentence in REDIRECTS.items()),
]


async def test_an_output_that_cannot_be_had_fails_the_job(ask, finish, keys, replicate):
    for switches, sentence in SPOILT:
        replicate.turn(**switches)
        done = await finish(await ask())
        assert (done["status"], done["asset_ids"], await keys()) == ("failed", [], [])
        assert done["error_message"].startswith(sentence), done["error_message"]


async def test_an_output_that_its_provider_has_removed_fails_the_job(ask, finish, answer, replicate):
    job = await ask()
    answer({"status": "succeeded", "output": None, "data_removed": True})
    assert (await finish(job))["error_message"] == DATA_REMOVED


async def test_an_output_that_is_too_large_is_not_read_to_its_end(
    ask, finish, keys, replicate, change_settings
):
    change_settings(max_output_bytes=1024)
    done = await finish(await ask(MINIMAX))
    assert done["status"] == "failed"
    assert done["error_message"] == "An output has more than 0.000976562 MB, which is as much as is taken."
    assert await keys() == []


async def test_an_output_that_was_cut_is_fetched_again(ask, work, read, rows, keys, replicate, monkeypatch):
    replicate.turn(output="cut")
    job = await ask(input={"num_outputs": 2})
    while not (notes := (await read(job))["notes"]):
        await work()
    assert notes == ["Tried again: An output could not be fetched: RemoteProtocolError."]
    assert (await keys(), list((await rows())[0].outputs)) == ([], [])


async def test_an_output_that_stays_away_fails_the_job_in_the_end(ask, work, read, replicate):
    replicate.turn(answer="error", answer_to="output", answer_status=503)
    job = await ask()
    for _ in range(30):
        await work()
    assert (await read(job))["error_message"] == "An output could not be fetched: 503."
    assert len(replicate.submissions()) == 1


async def test_an_output_whose_host_cannot_be_found_now_is_fetched_again(ask, finish, replicate, monkeypatch):
    resolve, asked = outbound._resolve, []

    async def resolve_at_last(host):
        asked.append(host)
        if len(asked) == 1:
            raise OSError(-3, "Temporary failure in name resolution")
        return await resolve(host)

    monkeypatch.setattr(outbound, "_resolve", resolve_at_last)
    done = await finish(await ask())
    assert (done["status"], len(asked)) == ("completed", 2)
    assert done["notes"] == ["Tried again: An output could not be fetched: The URL's host cannot be found."]


async def test_a_cancel_from_elsewhere_is_one(ask, finish, replicate):
    replicate.turn(outcome="canceled")
    done = await finish(await ask())
    assert (done["status"], done["error_message"]) == ("cancelled", None)


async def test_outputs_of_all_kinds_are_taken(owner, ask, finish, answer, replicate):
    audio, film = films.sound("mp3", seconds=0.5), films.video(seconds=0.5)
    job = await ask()
    answer(
        {
            "status": "succeeded",
            "output": {
                "sound": data_url(audio, "audio/mpeg"),
                "more": [
                    {"film": data_url(film, "video/mp4")},
                    {"image": data_url(pictures.jpeg(), "image/jpeg")},
                ],
                "text": "a boat",
                "again": data_url(audio, "audio/mpeg"),
            },
        }
    )
    done = await finish(job)
    assert (done["status"], len(done["asset_ids"])) == ("completed", 3)
    infos = [(await owner.get(f"/api/v2/assets/{one}/info")).json() for one in done["asset_ids"]]
    assert [info["type"] for info in infos] == ["audio", "video", "image"]
    assert (done["asset_id"], done["video_url"]) == (done["asset_ids"][1], done["output_urls"][1])


async def test_equal_outputs_share_a_file(ask, finish, keys, answer, replicate):
    job = await ask()
    picture = base64.b64encode(pictures.png()).decode()
    urls = [f"data:image/png;base64,{picture}", f"data:image/png;x=1;base64,{picture}"]
    answer({"status": "succeeded", "output": urls})
    done = await finish(job)
    assert (done["status"], len(done["asset_ids"]), len(await keys())) == ("completed", 2, 1)


async def test_an_answer_of_nothing_but_brackets_is_not_taken_apart(
    ask, work, read, answer, replicate, monkeypatch
):
    monkeypatch.setattr(provider, "_MOST_CONTAINERS", 100)
    job = await ask()
    answer({"status": "succeeded", "output": [[] for _ in range(200)]})
    while not (notes := (await read(job))["notes"]):
        await work()
    assert notes == ["Tried again: Replicate's answer cannot be read."]


async def test_no_more_outputs_than_are_kept_are_fetched(ask, finish, answer, replicate, monkeypatch):
    monkeypatch.setattr("mediakeep.jobs.outputs.MAX_OUTPUTS", 1)
    job = await ask()
    answer({"status": "succeeded", "output": [data_url(pictures.png(9, side)) for side in (8, 9, 10)]})
    done = await finish(job)
    assert (len(done["asset_ids"]), done["notes"]) == (1, ["Of 3 outputs the first 1 were kept."])


HOSTILE = {
    "deep": '{"status": "succeeded", "output": ' + "[" * 1000 + "]" * 1000 + "}",
    "a deep error": '{"status": "failed", "error": ' + '{"a":' * 150 + "1" + "}" * 150 + "}",
    "error with what no database takes": '{"status": "failed", "error": "a\\u0000b' + "é" * 5000 + '"}',
    "error that is no text": '{"status": "failed", "error": [1, {"a": null}]}',
    "many addresses": json.dumps(
        {"status": "succeeded", "output": [f"http://127.0.0.1:1/{n}" for n in range(10**5)]}
    ),
    "an address that is none": '{"status": "succeeded", "output": "http://[::1"}',
    "userinfo": '{"status": "succeeded", "output": "http://a:b@127.0.0.1/x.png"}',
    "a private address": '{"status": "succeeded", "output": "http://127.0.0.1:22/"}',
    "no data URL": '{"status": "succeeded", "output": "data:image/png;base64"}',
    "an empty one": '{"status": "succeeded", "output": "data:,"}',
    "text": '{"status": "succeeded", "output": ["a", "boat"]}',
    "a number": '{"status": "succeeded", "output": 5}',
    "nothing": '{"status": "succeeded"}',
    "a status that is none": '{"status": {"a": 1}}',
    "no status": "{}",
}


async def test_whatever_a_provider_says_the_job_ends(ask, work, read, keys, answer, replicate):
    for name, document in HOSTILE.items():
        job = await ask()
        answer(document)
        for _ in range(10):
            await work()
            if (done := await read(job))["status"] == "failed":
                break
        assert (done["status"], await keys()) == ("failed", []), name
        assert 0 < len(done["error_message"]) <= 1000, name
        if "no database" in name:
            assert done["error_message"] == "ab" + "é" * 997


async def test_what_is_measured_is_kept_as_far_as_it_is_numbers(ask, finish, answer, replicate):
    numbers = '"a": NaN, "b": 1e400, "c": true, "d": "5", "e\\u0000": 1, "f": 2, "g": -1.5'
    metrics = f'{{{numbers}, "h": 1{"0" * 400}, "{"n" * 100}": 1}}'
    logs = f"{'x' * 10**7} 50%|##"
    start = '{"status": "succeeded", "version": 5, '
    job = await ask()
    answer(f'{start}"output": "{data_url()}", "logs": "{logs}", "metrics": {metrics}}}')
    done = await finish(job)
    assert (done["status"], done["metrics"]) == ("completed", {"f": 2.0, "g": -1.5, "n" * 50: 1.0})


async def test_what_is_told_of_an_output_needs_no_prompt(owner, ask, finish, answer, replicate):
    """Nor one that is fit to be a name."""
    for prompt, name in (("\n\t ", "flux-schnell"), ("é" * 200, "é" * 80), ("a\nb  c", "a b c")):
        job = await ask(input={"prompt": prompt})
        done = await finish(job)
        info = (await owner.get(f"/api/v2/assets/{done['asset_id']}/info")).json()
        assert info["name"] == name
    assert done["model_id"] == FLUX


async def test_outputs_that_trickle_are_left_for_later(ask, work, read, keys, replicate, monkeypatch):
    monkeypatch.setattr(outputs, "_GRACE_SECONDS", 0.0)
    monkeypatch.setattr(outputs, "_LEAST_BYTES_PER_SECOND", 1 << 50)
    job = await ask(MINIMAX)
    while not (notes := (await read(job))["notes"]):
        await work()
    assert notes == ["Tried again: An output came too slowly."]
    assert await keys() == []


async def test_outputs_that_are_too_large_together_are_refused(ask, finish, keys, replicate, monkeypatch):
    monkeypatch.setattr(outputs, "_OUTPUTS_TOGETHER", 0)
    done = await finish(await ask(MINIMAX))
    assert done["error_message"] == "The outputs together are larger than what is taken."
    assert await keys() == []


async def test_while_others_fetch_a_job_holds_no_worker(ask, work, read, finish, library, replicate):
    job = await ask(MINIMAX)
    slots = library.output_slots
    async with AsyncExitStack() as stack:
        while not slots.locked():
            await stack.enter_async_context(slots)
        for _ in range(20):
            await work()
        assert (await read(job))["status"] == "processing"
        assert replicate.log("output") == []
    assert (await finish(job))["status"] == "completed"


async def test_what_trickles_in_is_looked_at_as_it_comes(app, change_settings):
    """The second byte is sent once somebody has seen the first."""
    seen = asyncio.Event()

    async def trickle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
        await seen.wait()
        writer.write(b"b")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(trickle, "127.0.0.1", 0) as server:
        origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        change_settings(replicate_api_url=f"{origin}/v1")
        scratch = app.state.library.store.scratch
        async with (
            asyncio.timeout(30),
            receiving(scratch, on_size=lambda _: seen.set(), on_head=lambda _: None) as receiver,
        ):
            await provider.Replicate(app.state.library).fetch(f"{origin}/a.png", receiver)
            assert (await receiver.finish()).size == 2
