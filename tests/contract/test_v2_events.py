"""Event streams over HTTP: what they tell, to whom, from where, and when they end."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.exc import InterfaceError

from mediakeep.accounts.models import User
from mediakeep.accounts.tokens import Claims, sign_token
from mediakeep.db import open_database
from mediakeep.events import record
from mediakeep.events.reading import RESUMABLE_SECONDS, Mark, Place
from mediakeep.http.auth import SESSION_COOKIE
from mediakeep.http.v2 import events
from mediakeep.tasks.worker import drain
from tests.http.test_metrics import Figures
from tests.streams import PATH, Stream, following

SUBJECT = "0b0e3c1e-0f2b-4b6e-9d2e-0f5a4c3b2a19"
ANOTHER = "5b8c1e1d-7a44-4e0c-9d3e-6f0a2c9b7e15"


@pytest.fixture
async def me(owner):
    return (await owner.get("/api/v2/auth/me")).json()["id"]


@pytest.fixture
async def elsewhere(app):
    """The database as another process has it: this one does not see its commits."""
    database = open_database(app.state.library.settings)
    yield database
    await database.close()


@pytest.fixture
def happen(elsewhere, me):
    """Records events of the owner's, or of somebody else's, each in its own transaction."""

    async def happen(*kinds, owner_id=me, subject=SUBJECT):
        for kind in kinds:
            async with elsewhere.write() as session:
                await record(session, kind, owner_id=owner_id, subject=subject, data={"name": "Ünï"})

    return happen


@pytest.fixture
def quick_heartbeats(monkeypatch):
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)


def is_problem(answer, status, detail):
    return (answer.status_code, answer.headers["content-type"], answer.json()["detail"]) == (
        status,
        "application/problem+json",
        detail,
    )


async def test_what_happens_is_told_in_order_in_the_shape_of_webhooks(app, owner):
    body = {"url": "https://receiver.example/a", "events": ["*"]}
    webhook = (await owner.post("/api/v2/webhooks", json=body)).json()["id"]
    async with following(app, owner.headers) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].partition(";")[0] == "text/event-stream"
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"
        assert "content-length" not in stream.headers
        client = (await owner.post("/api/v2/clients", json={"name": "Ünï"})).json()["id"]
        await owner.patch(f"/api/v2/clients/{client}", json={"name": "Acme"})
        await owner.delete(f"/api/v2/clients/{client}")
        opening, *told = [await stream.block() for _ in range(4)]
    assert set(opening.fields) == {"retry", "id"}
    assert [one.kind for one in told] == ["client.created", "client.updated", "client.deleted"]
    log = (await owner.get(f"/api/v2/webhooks/{webhook}/deliveries")).json()
    for one, delivery in zip(told, reversed(log), strict=True):
        document = one.told
        assert document.pop("id") == one.id
        assert document.pop("timestamp").endswith("Z")
        assert document == {"type": delivery["type"], "data": delivery["data"]}
    assert told[0].told["data"] == {"id": client, "name": "Ünï"}


async def test_an_event_is_in_one_line_whatever_it_holds(app, owner, elsewhere, me):
    name = "a\r\n\ndata: b\u2028c\x85d\x0be\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")
    async with following(app, owner.headers) as stream:
        async with elsewhere.write() as session:
            await record(session, "asset.created", owner_id=me, subject=SUBJECT, data={"name": name})
        told = await stream.event()
    assert told.told["data"]["name"] == name
    assert len(told.fields["data"].splitlines()) == 1


async def test_it_tells_what_another_process_does(app, owner, happen):
    async with following(app, owner.headers) as stream:
        await happen("asset.created", "asset.updated")
        assert [one.kind for one in await stream.events(2)] == ["asset.created", "asset.updated"]


async def test_it_begins_with_what_happens_from_now_on(app, owner, happen):
    await happen("asset.created")
    async with following(app, owner.headers) as stream:
        await happen("asset.updated")
        assert (await stream.event()).kind == "asset.updated"


async def test_everybody_gets_their_own_and_admins_everybody_s_where_they_ask(
    app, owner, stranger, admin, happen
):
    their_id = (await stranger.get("/api/v2/auth/me")).json()["id"]
    async with AsyncExitStack() as stack:
        mine, theirs, admins, all_of_them = [
            await stack.enter_async_context(following(app, client.headers, **query))
            for client, query in ((owner, {}), (stranger, {}), (admin, {}), (admin, {"all": "true"}))
        ]
        await happen("asset.created")
        await happen("asset.updated", owner_id=their_id)
        await happen("asset.deleted", owner_id=None)
        admin_id = (await admin.get("/api/v2/auth/me")).json()["id"]
        await happen("client.created", owner_id=admin_id)
        assert (await mine.event()).kind == "asset.created"
        assert (await theirs.event()).kind == "asset.updated"
        assert (await admins.event()).kind == "client.created"
        everything = [one.kind for one in await all_of_them.events(4)]
        assert everything == ["asset.created", "asset.updated", "asset.deleted", "client.created"]
    refused = await owner.get(PATH, params={"all": True})
    assert is_problem(refused, 403, "Only an admin may do this.")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({}, [("asset.created", SUBJECT), ("assets.created", SUBJECT), ("job.failed", ANOTHER)]),
        ({"types": "asset.*"}, [("asset.created", SUBJECT)]),
        ({"types": "asset.created, job.*"}, [("asset.created", SUBJECT), ("job.failed", ANOTHER)]),
        ({"types": "asset.deleted,job.failed"}, [("job.failed", ANOTHER)]),
        ({"types": "job.*,*", "subject": SUBJECT}, [("asset.created", SUBJECT), ("assets.created", SUBJECT)]),
        ({"subject": ANOTHER.upper()}, [("job.failed", ANOTHER)]),
    ],
)
async def test_it_tells_what_is_asked_for(query, told, app, owner, happen):
    async with following(app, owner.headers, **query) as stream:
        await happen("asset.created", "assets.created")
        await happen("job.failed", subject=ANOTHER)
        found = [(one.kind, one.told["data"]["id"]) for one in await stream.events(len(told))]
    assert found == told


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        ({"types": "asset.create"}, "types", "There is no type of event “asset.create”."),
        ({"types": "asset.*,"}, "types", "There is no type of event “”."),
        ({"types": "asset.*;job.*"}, "types", "There is no type of event “asset.*;job.*”."),
        ({"subject": "a" * 65}, "subject", None),
        ({"subject": "\0"}, "subject", None),
        ({"all": "perhaps"}, "all", None),
        *(
            ({"last_event_id": one}, "last_event_id", "The id is not one of an event of this server.")
            for one in ("x", "1", "1-2", "-1-0-0", "1-2-3-4", " 1-2-3", "1-2-" + "9" * 19, "١-2-3", "1-2-3\n")
        ),
    ],
)
async def test_what_cannot_be_told_is_refused(query, field, reason, owner):
    answer = await owner.get(PATH, params=query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert reason in {None, answer.json()["detail"]}


async def test_the_header_is_checked_as_well(owner):
    answer = await owner.get(PATH, headers={"Last-Event-ID": "x"})
    assert is_problem(answer, 422, "The id is not one of an event of this server.")


async def test_whoever_comes_back_goes_on_where_they_were(app, owner, happen):
    kinds = ["asset.created", "asset.updated", "client.created", "asset.deleted", "client.deleted"]
    async with following(app, owner.headers) as stream:
        opening = await stream.block()
        await happen(*kinds)
        told = await stream.events(5)
    ids = [opening.id, *(one.id for one in told)]
    assert len(set(ids)) == 6
    await happen("job.created")
    for number, last_id in enumerate(ids):
        async with following(app, owner.headers, last_id=last_id) as stream:
            assert (await stream.block()).id == last_id
            rest = await stream.events(6 - number)
            assert [one.kind for one in rest] == [*kinds, "job.created"][number:]
            assert [one.id for one in rest[:-1]] == ids[number + 1 :]
            await happen("job.updated")  # which comes after them, once
            assert (await stream.event()).kind == "job.updated"
        async with following(app, owner.headers, last_id=stream.last_id) as stream:
            await happen("job.completed")
            assert (await stream.event()).kind == "job.completed"
        kinds_since = [*kinds, "job.created"]
        async with following(app, owner.headers, last_event_id=last_id) as stream:
            assert [one.kind for one in await stream.events(6 - number)] == kinds_since[number:]


async def test_the_header_goes_before_the_parameter(app, owner, happen):
    """A page whose address has the parameter comes back with the header."""
    async with following(app, owner.headers) as stream:
        await happen("asset.created", "asset.updated", "asset.deleted")
        first, second, _ = await stream.events(3)
    async with following(app, owner.headers, last_id=second.id, last_event_id=first.id) as stream:
        assert (await stream.event()).kind == "asset.deleted"


async def test_more_than_a_page_of_missed_events_comes_whole_and_in_order(app, owner, happen, monkeypatch):
    monkeypatch.setattr(events, "_PAGE", 3)
    async with following(app, owner.headers) as stream:
        opening = await stream.block()
    wanted = ["asset.created", "asset.updated", "client.created", "asset.deleted"] * 3
    await happen(*wanted)
    async with following(app, owner.headers, last_id=opening.id) as stream:
        assert [one.kind for one in await stream.events(12)] == wanted
    filtered = [kind for kind in wanted if kind.startswith("client.")]
    async with following(app, owner.headers, last_id=opening.id, types="client.*") as stream:
        assert [one.kind for one in await stream.events(3)] == filtered


async def test_whoever_reads_what_they_missed_is_looked_at_meanwhile(app, owner, happen, monkeypatch):
    """A week may be long, and a reader slow."""
    monkeypatch.setattr(events, "_PAGE", 1)
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.001)
    async with following(app, owner.headers) as stream:
        last_id = (await stream.block()).id
    await happen(*["asset.created"] * 10)
    async with following(app, owner.headers, last_id=last_id) as stream:
        told, beats = [], 0
        while len(told) < 10:
            block = await stream.block()
            if block.is_event:
                told.append(block.id)
            elif told:
                assert block.id == told[-1]
                beats += 1
    assert len(set(told)) == 10
    assert beats > 0


async def test_an_id_that_cannot_be_followed_is_said_to_be(app, owner, happen):
    async with following(app, owner.headers) as stream:
        opening = await stream.block()
    now = Mark.find(opening.id)
    on_sqlite = not now.place.transaction_id
    for mark in (
        Mark(place=now.place, seconds=now.seconds - RESUMABLE_SECONDS - 60),
        Mark(place=Place(now.place.transaction_id + 10**6, 0), seconds=now.seconds),
        Mark(place=Place(now.place.transaction_id, 10**9), seconds=now.seconds)
        if on_sqlite
        else Mark(place=Place(0, 1), seconds=now.seconds),
    ):
        async with following(app, owner.headers, last_id=str(mark)) as stream:
            reset = await stream.block()
            assert (reset.kind, reset.told["type"], reset.told["id"]) == ("reset", "reset", reset.id)
            detail = "What came after that id is not kept any more. Read what you need anew; events go on from now."
            assert reset.told["data"] == {"detail": detail}
            await happen("asset.created")
            assert (await stream.event()).kind == "asset.created"
        async with following(app, owner.headers, last_id=reset.id) as stream:
            assert (await stream.event()).kind == "asset.created"
    kept = Mark(place=now.place, seconds=now.seconds - RESUMABLE_SECONDS + 60)
    async with following(app, owner.headers, last_id=str(kept)) as stream:
        assert (await stream.event()).kind == "asset.created"


async def test_heartbeats_show_that_it_lives_and_move_the_id_on(
    app, owner, stranger, happen, quick_heartbeats
):
    their_id = (await stranger.get("/api/v2/auth/me")).json()["id"]
    async with following(app, owner.headers) as stream:
        opening = Mark.find((await stream.block()).id)
        assert (await stream.block()).comments == ["heartbeat"]
        await happen("asset.created", owner_id=their_id)
        mark = opening
        while mark.place <= opening.place:
            beat = await stream.block()
            assert not beat.is_event
            mark = Mark.find(beat.id)
        await happen("asset.updated")
        await stream.event()
    async with following(app, owner.headers, last_id=str(mark)) as stream:
        assert (await stream.event()).kind == "asset.updated"


async def test_nothing_is_passed_over_between_heartbeats(app, owner, happen, monkeypatch):
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.001)
    told, last_id = [], ""
    kinds = ["asset.created", "asset.updated", "asset.deleted"] * 7

    async with following(app, owner.headers) as stream:
        last_id = (await stream.block()).id
    happening = asyncio.ensure_future(happen(*kinds))
    async with asyncio.timeout(30):
        while len(told) < len(kinds):
            async with following(app, owner.headers, last_id=last_id) as stream:
                for _ in range(7):  # some of them events
                    block = await stream.block()
                    told += [block.kind] if block.is_event else []
                last_id = stream.last_id
    await happening
    assert told == kinds


async def test_a_stream_ends_when_what_it_came_with_is_no_good_any_more(
    app, owner, admin, me, quick_heartbeats
):
    async def new_key():
        body = {"name": "a", "scopes": ["read"]}
        return (await owner.post("/api/v2/auth/keys", json=body)).json()

    library = app.state.library
    sign_in = (await owner.get("/api/v2/auth/sessions")).json()[0]["id"]
    claims = Claims(user_id=me, sign_in=sign_in)

    def token(type_, seconds):
        return sign_token(app.state.secret, claims, type_=type_, lifetime=timedelta(seconds=seconds))

    async def disable(is_disabled):
        await admin.patch(f"/api/v2/users/{me}", json={"disabled": is_disabled})

    key, other_key = await new_key(), await new_key()
    cookie = {"Cookie": f"{SESSION_COOKIE}={token('session', 60)}"}
    async with AsyncExitStack() as stack:

        async def follow(headers, **query):
            stream = await stack.enter_async_context(following(app, headers, **query))
            assert stream.status == 200
            return stream

        by_key, by_other_key = (
            await follow({"X-API-Key": key["key"]}),
            await follow({"X-API-Key": other_key["key"]}),
        )
        by_cookie, by_token = await follow(cookie), await follow(owner.headers)
        await owner.delete(f"/api/v2/auth/keys/{key['id']}")
        await by_key.end()
        expiring = await follow({"Authorization": f"Bearer {token('access', 1)}"})
        await expiring.end()
        as_admin = await follow(admin.headers, all="true")
        for stream in (by_other_key, by_cookie, by_token, as_admin):
            assert (await stream.block()) is not None
        await owner.post("/api/v2/auth/logout")
        await by_cookie.end()
        await by_token.end()
        await disable(True)
        await by_other_key.end()
        async with library.database.write() as session:
            await session.execute(update(User).values(is_admin=False))
        await as_admin.end()
    assert app.state.watcher._listeners == set()


async def test_a_stream_ends_with_the_account(app, owner, admin, me, quick_heartbeats):
    async with following(app, owner.headers) as stream:
        assert (await admin.delete(f"/api/v2/users/{me}")).status_code == 204
        await stream.end()
    await drain(app.state.library)
    assert (await owner.get(PATH)).status_code == 401


async def test_it_lives_on_while_the_database_is_away(app, owner, happen, quick_heartbeats, monkeypatch):
    monkeypatch.setattr(events, "_PAUSE_SECONDS", 0.01)
    away = True

    async def read(*given, **also):
        if away:
            raise InterfaceError("SELECT", {}, ConnectionError("away"), connection_invalidated=True)
        return await read_page(*given, **also)

    read_page = events.read_page
    monkeypatch.setattr(events, "read_page", read)
    async with following(app, owner.headers) as stream:
        await happen("asset.created", "asset.updated")
        for _ in range(5):
            assert not (await stream.block()).is_event
        away = False
        assert [one.kind for one in await stream.events(2)] == ["asset.created", "asset.updated"]


async def test_a_reader_who_takes_nothing_is_left_and_goes_on_later(app, owner, happen, monkeypatch):
    monkeypatch.setattr(events, "_SEND_SECONDS", 0.05)
    async with following(app, owner.headers) as other, following(app, owner.headers) as slow:
        last_id = (await slow.block()).id
        slow.reads.clear()
        await happen("asset.created", "asset.updated")
        async with asyncio.timeout(20):
            await slow._running
        assert len(app.state.watcher._listeners) == 1
        assert [one.kind for one in await other.events(2)] == ["asset.created", "asset.updated"]
    async with following(app, owner.headers, last_id=last_id) as again:
        assert [one.kind for one in await again.events(2)] == ["asset.created", "asset.updated"]


async def test_there_are_at_most_twenty_of_one_user_s(app, owner, stranger):
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(following(app, owner.headers)) for _ in range(20)]
        refused = await owner.get(PATH)
        sentence = "You have 20 event streams open, which is as many as one may have."
        assert is_problem(refused, 429, sentence)
        assert refused.headers["retry-after"] == "60"
        async with following(app, stranger.headers) as stream:
            assert stream.status == 200
        await streams[0].leave()
        async with following(app, owner.headers) as stream:
            assert stream.status == 200
    assert app.state.watcher._listeners == set()


async def test_whoever_waits_holds_no_connection(app, owner, happen):
    database = app.state.library.database
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(following(app, owner.headers)) for _ in range(20)]
        await happen("asset.created")
        for stream in streams:
            assert (await stream.event()).kind == "asset.created"
        assert database.read_engine.pool.checkedout() <= 1  # the watcher's, who may be looking
        assert database.write_engine.pool.checkedout() == 0


async def test_all_end_when_the_server_stops(app, owner):
    async with following(app, owner.headers) as stream:
        app.state.watcher.close()
        await stream.end()
        assert stream.body.endswith(b"\n\n")
    late = Stream(app, {}, owner.headers)
    await late.begin()
    await late.end()
    assert late.status == 200


async def test_streams_are_counted_apart_from_requests(app, api, owner, happen):
    async def figures():
        return Figures.of((await api.get("/metrics")).text)

    before = await figures()
    async with following(app, owner.headers) as stream:
        await happen("asset.created")
        await stream.event()
        during = await figures()
    after = await figures()
    for name, change in (("mediakeep_event_streams", 1), ("mediakeep_http_requests_in_progress", 0)):
        assert during[name] - before[name] == change
        assert after[name] == before[name]
    assert after.requests("GET", PATH, 200) == before.requests("GET", PATH, 200) + 1


async def test_how_long_a_stream_lasts_is_not_how_long_its_answer_took(app, api, owner, monkeypatch):
    async def seconds():
        answer = Figures.of((await api.get("/metrics")).text)
        return answer.requests("GET", PATH, 200, "request_duration_seconds_sum")

    before = await seconds()
    async with following(app, owner.headers):
        clock = events.time.perf_counter
        monkeypatch.setattr(events.time, "perf_counter", lambda: clock() + 3600)
    assert await seconds() - before < 1800


async def test_pages_of_other_origins_may_send_the_id(api):
    headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    asked = await api.options(PATH, headers=headers | {"Access-Control-Request-Headers": "last-event-id"})
    assert asked.status_code == 200
