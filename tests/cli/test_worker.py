"""`mediakeep worker` where nobody makes the schema."""

import os
import sys

import pytest

from mediakeep.cli import main, server
from tests.conftest import SECRET


@pytest.fixture
def umask():
    """The command changes that of the process."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_an_empty_postgresql_wants_to_be_migrated_first(
    postgres_url, tmp_path, monkeypatch, capsys, warm_decoders, umask
):
    looks = []
    is_current = server.migrations.is_current

    async def look(database):
        looks.append(await is_current(database))
        return looks[-1]

    monkeypatch.setattr(server.migrations, "is_current", look)
    monkeypatch.setattr(server, "_SCHEMA_SECONDS", 2)
    for name, value in {"DATA": str(tmp_path), "DATABASE_URL": postgres_url, "SECRET_KEY": SECRET}.items():
        monkeypatch.setenv(f"MEDIAKEEP_{name}", value)
    monkeypatch.setattr(sys, "argv", ["mediakeep", "worker"])
    with pytest.raises(SystemExit) as end:
        main()
    assert (end.value.code, looks) == (1, [False, False])
    assert capsys.readouterr().err == (
        "mediakeep: The database has another version's schema; run `mediakeep migrate` first.\n"
    )
