"""The files API."""

import base64
import hashlib
import hmac
import json
import time
from datetime import datetime, timedelta

import pytest

from mediakeep.emulators.replicate import files

CONTENT = b"what a model is to read"


def upload(api, content=CONTENT, name="a.txt", **fields):
    return api.post("/files", files={"content": (name, content, "text/plain")}, data=fields)


def test_upload_is_described(api):
    answer = upload(api, metadata=json.dumps({"customer": 7}))
    assert answer.status_code == 201
    file = answer.json()
    md5 = hashlib.md5(CONTENT).hexdigest()
    assert file == {
        "id": file["id"],
        "name": "a.txt",
        "content_type": "text/plain",
        "size": len(CONTENT),
        "etag": md5,
        "checksums": {"sha256": hashlib.sha256(CONTENT).hexdigest(), "md5": md5},
        "metadata": {"customer": 7},
        "created_at": file["created_at"],
        "expires_at": file["expires_at"],
        "urls": {"get": f"{api.base_url}files/{file['id']}"},
    }
    created_at, expires_at = (datetime.fromisoformat(file[name]) for name in ("created_at", "expires_at"))
    assert expires_at - created_at == timedelta(days=1)


def test_name_and_type_may_come_as_fields(api):
    file = upload(api, filename="b.png", type="image/png").json()
    assert (file["name"], file["content_type"], file["metadata"]) == ("b.png", "image/png", {})


def test_file_is_found_listed_and_deleted(api):
    first, second = upload(api, name="1").json(), upload(api, name="2").json()
    assert api.get(first["urls"]["get"]).json() == first
    assert api.get("/files").json() == {"next": None, "previous": None, "results": [second, first]}
    deleted = api.delete(f"/files/{first['id']}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert api.get(first["urls"]["get"]).status_code == 404
    assert api.delete(f"/files/{first['id']}").status_code == 404
    assert api.get("/files").json()["results"] == [second]


def test_file_expires(api, turn):
    turn(file_lifetime_seconds=0)
    file = upload(api).json()
    assert api.get(file["urls"]["get"]).status_code == 404
    assert api.get("/files").json()["results"] == []


def test_uploads_are_counted(api, log):
    file = upload(api).json()
    (entry,) = log("file")
    assert (entry["file"], entry["size"], entry["media_type"]) == (file["id"], len(CONTENT), "text/plain")


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"filename": "x" * 256}, "filename"), ({"metadata": "{"}, "metadata")],
    ids=["long name", "no JSON"],
)
def test_field_that_cannot_be_is_named(api, fields, field):
    answer = upload(api, **fields)
    assert answer.status_code == 422
    assert answer.json()["invalid_fields"][0]["field"] == field


def test_upload_needs_content(api):
    answer = api.post("/files", files={"file": ("a.txt", CONTENT)})
    assert answer.json()["detail"] == "- content is required\n"


def test_upload_must_be_a_whole_form(api):
    assert api.post("/files", content=CONTENT).status_code == 415
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    cut = b'--x\r\nContent-Disposition: form-data; name="content"\r\n\r\nhalf'
    assert api.post("/files", content=cut, headers=kind).status_code == 400


def test_upload_that_is_too_large_is_refused(api, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 10)
    assert upload(api, content=b"0123456789").status_code == 201
    assert upload(api, content=b"0123456789+").status_code == 413


def signature(replicate, file, *, owner="emulated", expiry):
    key = replicate.options.files_secret.encode()
    digest = hmac.new(key, f"{owner} {file['id']} {expiry}".encode(), hashlib.sha256).digest()
    return {"owner": owner, "expiry": expiry, "signature": base64.b64encode(digest).decode()}


def test_signed_address_gives_the_content_without_a_token(api, anybody, replicate):
    file = upload(api, name="ä.txt").json()
    signed = signature(replicate, file, expiry=int(time.time()) + 60)
    answer = anybody.get(f"/v1/files/{file['id']}/download", params=signed)
    assert answer.content == CONTENT
    assert answer.headers["content-type"].startswith("text/plain")


def test_address_that_was_not_signed_so_gives_nothing(api, anybody, replicate):
    file, other = upload(api).json(), upload(api).json()
    path = f"/v1/files/{file['id']}/download"
    soon, past = int(time.time()) + 60, int(time.time()) - 60
    for parameters in (
        {},
        signature(replicate, file, expiry=past),
        signature(replicate, other, expiry=soon),
        signature(replicate, file, owner="another", expiry=soon),
        signature(replicate, file, expiry=soon) | {"expiry": soon + 1},
        signature(replicate, file, expiry="never"),
    ):
        assert anybody.get(path, params=parameters).status_code == 403
    assert anybody.get("/v1/files/nothing/download").status_code == 404
