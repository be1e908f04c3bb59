"""What happened: an outbox that is written in the transaction of its cause."""

from mediakeep.events.service import record

__all__ = ["record"]
