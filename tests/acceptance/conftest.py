"""Fixtures of the tests against real processes."""

import os
import re
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.processes import TwoServers, User

PRINTED = Path(__file__).parent / "printed"


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


@pytest.fixture
def printed() -> Callable[..., str]:
    """A program as a document of `printed` has it, by its heading and number there."""

    def printed(document: str, heading: str, number: int = 0) -> str:
        text = (PRINTED / f"{document}.md").read_text()
        section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
        blocks = re.findall(r"^( *)```\w+\n(.*?)^\1```$", section[1], re.DOTALL | re.MULTILINE)
        return textwrap.dedent(blocks[number][1])

    return printed


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """Runs a command in the folder `tmp_path`; returns what it printed."""

    def run(*command: str, **variables: str) -> str:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=tmp_path,
            env=os.environ | {"NO_PROXY": "*", "no_proxy": "*"} | variables,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def python(run: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """Runs a program of these parts."""

    def python(*parts: str) -> str:
        (tmp_path / "program.py").write_text("\n".join(parts))
        return run(sys.executable, "program.py")

    return python
