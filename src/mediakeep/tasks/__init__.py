"""Background work: asked for in the transaction that causes it, run by leases, tried again, never lost."""

from mediakeep.tasks.registry import Again, Claimed, GiveUp, LeaseLost, periodic, task
from mediakeep.tasks.service import (
    cancel,
    enqueue,
    enqueue_all,
    list_tasks,
    retry_dead,
    retry_some_dead,
    wake,
    wake_all,
)

__all__ = [
    "Again",
    "Claimed",
    "GiveUp",
    "LeaseLost",
    "cancel",
    "enqueue",
    "enqueue_all",
    "list_tasks",
    "periodic",
    "retry_dead",
    "retry_some_dead",
    "task",
    "wake",
    "wake_all",
]
