"""A library without decode processes, its people, and a receiver on this machine."""

import asyncio
from types import SimpleNamespace

import pytest
from sqlalchemy import select, update

from mediakeep import features
from mediakeep.accounts import service as accounts
from mediakeep.accounts.actor import Actor
from mediakeep.db import now_plus, open_database
from mediakeep.events import record
from mediakeep.tasks.models import Task
from mediakeep.tasks.worker import drain
from mediakeep.webhooks import service
from mediakeep.webhooks.models import Delivery, Webhook

assert features.task_modules

SUBJECT = "0b0e3c1e-0f2b-4b6e-9d2e-0f5a4c3b2a19"


class Receiver:
    """Answers with what it is told, in that order, then with 204; keeps what it got."""

    def __init__(self):
        self.answers, self.got = [], []

    async def serve(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
            body = await reader.readexactly(int(headers["content-length"]))
            self.got.append(SimpleNamespace(line=lines[0], headers=headers, body=body))
            answer = self.answers.pop(0) if self.answers else 204
            if isinstance(answer, int):
                answer = b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % answer
            if callable(answer):
                await answer(writer)
            else:
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def receiver():
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    receiver.url = f"http://127.0.0.1:{receiver.port}/hook"
    yield receiver
    server.close()
    await asyncio.sleep(0)


@pytest.fixture
def library(settings, database):
    settings = settings.model_copy(update={"webhooks_allow_private": True})
    return SimpleNamespace(settings=settings, database=database)


@pytest.fixture
async def another_library(library):
    database = open_database(library.settings)
    yield SimpleNamespace(settings=library.settings, database=database)
    await database.close()


@pytest.fixture
def add_user(database):
    async def add(email):
        async with database.write() as session:
            user = await accounts.add_user(session, email=email, password_hash="", is_admin=False)
        scopes = frozenset({"read", "write"})
        return Actor(user_id=user.id, email=email, is_admin=False, scopes=scopes, sign_in_id=1)

    return add


@pytest.fixture
async def user(add_user):
    await add_user("admin@example.com")
    return await add_user("user@example.com")


@pytest.fixture
def subscribe(library, receiver, user):
    """Makes a webhook of the user's that leads to the receiver."""

    async def subscribe(*events, url=None, enabled=True):
        given = {"url": url or receiver.url, "events": list(events or "*"), "description": ""}
        async with library.database.write() as session:
            return await service.create(session, user, library.settings, enabled=enabled, **given)

    return subscribe


@pytest.fixture
def happen(library, user):
    """Records events of the user's."""

    async def happen(*kinds, owner_id=None):
        async with library.database.write() as session:
            for kind in kinds:
                owner = owner_id or user.user_id
                await record(session, kind, owner_id=owner, subject=SUBJECT, data={"name": "Ünï"})

    return happen


@pytest.fixture
def log(library):
    """All deliveries, oldest first."""

    async def read():
        async with library.database.read() as session:
            return list(await session.scalars(select(Delivery).order_by(Delivery.id)))

    return read


@pytest.fixture
def read_webhook(library):
    async def read(webhook):
        async with library.database.read() as session:
            return await session.scalar(select(Webhook).where(Webhook.id == webhook.id))

    return read


@pytest.fixture
def change(library):
    """Runs one statement, to bring about what otherwise takes time."""

    async def run(statement):
        async with library.database.write() as session:
            await session.execute(statement)

    return run


@pytest.fixture
def send(library, change):
    """Sends what waits, however long it would wait."""

    async def send():
        await change(update(Task).values(run_at=now_plus(-1)))
        await change(update(Webhook).values(paused_until=None))
        return await drain(library)

    return send
