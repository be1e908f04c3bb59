"""Clients that upload and delete while the processes under them are killed, and what must be true afterwards."""

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from mediakeep.assets.served import SECONDS
from tests.processes import Installation, Process, Server, TwoServers
from tests.samples import films, pictures

# All of them, some of them, the worker alone: as machines and out-of-memory killers do it.
_VICTIMS = (("first",), ("second",), ("worker",), ("first", "second"), ("first", "second", "worker"))


@dataclass
class Ledger:
    """What the clients were told."""

    #: Content by id: uploaded, acknowledged, and never asked to be deleted.
    kept: dict[str, bytes] = field(default_factory=dict)
    #: Those whose deletion was acknowledged.
    deleted: set[str] = field(default_factory=set)
    #: Those whose deletion was asked for, and the answer lost: there or not, both are fine.
    uncertain: dict[str, bytes] = field(default_factory=dict)
    #: Answers that no client should get, crash or not.
    faults: list[str] = field(default_factory=list)
    uploads: int = 0
    deletes: int = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the clients did, and what was wrong afterwards."""

    uploads: int
    deletes: int
    #: Acknowledged, and not there with its exact bytes.
    lost: list[str]
    #: Deleted, and there all the same.
    undead: list[str]
    faults: list[str]


class Site:
    """Two servers and a worker that can be killed and started again while clients work."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self._processes: dict[str, Process] = {}
        self.start("first", "second")
        self.start("worker")  # only now: the servers bring SQLite's schema up to date
        self.token = self.server("first").register("crash@example.com")

    def server(self, name: str) -> Server:
        server = self._processes[name]
        assert isinstance(server, Server)
        return server

    def addresses(self) -> list[str]:
        return [self.server("first").url, self.server("second").url]

    def start(self, *names: str) -> None:
        for name in names:
            begin = self.installation.work if name == "worker" else self.installation.serve
            self._processes[name] = begin()
        for name in names:
            if name != "worker":
                self.server(name).wait_until_ready()

    def kill(self, *names: str) -> None:
        with ThreadPoolExecutor(len(names)) as threads:
            list(threads.map(lambda name: self._processes[name].kill(), names))


class Client:
    """Uploads, deletes and reads at random, and keeps a ledger; goes on through lost connections."""

    def __init__(
        self,
        addresses: Callable[[], Sequence[str]],
        token: str,
        seed: int,
        *,
        shared: list[bytes],
        unique: bool = True,
    ) -> None:
        self.ledger = Ledger()
        self._addresses, self._token, self._shared, self._unique = addresses, token, shared, unique
        self._random = random.Random(seed)

    def work(self, until: Callable[[], bool]) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        with httpx.Client(headers=headers, timeout=30, trust_env=False, verify=False) as http:
            while not until():
                self._step(http, self._random.random())

    def _step(self, http: httpx.Client, dice: float) -> None:
        base = self._random.choice(self._addresses())
        known = [*self.ledger.kept, *self.ledger.uncertain]
        if dice < 0.55 or not known:
            self._upload(http, base)
        elif dice < 0.9:
            self._delete(http, base, self._random.choice(known))
        elif self.ledger.kept:
            self._read(http, base, self._random.choice(list(self.ledger.kept)))

    def _upload(self, http: httpx.Client, base: str) -> None:
        name, content = self._content()
        answer = self._send(lambda: http.post(f"{base}/api/v2/upload-asset", files={"file": (name, content)}))
        if answer is not None and self._expected(answer, 201):
            self.ledger.kept[answer.json()["id"]] = content
            self.ledger.uploads += 1

    def _delete(self, http: httpx.Client, base: str, asset_id: str) -> None:
        was_asked = asset_id in self.ledger.uncertain
        if not was_asked:
            self.ledger.uncertain[asset_id] = self.ledger.kept.pop(asset_id)
        answer = self._send(lambda: http.delete(f"{base}/api/v2/assets/{asset_id}"))
        # Asked a second time, it may be gone already.
        if answer is not None and self._expected(answer, 200, *([404] if was_asked else [])):
            del self.ledger.uncertain[asset_id]
            self.ledger.deleted.add(asset_id)
            self.ledger.deletes += 1

    def _read(self, http: httpx.Client, base: str, asset_id: str) -> None:
        answer = self._send(lambda: http.get(f"{base}/api/v2/assets/{asset_id}"))
        if (
            answer is not None
            and self._expected(answer, 200)
            and answer.content != self.ledger.kept[asset_id]
        ):
            self.ledger.faults.append(f"other bytes: {asset_id}")

    def _content(self) -> tuple[str, bytes]:
        if not self._unique or self._random.random() < 0.3:
            return "shared.jpg", self._random.choice(self._shared)
        if self._random.random() < 0.15:
            return "film.mp4", films.video("mp4", seconds=1.0) + b"\0\0\0\x18free" + uuid.uuid4().bytes
        return "photo.jpg", pictures.jpeg(160, 120) + uuid.uuid4().bytes * self._random.choice(
            (1, 5_000, 30_000)
        )

    @staticmethod
    def _send(request: Callable[[], httpx.Response]) -> httpx.Response | None:
        try:
            return request()
        except httpx.TransportError:  # the process was killed, or is not back yet
            time.sleep(0.02)
            return None

    def _expected(self, answer: httpx.Response, *statuses: int) -> bool:
        if answer.status_code in statuses:
            return True
        if answer.status_code != 503 or "retry-after" not in answer.headers:
            self.ledger.faults.append(f"{answer.request.method} {answer.status_code} {answer.text}")
        return False


