"""Hostile strings wherever a string is taken: stored and given back exactly, or refused with a sentence."""

import json
import re
import unicodedata
from urllib.parse import quote, unquote

import pytest
from tests.samples import pictures
from tests.samples.names import some_names

from mediakeep.index.words import words

DOOR = "/api/v2/upload-asset"

JSON = {"Content-Type": "application/json"}

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def is_refused(answer, *statuses):
    """Whether it is a problem with a sentence; anything else but a success fails."""
    if answer.is_success:
        return False
    assert answer.status_code in (statuses or {422}), (answer.status_code, answer.text)
    document = json.loads(answer.content)
    assert answer.headers["content-type"] == "application/problem+json"
    assert re.search(r"\w.*\w", document["detail"])
    assert "Traceback" not in document["detail"]
    return True


def as_cleaned(name):
    """A file's name as the contract says: no directories, no control and bidi characters, at most 255 characters."""
    base = re.split(r"[/\\]", name)[-1]
    base = "".join(mark for mark in base if unicodedata.category(mark) != "Cc" and mark not in BIDI).strip()
    if base in {"", ".", ".."}:
        return "file"
    stem, dot, extension = base.rpartition(".")
    if len(base) <= 255 or not dot:
        return base[:255]
    return stem[: 254 - len(extension)] + dot + extension


def as_downloaded(name):
    """What a file is called where it is saved: an asset's name may hold more than a file's."""
    return as_cleaned(name if name.lower().endswith(".png") else f"{name}.png")


def of_disposition(header):
    """The file name that a browser takes from a Content-Disposition (RFC 6266 §4.3)."""
    assert header.isascii()
    assert header.isprintable()
    extended = re.fullmatch(
        r"""(?:inline|attachment); filename="[^"\\]*"; filename\*=UTF-8''([\w.~%!-]*)""", header
    )
    plain = re.fullmatch(r'(?:inline|attachment); filename="([^"\\]*)"', header)
    assert extended or plain, header
    return unquote(extended[1], errors="strict") if extended else plain[1]


