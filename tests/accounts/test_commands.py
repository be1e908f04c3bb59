import io
import os
import re
import sqlite3
import sys

import pytest

from mediakeep.cli import main


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDIAKEEP_DATA", str(tmp_path / "DATA"))
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs `mediakeep …`; returns its exit code and what it wrote to standard output and standard error."""

    def run(*arguments, stdin=""):
        monkeypatch.setattr(sys, "argv", ["mediakeep", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as end:
            main()
        output = capsys.readouterr()
        return end.value.code or 0, output.out.strip(), output.err.strip()

    return run


@pytest.fixture
def add(run):
    def add(email, *options, password="correct horse"):
        return run("user", "add", email, "--password-stdin", *options, stdin=f"{password}\n")

    return add


@pytest.fixture
def rows(tmp_path):
    def rows(statement):
        connection = sqlite3.connect(tmp_path / "DATA" / "mediakeep.db")
        found = connection.execute(statement).fetchall()
        connection.close()
        return found

    return rows


def test_the_first_user_of_a_fresh_folder_is_the_admin(add, run):
    assert add("one@example.com") == (0, "Created the admin one@example.com.", "")
    assert add("two@example.com") == (0, "Created the user two@example.com.", "")
    assert add("three@example.com", "--admin") == (0, "Created the admin three@example.com.", "")
    _, out, _ = run("user", "list")
    assert [line.split()[:3] for line in out.splitlines()] == [
        ["one@example.com", "admin", "active"],
        ["two@example.com", "user", "active"],
        ["three@example.com", "admin", "active"],
    ]


@pytest.mark.parametrize(
    ("email", "password", "sentence"),
    [
        ("one@example.com", "correct horse", "There is an account with this e-mail address already."),
        ("two@example.com", "short", "The password must have 8 to 1024 characters."),
    ],
)
def test_what_goes_wrong_is_one_sentence_on_standard_error(add, email, password, sentence):
    add("one@example.com")
    assert add(email, password=password) == (1, "", f"mediakeep: {sentence}")


@pytest.mark.parametrize(
    "arguments", [("user", "passwd", "--password-stdin"), ("user", "disable"), ("key", "create")]
)
def test_an_unknown_user_is_said_to_be(run, arguments):
    code, out, err = run(*arguments, "x@example.com", stdin="correct horse\n")
    assert (code, out, err) == (1, "", "mediakeep: There is no user x@example.com.")


def test_a_database_that_does_not_answer_is_said_not_to(run, monkeypatch):
    monkeypatch.setenv("MEDIAKEEP_DATABASE_URL", "postgresql://u:hidden@127.0.0.1:1/x")
    monkeypatch.setenv("MEDIAKEEP_SECRET_KEY", "x" * 32)
    code, _, err = run("user", "list")
    assert code == 1
    assert err == "mediakeep: The database that MEDIAKEEP_DATABASE_URL names does not answer."


def test_an_empty_postgresql_database_is_not_migrated_by_the_way(run, monkeypatch, postgres_url):
    monkeypatch.setenv("MEDIAKEEP_DATABASE_URL", postgres_url)
    monkeypatch.setenv("MEDIAKEEP_SECRET_KEY", "x" * 32)
    code, _, err = run("user", "list")
    assert code == 1
    assert "run `mediakeep migrate` first" in err


def test_a_new_password_replaces_the_old_one(add, run, rows):
    add("one@example.com")
    before = rows("SELECT password_hash FROM users")
    code, _, _ = run("user", "passwd", "one@example.com", "--password-stdin", stdin="another horse\n")
    assert code == 0
    assert rows("SELECT password_hash FROM users") != before


def test_a_user_is_disabled_and_enabled(add, run):
    add("one@example.com")
    assert run("user", "disable", "ONE@example.com")[0] == 0
    assert "disabled" in run("user", "list")[1]
    assert run("user", "enable", "one@example.com")[0] == 0
    assert "active" in run("user", "list")[1]


def test_the_only_admin_of_others_cannot_go(add, run):
    add("one@example.com")
    add("two@example.com")
    sentence = "mediakeep: This is the only admin; make another account an admin first."
    for arguments in (("disable",), ("demote",), ("delete", "--yes")):
        assert run("user", *arguments, "one@example.com") == (1, "", sentence)
    assert run("user", "promote", "two@example.com") == (0, "two@example.com is an admin.", "")
    assert run("user", "demote", "one@example.com") == (0, "one@example.com is an ordinary user.", "")
    assert [line.split()[1] for line in run("user", "list")[1].splitlines()] == ["user", "admin"]


def test_a_user_is_deleted_once_that_is_confirmed(add, run, rows):
    add("one@example.com")
    add("two@example.com")
    run("key", "create", "two@example.com")
    code, _, err = run("user", "delete", "two@example.com", stdin="n\n")
    assert code == 1
    assert "Delete two@example.com with everything of theirs, for good?" in err
    assert run("user", "delete", "two@example.com", stdin="y\n")[:2] == (0, "Deleted two@example.com.")
    assert "two@example.com" not in run("user", "list")[1]
    assert run("key", "list") == (0, "", "")
    assert rows("SELECT name FROM tasks") == [("assets.remove_user",)]
    assert add("two@example.com")[0] == 0
    assert run("user", "delete", "two@example.com", "--yes") == (0, "Deleted two@example.com.", "")


def test_what_happened_is_printed_newest_first(add, run):
    add("one@example.com")
    add("two@example.com")
    run("user", "disable", "two@example.com")
    _, out, _ = run("audit")
    assert [line.split()[1:5] for line in out.splitlines()] == [
        ["user.disabled", "-", "two@example.com", "shell"],
        ["user.registered", "-", "two@example.com", "shell"],
        ["user.registered", "-", "one@example.com", "shell"],
    ]
    assert '{"is_admin": true}' in out.splitlines()[2]
    assert len(run("audit", "--user", "two@example.com")[1].splitlines()) == 2
    assert len(run("audit", "--action", "user.registered", "--limit", "1")[1].splitlines()) == 1
    assert run("audit", "--action", "nonsense")[0] == 2


def test_a_key_is_printed_once_alone_and_can_be_revoked(add, run, rows):
    add("one@example.com")
    options = (
        "--name",
        "ci",
        "--scope",
        "read, write",
        "--expires-days",
        "30",
        "--uploads-per-minute",
        "600",
    )
    code, key, _ = run("key", "create", "one@example.com", *options)
    assert code == 0
    assert re.fullmatch(r"mk_[\w-]{43}", key)
    assert rows("SELECT scopes, uploads_per_minute FROM api_keys") == [('["read", "write"]', 600)]
    _, listed, _ = run("key", "list")
    assert key not in listed
    assert listed.split()[1:5] == [f"{key[:11]}…", "one@example.com", "ci", "read,write"]
    assert run("key", "revoke", listed.split()[0])[0] == 0
    assert run("key", "list", "one@example.com") == (0, "", "")
    assert run("key", "revoke", "nonsense") == (1, "", "mediakeep: API key not found")


def test_an_unknown_scope_is_refused(add, run):
    add("one@example.com")
    code, _, err = run("key", "create", "one@example.com", "--scope", "read,delete")
    assert code == 2
    assert "read, write and admin" in err


def test_what_the_commands_make_is_readable_by_its_owner_only(add, tmp_path):
    add("one@example.com")
    for path in (tmp_path / "DATA").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
