"""Fixtures for every test: the servers, started when the first test of a process asks for them."""

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import structlog
from argon2 import PasswordHasher
from fastapi import FastAPI
from sqlalchemy import Connection, Dialect
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.dialects.sqlite import aiosqlite
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import LRUCache
from starlette.datastructures import State

from mediakeep.accounts import passwords, sign_ins
from mediakeep.accounts import service as accounts
from mediakeep.accounts.actor import Stranger
from mediakeep.accounts.sign_ins import Credentials
from mediakeep.app import create_app
from mediakeep.db import Database, open_database
from mediakeep.db.migrate import migrate
from mediakeep.library import Library, open_library
from mediakeep.logs import configure_logging
from mediakeep.media.pool import DecodePool
from mediakeep.settings import Settings
from tests.processes import Installation, TwoServers, start_two_servers
from tests.servers.postgres import PostgresServer, running_postgres
from tests.servers.process import find_memory
from tests.servers.redis import RedisServer, running_redis
from tests.servers.s3 import S3Server, running_s3

SECRET = "for tests only, at least 32 characters"
PASSWORD = "correct horse battery"

CHEAP_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
CHEAP_NOBODY = CHEAP_HASHER.hash("a password that nobody knows")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Address of a fresh, empty database, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    yield postgres_server.create_database(name)
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis of the test's own, so that it can take it away and bring it back."""
    with running_redis() as server:
        yield server


@pytest.fixture
def s3_url(s3_server: S3Server) -> str:
    """Address of a fresh prefix, for `Settings.storage_url`."""
    return f"s3://{s3_server.bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def s3_options(s3_server: S3Server) -> dict[str, str]:
    """What belongs to `s3_url`, for `Settings.storage_options`."""
    return s3_server.options


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    asyncio.run(_migrate(Settings(data=folder)))
    return folder / "mediakeep.db"


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a migrated database, to be copied."""
    name = f"template_{uuid.uuid4().hex}"
    url = postgres_server.create_database(name)
    asyncio.run(_migrate(Settings(data=tmp_path_factory.mktemp("data"), database_url=url, secret_key=SECRET)))
    return name


async def _migrate(settings: Settings) -> None:
    database = open_database(settings)
    await migrate(database)
    await database.close()


@pytest.fixture
def migrated_postgres_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """Address of a fresh database with the schema, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    yield postgres_server.create_database(name, template=postgres_template)
    postgres_server.drop_database(name)


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a fresh library with the schema in place, on each engine; files on disk."""
    return _settings(request, tmp_path, engine=request.param, storage="disk")


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """A migrated database, on each engine."""
    database = open_database(settings)
    yield database
    await database.close()


@pytest.fixture(params=["sqlite-disk", "postgres-s3"])
def library_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a whole library: on a laptop, and where a machine is too small."""
    engine, storage = request.param.split("-")
    return _settings(request, tmp_path, engine=engine, storage=storage)


@pytest.fixture
async def library(library_settings: Settings, warm_decoders: None) -> AsyncIterator[Library]:
    async with open_library(library_settings) as library:
        yield library


@pytest.fixture(scope="session")
def session_decoders() -> Iterator[DecodePool]:
    """Decode processes that outlive a test; starting and ending them takes longer than most tests."""
    pool = DecodePool(processes=1, memory_bytes=1 << 30)
    pool.start()
    yield pool
    pool.close()


