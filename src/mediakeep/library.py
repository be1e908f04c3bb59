"""The opened library: what every request and every task needs at hand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from mediakeep.db import Database, open_database
from mediakeep.media.film_pool import FilmPool
from mediakeep.media.pool import DecodePool, decode_process_count
from mediakeep.settings import Settings
from mediakeep.storage import Store, open_store


@dataclass(frozen=True, kw_only=True)
class Library:
    settings: Settings
    database: Database
    store: Store
    decoders: DecodePool
    films: FilmPool
    #: Who fetches the outputs of a job holds one; there is a worker's slot more, so that a slow provider leaves one free.
    output_slots: asyncio.Semaphore


@asynccontextmanager
async def open_library(settings: Settings) -> AsyncIterator[Library]:
    """Open the database, the storage and the decode processes; close them when the block ends."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    decoders = DecodePool(processes=decode_process_count(settings), memory_bytes=settings.decode_memory_bytes)
    decoders.start()
    database = open_database(settings)
    try:
        yield Library(
            settings=settings,
            database=database,
            store=open_store(settings),
            decoders=decoders,
            films=FilmPool(memory_bytes=settings.decode_memory_bytes),
            output_slots=asyncio.Semaphore(max(1, settings.task_concurrency - 1)),
        )
    finally:
        decoders.close()
        await database.close()
