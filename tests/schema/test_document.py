"""The OpenAPI document: valid, whole, and with examples that run as they are."""

import copy
import re

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.samples import pictures

METHODS = ("get", "head", "post", "put", "patch", "delete")

#: What no example can do: a refresh token is good only where it was given, and the only admin stays.
NOT_RUN = {"POST /api/v2/auth/refresh", "DELETE /api/v2/auth/me"}

#: What an example's path names; made before it runs.
PATHS = (
    *("asset_id", "client_id", "campaign_id", "id", "user_id", "persona_id", "media_id"),
    *("project_id", "generation_id", "tag", "webhook_id"),
)

#: It changes the password that the others need.
LAST = "POST /api/v2/auth/password"

on_one_engine = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)

pytestmark = on_one_engine


def operations(document):
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield f"{method.upper()} {path}", item[method]


@pytest.fixture
def document(app):
    return copy.deepcopy(app.openapi())


@pytest.fixture
def validate(document):
    """Checks an example against a schema of the document."""

    def check(example, schema):
        whole = {**schema, "components": document["components"]}
        errors = [error.message for error in Draft202012Validator(whole).iter_errors(example)]
        assert errors == []

    return check


def examples_of(content, document):
    """The examples of one kind of body: its own, or those of its schema."""
    if "example" in content:
        return [content["example"]]
    if "examples" in content:
        return [one["value"] for one in content["examples"].values()]
    return [made_from(content["schema"], document)]


