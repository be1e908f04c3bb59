"""Periodic tasks: one row for each slot of time, under a key that only one of the workers can take."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.db import Database, now_plus
from mediakeep.settings import Settings
from mediakeep.tasks.models import QUEUED, Task
from mediakeep.tasks.registry import Registered
from mediakeep.tasks.service import enqueue


async def enqueue_slots(database: Database, settings: Settings, tasks: Iterable[Registered]) -> float:
    """Enqueue what this slot of each periodic task still lacks; returns the seconds until the next slot begins.

    Nothing is written, and no write transaction opened, when nothing is missing.
    """
    periodic = [task for task in tasks if task.every]
    async with database.read() as session:
        now = await database_time(session)
        keys = current_keys(settings, periodic, now)
        missing = await _without_row(session, keys)
    if missing:
        async with database.write() as session:
            for name in missing:
                await enqueue(session, name, {}, key=keys[name])
    return min(_until_next_slot(settings, periodic, now), default=float("inf"))


def current_keys(settings: Settings, tasks: Iterable[Registered], now: datetime) -> dict[str, str]:
    """The key of each periodic task's present slot, by the task's name; the key ends in the time the slot began."""
    keys = {}
    for task in tasks:
        if task.every:
            began = now.timestamp() // task.every(settings) * task.every(settings)
            keys[task.name] = f"{task.name}:{datetime.fromtimestamp(began, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return keys


async def database_time(session: AsyncSession) -> datetime:
    return (await session.execute(select(now_plus()))).scalar_one()


async def _without_row(session: AsyncSession, keys: dict[str, str]) -> list[str]:
    """The names of `keys` whose slot has no row, and of which no earlier slot is still to be done."""
    unfinished = (Task.status == QUEUED) & Task.name.in_(keys) & Task.key.is_not(None)
    statement = select(Task.name).where(or_(Task.key.in_(keys.values()), unfinished))
    there = set(await session.scalars(statement))
    return [name for name in keys if name not in there]


def _until_next_slot(settings: Settings, tasks: Iterable[Registered], now: datetime) -> Iterator[float]:
    for task in tasks:
        if task.every:
            seconds = task.every(settings)
            yield seconds - now.timestamp() % seconds