@contextmanager
def working(clients: list[Client]) -> Iterator[None]:
    """The clients work while the block lasts."""
    done = threading.Event()
    with ThreadPoolExecutor(len(clients)) as threads:
        running = [threads.submit(client.work, done.is_set) for client in clients]
        try:
            yield
        finally:
            done.set()
        for each in running:
            each.result()


def crash(installation: Installation, *, kills: int, seed: int, client_count: int = 4) -> Outcome:
    """Kill processes at random moments under the clients, in the end all of them; nothing runs afterwards."""
    choice = random.Random(seed)
    site = Site(installation)
    shared = [pictures.jpeg(200 + number, 150) for number in range(3)]
    clients = [
        Client(site.addresses, site.token, seed * 1000 + number, shared=shared)
        for number in range(client_count)
    ]
    with working(clients):
        for _ in range(kills - 1):
            time.sleep(choice.uniform(0.2, 1.2))
            victims = choice.choice(_VICTIMS)
            site.kill(*victims)
            site.start(*victims)
        time.sleep(0.5)
        site.kill("first", "second", "worker")
    site.start("first", "worker")
    with site.server("first").client(site.token) as http:
        outcome = _outcome(clients, http)
    installation.stop()
    return outcome


def share(servers: TwoServers, token: str, *, seconds: float, seed: int, client_count: int = 8) -> Outcome:
    """Upload and delete the same few contents through two servers at once, without any kill."""
    shared = [pictures.jpeg(200 + number, 150) for number in range(2)]
    addresses = (servers.first.url, servers.second.url)
    clients = [
        Client(lambda: addresses, token, seed * 1000 + number, shared=shared, unique=False)
        for number in range(client_count)
    ]
    with working(clients):
        time.sleep(seconds)
    with servers.first.client(token) as http:
        return _outcome(clients, http)


def _outcome(clients: list[Client], http: httpx.Client) -> Outcome:
    """Compare what the clients were told with what there is."""
    ledgers = [client.ledger for client in clients]
    lost, undead = [], []
    time.sleep(SECONDS + 0.1)  # a delete is seen by the other servers within so long
    for ledger in ledgers:
        for asset_id, content in ledger.kept.items():
            answer = http.get(f"/api/v2/assets/{asset_id}")
            if answer.status_code != 200 or answer.content != content:
                lost.append(f"{asset_id}: {answer.status_code}")
        undead += [one for one in ledger.deleted if http.get(f"/api/v2/assets/{one}").status_code != 404]
    return Outcome(
        uploads=sum(ledger.uploads for ledger in ledgers),
        deletes=sum(ledger.deletes for ledger in ledgers),
        lost=lost,
        undead=undead,
        faults=[fault for ledger in ledgers for fault in ledger.faults],
    )
