"""Webhooks: which are sent, how often, and what can go wrong with them."""

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import time

import httpx
import pytest

from mediakeep.emulators.replicate import Options
from mediakeep.emulators.replicate.journal import Journal
from mediakeep.emulators.replicate.webhooks import Deliveries, sign
from tests.emulators.replicate.conftest import wait_for

ALL = ["start", "output", "logs", "completed"]


def is_signed(delivery, secret):
    """Whether it is, by what the documentation tells receivers to do."""
    headers = delivery.headers
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + delivery.body
    digest = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return headers["webhook-signature"] == f"v1,{digest}"


def test_signature_is_that_of_standard_webhooks():
    # https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/python/tests/test_webhooks.py
    signature = sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        webhook_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_end_is_told_with_the_prediction_as_it_is_then(submit, finish, receiver, replicate):
    prediction = finish(submit(webhook=receiver.url, webhook_events_filter=["completed"]))
    (delivery,) = receiver.wait(1)
    assert json.loads(delivery.body) == prediction
    assert delivery.headers["content-type"] == "application/json"
    assert is_signed(delivery, replicate.options.webhook_secret)
    assert abs(int(delivery.headers["webhook-timestamp"]) - time.time()) < 300


def test_all_events_are_told_in_their_order(submit, receiver, turn):
    turn(speed=1e9)
    submit(webhook=receiver.url, webhook_events_filter=ALL)
    bodies = [json.loads(delivery.body) for delivery in receiver.wait(15)]
    assert [body["status"] for body in bodies] == ["processing"] * 14 + ["succeeded"]
    assert bodies[0]["logs"] == ""
    assert [body["logs"].count("\n") for body in bodies[1:13]] == list(range(1, 13))
    assert bodies[13]["output"] == bodies[14]["output"]
    assert len({delivery.headers["webhook-id"] for delivery in receiver.deliveries}) == 15


def test_logs_and_outputs_that_come_too_soon_are_not_told(submit, receiver, turn, log):
    turn(speed=0.001)
    submit(webhook=receiver.url, webhook_events_filter=ALL)
    receiver.wait(2)
    assert [entry["event"] for entry in log("webhook")] == ["start", "completed"]


def test_outputs_and_the_end_are_told_when_nothing_is_asked_for(submit, receiver, turn, log):
    turn(speed=1e9)
    submit(webhook=receiver.url)
    receiver.wait(2)
    assert [entry["event"] for entry in log("webhook")] == ["output", "completed"]


@pytest.mark.parametrize("outcome", ["failed", "canceled", "aborted"])
def test_other_ends_are_told_too(submit, receiver, turn, outcome):
    turn(outcome=outcome)
    submit(webhook=receiver.url, webhook_events_filter=["completed"])
    assert json.loads(receiver.wait(1)[0].body)["status"] == outcome


def test_cancel_is_told(submit, api, receiver, turn):
    turn(latency_seconds=60)
    url = submit(webhook=receiver.url, webhook_events_filter=["completed"]).json()["urls"]["cancel"]
    api.post(url)
    assert json.loads(receiver.wait(1)[0].body)["status"] == "canceled"


def test_end_is_told_again_after_a_refusal_under_the_same_id(submit, receiver, log):
    receiver.statuses = [500, 404]
    submit(webhook=receiver.url, webhook_events_filter=["completed"])
    deliveries = receiver.wait(3)
    assert len({delivery.headers["webhook-id"] for delivery in deliveries}) == 1
    assert len({delivery.body for delivery in deliveries}) == 1
    told = wait_for(lambda: entries if "status" in (entries := log("webhook"))[-1] else None)
    assert [(entry["attempt"], entry["status"]) for entry in told] == [(1, 500), (2, 404), (3, 200)]


def test_other_events_are_told_once_only(submit, receiver, log):
    receiver.statuses = [500]
    submit(webhook=receiver.url, webhook_events_filter=["start", "completed"])
    receiver.wait(2)
    assert [entry["event"] for entry in log("webhook")] == ["start", "completed"]


def test_end_is_given_up_after_ten_attempts(submit, receiver, turn, log):
    turn(speed=1e9)
    receiver.statuses = [503] * 100
    submit(webhook=receiver.url, webhook_events_filter=["completed"])
    receiver.wait(10)
    after_it(submit, receiver, log, 11)


