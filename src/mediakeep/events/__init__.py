"""What happened: an outbox that is written in the transaction of its cause."""

from mediakeep.events.service import (
    Recorded,
    document,
    forget,
    listener,
    record,
    record_all,
)

__all__ = ["Recorded", "document", "forget", "listener", "record", "record_all"]
