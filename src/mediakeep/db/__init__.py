"""The catalogue: SQLite in the data folder, or PostgreSQL."""

from mediakeep.db.base import Base, UTCDateTime, insert_into
from mediakeep.db.database import Database, do_last, is_collision, may_pass, open_database, unavailable
from mediakeep.db.functions import larger, now_plus
from mediakeep.db.hot import HotQuery, as_time

__all__ = [
    "Base",
    "Database",
    "HotQuery",
    "UTCDateTime",
    "as_time",
    "do_last",
    "insert_into",
    "is_collision",
    "larger",
    "may_pass",
    "now_plus",
    "open_database",
    "unavailable",
]
