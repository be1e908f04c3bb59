"""Webhooks over HTTP: every call, every refusal."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import update
from standardwebhooks import Webhook as Verifier

from mediakeep import features
from mediakeep.db import now_plus
from mediakeep.tasks.worker import drain
from mediakeep.webhooks.deliveries import deliver_once
from mediakeep.webhooks.models import Webhook
from tests.samples import pictures

assert features.task_modules

PATH = "/api/v2/webhooks"
NOWHERE = "00000000-0000-4000-8000-000000000000"
BODY = {"url": "https://receiver.example/a", "events": ["asset.*"]}


@pytest.fixture
def library_settings(library_settings):
    return library_settings.model_copy(update={"webhooks_allow_private": True})


@pytest.fixture
async def webhook(owner):
    answer = await owner.post(PATH, json=BODY)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
async def receiver():
    """Keeps what it got, and answers 200."""
    got = []

    async def serve(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        headers = {name.lower(): value for name, value in headers.items()}
        got.append((headers, await reader.readexactly(int(headers["content-length"]))))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nthanks")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", got
    server.close()
    await asyncio.sleep(0)


def is_problem(answer, status, detail):
    return (answer.status_code, answer.headers["content-type"], answer.json()["detail"]) == (
        status,
        "application/problem+json",
        detail,
    )


async def test_a_webhook_is_created_read_listed_changed_and_deleted(owner):
    created = await owner.post(PATH, json={**BODY, "description": "Ünï"})
    assert created.status_code == 201
    shown = created.json()
    assert shown == {
        "id": shown["id"],
        "url": "https://receiver.example/a",
        "events": ["asset.*"],
        "description": "Ünï",
        "enabled": True,
        "note": None,
        "secret": shown["secret"],
        "previous_secret_until": None,
        "failing_since": None,
        "created_at": shown["created_at"],
        "updated_at": shown["updated_at"],
    }
    assert shown["secret"].startswith("whsec_")
    assert (await owner.get(f"{PATH}/{shown['id']}")).json() == shown
    listed = await owner.get(PATH)
    assert (listed.json(), listed.headers["x-total-count"]) == ([shown], "1")
    changed = await owner.patch(f"{PATH}/{shown['id']}", json={"events": ["*"], "enabled": False})
    assert changed.status_code == 200
    assert changed.json() == {
        **shown,
        "events": ["*"],
        "enabled": False,
        "updated_at": changed.json()["updated_at"],
    }
    gone = await owner.delete(f"{PATH}/{shown['id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert is_problem(await owner.get(f"{PATH}/{shown['id']}"), 404, "Webhook not found")


async def test_pages_are_newest_first(owner):
    ids = [(await owner.post(PATH, json=BODY)).json()["id"] for _ in range(3)]
    page = await owner.get(PATH, params={"limit": 2})
    assert [one["id"] for one in page.json()] == [ids[2], ids[1]]
    assert page.headers["x-total-count"] == "3"
    assert 'rel="next"' in page.headers["link"]
    assert [one["id"] for one in (await owner.get(PATH, params={"limit": 2, "offset": 2})).json()] == ids[:1]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": "ftp://receiver.example"}, "url"),
        ({"url": "https://me:secret@receiver.example"}, "url"),
        ({"url": "https://receiver.example/\0"}, "url"),
        ({"url": "short"}, "url"),
        ({"url": None}, "url"),
        ({"events": []}, "events"),
        ({"events": ["asset.create"]}, "events.0"),
        ({"events": "*"}, "events"),
        ({"description": "a" * 501}, "description"),
        ({"description": "\0"}, "description"),
        ({"description": "\u0084"}, "description"),
        ({"enabled": "yes"}, "enabled"),
        ({"secret": "whsec_mine"}, "secret"),
    ],
)
async def test_what_does_not_validate_is_named(changes, field, owner, webhook):
    for answer in (
        await owner.post(PATH, json={**BODY, **changes}),
        await owner.patch(f"{PATH}/{webhook['id']}", json=changes),
    ):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == field
        assert "secret@" not in answer.text
    assert (await owner.get(f"{PATH}/{webhook['id']}")).json() == webhook


async def test_there_are_at_most_twenty(owner, stranger):
    for _ in range(20):
        assert (await owner.post(PATH, json=BODY)).status_code == 201
    answer = await owner.post(PATH, json=BODY)
    assert is_problem(answer, 409, "You have 20 webhooks, which is as many as one may have.")
    assert (await stranger.post(PATH, json=BODY)).status_code == 201


async def test_the_secret_is_for_its_owner_and_who_may_write(owner, api, admin, webhook):
    async def key(*scopes):
        answer = await owner.post("/api/v2/auth/keys", json={"name": "a", "scopes": list(scopes)})
        return {"X-API-Key": answer.json()["key"]}

    path = f"{PATH}/{webhook['id']}"
    assert (await api.get(path, headers=await key("read", "write"))).json()["secret"] == webhook["secret"]
    for address in (path, PATH):
        for answer in (
            await api.get(address, headers=await key("read")),
            await admin.get(address, params={"all": True} if address == PATH else {}),
        ):
            assert answer.status_code == 200
            assert webhook["secret"] not in answer.text
            assert webhook["id"] in answer.text


async def test_an_admin_sees_and_deletes_everybody_s_and_changes_none(owner, admin, webhook):
    path = f"{PATH}/{webhook['id']}"
    assert (await admin.get(PATH)).json() == []
    assert [one["id"] for one in (await admin.get(f"{PATH}?all=true")).json()] == [webhook["id"]]
    assert (await admin.get(f"{path}/deliveries")).json() == []
    assert is_problem(await admin.patch(path, json={"enabled": False}), 404, "Webhook not found")
    assert is_problem(await admin.post(f"{path}/test"), 404, "Webhook not found")
    assert is_problem(await owner.get(f"{PATH}?all=true"), 403, "Only an admin may do this.")
    assert (await admin.delete(path)).status_code == 204
    [entry] = (await admin.get("/api/v2/audit?action=webhook.deleted_by_admin")).json()
    assert entry["subject"] == webhook["id"]


async def test_a_test_is_sent_and_logged(app, owner, receiver):
    url, got = receiver
    webhook = (await owner.post(PATH, json={"url": url, "events": ["asset.deleted"]})).json()
    asked = await owner.post(f"{PATH}/{webhook['id']}/test")
    assert asked.status_code == 202
    waiting = asked.json()
    assert waiting == {
        **waiting,
        "url": None,
        "type": "webhook.test",
        "data": {"id": webhook["id"]},
        "status": "pending",
        "attempts": 0,
        "error": None,
        "response_status": None,
        "response_body": None,
        "attempted_at": None,
        "finished_at": None,
    }
    await drain(app.state.library)
    [(headers, body)] = got
    assert Verifier(webhook["secret"]).verify(body, headers)["type"] == "webhook.test"
    log = await owner.get(f"{PATH}/{webhook['id']}/deliveries")
    assert log.headers["x-total-count"] == "1"
    [logged] = log.json()
    assert logged == {
        **waiting,
        "status": "delivered",
        "attempts": 1,
        "response_status": 200,
        "response_body": "thanks",
        "duration_seconds": logged["duration_seconds"],
        "attempted_at": logged["attempted_at"],
        "next_attempt_at": None,
        "finished_at": logged["finished_at"],
    }
    again = await owner.post(f"{PATH}/{webhook['id']}/deliveries/{waiting['id']}/redeliver")
    assert (again.status_code, again.json()["status"]) == (202, "pending")
    await drain(app.state.library)
    assert [headers["webhook-id"] for headers, _ in got] == [waiting["id"]] * 2


async def test_what_users_do_is_told(app, owner, receiver):
    url, got = receiver
    webhook = (await owner.post(PATH, json={"url": url, "events": ["*"]})).json()
    client = (await owner.post("/api/v2/clients", json={"name": "Acme"})).json()["id"]
    files = {"file": ("a.png", pictures.png(), "image/png")}
    asset = (await owner.post("/api/v2/upload-asset", files=files, data={"clientId": client})).json()["id"]
    await owner.patch(f"/api/v2/assets/{asset}", json={"name": "b"})
    await owner.delete(f"/api/v2/assets/{asset}")
    log = (await owner.get(f"{PATH}/{webhook['id']}/deliveries")).json()
    assert [one["type"] for one in reversed(log)] == [
        "client.created",
        "asset.created",
        "asset.updated",
        "asset.deleted",
    ]
    assert log[2]["data"] == {"id": asset, "type": "image", "name": "a.png"}
    await drain(app.state.library)
    told = [Verifier(webhook["secret"]).verify(body, headers) for headers, body in got]
    assert {one["type"] for one in told} == {one["type"] for one in log}


async def test_one_that_is_switched_off_sends_nothing_until_it_is_switched_on(app, owner, webhook):
    path = f"{PATH}/{webhook['id']}"
    delivery = (await owner.post(f"{path}/test")).json()["id"]
    note = "Switched off because the receiver answered 410 Gone."
    async with app.state.library.database.write() as session:
        await session.execute(update(Webhook).values(enabled=False, note=note))
    shown = (await owner.get(path)).json()
    assert (shown["enabled"], shown["note"]) == (False, note)
    for call in ("test", f"deliveries/{delivery}/redeliver"):
        assert is_problem(await owner.post(f"{path}/{call}"), 409, "The webhook is switched off.")
    shown = (await owner.patch(path, json={"enabled": True})).json()
    assert (shown["enabled"], shown["note"]) == (True, None)
    assert (await owner.post(f"{path}/test")).status_code == 202


async def test_what_is_not_there_or_somebody_else_s_is_not_found(owner, stranger, webhook):
    theirs = f"{PATH}/{webhook['id']}"
    delivery = (await owner.post(f"{theirs}/test")).json()["id"]
    other = (await owner.post(PATH, json=BODY)).json()["id"]
    for client, path in ((stranger, theirs), (owner, f"{PATH}/{NOWHERE}"), (owner, f"{PATH}/1")):
        for answer in (
            await client.get(path),
            await client.patch(path, json={"enabled": False}),
            await client.delete(path),
            await client.post(f"{path}/test"),
            await client.get(f"{path}/deliveries"),
            await client.post(f"{path}/deliveries/{delivery}/redeliver"),
        ):
            assert is_problem(answer, 404, "Webhook not found")
    for path in (f"{PATH}/{other}/deliveries/{delivery}", f"{theirs}/deliveries/{NOWHERE}"):
        assert is_problem(await owner.post(f"{path}/redeliver"), 404, "Delivery not found")


async def test_private_addresses_are_refused_unless_a_setting_allows_them(app, owner, webhook):
    settings = app.state.library.settings.model_copy(update={"webhooks_allow_private": False})
    app.state.library = replace(app.state.library, settings=settings)
    for answer in (
        await owner.post(PATH, json={**BODY, "url": "http://127.0.0.1:8000/"}),
        await owner.patch(f"{PATH}/{webhook['id']}", json={"url": "http://[::ffff:10.0.0.1]/"}),
    ):
        assert is_problem(answer, 422, "The URL's host is not at a public address.")


async def test_webhooks_go_with_their_owner(app, owner, admin, webhook):
    await owner.post(f"{PATH}/{webhook['id']}/test")
    me = (await owner.get("/api/v2/auth/me")).json()["id"]
    assert (await admin.delete(f"/api/v2/users/{me}")).status_code == 204
    assert (await admin.get(f"{PATH}?all=true")).json() == []
    assert is_problem(await admin.get(f"{PATH}/{webhook['id']}"), 404, "Webhook not found")
    await drain(app.state.library)


async def test_a_secret_can_be_exchanged(app, owner, receiver):
    url, got = receiver
    webhook = (await owner.post(PATH, json={"url": url, "events": ["*"]})).json()
    answer = await owner.post(f"{PATH}/{webhook['id']}/rotate-secret")
    assert answer.status_code == 200
    shown = answer.json()
    assert shown == {
        **webhook,
        "secret": shown["secret"],
        "previous_secret_until": shown["previous_secret_until"],
        "updated_at": shown["updated_at"],
    }
    assert shown["secret"] != webhook["secret"]
    assert shown["previous_secret_until"] > shown["updated_at"]
    assert (await owner.get(f"{PATH}/{webhook['id']}")).json() == shown
    await owner.post(f"{PATH}/{webhook['id']}/test")
    await drain(app.state.library)
    [(headers, body)] = got
    for secret in (webhook["secret"], shown["secret"]):
        assert Verifier(secret).verify(body, headers)
    async with app.state.library.database.write() as session:
        await session.execute(update(Webhook).values(previous_until=now_plus(-1)))
    assert (await owner.get(f"{PATH}/{webhook['id']}")).json()["previous_secret_until"] is None


async def test_everybody_has_a_secret_of_their_own(owner, stranger):
    first = await owner.get(f"{PATH}/secret")
    assert (first.status_code, first.json()["previous_secret_until"]) == (200, None)
    assert first.json()["secret"].startswith("whsec_")
    assert (await owner.get(f"{PATH}/secret")).json() == first.json()
    assert (await stranger.get(f"{PATH}/secret")).json()["secret"] != first.json()["secret"]
    exchanged = await owner.post(f"{PATH}/secret")
    assert exchanged.status_code == 200
    assert exchanged.json()["secret"] != first.json()["secret"]
    assert exchanged.json()["previous_secret_until"]
    assert (await owner.get(f"{PATH}/secret")).json() == exchanged.json()
    assert (await owner.delete(f"{PATH}/secret")).status_code == 405


async def test_what_went_to_other_addresses_is_listed(app, owner, stranger, receiver):
    url, _ = receiver
    me = (await owner.get("/api/v2/auth/me")).json()["id"]
    ids = []
    for number in range(3):
        async with app.state.library.database.write() as session:
            given = {"owner_id": me, "url": url, "type_": "job.updated", "data": {"id": str(number)}}
            ids.append(await deliver_once(session, **given))
    await drain(app.state.library)
    page = await owner.get(f"{PATH}/deliveries", params={"limit": 2})
    assert [one["id"] for one in page.json()] == [ids[2], ids[1]]
    assert page.headers["x-total-count"] == "3"
    assert 'rel="next"' in page.headers["link"]
    shown = page.json()[0]
    assert shown == {
        **shown,
        "url": url,
        "type": "job.updated",
        "data": {"id": "2"},
        "status": "delivered",
        "attempts": 1,
        "response_status": 200,
    }
    assert (await stranger.get(f"{PATH}/deliveries")).json() == []


@pytest.mark.parametrize(
    "kind",
    ["job.*", "job.created", "job.updated", "job.completed", "job.failed", "job.cancelled"],
)
async def test_what_happens_to_jobs_can_be_subscribed_to(kind, owner):
    answer = await owner.post(PATH, json={**BODY, "events": [kind]})
    assert (answer.status_code, answer.json()["events"]) == (201, [kind])
