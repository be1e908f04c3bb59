"""Which function runs a task: filled by decorators when the features' `tasks` modules are imported."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.db import now_plus
from mediakeep.library import Library
from mediakeep.settings import Settings
from mediakeep.tasks.models import Task

#: Enough for a task to outlive an outage of about an hour.
MAX_ATTEMPTS = 12

#: After so long, another worker takes over from one that was killed.
LEASE_SECONDS = 60.0


@dataclass(frozen=True)
class Again:
    """What a step returns that is not done yet: look again later. Meanwhile it holds no worker and no lease.

    `state` is what the next step gets; None leaves it as it is. Attempts are counted anew, the deadline stays.
    """

    after_seconds: float
    state: dict[str, Any] | None = None  # JSON

    def __post_init__(self) -> None:
        json.dumps(
            self.state
        )  # what cannot be stored is an error of the step, which would otherwise never end


class GiveUp(Exception):
    """Raised by a step that knows that trying again is no use: the task is dead at once. The reason is one sentence."""


class LeaseLost(Exception):
    """The claim ran out or the task was cancelled: whatever this step still does must not be written."""


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A task as the step that runs it sees it. `attempt` is 1 at first."""

    id: int
    name: str
    payload: dict[str, Any]  # JSON, as is the state
    state: dict[str, Any]
    key: str | None
    priority: int
    attempt: int
    max_attempts: int
    deadline_at: datetime | None
    seconds_left: float | None
    lease_seconds: float
    lease_token: str

    async def hold(self, session: AsyncSession) -> None:
        """Let this transaction commit only if the claim still stands then. Raises `LeaseLost`.

        Call it last, after the rows that the step is about: whoever wakes or cancels a task locks in that order too.
        """
        statement = update(Task).where(Task.id == self.id, Task.lease_token == self.lease_token)
        renewed = statement.values(leased_until=now_plus(self.lease_seconds), turn=None).returning(Task.id)
        if await session.scalar(renewed, execution_options={"synchronize_session": False}) is None:
            raise LeaseLost(f"the lease of task {self.id} is lost")


Step = Callable[[Library, Claimed], Awaitable[Again | None]]


@dataclass(frozen=True, kw_only=True)
class Registered:
    name: str
    step: Step
    max_attempts: int
    lease_seconds: float
    every: Callable[[Settings], float] | None = None


_registered: dict[str, Registered] = {}


def task(
    name: str, *, max_attempts: int = MAX_ATTEMPTS, lease_seconds: float = LEASE_SECONDS
) -> Callable[[Step], Step]:
    """Have the decorated function run the tasks `name`.

    It may run more than once, so it must look first what is left to do. It returns None when it is done, or `Again`.
    What it raises is tried again later, `max_attempts` times in all; `GiveUp` is not. The lease is renewed while it
    runs; `lease_seconds` only says how soon others take over from a process that was killed.
    """
    return _register(name, every=None, max_attempts=max_attempts, lease_seconds=lease_seconds)


def periodic(
    name: str,
    *,
    every: Callable[[Settings], float],
    max_attempts: int = MAX_ATTEMPTS,
    lease_seconds: float = LEASE_SECONDS,
) -> Callable[[Step], Step]:
    """As `task`, and enqueued by the workers themselves: once in each slot of `every` seconds, however many they are.

    A slot is left out while an earlier one is not done, and slots that passed while nobody ran are not made up for.
    """
    return _register(name, every=every, max_attempts=max_attempts, lease_seconds=lease_seconds)


def registered_tasks() -> Mapping[str, Registered]:
    """What this process can run, by name."""
    return MappingProxyType(_registered)


def _register(
    name: str, *, every: Callable[[Settings], float] | None, max_attempts: int, lease_seconds: float
) -> Callable[[Step], Step]:
    def register(step: Step) -> Step:
        if name in _registered:
            raise ValueError(f"two functions are registered for the task {name}")
        _registered[name] = Registered(
            name=name, step=step, max_attempts=max_attempts, lease_seconds=lease_seconds, every=every
        )
        return step

    return register
