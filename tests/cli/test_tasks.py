"""`mediakeep tasks`, on each engine."""

import asyncio
import os
import sys

import pytest
from sqlalchemy import update

from mediakeep.cli import main
from mediakeep.db import open_database
from mediakeep.tasks import enqueue
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
                await enqueue(session, "work", {"n": number})
            dead = update(Task).where(Task.id > 1)
            await session.execute(dead.values(status="dead", attempts=12, last_error="OSError: no"))
        await database.close()

    asyncio.run(make())


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


def test_a_dead_task_is_queued_again(run, tasks, listed):
    assert run("retry", "2") == (0, "Queued 1 again.", "")
    assert listed("--dead") == [("3", "dead")]


def test_all_dead_tasks_are_queued_again(run, tasks, listed):
    assert run("retry", "all") == (0, "Queued 2 again.", "")
    assert listed() == [("1", "queued"), ("2", "queued"), ("3", "queued")]


def test_a_waiting_task_is_cancelled(run, tasks, listed):
    assert run("cancel", "1") == (0, "Cancelled 1.", "")
    assert listed() == [("2", "dead"), ("3", "dead")]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("retry", "1"), "No task 1 is dead."),
        (("retry", "99"), "No task 99 is dead."),
        (("cancel", "2"), "No task 2 waits."),
        (("cancel", "x"), "The id of a task is a number; `mediakeep tasks list` shows it."),
    ],
)
def test_what_cannot_be_done_is_one_sentence(run, tasks, arguments, sentence):
    assert run(*arguments) == (1, "", f"mediakeep: {sentence}")
