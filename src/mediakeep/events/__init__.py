"""What happened: an outbox that is written in the transaction of its cause."""

from mediakeep.events.service import forget, record

__all__ = ["forget", "record"]