@pytest.fixture
def warm_decoders(session_decoders: DecodePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries that this test opens share the session's decode processes."""

    class Lent:
        run = session_decoders.run

        def __init__(self, **_: object) -> None: ...

        def start(self) -> None: ...

        def close(self) -> None: ...

    monkeypatch.setattr("mediakeep.library.DecodePool", Lent)


@pytest.fixture(scope="session", autouse=True)
def warm_statements() -> Iterator[None]:
    """All databases share what SQLAlchemy compiled, as all requests to a server do; it takes longer than most tests."""
    compiled = LRUCache(2000)
    create = partial(create_async_engine, execution_options={"compiled_cache": compiled})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mediakeep.db.database.create_async_engine", create)
        for dialect in (
            aiosqlite.dialect,
            asyncpg.dialect,
        ):  # part of the cache's keys, and new for each engine
            patch.setattr(dialect, "__eq__", lambda one, other: type(one) is type(other))
            patch.setattr(dialect, "__hash__", lambda one: hash(type(one)))
            patch.setattr(dialect, "initialize", _once(dialect.initialize))
        yield


def _once(initialize: Callable[..., None]) -> Callable[..., None]:
    """What the first engine of a process asks its server about itself is what all of them hear."""
    heard: dict[str, object] = {}

    def initialize_like_the_first(dialect: Dialect, connection: Connection) -> None:
        if not heard:
            before = dict(vars(dialect))
            initialize(dialect, connection)
            heard.update(
                {name: value for name, value in vars(dialect).items() if before.get(name, before) != value}
            )
        vars(dialect).update(heard)

    return initialize_like_the_first


@pytest.fixture(scope="session", autouse=True)
def fresh_loggers() -> Iterator[None]:
    """No logger keeps the configuration of the test that used it first: `capture_logs` of a later one would see nothing."""
    configure = structlog.configure
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            structlog, "configure", lambda **given: configure(**given | {"cache_logger_on_first_use": False})
        )
        yield


@pytest.fixture(scope="session")
def build_app() -> Callable[[Settings], FastAPI]:
    """As `create_app`; settings that differ only in where the library lies get the same application.

    FastAPI derives much from an application's routes when they are first asked, which takes longer than most tests.
    """
    built: list[tuple[dict[str, object], FastAPI, dict[str, object]]] = []

    def build(settings: Settings) -> FastAPI:
        wanted = settings.model_dump(exclude={"data", "database_url", "storage_url", "storage_options"})
        if not any(wanted == given for given, *_ in built):
            app = create_app(settings)
            built.append((wanted, app, app.state._state))
        app, state = next((app, state) for given, app, state in built if given == wanted)
        app.state = State({**state, "settings": settings})
        configure_logging(settings)
        return app

    return build


