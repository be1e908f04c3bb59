"""Files to probe, and the limits of a server with default settings."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mediakeep.media.limits import Limits, limits_from
from mediakeep.settings import Settings


@pytest.fixture(scope="session")
def limits() -> Limits:
    return limits_from(Settings(_env_file=None))


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[bytes], str]:
    """Writes bytes to a file without extension, as storage does, and gives its path."""

    def save(data: bytes) -> str:
        path = tmp_path / "content"
        path.write_bytes(data)
        return str(path)

    return save
