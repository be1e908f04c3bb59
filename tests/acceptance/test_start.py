"""Starting the program: the README's commands are there, and wrong settings are refused in plain words."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def installation(install):
    with install("sqlite-disk") as installation:
        yield installation


@pytest.fixture
def refusal(installation):
    """Tries to run a command with these settings; returns the one line with which it refused."""

    def refusal(*arguments, **settings):
        done = installation.run(*arguments, **settings)
        assert done.returncode == 1, done.stdout + done.stderr
        (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        return line

    return refusal


@pytest.mark.parametrize("target", ["serve", "test"])
def test_the_readme_s_commands_exist(target):
    assert re.search(rf"^make {target}\b", (ROOT / "README.md").read_text(), re.MULTILINE)
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_server_for_other_machines_needs_its_address(refusal):
    assert refusal("serve", "--host", "0.0.0.0") == (
        "mediakeep: MEDIAKEEP_BASE_URL must be set when listening on 0.0.0.0, which is not loopback."
    )


def test_postgresql_needs_a_secret_key(refusal):
    assert refusal("serve", DATABASE_URL="postgresql://user:pass@127.0.0.1:1/db") == (
        "mediakeep: MEDIAKEEP_SECRET_KEY must be set with a database other than SQLite."
    )


def test_an_unknown_setting_is_refused(refusal):
    assert refusal("serve", DATABSE_URL="x") == (
        "mediakeep: MEDIAKEEP_DATABSE_URL is not a setting; `mediakeep settings` lists them."
    )


def test_a_number_that_is_none_is_refused(refusal):
    said = refusal("serve", UPLOADS_PER_MINUTE="many")
    assert said.startswith("mediakeep: MEDIAKEEP_UPLOADS_PER_MINUTE: ")
    assert said.endswith("(given: 'many').")


def test_a_type_that_is_unknown_is_refused(refusal):
    said = refusal("serve", ALLOWED_TYPES="jpg,docx")
    assert said.startswith("mediakeep: MEDIAKEEP_ALLOWED_TYPES")
    assert "docx" in said


def test_a_secret_key_that_is_too_short_is_refused_and_not_shown(refusal):
    said = refusal("serve", SECRET_KEY="short-secret")
    assert said == "mediakeep: MEDIAKEEP_SECRET_KEY: it must have at least 32 characters."


@pytest.mark.parametrize("command", ["serve", "worker", "migrate", "fsck"])
def test_a_database_that_does_not_answer_is_one_sentence(refusal, command):
    said = refusal(command, DATABASE_URL="postgresql://user:pass@127.0.0.1:1/db", SECRET_KEY="x" * 32)
    assert said == "mediakeep: The database that MEDIAKEEP_DATABASE_URL names does not answer."


def test_a_wrong_database_password_is_one_sentence(refusal, postgres_server):
    wrong = re.sub(r":[^:@/]+@", ":wrong@", postgres_server.url)
    assert "MEDIAKEEP_DATABASE_URL" in refusal("serve", DATABASE_URL=wrong, SECRET_KEY="x" * 32)


@pytest.mark.parametrize("command", ["serve", "fsck"])
def test_an_empty_postgresql_wants_to_be_migrated_first(refusal, postgres_url, command):
    assert refusal(command, DATABASE_URL=postgres_url, SECRET_KEY="x" * 32) == (
        "mediakeep: The database has another version's schema; run `mediakeep migrate` first."
    )


def test_the_data_folder_is_printed_with_its_whole_path_and_its_owner_s_alone(installation):
    server = installation.serve()
    server.wait_until_ready()
    assert f"keeps its data in {installation.data}" in server.output
    for path in (installation.data, *installation.data.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
