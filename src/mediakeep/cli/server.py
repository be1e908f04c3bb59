"""`mediakeep serve`, `worker`, `migrate` and `settings`."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import click
import structlog
import uvicorn

import mediakeep
from mediakeep import features, metrics
from mediakeep.accounts import service as accounts
from mediakeep.accounts.secrets import load_secret_key, setup_code
from mediakeep.db import Database, open_database
from mediakeep.db import migrate as migrations
from mediakeep.errors import SettingsError
from mediakeep.files.identity import check_store
from mediakeep.http.metrics import listening
from mediakeep.http.picture_query import presets_from
from mediakeep.http.protocol import BoundedProtocol
from mediakeep.library import open_library
from mediakeep.logs import configure_logging
from mediakeep.settings import PREFIX, Settings, load_settings
from mediakeep.tasks.transport import open_transport
from mediakeep.tasks.worker import Worker

log = structlog.get_logger("mediakeep")

_SCHEMA_SECONDS = 20


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on.  [default: 8000]")
@click.option("--workers", type=int, help="Number of server processes.  [default: 1]")
@click.option("--reload", is_flag=True, help="Start anew when the program's files change.")
def serve(*, host: str | None, port: int | None, workers: int | None, reload: bool) -> None:
    """Serve the API, and run background tasks."""
    _override(host=host, port=port, workers=workers)
    settings = load_settings()
    os.umask(0o077)
    configure_logging(settings)
    secret = load_secret_key(settings)
    presets_from(settings)  # server processes that fail are only started again
    has_users = asyncio.run(_prepare(settings))
    _greet(settings, None if has_users else setup_code(secret))
    with _measured(settings, several=reload or settings.workers > 1):
        uvicorn.run(
            "mediakeep.app:app_from_environment",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=None if reload else settings.workers,
            reload=reload,
            reload_dirs=[str(Path(mediakeep.__file__).parent)] if reload else None,
            loop="uvloop",
            http=BoundedProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,  # ours is exact
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies),
            timeout_keep_alive=30,
            timeout_graceful_shutdown=15,
        )


@contextmanager
def _measured(settings: Settings, *, several: bool) -> Iterator[None]:
    """Answer on the metrics' port, and have the server processes that start meanwhile count together."""
    with ExitStack() as stack:
        folder = stack.enter_context(metrics.shared_folder(settings.data / "metrics")) if several else None
        if folder:
            os.environ[metrics.FOLDER_VARIABLE] = str(folder)
        if settings.metrics_port and settings.metrics_port == settings.port:
            raise SettingsError("MEDIAKEEP_METRICS_PORT: it must be another port than MEDIAKEEP_PORT.")
        if settings.metrics_port:
            stack.enter_context(listening(settings, settings.metrics_port, folder))
        yield


def _override(**given: object) -> None:
    """Put the command's options where the server processes look: they read their settings themselves."""
    for name, value in given.items():
        if value is not None:
            os.environ[f"{PREFIX}{name.upper()}"] = str(value)


async def _prepare(settings: Settings) -> bool:
    """Bring SQLite's schema up to date, check PostgreSQL's; say whether there is any account yet."""
    database = open_database(settings)
    try:
        if database.is_sqlite:
            await migrations.migrate(database)
        elif not await migrations.is_current(database):
            raise SettingsError(migrations.ANOTHER_VERSION)
        async with database.read() as session:
            return await accounts.has_users(session)
    finally:
        await database.close()


def _greet(settings: Settings, code: str | None) -> None:
    click.echo(f"Mediakeep {mediakeep.__version__} keeps its data in {settings.data}", err=True)
    click.echo(f"Serving on {settings.base_url or f'http://{settings.host}:{settings.port}'}", err=True)
    if code:
        needed = "; unless this machine asks, it" if settings.is_local else " and"
        click.echo(f"The first account is the admin's{needed} needs this set-up code: {code}", err=True)


@click.command()
@click.option("--concurrency", type=int, help="Tasks that it runs at a time.  [default: 2]")
@click.option(
    "--metrics-port", type=int, help="Port on which /metrics answers for this process.  [default: none]"
)
def worker(*, concurrency: int | None, metrics_port: int | None) -> None:
    """Run background tasks, without a server. SIGTERM and ^C let running tasks end for some seconds."""
    _override(task_concurrency=concurrency)
    settings = load_settings()
    os.umask(0o077)
    configure_logging(settings)
    with listening(settings, metrics_port) if metrics_port else nullcontext():
        asyncio.run(_work(settings))


async def _work(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_library(settings) as library:
        await _wait_for_schema(library.database)
        await check_store(library)
        async with open_transport(library) as transport, Worker(library, transport=transport):
            log.info("worker.started", task_modules=len(features.task_modules))
            await stop.wait()


async def _wait_for_schema(database: Database) -> None:
    """Give a server that starts at the same time some seconds to make it. Raises `SettingsError`."""
    for _ in range(_SCHEMA_SECONDS):
        if await migrations.is_current(database):
            return
        await asyncio.sleep(1)
    raise SettingsError(migrations.ANOTHER_VERSION)


@click.command()
def migrate() -> None:
    """Bring the database's schema up to date."""
    settings = load_settings()

    async def work() -> None:
        database = open_database(settings)
        try:
            await migrations.migrate(database)
        finally:
            await database.close()

    asyncio.run(work())
    click.echo("The schema is up to date.")


@click.command()
def settings() -> None:
    """List every setting: its variable, default and meaning."""
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = "" if name == "secret_key" else ",".join(default) if isinstance(default, tuple) else default
        click.echo(f"{PREFIX}{name.upper()}={shown}\n    {field.description}")
