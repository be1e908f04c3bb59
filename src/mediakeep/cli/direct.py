"""What commands share that work straight on the database, whether or not a server runs."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from mediakeep.db import Database, open_database
from mediakeep.db.migrate import ANOTHER_VERSION, is_current, migrate
from mediakeep.errors import SettingsError
from mediakeep.settings import load_settings

_T = TypeVar("_T")


def run_on_database(work: Callable[[Database], Awaitable[_T]]) -> _T:
    """Do the work on the database of the settings; SQLite's tables are made where there are none."""
    settings = load_settings()
    os.umask(0o077)

    async def run() -> _T:
        database = open_database(settings)
        try:
            if database.is_sqlite:
                await migrate(database)
            elif not await is_current(database):
                raise SettingsError(ANOTHER_VERSION)
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