@pytest.fixture
async def app(
    library_settings: Settings, warm_decoders: None, build_app: Callable[[Settings], FastAPI]
) -> AsyncIterator[FastAPI]:
    """The application, running, without a background worker: `drain` runs its tasks."""
    app = build_app(library_settings.model_copy(update={"embedded_worker": False}))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def api(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client that nobody is logged in with."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        yield client


@pytest.fixture
async def register(app: FastAPI) -> AsyncIterator[Callable[[str], Awaitable[httpx.AsyncClient]]]:
    """Makes an account and gives a client that is logged in with it; the first one is the admin."""
    async with AsyncExitStack() as stack:

        async def make(email: str) -> httpx.AsyncClient:
            client = httpx.AsyncClient(
                transport=httpx.ASGITransport(app=app, raise_app_exceptions=False),
                base_url="http://localhost:8000",
            )
            await stack.enter_async_context(client)
            client.headers["Authorization"] = f"Bearer {await _sign_in(app, email)}"
            return client

        yield make


async def _sign_in(app: FastAPI, email: str) -> str:
    """A new account's access token. What guards a log-in against guessers costs several times as much as the rest."""
    library: Library = app.state.library
    password_hash = await passwords.hash_password(PASSWORD)
    async with library.database.write() as session:
        user = await accounts.add_user(session, email=email, password_hash=password_hash, is_admin=False)
        tokens = await sign_ins.sign_in(
            session,
            library.settings,
            Credentials(user_id=user.id, password_hash=password_hash),
            secret=app.state.secret,
            caller=Stranger(address="127.0.0.1"),
            user_agent="test",
        )
    return tokens.access_token


@pytest.fixture
async def admin(register: Callable[[str], Awaitable[httpx.AsyncClient]]) -> httpx.AsyncClient:
    return await register("admin@example.com")


@pytest.fixture
async def owner(
    admin: httpx.AsyncClient, register: Callable[[str], Awaitable[httpx.AsyncClient]]
) -> httpx.AsyncClient:
    """A client of an ordinary user."""
    return await register("owner@example.com")


@pytest.fixture
async def stranger(
    admin: httpx.AsyncClient, register: Callable[[str], Awaitable[httpx.AsyncClient]]
) -> httpx.AsyncClient:
    """A client of another ordinary user."""
    return await register("stranger@example.com")


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real password hashing takes a tenth of a second each time, and so does refusing somebody unknown."""
    monkeypatch.setattr(passwords, "_HASHER", CHEAP_HASHER)
    monkeypatch.setattr(passwords, "_NOBODY", CHEAP_NOBODY)


def _settings(request: pytest.FixtureRequest, folder: Path, *, engine: str, storage: str) -> Settings:
    given: dict[str, object] = {"data": folder, "secret_key": SECRET, "uploads_per_minute": 0}
    if engine == "postgres":
        given["database_url"] = request.getfixturevalue("migrated_postgres_url")
    else:
        shutil.copy(request.getfixturevalue("sqlite_template"), folder / "mediakeep.db")
    if storage == "s3":
        given["storage_url"] = request.getfixturevalue("s3_url")
        given["storage_options"] = request.getfixturevalue("s3_options")
    return Settings(**given)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def install(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], AbstractContextManager[Installation]]:
    """Makes a fresh installation, "sqlite-disk" or "postgres-s3"; its processes end with the block."""

    @contextmanager
    def make(kind: str) -> Iterator[Installation]:
        folder = tmp_path_factory.mktemp(kind)
        if kind == "sqlite-disk":
            installation = Installation(folder)
        else:
            postgres: PostgresServer = request.getfixturevalue("postgres_server")
            s3: S3Server = request.getfixturevalue("s3_server")
            name = f"test_{uuid.uuid4().hex}"
            storage_url = f"s3://{s3.bucket}/{uuid.uuid4().hex}"
            database_url = postgres.create_database(name)
            installation = Installation(folder, database_url=database_url, storage_url=storage_url, s3=s3)
        try:
            yield installation
        finally:
            installation.stop()
            if kind == "postgres-s3":
                postgres.drop_database(name)

    return make


@pytest.fixture(params=["sqlite-disk", "postgres-s3"])
def installation(
    request: pytest.FixtureRequest, install: Callable[[str], AbstractContextManager[Installation]]
) -> Iterator[Installation]:
    """A library without processes yet, for tests that start and end them."""
    with install(request.param) as installation:
        yield installation


@pytest.fixture(scope="session", params=["sqlite-disk", "postgres-s3"])
def two_servers(
    request: pytest.FixtureRequest, install: Callable[[str], AbstractContextManager[Installation]]
) -> Iterator[TwoServers]:
    """Two API processes and a worker on one library. Tests share them, each with accounts of its own."""
    with install(request.param) as installation:
        yield start_two_servers(installation)


@pytest.fixture(scope="session", params=["sqlite-disk", "postgres-s3"])
def two_servers_alone(
    request: pytest.FixtureRequest, install: Callable[[str], AbstractContextManager[Installation]]
) -> Iterator[TwoServers]:
    """The same for tests that would disturb others, or others them."""
    with install(request.param) as installation:
        yield start_two_servers(installation)


def pytest_configure(config: pytest.Config) -> None:
    """Have pytest make its folders in memory, where there is plenty."""
    if memory := find_memory(8 << 30):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--proof", action="store_true", help="Run the long proofs, too.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--proof"):
        for item in items:
            if "tests/proof" in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason="a long proof: `make proof`"))
