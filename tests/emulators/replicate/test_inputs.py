"""Files that inputs name: a prediction succeeds only if they were handed over."""

import base64
import hashlib
import socket

import pytest

from mediakeep.emulators.replicate import inputs


def fact(entries):
    return {name: entries[0][name] for name in ("name", "source", "size", "sha256")}


def upload(api, content):
    return api.post("/files", files={"content": ("a.png", content, "image/png")}).json()


def submit_frame(submit, uri):
    return submit(input={"prompt": "a boat", "first_frame_image": uri})


def facts_of(picture, source):
    sha256 = hashlib.sha256(picture).hexdigest()
    return {"name": "first_frame_image", "source": source, "size": len(picture), "sha256": sha256}


def test_address_is_fetched(submit, finish, receiver, picture, log):
    receiver.page = picture
    assert finish(submit_frame(submit, receiver.url))["status"] == "succeeded"
    assert fact(log("input")) == facts_of(picture, "url")


def test_uploaded_file_is_read(submit, finish, api, picture, log):
    url = upload(api, picture)["urls"]["get"]
    assert finish(submit_frame(submit, url))["status"] == "succeeded"
    assert fact(log("input")) == facts_of(picture, "file")


@pytest.mark.parametrize("form", ["base64", "percent"])
def test_data_url_is_decoded(submit, finish, picture, log, form):
    encoded = f";base64,{base64.b64encode(picture).decode()}"
    plain = "," + "".join(f"%{byte:02x}" for byte in picture)
    uri = "data:image/png" + (encoded if form == "base64" else plain)
    assert finish(submit_frame(submit, uri))["status"] == "succeeded"
    assert fact(log("input")) == facts_of(picture, "data")


def test_output_of_another_prediction_can_be_an_input(submit, finish):
    image = finish(submit(model="black-forest-labs/flux-schnell"))["output"][0]
    assert finish(submit_frame(submit, image))["status"] == "succeeded"


def test_address_that_answers_with_an_error_fails_the_prediction(submit, finish, receiver):
    receiver.page_status = 403
    prediction = finish(submit_frame(submit, receiver.url))
    assert prediction["status"] == "failed"
    assert prediction["error"].endswith(f"answered 403: {receiver.url}")
    assert prediction["output"] is None


def test_address_where_nobody_is_fails_the_prediction(submit, finish):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{held.getsockname()[1]}/a.png"
        prediction = finish(submit_frame(submit, uri))
    assert prediction["status"] == "failed"
    assert "cannot be reached" in prediction["error"]


def test_address_of_a_file_that_has_gone_fails_the_prediction(submit, finish, api, picture, turn):
    deleted = upload(api, picture)
    api.delete(deleted["urls"]["get"])
    turn(file_lifetime_seconds=0)
    expired = upload(api, picture)
    for file in (deleted, expired):
        prediction = finish(submit_frame(submit, file["urls"]["get"]))
        assert prediction["status"] == "failed"
        assert "no such file" in prediction["error"]


@pytest.mark.parametrize("uri", ["data:image/png;base64,?", "data:text/plain,hello", "data:,"])
def test_data_url_that_is_no_picture_fails_the_prediction(submit, finish, uri):
    prediction = finish(submit_frame(submit, uri))
    assert prediction["status"] == "failed"
    assert prediction["error"].startswith("first_frame_image: ")


def test_picture_that_ends_early_fails_the_prediction(submit, finish, receiver, picture):
    receiver.page = picture[: len(picture) // 2]
    assert finish(submit_frame(submit, receiver.url))["status"] == "failed"


def test_page_instead_of_a_picture_fails_the_prediction(submit, finish, receiver):
    receiver.page = b"<!doctype html><title>Sign in</title>"
    assert "cannot identify an image" in finish(submit_frame(submit, receiver.url))["error"]


def test_file_that_is_too_large_fails_the_prediction(submit, finish, receiver, picture, monkeypatch):
    monkeypatch.setattr(inputs, "_MAX_BYTES", len(picture) - 1)
    receiver.page = picture
    assert "larger than 100 MB" in finish(submit_frame(submit, receiver.url))["error"]