def form(name, data, *fields):
    """An upload's body with the file name as its UTF-8, quoted as browsers do."""
    quoted = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").encode()
    parts = [(b'name="file"; filename="%s"' % quoted, data)]
    parts += [(b'name="%s"' % field.encode(), value.encode()) for field, value in fields]
    body = b"".join(b"--b\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % part for part in parts)
    return {
        "content": body + b"--b--\r\n",
        "headers": {"Content-Type": "multipart/form-data; boundary=b"},
    }


@pytest.fixture
def names(library_settings):
    """Some of the names, others on each engine; the proof has them all."""
    return some_names(0 if library_settings.uses_sqlite else 2, step=4)


@pytest.fixture
def sendable(names):
    """Those that UTF-8 can carry."""
    return [name for name in names if not re.search("[\ud800-\udfff]", name)]


@pytest.fixture
def in_headers(sendable):
    """Those that a server lets through in a header."""
    return [name for name in sendable if not re.search(r"[\0\r\n]", name)]


@pytest.fixture
async def asset(owner):
    return (await owner.post(DOOR, **form("a.png", pictures.png()))).json()


async def test_every_file_name_is_cleaned_stored_and_told_to_browsers_exactly(owner, sendable):
    stored = {}
    for name in sendable:
        for given in (name, f"{name}.png"):
            answer = await owner.post(DOOR, **form(given, pictures.png()))
            if is_refused(answer, 400, 422):
                # An extension of another type, or a name that cannot be in a header line at all.
                assert re.search(r"Invalid file type|malformed|form", answer.json()["detail"]), given
                continue
            asset = answer.json()
            stored[asset["id"]] = as_cleaned(given)
            assert asset["name"] == stored[asset["id"]], given
            file = await owner.head(f"/api/v2/assets/{asset['id']}")
            assert of_disposition(file.headers["content-disposition"]) == as_downloaded(asset["name"])
    assert len(stored) > len(sendable)


async def test_every_member_of_an_asset_is_given_back_exactly_or_refused(owner, asset, names):
    path, kept = f"/api/v2/assets/{asset['id']}", 0
    for name in names:
        for body, shown in (
            ({"name": name}, {"name": name.strip()}),
            ({"description": name}, {"description": name}),
            ({"tags": [name]}, {"tags": [name.strip()] if name.strip() else None}),
            ({"metadata": {"a": name, name: "a"}}, None),
        ):
            answer = await owner.patch(path, content=json.dumps(body), headers=JSON)
            if is_refused(answer):
                continue
            kept += 1
            for read in (answer.json(), (await owner.get(f"{path}/info")).json()):
                if shown is None:
                    assert read["metadata"].items() >= body["metadata"].items()
                else:
                    assert read == {**read, **shown}
            file = await owner.head(path)
            assert of_disposition(file.headers["content-disposition"]) == as_downloaded(read["name"])
    listed = (await owner.get("/api/v2/assets")).json()
    assert listed == [(await owner.get(f"{path}/info")).json()]
    assert kept > 3 * len(names)


async def test_every_name_of_a_collection_and_a_key_is_given_back_exactly_or_refused(owner, names):
    kinds = {"clients": set(), "campaigns": set(), "auth/keys": set()}
    for name in names:
        for kind, kept in kinds.items():
            body = json.dumps({"name": name})
            answer = await owner.post(f"/api/v2/{kind}", content=body, headers=JSON)
            if not is_refused(answer):
                assert answer.json()["name"] == name.strip()
                kept.add(name.strip())
    for kind, kept in kinds.items():
        listed, offset = set(), 0
        while page := (await owner.get(f"/api/v2/{kind}", params={"limit": 100, "offset": offset})).json():
            listed |= {one["name"] for one in page}
            offset += 100
            if kind == "auth/keys":
                break
        assert listed == kept


async def test_every_e_mail_address_registers_or_is_refused(admin, names):
    for name in names:
        for email in (name, f"{name}@example.com", f"a@{name}.example"):
            body = json.dumps({"email": email, "password": "correct horse battery"})
            answer = await admin.post("/api/v2/auth/register", content=body, headers=JSON)
            is_refused(answer, 409, 422)


async def test_every_filter_finds_what_is_called_so_and_nothing_breaks(owner, asset, sendable):
    path = f"/api/v2/assets/{asset['id']}"
    for name in sendable:
        body = json.dumps({"name": name, "tags": [name]})
        is_stored = not is_refused(await owner.patch(path, content=body, headers=JSON))
        for field in ("q", "tag", "clientId", "personaId"):
            answer = await owner.get("/api/v2/assets", params={field: name})
            if is_refused(answer):
                assert not is_stored or len(name) > 64
            elif is_stored and field in {"tag", "q"}:
                # What holds no word, as punctuation, is found by no words; as a tag it is found all the same.
                expected = [asset["id"]] if field == "tag" or words(name) else []
                assert [one["id"] for one in answer.json()] == expected, (field, name)


async def test_no_header_breaks_anything(owner, api, asset, names, in_headers):
    path = f"/api/v2/assets/{asset['id']}"
    names = (
        "Range",
        "If-None-Match",
        "If-Match",
        "If-Range",
        "If-Modified-Since",
        "Accept",
        "Origin",
        "Cookie",
    )
    credentials = ("Authorization", "X-API-Key")
    for name in in_headers:
        value = name.encode()
        answer = await api.get(path, headers={"X-Request-ID": value, "User-Agent": value})
        assert answer.status_code == 200
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answer.headers["x-request-id"])
        for header in names:
            answer = await api.get(path, headers={header: value})
            assert answer.status_code in {200, 206, 304, 412, 416}, (header, name)
        for header in credentials:
            for given in (value, b"Bearer " + value, b"Bearer mk_" + value):
                assert (await api.get(f"{path}/info", headers={header: given})).status_code == 401


async def test_every_idempotency_key_counts_or_is_refused(owner, in_headers):
    for name in in_headers:
        sent = form("a.png", pictures.png())
        sent["headers"]["Idempotency-Key"] = name.encode()
        first = await owner.post(DOOR, **sent)
        if not is_refused(first):
            assert (await owner.post(DOOR, **sent)).json() == first.json()


async def test_no_address_breaks_anything(owner, sendable):
    for name in sendable:
        for place in (
            "assets/{}",
            "assets/{}/info",
            "assets/{}/thumbnail",
            "clients/{}",
            "auth/keys/{}",
            "{}",
        ):
            address = f"/api/v2/{place.format(quote(name, safe=''))}"
            for method in ("GET", "DELETE"):
                answer = await owner.request(method, address)
                assert answer.status_code in {404, 405} or name in {".", "..", "/"}, (method, address)


async def test_no_member_s_name_breaks_anything(owner, asset, names):
    for name in names:
        body = json.dumps({name: 1})
        for method, path in (
            ("PATCH", f"/api/v2/assets/{asset['id']}"),
            ("POST", "/api/v2/clients"),
            ("POST", "/api/v2/auth/login"),
        ):
            is_refused(await owner.request(method, path, content=body, headers=JSON))


async def test_no_password_breaks_anything(api, owner, names):
    for name in names[::7]:
        body = json.dumps({"email": "owner@example.com", "password": name})
        is_refused(await api.post("/api/v2/auth/login", content=body, headers=JSON), 401, 422, 429)
