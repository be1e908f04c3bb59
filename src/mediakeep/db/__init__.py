"""The catalogue: SQLite in the data folder, or PostgreSQL."""

from mediakeep.db.base import Base, UTCDateTime, insert_into, now_plus
from mediakeep.db.database import Database, open_database

__all__ = ["Base", "Database", "UTCDateTime", "insert_into", "now_plus", "open_database"]