async def test_waits_double_and_the_last_attempt_is_about_a_minute_after_the_end(monkeypatch):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    refusing = httpx.MockTransport(lambda _: httpx.Response(500))
    async with httpx.AsyncClient(transport=refusing) as client:
        deliveries = Deliveries("http://a/", events=ALL, options=Options(), client=client, journal=Journal())
        deliveries.note("completed", {})
        await deliveries.run("a")
    assert waits == pytest.approx([0.1 * 2**number for number in range(9)])
    assert 30 < sum(waits) < 90


def test_where_nobody_listens_it_is_tried_again(submit, log):
    with socket.socket() as held:  # bound, but not listening: nobody else gets the port
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/hook"
        submit(webhook=url, webhook_events_filter=["completed"])
        told = wait_for(
            lambda: entries if len(entries := log("webhook")) == 10 and "error" in entries[-1] else None
        )
    assert all("status" not in entry for entry in told)


def test_address_that_cannot_be_is_tried_again_too(submit, log):
    submit(webhook="http://127.0.0.1:port/", webhook_events_filter=["completed"])
    wait_for(lambda: len(log("webhook")) == 10)


def test_redirect_is_not_followed_and_counts_as_delivered(submit, receiver, log):
    receiver.statuses = [307]
    submit(webhook=receiver.url, webhook_events_filter=["completed"])
    receiver.wait(1)
    after_it(submit, receiver, log, 2)


def test_duplicates_have_the_same_id(submit, receiver, turn):
    turn(webhooks=["duplicate"])
    submit(webhook=receiver.url, webhook_events_filter=["completed"])
    first, second = receiver.wait(2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


def test_late_ones_come_late(submit, finish, receiver, turn, log):
    turn(webhooks=["late"], late_seconds=3600)
    finish(submit(webhook=receiver.url, webhook_events_filter=["completed"]))
    turn()
    after_it(submit, receiver, log, 1)


def test_late_ones_come_in_the_end(submit, receiver, turn):
    turn(webhooks=["late"], late_seconds=0.01)
    submit(webhook=receiver.url, webhook_events_filter=["completed"])
    receiver.wait(1)


def test_nothing_is_tried_where_no_webhook_is_named(submit, finish, receiver, log):
    finish(submit())
    after_it(submit, receiver, log, 1)


def test_none_come_when_none_shall(submit, finish, receiver, turn, log):
    turn(webhooks=["none"])
    finish(submit(webhook=receiver.url, webhook_events_filter=ALL))
    turn()
    after_it(submit, receiver, log, 1)


def test_unsigned_ones_have_no_signature(submit, receiver, turn):
    turn(webhooks=["unsigned"])
    submit(webhook=receiver.url)
    assert not [name for name in receiver.wait(1)[0].headers if name.startswith("webhook-")]


def test_tampered_ones_have_the_signature_of_another_body(submit, receiver, turn, replicate):
    turn(webhooks=["tampered"], outcome="failed")
    submit(webhook=receiver.url)
    (delivery,) = receiver.wait(1)
    assert json.loads(delivery.body)["status"] == "succeeded"
    assert json.loads(delivery.body)["output"] == "https://tampered.example/output.mp4"
    assert not is_signed(delivery, replicate.options.webhook_secret)


def test_old_ones_are_signed_an_hour_ago(submit, receiver, turn, replicate):
    turn(webhooks=["old_timestamp"])
    submit(webhook=receiver.url)
    (delivery,) = receiver.wait(1)[:1]
    assert time.time() - int(delivery.headers["webhook-timestamp"]) > 3000
    assert is_signed(delivery, replicate.options.webhook_secret)


def test_out_of_order_ones_begin_with_the_end(submit, receiver, turn):
    turn(webhooks=["out_of_order"])
    submit(webhook=receiver.url, webhook_events_filter=["start", "completed"])
    told = [json.loads(delivery.body)["status"] for delivery in receiver.wait(2)]
    assert told == ["succeeded", "processing"]


def test_several_things_may_go_wrong_at_once(submit, receiver, turn):
    turn(webhooks=["duplicate", "unsigned"])
    submit(webhook=receiver.url, webhook_events_filter=["completed"])
    assert all("webhook-signature" not in delivery.headers for delivery in receiver.wait(2))


def after_it(submit, receiver, log, count):
    """The next prediction's webhook is delivery number `count`: nothing else came before it."""
    receiver.statuses = []
    last = submit(webhook=receiver.url, webhook_events_filter=["completed"]).json()["id"]
    wait_for(lambda: [one for one in receiver.deliveries if json.loads(one.body)["id"] == last])
    assert len(receiver.deliveries) == count
    assert len(log("webhook")) == count
