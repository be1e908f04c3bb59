"""`mediakeep tasks …`: background work, straight in the database."""

import json
from datetime import datetime

import click
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep import features
from mediakeep.accounts import audit
from mediakeep.accounts.actor import SHELL
from mediakeep.cli.direct import print_table, run_on_database
from mediakeep.db import Database
from mediakeep.errors import InvalidInput, NotFound
from mediakeep.tasks import cancel, retry_dead, retry_some_dead
from mediakeep.tasks.queries import STATUSES, ShownTask, Status, get_task, list_page

# Their registrations know how often a task is tried.
_TASKS = features.task_modules

_MOST_CHARACTERS = 200


@click.group()
def tasks() -> None:
    """Background work."""


@tasks.command("list")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(STATUSES),
    help="Only these; may be given several times.  [default: queued, running, dead]",
)
@click.option("--dead", is_flag=True, help="Only what has failed for good.")
@click.option("--name", help="Only tasks of this name.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Most that are listed."
)
def print_tasks(*, statuses: tuple[Status, ...], dead: bool, name: str | None, limit: int) -> None:
    """List tasks, the oldest first: id, status, name, attempts, when it is due, for what, error."""
    asked_for: tuple[Status, ...] = ("dead",) if dead else statuses or ("queued", "running", "dead")

    async def work(database: Database) -> tuple[list[ShownTask], int]:
        async with database.read() as session:
            return await list_page(session, statuses=asked_for, name=name, limit=limit, oldest_first=True)

    found, total = run_on_database(work)
    print_table([_row(task) for task in found])
    if total > len(found):
        click.echo(f"{total - len(found)} more; --limit shows them.", err=True)


def _row(task: ShownTask) -> tuple[str, ...]:
    return (
        str(task.id),
        task.status,
        task.name,
        str(task.attempts),
        _time(task.run_at),
        _shortened(json.dumps(task.payload)),
        task.last_error or "-",
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


@tasks.command("show")
@click.argument("id")
def show_task(id: str) -> None:  # noqa: A002 the argument's name
    """Show all there is about the task with this id; secrets in its payload are hidden."""
    task_id = _as_task_id(id)

    async def work(database: Database) -> ShownTask:
        async with database.read() as session:
            return await get_task(session, task_id)

    print_table(_lines(run_on_database(work)))


def _lines(task: ShownTask) -> list[tuple[str, ...]]:
    return [
        ("id", str(task.id)),
        ("name", task.name),
        ("status", task.status),
        ("owner", str(task.owner_id or "-")),
        ("key", task.key or "-"),
        ("priority", str(task.priority)),
        ("payload", json.dumps(task.payload)),
        ("state", json.dumps(task.state)),
        ("attempts", f"{task.attempts} of {task.max_attempts or '?'}"),
        ("created", _time(task.created_at)),
        ("due", _time(task.run_at)),
        ("leased until", _time(task.leased_until)),
        ("deadline", _time(task.deadline_at)),
        ("finished", _time(task.finished_at)),
        ("error", task.last_error or "-"),
    ]


def _time(time: datetime | None) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}" if time else "-"


@tasks.command("retry")
@click.argument("id")
def retry_tasks(id: str) -> None:  # noqa: A002 the argument's name
    """Have the dead task with this id run again, or `all` of them."""

    async def work(database: Database) -> int:
        return await _retry_all(database) if id == "all" else await _retry(database, _as_task_id(id))

    click.echo(f"Queued {run_on_database(work)} again.")


@tasks.command("cancel")
@click.argument("id")
def cancel_task(id: str) -> None:  # noqa: A002 the argument's name
    """End the waiting task with this id; one that is running stops."""
    task_id = _as_task_id(id)

    async def work(database: Database) -> None:
        async with database.write() as session:
            if not await cancel(session, task_id):
                raise NotFound(f"No task {task_id} waits.")
            await _record(session, "task.cancelled", task_id)

    run_on_database(work)
    click.echo(f"Cancelled {task_id}.")


async def _retry_all(database: Database) -> int:
    retried = 0
    while True:
        async with database.write() as session:
            ids = await retry_some_dead(session)
            for task_id in ids:
                await _record(session, "task.retried", task_id)
        if not ids:
            return retried
        retried += len(ids)


async def _retry(database: Database, task_id: int) -> int:
    async with database.write() as session:
        if not await retry_dead(session, task_id):
            raise NotFound(f"No task {task_id} is dead.")
        await _record(session, "task.retried", task_id)
    return 1


async def _record(session: AsyncSession, action: audit.Action, task_id: int) -> None:
    task = await get_task(session, task_id)
    await audit.record(session, SHELL, action, user_id=task.owner_id, subject=str(task_id), name=task.name)


def _as_task_id(given: str) -> int:
    if not (given.isascii() and given.isdigit() and len(given) < 16):
        raise InvalidInput("The id of a task is a number; `mediakeep tasks list` shows it.", field="id")
    return int(given)
