import pytest

from tests.permissions.world import DOOR, PICTURE, World


@pytest.fixture
def world(app, api, admin):
    """Somebody who owns one of each thing, and everybody who might ask for it, on each engine."""
    return World(app, api)


@pytest.fixture
def make(owner):
    """Makes one of the owner's things by its kind; returns its id."""

    async def make(kind, **body):
        if kind == "assets":
            answer = await owner.post(DOOR, files=PICTURE, data=body)
        else:
            answer = await owner.post(f"/api/v2/{kind}", json={"name": "Acme", **body})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    return make


@pytest.fixture
async def private(make):
    """The id of an asset that only its owner may read."""
    return await make("assets", visibility="private")
