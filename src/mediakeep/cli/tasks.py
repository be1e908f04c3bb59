"""`mediakeep tasks …`: background work that waits or has failed for good, straight in the database."""

import json

import click
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.cli.direct import print_table, run_on_database
from mediakeep.db import Database
from mediakeep.errors import InvalidInput, NotFound
from mediakeep.tasks import cancel, list_tasks, retry_dead


@click.group()
def tasks() -> None:
    """Background work."""


@tasks.command("list")
@click.option("--dead", is_flag=True, help="Only what has failed for good.")
def print_tasks(*, dead: bool) -> None:
    """List the tasks that wait and those that are dead: id, status, name, attempts, when it is due, for what, error."""
    statuses = ("dead",) if dead else ("queued", "dead")

    async def work(database: Database) -> list[tuple[str, ...]]:
        async with database.read() as session:
            return [
                (
                    str(row.id),
                    row.status,
                    row.name,
                    str(row.attempts),
                    f"{row.run_at:%Y-%m-%dT%H:%M:%SZ}",
                    json.dumps(row.payload),
                    row.last_error or "-",
                )
                for row in await list_tasks(session, statuses=statuses)
            ]

    print_table(run_on_database(work))


@tasks.command("retry")
@click.argument("id")
def retry_tasks(id: str) -> None:  # noqa: A002 the argument's name
    """Have the dead task with this id run again, or `all` of them."""

    async def work(database: Database) -> int:
        async with database.write() as session:
            return await _retry_all(session) if id == "all" else await _retry(session, _as_task_id(id))

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

    run_on_database(work)
    click.echo(f"Cancelled {task_id}.")


async def _retry_all(session: AsyncSession) -> int:
    dead = await list_tasks(session, statuses=("dead",))
    return sum([await retry_dead(session, row.id) for row in dead])


async def _retry(session: AsyncSession, task_id: int) -> int:
    if not await retry_dead(session, task_id):
        raise NotFound(f"No task {task_id} is dead.")
    return 1


def _as_task_id(given: str) -> int:
    if not (given.isascii() and given.isdigit() and len(given) < 16):
        raise InvalidInput("The id of a task is a number; `mediakeep tasks list` shows it.", field="id")
    return int(given)
