"""Nonsense, errors and silence."""

import pytest
from starlette.responses import JSONResponse, Response

from mediakeep.jobs.providers.base import (
    ProviderAway,
)
from mediakeep.jobs.providers.comfyui import server, uploads
from tests.jobs.comfyui.conftest import JOB, PATIENCE_SECONDS
from tests.servers.comfyui import Cut, Silence


@pytest.mark.parametrize("path", [f"/history/{JOB}", "/queue"])
@pytest.mark.parametrize(
    "answer",
    [
        Response(status_code=500),
        Response(status_code=404),
        Response(status_code=204),
        Response("hello"),
        Response("[" * 100_000),
        Response('{"a": NaN}'),
        JSONResponse([]),
        JSONResponse(None),
        Cut(),
        Cut(b"{}" * 99),
    ],
    ids=lambda answer: f"{type(answer).__name__}-{answer.status_code}-{bytes(answer.body[:9])!r}",
)
async def test_a_look_that_gets_nonsense_is_made_again(begun, look, path, answer):
    begun.answer(path, answer)
    with pytest.raises(ProviderAway):
        await look()
    assert (await look()).status == "running"


async def test_an_entry_that_is_none_is_nonsense(begun, look):
    begun.answer(f"/history/{JOB}", JSONResponse({JOB: []}))
    with pytest.raises(ProviderAway):
        await look()


async def test_items_of_the_queue_that_are_none_are_passed_over(begun, look):
    odd = [5, None, "text", [], [1], [1, 2, 3], ["x", "y", "z", []], {"1": 2}]
    begun.answer("/queue", JSONResponse({"queue_running": odd + begun.running, "queue_pending": odd}))
    assert (await look()).status == "running"


async def test_an_answer_that_is_too_long_is_not_read(begun, look, monkeypatch):
    monkeypatch.setattr(server, "MAX_ANSWER_BYTES", 100)
    with pytest.raises(ProviderAway, match="too long"):
        await look()


@pytest.mark.parametrize("limit", ["SILENCE_SECONDS", "ANSWER_SECONDS"])
@pytest.mark.parametrize(
    "path", ["/prompt", f"/history/{JOB}", "/queue", "/view", "/upload/image", "/interrupt"]
)
async def test_silence_is_given_up(provider, order, begun, look, fetch, monkeypatch, path, limit):
    for name in ("ANSWER_SECONDS", "DOWNLOAD_SECONDS", "SILENCE_SECONDS"):
        monkeypatch.setattr(server, name, PATIENCE_SECONDS)
    monkeypatch.setattr(server, limit, 0.2)
    monkeypatch.setattr(server, "DOWNLOAD_SECONDS", server.ANSWER_SECONDS)
    monkeypatch.setattr(uploads, "UPLOAD_SECONDS", server.ANSWER_SECONDS)
    begun.answer(path, Silence())
    ask = {
        "/prompt": lambda: provider.submit(order(), {}),
        "/view": lambda: fetch("filename=a.png"),
        "/upload/image": lambda: provider.prepare(order()),
        "/interrupt": lambda: provider.cancel(JOB),
    }
    with pytest.raises(ProviderAway, match="does not answer"):
        await ask.get(path, look)()
