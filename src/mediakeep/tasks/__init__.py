"""Background work: asked for in the transaction that causes it, run by leases, tried again, never lost."""

from mediakeep.tasks.registry import Again, Claimed, GiveUp, LeaseLost, periodic, task
from mediakeep.tasks.service import cancel, enqueue, retry_dead, wake

__all__ = [
    "Again",
    "Claimed",
    "GiveUp",
    "LeaseLost",
    "cancel",
    "enqueue",
    "periodic",
    "retry_dead",
    "task",
    "wake",
]
