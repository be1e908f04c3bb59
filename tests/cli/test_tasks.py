"""`mediakeep tasks`, on each engine."""

import asyncio
import os
import sys

import pytest
from sqlalchemy import select, update

from mediakeep.accounts.models import AuditEntry
from mediakeep.cli import main
from mediakeep.db import now_plus, open_database
from mediakeep.tasks import enqueue, service
from mediakeep.tasks.models import Task


@pytest.fixture
def run(settings, monkeypatch, capsys):
    """Runs `mediakeep tasks …`; returns its exit code and what it wrote to standard output and standard error."""
    monkeypatch.setenv("MEDIAKEEP_DATA", str(settings.data))
    if settings.database_url:
        monkeypatch.setenv("MEDIAKEEP_DATABASE_URL", settings.database_url)
        monkeypatch.setenv("MEDIAKEEP_SECRET_KEY", settings.secret_key.get_secret_value())
    before = os.umask(0o022)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["mediakeep", "tasks", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        output = capsys.readouterr()
        return end.value.code or 0, output.out.strip(), output.err.strip()

    yield run
    os.umask(before)


@pytest.fixture
def tasks(settings):
    """Three tasks: one waits, two are dead."""

    async def make():
        database = open_database(settings)
        async with database.write() as session:
            for number in (1, 2, 3):
                await enqueue(session, "work", {"n": number}, owner_id=7)
            dead = update(Task).where(Task.id > 1)
            await session.execute(
                dead.values(status="dead", turn=None, attempts=12, last_error="OSError: no")
            )
        await database.close()

    asyncio.run(make())


@pytest.fixture
def in_database(settings):
    """Does something in a transaction on the database of the commands."""

    def do(work):
        async def run():
            database = open_database(settings)
            async with database.write() as session:
                result = await work(session)
            await database.close()
            return result

        return asyncio.run(run())

    return do


@pytest.fixture
def change(in_database):
    """Changes the task that waits."""

    def change(**values):
        in_database(lambda session: session.execute(update(Task).where(Task.id == 1).values(values)))

    return change


@pytest.fixture
def recorded(in_database):
    """What the audit log says."""

    async def read(session):
        entries = await session.scalars(select(AuditEntry).order_by(AuditEntry.id))
        return [(one.action, one.subject, one.address, one.user_id, one.details) for one in entries]

    return lambda: in_database(read)


@pytest.fixture
def listed(run):
    """Ids and statuses."""

    def listed(*options):
        _, out, _ = run("list", *options)
        return [tuple(line.split()[:2]) for line in out.splitlines()]

    return listed


def test_what_waits_and_what_is_dead_is_listed(run, tasks, listed):
    assert listed() == [("1", "queued"), ("2", "dead"), ("3", "dead")]
    code, out, _ = run("list", "--dead")
    assert code == 0
    assert [line.split("  ")[0] for line in out.splitlines()] == ["2", "3"]
    assert '{"n": 2}' in out
    assert "OSError: no" in out


def test_without_tasks_the_list_is_empty(run):
    assert run("list") == (0, "", "")


def test_tasks_are_listed_by_status_and_name_as_many_as_asked_for(run, tasks, listed):
    assert listed("--status", "queued") == [("1", "queued")]
    assert listed("--status", "queued", "--status", "dead", "--limit", "2") == [
        ("1", "queued"),
        ("2", "dead"),
    ]
    assert listed("--name", "another") == []
    assert listed("--name", "work", "--dead") == [("2", "dead"), ("3", "dead")]
    assert run("list", "--limit", "1")[2] == "2 more; --limit shows them."


def test_what_runs_is_listed_as_such_until_its_lease_runs_out(change, tasks, listed):
    change(leased_until=now_plus(60))
    assert listed() == [("1", "running"), ("2", "dead"), ("3", "dead")]
    assert listed("--status", "running") == [("1", "running")]
    change(leased_until=now_plus(-1))
    assert listed("--status", "queued") == [("1", "queued")]


def test_all_of_a_task_is_shown(run, tasks):
    code, out, _ = run("show", "2")
    assert code == 0
    shown = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert shown["name"] == "work"
    assert shown["status"] == "dead"
    assert shown["owner"] == "7"
    assert shown["payload"] == '{"n": 2}'
    assert shown["state"] == "{}"
    assert shown["attempts"] == "12 of ?"
    assert shown["error"] == "OSError: no"
    assert shown["deadline"] == shown["finished"] == shown["key"] == "-"


def test_secrets_are_not_shown(run, tasks, change):
    change(
        payload={"token": "hush-1", "to": [{"Authorization": "hush-2"}], "url": "https://u:hush-3@host"},
        state={"step": {"webhook_secret": "hush-4"}, "note": "Bearer hush-5"},
    )
    for arguments in (("show", "1"), ("list",)):
        _, out, _ = run(*arguments)
        assert "hush" not in out
        assert "host" in out


def test_a_dead_task_is_queued_again(run, tasks, listed, recorded):
    assert run("retry", "2") == (0, "Queued 1 again.", "")
    assert listed("--dead") == [("3", "dead")]
    assert recorded() == [("task.retried", "2", "shell", 7, {"name": "work"})]


def test_all_dead_tasks_are_queued_again(run, tasks, listed, recorded, monkeypatch):
    monkeypatch.setattr(service, "_MOST_AT_ONCE", 1)
    assert run("retry", "all") == (0, "Queued 2 again.", "")
    assert listed() == [("1", "queued"), ("2", "queued"), ("3", "queued")]
    assert [(action, subject) for action, subject, *_ in recorded()] == [
        ("task.retried", "2"),
        ("task.retried", "3"),
    ]


def test_a_waiting_task_is_cancelled(run, tasks, listed, recorded):
    assert run("cancel", "1") == (0, "Cancelled 1.", "")
    assert listed() == [("2", "dead"), ("3", "dead")]
    assert listed("--status", "cancelled") == [("1", "cancelled")]
    assert recorded() == [("task.cancelled", "1", "shell", 7, {"name": "work"})]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("retry", "1"), "No task 1 is dead."),
        (("retry", "99"), "No task 99 is dead."),
        (("cancel", "2"), "No task 2 waits."),
        (("show", "99"), "Task not found"),
        (("cancel", "x"), "The id of a task is a number; `mediakeep tasks list` shows it."),
    ],
)
def test_what_cannot_be_done_is_one_sentence(run, tasks, arguments, sentence):
    assert run(*arguments) == (1, "", f"mediakeep: {sentence}")
