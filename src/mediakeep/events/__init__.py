"""What happened: an outbox that is written in the transaction of its cause."""

from mediakeep.events.service import Recorded, forget, listener, record

__all__ = ["Recorded", "forget", "listener", "record"]
