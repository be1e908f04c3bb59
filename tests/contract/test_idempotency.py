"""An upload that is sent twice under one key is carried out once."""

import asyncio

import pytest

from tests.samples import pictures


@pytest.fixture
def send(owner):
    async def upload(*, key="k1", content=None, client=None, **fields):
        return await (client or owner).post(
            "/api/v2/upload-asset",
            files={"file": ("a.png", content or pictures.png(), "image/png")},
            data=fields,
            headers={"Idempotency-Key": key},
        )

    return upload


async def test_the_same_key_and_request_give_the_same_answer_and_one_asset(owner, send):
    first, second = await send(name="One"), await send(name="One")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert len((await owner.get("/api/v2/assets")).json()) == 1


async def test_requests_at_the_same_time_make_one_asset(app, owner, send):
    answers = await asyncio.gather(*(send() for _ in range(6)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len((await owner.get("/api/v2/assets")).json()) == 1
    assert len([one async for one in app.state.library.store.iter_keys("files")]) == 1


@pytest.mark.parametrize("other", [{"name": "Two"}, {"content": pictures.png(33, 33)}])
async def test_the_same_key_for_another_request_is_refused(send, other):
    await send(name="One")
    answer = await send(**{"name": "One", **other})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


async def test_keys_of_two_users_have_nothing_to_do_with_each_other(send, stranger):
    mine, theirs = await send(), await send(client=stranger)
    assert theirs.status_code == 201
    assert mine.json()["id"] != theirs.json()["id"]


async def test_a_request_that_was_refused_may_be_sent_again(send):
    refused = await send(clientId="098a4f86-fbc5-4507-99c3-2723e6e79399")
    assert refused.status_code == 404
    assert (await send()).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_that_is_none_is_refused(send, key):
    assert (await send(key=key)).status_code == 422
