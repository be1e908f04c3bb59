"""The token, the rate limits, and what may become of answers."""

import re

import httpx
import pytest

from mediakeep.emulators.replicate.rates import Bucket


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        (None, "You did not pass an authentication token"),
        ("Bearer", "You did not pass an authentication token"),
        ("Bearer wrong", "You did not pass a valid authentication token"),
        ("Basic r8_of_the_emulator", "You did not pass a valid authentication token"),
        ("Bearer ü", "You did not pass a valid authentication token"),
    ],
)
def test_request_without_the_token_is_refused(anybody, header, detail):
    headers = {"Authorization": header.encode("latin-1")} if header else {}
    for method, path in (("GET", "/v1/account"), ("POST", "/v1/predictions"), ("GET", "/v1/files")):
        answer = anybody.request(method, path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json() == {"title": "Unauthenticated", "detail": detail, "status": 401}


def test_answers_tell_how_the_limits_stand(api, submit, turn):
    turn(startup_seconds=60, submissions_per_minute=60)
    assert api.get("/account").headers["ratelimit-remaining"] == "2999"
    first, second = submit(), submit()
    assert first.headers["ratelimit-remaining"] == "59"
    assert first.headers["ratelimit-reset"] == "1"
    assert int(second.headers["ratelimit-remaining"]) < 60


def test_too_many_submissions_are_throttled_and_nothing_else(api, submit, turn):
    turn(startup_seconds=60, submissions_per_minute=2)
    refused = [answer for answer in (submit() for _ in range(3)) if answer.status_code != 201]
    (refused,) = refused
    assert refused.status_code == 429
    seconds = int(refused.headers["ratelimit-reset"])
    assert refused.headers["ratelimit-remaining"] == "0"
    assert refused.json()["detail"] == f"Request was throttled. Your rate limit resets in ~{seconds}s."
    assert len(api.get("/predictions").json()["results"]) == 2


def test_too_many_other_requests_are_throttled(api, submit, turn):
    turn(startup_seconds=60, requests_per_minute=2)
    assert [api.get("/account").status_code for _ in range(3)] == [200, 200, 429]
    assert submit().status_code == 201


def test_limit_recovers_bit_by_bit(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    bucket = Bucket()
    assert [bucket.take(6) for _ in range(7)] == [True] * 6 + [False]
    assert (bucket.remaining(6), bucket.reset_seconds(6)) == (0, 60)
    now[0] += 10
    assert [bucket.take(6), bucket.take(6)] == [True, False]
    now[0] += 600
    assert (bucket.take(6), bucket.remaining(6)) == (True, 5)


def count(api):
    return len(api.get("/predictions").json()["results"])


def test_throttled_answer_says_when_the_limit_resets(submit, api, turn):
    turn(answer="throttled", throttle_seconds=7)
    answer = submit()
    assert answer.status_code == 429
    assert answer.headers["ratelimit-reset"] == "7"
    assert answer.json() == {
        "detail": "Request was throttled. Your rate limit resets in ~7s.",
        "status": 429,
        "retry_after": 7,
    }
    assert count(api) == 0


@pytest.mark.parametrize("status", [402, 500, 503, 520])
@pytest.mark.parametrize(("answer", "created"), [("error", 0), ("error_after", 1)])
def test_error_may_come_before_and_after_the_effect(submit, api, turn, answer, status, created):
    turn(answer=answer, answer_status=status)
    refused = submit()
    assert (refused.status_code, refused.json()["status"]) == (status, status)
    assert count(api) == created


@pytest.mark.parametrize(("answer", "created"), [("closed", 0), ("lost", 1)])
def test_connection_may_close_before_and_after_the_effect(submit, api, turn, log, answer, created):
    turn(answer=answer)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        submit()
    assert count(api) == created
    (entry,) = log("submit")
    assert (entry["answer"], entry["status"], "prediction" in entry) == (answer, None, bool(created))


@pytest.mark.parametrize(("answer", "created"), [("silent", 0), ("silent_after", 1)])
def test_silence_may_come_before_and_after_the_effect(replicate, api, turn, answer, created):
    turn(answer=answer)
    with pytest.raises(httpx.ReadTimeout):
        api.post("/predictions", json={"version": "minimax/video-01", "input": {"prompt": ""}}, timeout=0.2)
    assert count(api) == created


def test_lost_submission_ends_and_is_told_like_any_other(submit, api, turn, receiver):
    turn(answer="lost")
    with pytest.raises(httpx.RemoteProtocolError):
        submit(webhook=receiver.url, webhook_events_filter=["completed"])
    assert b'"succeeded"' in receiver.wait(1)[0].body
    assert api.get("/predictions").json()["results"][0]["input"] == {"prompt": "a boat"}


def test_page_instead_of_json(submit, api, turn):
    turn(answer="html")
    answer = submit()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert count(api) == 0


def test_half_of_the_json(submit, api, turn):
    turn(answer="broken_json")
    answer = submit()
    assert (answer.status_code, answer.headers["content-type"]) == (201, "application/json")
    with pytest.raises(ValueError, match=re.escape("char")):
        answer.json()
    assert count(api) == 1


def test_it_happens_so_many_times_only(submit, turn):
    turn(answer="error", answer_times=2)
    assert [submit().status_code for _ in range(4)] == [500, 500, 201, 201]


@pytest.mark.parametrize(
    ("kind", "method", "path"),
    [
        ("look", "GET", "/predictions/{id}"),
        ("list", "GET", "/predictions"),
        ("cancel", "POST", "/predictions/{id}/cancel"),
        ("model", "GET", "/models/minimax/video-01"),
        ("file", "GET", "/files"),
        ("secret", "GET", "/webhooks/default/secret"),
        ("account", "GET", "/account"),
    ],
)
def test_it_happens_to_the_requests_that_are_meant(submit, api, turn, kind, method, path):
    path = path.format(id=submit().json()["id"])
    turn(answer="error", answer_to=kind)
    assert submit().status_code == 201
    assert api.request(method, path).status_code == 500
    turn(answer="error", answer_to="any")
    assert submit().status_code == 500
    assert api.request(method, path).status_code == 500
    turn(answer="error", answer_to="submit")
    assert api.request(method, path).status_code == 200


def test_it_may_happen_to_outputs(submit, anybody, turn):
    turn(answer="error", answer_to="output", answer_status=503, answer_times=1)
    url = submit(headers={"Prefer": "wait"}).json()["output"]
    assert [anybody.get(url).status_code for _ in range(2)] == [503, 200]


def test_what_has_no_length_is_not_cut_in_half(submit, anybody, turn):
    turn(answer="broken_json", answer_to="output", output="zeros", output_size=10)
    url = submit(headers={"Prefer": "wait"}).json()["output"]
    assert anybody.get(url).content == bytes(10)
