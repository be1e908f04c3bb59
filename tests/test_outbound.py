"""Requests to addresses that others name. What is a public address, `tests/webhooks/test_outgoing.py` tries."""

import asyncio

import httpx
import pytest

from mediakeep import outbound


@pytest.fixture
async def server():
    """Answers each request with what it is told; keeps the heads of the requests."""
    heads = []

    async def serve(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(serve.answer)
        await writer.drain()
        if not serve.closes:
            await reader.read()  # until the client goes
        writer.close()

    serve.answer, serve.closes, serve.heads = b"HTTP/1.1 204 No Content\r\n\r\n", True, heads
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    serve.port = listening.sockets[0].getsockname()[1]
    yield serve
    listening.close()
    await asyncio.sleep(0)


async def get(url, *, allow_private=True, **wishes):
    async with outbound.requested(
        "GET", outbound.parse(url), headers={}, allow_private=allow_private, **wishes
    ) as answer:
        return answer.status_code, dict(answer.headers), b"".join([one async for one in answer.aiter_raw()])


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "nonsense",
            "ftp://a.example/",
            "file:///etc/passwd",
            "//a.example",
            "http:///a",
            "javascript:alert(1)",
        ),
        *(
            "http://a:b@a.example/",
            "http://a@a.example/",
            "http://[::1",
            "http://a.example:0/",
            "http://a.example:99999/",
        ),
        *(
            f"http://{'a' * 64}.example/",
            "http://a..example/",
            "http://a\0b/",
            "http://\ud800/",
        ),
    ],
)
def test_what_is_no_address_of_the_web_is_refused(url):
    with pytest.raises(outbound.RefusedAddress):
        outbound.parse(url)


def test_what_can_be_told_without_resolving_is_checked_before():
    outbound.check(outbound.parse("http://a.example/"), allow_private=False)
    with pytest.raises(outbound.RefusedAddress, match=outbound.NOT_PUBLIC):
        outbound.check(outbound.parse("http://127.0.0.1/"), allow_private=False)


async def test_a_redirect_is_an_answer_like_others(server):
    server.answer = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    status, headers, _ = await get(f"http://127.0.0.1:{server.port}/a?b=c")
    assert (status, headers["location"]) == (302, "http://127.0.0.1:1/")
    assert server.heads[0].startswith("GET /a?b=c HTTP/1.1\r\n")
    assert "accept-encoding: identity" in server.heads[0].lower()
    assert "authorization" not in server.heads[0].lower()


async def test_a_private_address_is_only_asked_where_that_is_allowed(server):
    with pytest.raises(outbound.RefusedAddress, match=outbound.NOT_PUBLIC):
        await get(f"http://localhost:{server.port}/", allow_private=False)
    assert server.heads == []


async def test_a_name_that_means_nothing_now_is_told_apart(monkeypatch):
    async def resolve(_host):
        raise OSError(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(outbound, "_resolve", resolve)
    with pytest.raises(outbound.UnknownHost):
        await get("http://a.example/")


async def test_where_one_address_is_down_the_next_is_tried(server, monkeypatch):
    async def resolve(_host):
        return ["127.0.0.2", "127.0.0.1"]

    monkeypatch.setattr(outbound, "_resolve", resolve)
    assert (await get(f"http://a.example:{server.port}/"))[0] == 204
    assert f"host: a.example:{server.port}" in server.heads[0].lower()


async def test_silence_in_the_middle_of_an_answer_ends_it(server):
    server.answer, server.closes = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", False
    with pytest.raises(httpx.ReadTimeout):
        await get(f"http://127.0.0.1:{server.port}/", read_seconds=0.1)
