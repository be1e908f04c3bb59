"""Fixtures of the tests against real processes."""

import uuid
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.processes import TwoServers, User


@pytest.fixture
def user(two_servers: TwoServers) -> Iterator[User]:
    """A fresh account with a client of each server."""
    with two_servers.user(f"{uuid.uuid4().hex}@example.com") as user:
        yield user


@pytest.fixture
def other(two_servers: TwoServers) -> Iterator[User]:
    with two_servers.user(f"{uuid.uuid4().hex}@example.com") as user:
        yield user


@pytest.fixture
def nobody(two_servers: TwoServers) -> Iterator[httpx.Client]:
    """A client of the first server that is not logged in."""
    with two_servers.first.client() as client:
        yield client


@pytest.fixture
def upload(user: User) -> Callable[..., dict[str, object]]:
    """Uploads through the first server and returns the asset."""

    def upload(name: str, data: bytes, media_type: str = "", **fields: str) -> dict[str, object]:
        part = (name, data, media_type) if media_type else (name, data)
        answer = user.first.post("/api/v2/upload-asset", files={"file": part}, data=fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return upload
