"""The receiver of the documentation does what it says."""

import re
from pathlib import Path

import pytest

from mediakeep.tasks.worker import drain

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"


@pytest.fixture
def verify():
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {"__name__": "example"}
    exec(compile(code, str(PAGE), "exec"), names)
    return names["verify"]


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
async def test_it_takes_what_we_send_and_nothing_else(verify, library, subscribe, happen, receiver):
    webhook = await subscribe()
    await happen("asset.created")
    await drain(library)
    [got] = receiver.got
    assert verify(webhook.secret, got.headers, got.body)["type"] == "asset.created"
    late = {**got.headers, "webhook-timestamp": "1614265330"}
    other = {**got.headers, "webhook-id": "another"}
    for headers, body in ((got.headers, got.body + b" "), (late, got.body), (other, got.body)):
        with pytest.raises(ValueError, match="the signature is wrong"):
            verify(webhook.secret, headers, body)