def made_from(schema, document):
    """An example put together from those of a schema's parts."""
    if "$ref" in schema:
        return made_from(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    if "examples" in schema:
        return schema["examples"][0]
    if "const" in schema:
        return schema["const"]
    if "oneOf" in schema:
        return made_from(schema["oneOf"][0], document)
    if schema.get("type") == "array":
        return [made_from(schema["items"], document)]
    assert schema.get("type") == "object", f"no example: {schema}"
    assert schema.get("properties"), f"no example: {schema}"
    return {name: made_from(one, document) for name, one in schema["properties"].items()}


async def test_it_is_a_valid_document(document):
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    assert document["openapi"].startswith("3.1")


async def test_every_call_says_what_it_does(document):
    for name, operation in operations(document):
        assert operation.get("summary"), name
        assert operation.get("description"), name
        assert operation.get("tags"), name


async def test_every_answer_has_a_description_and_an_example_that_fits_its_schema(document, validate):
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            assert answer["description"], (name, status)
            for media_type, content in answer.get("content", {}).items():
                if content["schema"].get("format") == "binary":
                    continue
                found = examples_of(content, document)
                assert found, (name, status, media_type)
                for example in found:
                    validate(example, content["schema"])


async def test_every_problem_is_told_as_one(document):
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status >= "400" and name != "GET /readyz":
                assert list(answer["content"]) == ["application/problem+json"], (name, status)
                for example in answer["content"]["application/problem+json"]["examples"].values():
                    assert example["value"]["status"] == int(status), (name, status)


async def test_every_call_that_needs_a_login_tells_of_401_and_no_other_does(document):
    for name, operation in operations(document):
        needs = bool(operation.get("security")) and {} not in operation["security"]
        asks = name in {"POST /api/v2/auth/login", "POST /api/v2/auth/refresh", "GET /metrics"}
        assert ("401" in operation["responses"]) == (needs or asks), name


async def test_every_call_of_a_file_can_be_made_with_head(document):
    for path, item in document["paths"].items():
        binary = any(
            content["schema"].get("format") == "binary"
            for content in item.get("get", {}).get("responses", {}).get("200", {}).get("content", {}).values()
        )
        if binary:
            assert item["head"]["responses"].keys() == item["get"]["responses"].keys(), path


async def test_the_example_of_every_request_runs_as_it_is(document, api, validate):
    """As somebody who follows the docs page from top to bottom, on a new server."""
    ids = {}
    for name, operation in sorted(operations(document), key=lambda one: one[0] == LAST):
        content = operation.get("requestBody", {}).get("content", {})
        if name in NOT_RUN or not content or "multipart/form-data" in content:
            continue
        method, path = name.split()
        for media_type, described in content.items():
            for example in examples_of(described, document):
                validate(example, described["schema"])
                for parameter in PATHS:
                    if f"{{{parameter}}}" in path and parameter not in ids:
                        ids[parameter] = await make(api, parameter)
                if path.startswith("/api/v1/assets/{asset_id}"):  # an image asset of a project
                    ids["asset_id"] = await make(api, "image asset")
                sent = {"json": example} if media_type == "application/json" else {"data": example}
                answer = await api.request(method, path.format(**ids), **sent)
                assert answer.is_success, f"{name}: {answer.status_code} {answer.text}"
                if name == "POST /api/v2/auth/register":
                    api.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


async def make(api, parameter):  # noqa: PLR0911 one for each kind of thing
    if parameter == "user_id":
        body = {"email": "other@example.com", "password": "correct horse battery"}
        other = (await api.post("/api/v2/auth/register", json=body)).json()["access_token"]
        headers = {"Authorization": f"Bearer {other}"}
        return (await api.get("/api/v2/auth/me", headers=headers)).json()["id"]
    if parameter == "asset_id":
        files = {"file": ("a.png", pictures.png(), "image/png")}
        return (await api.post("/api/v2/upload-asset", files=files)).json()["id"]
    if parameter == "persona_id":
        return (await api.post("/personas", json={"name": "Ada"})).json()["id"]
    if parameter == "media_id":
        files = {"file": ("a.png", pictures.png(), "image/png")}
        door = f"/media/upload/{await make(api, 'persona_id')}"
        return (await api.post(door, files=files)).json()["id"]
    if parameter == "project_id":
        return (await api.post("/api/v1/projects", json={"name": "Forge"})).json()["id"]
    if parameter == "image asset":
        project = await make(api, "project_id")
        asset = await api.post(f"/api/v1/projects/{project}/assets", json={"name": "Portrait"})
        return asset.json()["id"]
    if parameter == "generation_id":
        asset_id = await make(api, "image asset")
        return (await api.post(f"/api/v1/assets/{asset_id}/generations", json={})).json()["id"]
    if parameter == "tag":
        return "hero"
    if parameter == "webhook_id":
        body = {"url": "https://receiver.example", "events": ["*"]}
        return (await api.post("/api/v2/webhooks", json=body)).json()["id"]
    kind = {"client_id": "clients", "campaign_id": "campaigns", "id": "auth/keys"}[parameter]
    return (await api.post(f"/api/v2/{kind}", json={"name": "Acme"})).json()["id"]


async def test_every_limit_is_told_in_the_words_of_json_schema(document):
    told = set(re.findall(r"'(ge|gt|le|lt|max_length|min_length)':", str(document)))
    assert told == set(), "a validator hides a limit from the schema: put the limit before it"


async def test_the_document_names_no_schema_that_it_lacks(document):
    text = str(document)
    for name in ("HTTPValidationError", "ValidationError"):
        assert name not in text


async def test_a_malformed_body_is_refused_in_the_same_shape_as_any_other(owner):
    for body in (b"\xff", b'{"name": "\xc3"}', b"[" * 100_000):
        answer = await owner.post(
            "/api/v2/clients", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422, body[:20]
        assert answer.json()["errors"][0]["field"] == "body" or answer.json()["errors"]
        assert answer.json()["title"] == "Unprocessable Content"


async def test_a_method_that_is_not_taken_gets_all_that_are(owner, document):
    for path, item in document["paths"].items():
        address = re.sub(r"{\w+}", "1", path)
        answer = await owner.request("PROPFIND", address)
        assert answer.status_code == 405, path
        assert {one.lower() for one in answer.headers["allow"].split(", ")} == set(item) & set(METHODS), path
