"""Bringing the schema up to date: Alembic's migrations, one process at a time."""

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from mediakeep.db.base import Base
from mediakeep.db.database import Database
from mediakeep.errors import SettingsError

ANOTHER_VERSION = "The database has another version's schema; run `mediakeep migrate` first."

#: Any number that no other program on the same PostgreSQL database is likely to lock.
_ADVISORY_LOCK = 6_021_997_411


async def migrate(database: Database) -> None:
    """Bring the schema to the newest version. Safe to call from several processes at once."""
    async with database.turn(), database.write_engine.begin() as connection:
        if database.is_sqlite:
            await connection.run_sync(_check_sqlite)
        else:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        await connection.run_sync(lambda sync: command.upgrade(_configuration(sync), "head"))


async def is_current(database: Database) -> bool:
    """Whether the schema is the one this version of the program was written for."""
    async with database.read_engine.connect() as connection:
        found = await connection.run_sync(
            lambda sync: MigrationContext.configure(sync).get_current_revision()
        )
    return found == ScriptDirectory.from_config(_configuration(None)).get_current_head()


def differences(connection: Connection) -> list[object]:
    """What the tables of the models have that the migrated database has not, and the reverse."""
    context = MigrationContext.configure(connection, opts={"include_object": include_object})
    return list(compare_metadata(context, Base.metadata))


def include_object(
    _object: object, name: str | None, type_: str, reflected: bool, _compare_to: object
) -> bool:
    """Alembic's filter: the full-text tables, their shadows and indexes belong to migrations, not to models."""
    return not (type_ in {"table", "index"} and reflected and name is not None and "_fts" in name)


def _configuration(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _check_sqlite(connection: Connection) -> None:
    options = {row[0] for row in connection.exec_driver_sql("PRAGMA compile_options")}
    if "ENABLE_FTS5" not in options:
        raise SettingsError(
            "This Python's SQLite has no FTS5; use a Python whose SQLite has it, or PostgreSQL."
        )
    try:
        connection.exec_driver_sql("CREATE VIRTUAL TABLE temp.probe_fts USING fts5(x, tokenize='trigram')")
    except Exception as error:
        raise SettingsError("This Python's SQLite is older than 3.34 and has no trigram index.") from error
    connection.exec_driver_sql("DROP TABLE temp.probe_fts")
