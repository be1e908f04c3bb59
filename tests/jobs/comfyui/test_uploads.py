"""Inputs that are files."""

import base64
import hashlib

import pytest
from starlette.responses import JSONResponse, RedirectResponse, Response

from mediakeep.jobs.providers.base import (
    ProviderAway,
    RefusedByProvider,
)
from mediakeep.jobs.providers.comfyui import uploads
from tests.jobs.comfyui.conftest import JOB, OTHER, PNG
from tests.servers.comfyui import Cut


async def test_the_same_file_has_the_same_name_and_no_other_jobs(provider, order, comfy):
    names = [(await provider.prepare(order(job)))["4"]["inputs"]["image"] for job in (JOB, JOB, OTHER)]
    sha256 = hashlib.sha256(PNG).hexdigest()
    assert names == [f"mediakeep/{job}-{sha256}.png" for job in (JOB, JOB, OTHER)]
    assert len(comfy.files) == 2


async def test_a_file_goes_where_the_server_says(provider, order, comfy):
    comfy.answer("/upload/image", JSONResponse({"name": "a (1).png", "subfolder": "", "type": "input"}))
    assert (await provider.prepare(order()))["4"]["inputs"]["image"] == "a (1).png"


@pytest.mark.parametrize("head", ["data:image/png;base64,", "DATA:;base64,", "data:text/html;base64,"])
async def test_a_data_url_is_uploaded_as_what_it_holds(provider, order, comfy, head):
    given = order(image=head + base64.b64encode(PNG).decode())
    name = (await provider.prepare(given))["4"]["inputs"]["image"]
    assert name == f"mediakeep/{JOB}-{hashlib.sha256(PNG).hexdigest()}.png"
    assert list(comfy.files.values()) == [PNG]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("https://example.com/a.png", "input.image: ComfyUI takes files only"),
        ("http://169.254.169.254/", "ComfyUI takes files only"),
        ("example.png", "ComfyUI takes files only"),
        ("../secret.png [output]", "ComfyUI takes files only"),
        ("", "ComfyUI takes files only"),
        ("data:image/png;base64,a", "the data URL cannot be read"),
        ("data:", "the data URL cannot be read"),
        ("data:image/png;base64,aGVsbG8=", "the data URL holds no image, video or sound"),
        ("data:image/png,", "the data URL holds no image, video or sound"),
        ("data:application/pdf,%25PDF-1.7", "the data URL holds no image, video or sound"),
    ],
)
async def test_what_is_no_file_is_refused(provider, order, comfy, address, reason):
    with pytest.raises(RefusedByProvider) as refusal:
        await provider.prepare(order(image=address))
    assert reason in str(refusal.value)
    assert comfy.seen == []


async def test_a_data_url_that_is_too_long_is_refused(provider, order, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_DATA_URL_CHARACTERS", 30)
    with pytest.raises(RefusedByProvider, match="too long"):
        await provider.prepare(order(image="data:image/png;base64," + base64.b64encode(PNG).decode()))


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (Response(status_code=413), RefusedByProvider, "larger than ComfyUI takes"),
        (Response(status_code=400), RefusedByProvider, "ComfyUI answered 400 to an input's file"),
        (RedirectResponse("/elsewhere"), RefusedByProvider, "307"),
        (Response(status_code=500), ProviderAway, "ComfyUI answered 500"),
        (Response(status_code=429), ProviderAway, "429"),
        (Response("hello"), ProviderAway, "none of its answers"),
        (JSONResponse([]), ProviderAway, "none of its answers"),
        (JSONResponse({"subfolder": "a"}), ProviderAway, "none of its answers"),
        (JSONResponse({"name": ["4", 0]}), ProviderAway, "none of its answers"),
        (JSONResponse({"name": ""}), ProviderAway, "none of its answers"),
        (JSONResponse({"name": "a\nb"}), ProviderAway, "none of its answers"),
        (JSONResponse({"name": "a" * 301}), ProviderAway, "none of its answers"),
        (Cut(), ProviderAway, "does not answer"),
    ],
)
async def test_an_upload_that_fails_says_how(provider, order, comfy, answer, kind, reason):
    comfy.answer("/upload/image", answer)
    with pytest.raises(kind, match=reason):
        await provider.prepare(order())
