"""Clients that ask a model for films while the processes that run jobs are killed, and what has become of each job."""

import hashlib
import json
import queue
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from mediakeep.emulators.replicate import Options, Running, running
from tests.processes import Installation, Process, Server
from tests.samples import pictures
from tests.servers.process import free_port

NOT_CONFIRMED = "submission could not be confirmed"

#: What the provider does, and how often in a hundred times.
_WEBHOOKS: Mapping[tuple[str, ...], int] = {
    (): 40,
    ("duplicate",): 15,
    ("late",): 15,
    ("duplicate", "late"): 10,
    ("out_of_order",): 10,
    ("none",): 10,
}
_ANSWERS = {"normal": 80, "lost": 5, "error_after": 5, "broken_json": 3, "silent_after": 2, "throttled": 5}

_CLIENTS = 4

#: A lease and the time in which a submission may still turn up last a minute each.
_END_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What has become of the jobs, by what the clients, the provider and the library say."""

    #: As the API shows them.
    jobs: list[dict[str, Any]]
    #: Ids of jobs that clients were told of.
    promised: set[str]
    #: Prompts, each unlike all others, as often as the provider has begun something by them.
    begun: Counter[str]
    #: SHA-256 of what the provider has made, by prompt.
    made: dict[str, str]
    #: SHA-256 of the films in the library, by asset.
    kept: dict[str, str]
    #: How the library learned of what was begun: by the "answer", a "webhook", the provider's "list".
    known_by: Counter[str]

    def ended(self, status: str) -> list[dict[str, Any]]:
        return [job for job in self.jobs if job["status"] == status]

    def broken(self) -> list[str]:
        """Promises that were not kept, in sentences."""
        return [*self._broken_jobs(), *self._broken_outputs()]

    def _broken_jobs(self) -> Iterator[str]:
        if {job["job_id"] for job in self.jobs} != self.promised:
            yield "there are other jobs than clients were told of"
        for prompt, times in self.begun.items():
            if times > 1:
                yield f"{prompt}: submitted {times} times"
        for job in self.jobs:
            is_unconfirmed = job["status"] == "failed" and job["error_message"] == NOT_CONFIRMED
            if job["status"] != "completed" and not is_unconfirmed:
                yield f"{job['prompt']}: {job['status']}, {job['error_message']}"
            if is_unconfirmed and job["prompt"] in self.begun:
                yield f"{job['prompt']}: begun, and nobody knew"

    def _broken_outputs(self) -> Iterator[str]:
        for job in self.ended("completed"):
            kept = [self.kept.get(asset) for asset in job["asset_ids"]]
            if kept != [self.made.get(job["prompt"])]:
                yield f"{job['prompt']}: its assets are not what was made"
        owned = Counter(asset for job in self.jobs for asset in job["asset_ids"])
        if owned != Counter(self.kept.keys()):
            yield "there are assets of no job, or of several"


class Site:
    """A server, and workers where it does not work itself, that can be killed and started again."""

    def __init__(
        self, installation: Installation, provider: Running, *, workers: int, **settings: str
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.names = ["server", *(f"worker {number}" for number in range(workers))]
        self._installation = installation
        self._settings = {
            "PORT": str(port),
            "BASE_URL": self.url,
            "REPLICATE_API_URL": provider.api_url,
            "REPLICATE_API_TOKEN": provider.options.token,
            "EMBEDDED_WORKER": "false" if workers else "true",
            **settings,
        }
        self._processes: dict[str, Process] = {}
        self.start("server")
        self.start(*self.names[1:])  # only now: a server brings SQLite's schema up to date

    def start(self, *names: str) -> None:
        """Start these and wait until they work."""
        for name in names:
            begin = self._installation.serve if name == "server" else self._installation.work
            self._processes[name] = begin(**self._settings)
        for process in map(self._processes.__getitem__, names):
            if isinstance(process, Server):
                process.wait_until_ready()
            else:
                process.wait_for("worker.started", seconds=60)

    def kill(self, *names: str) -> None:
        with ThreadPoolExecutor(len(names)) as threads:
            list(threads.map(lambda name: self._processes[name].kill(), names))

    @property
    def server(self) -> Server:
        server = self._processes["server"]
        assert isinstance(server, Server)
        return server


class Clients:
    """Ask for one film after another, each until the answer has come, whoever is killed meanwhile."""

    def __init__(self, url: str, token: str) -> None:
        self.promised: set[str] = set()
        self._url, self._token = url, token
        self._wanted: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    @contextmanager
    def working(self) -> Iterator[None]:
        """They work while the block lasts, and until all that was wanted is promised."""
        with ThreadPoolExecutor(_CLIENTS) as threads:
            running = [threads.submit(self._work) for _ in range(_CLIENTS)]
            try:
                yield
            finally:
                self.want([None] * _CLIENTS)
            for each in running:
                each.result()

    def want(self, prompts: Sequence[str | None]) -> None:
        """Have a film asked for by each prompt. None sends a client home."""
        for prompt in prompts:
            self._wanted.put(prompt)

    def _work(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        with httpx.Client(base_url=self._url, headers=headers, timeout=30, trust_env=False) as http:
            image = self._insist(
                lambda: http.post("/api/v2/upload-asset", files={"file": pictures.jpeg(64, 48)})
            )
            while prompt := self._wanted.get():
                body = {
                    "prompt": prompt,
                    "model_id": "minimax/video-01",
                    "input": {"first_frame_image": image["url"]},
                }
                key = {"Idempotency-Key": prompt}
                job = self._insist(lambda: http.post("/api/v2/generate", json=body, headers=key))  # noqa: B023
                self.promised.add(job["job_id"])

    def _insist(self, request: Callable[[], httpx.Response]) -> dict[str, Any]:
        while True:
            try:
                answer = request()
            except httpx.TransportError:  # the server was killed, or is not back yet
                time.sleep(0.05)
                continue
            if answer.status_code != 503 or "retry-after" not in answer.headers:
                answered: dict[str, Any] = answer.raise_for_status().json()
                return answered
            time.sleep(0.5)


def crash_jobs(
    installation: Installation,
    *,
    jobs: int,
    kills: int,
    seed: int,
    workers: int = 0,
    after_kill: Callable[[], None] = lambda: None,
    **settings: str,
) -> Outcome:
    """Kill processes at random moments while jobs are asked for, submitted, looked at and fetched.

    In the end nothing runs. `after_kill` is called while what was killed is not back yet.
    """
    choice = random.Random(seed)
    prompts = [f"film {number} of seed {seed}" for number in range(jobs)]
    with running(Options(startup_seconds=0.1, late_seconds=3)) as provider:
        _set_fates(provider, jobs, choice)
        site = Site(installation, provider, workers=workers, **settings)
        token = site.server.register("films@example.com")
        clients = Clients(site.url, token)
        with clients.working():
            for number in range(kills):
                clients.want(prompts[number * jobs // kills : (number + 1) * jobs // kills])
                time.sleep(choice.uniform(0.2, 2))
                victims = choice.sample(site.names, choice.randint(1, len(site.names)))
                site.kill(*victims)
                after_kill()
                site.start(*victims)
        with site.server.client(token) as http, httpx.Client(base_url=provider.url) as asked:
            shown = _wait_for_ends(http, site)
            outcome = _outcome(installation, clients, shown, http, asked)
        installation.stop()
    return outcome


def _set_fates(provider: Running, jobs: int, choice: random.Random) -> None:
    """Say what happens to each submission in turn. Those that are more of them meet no mishap."""
    for _ in range(jobs):
        (webhooks,) = choice.choices(list(_WEBHOOKS), list(_WEBHOOKS.values()))
        (answer,) = choice.choices(list(_ANSWERS), list(_ANSWERS.values()))
        fate = {
            "latency_seconds": choice.uniform(0.3, 2),
            "webhooks": webhooks,
            "answer": answer,
            "throttle_seconds": 1,
        }
        httpx.post(f"{provider.url}/emulator/next", json=fate, trust_env=False).raise_for_status()


def _wait_for_ends(http: httpx.Client, site: Site) -> list[dict[str, Any]]:
    """The jobs, once none of them waits or runs."""
    deadline = time.monotonic() + _END_SECONDS
    while True:
        shown = http.get("/api/v2/jobs", params={"limit": 100}).raise_for_status().json()
        left = [job for job in shown if job["status"] in {"pending", "processing"}]
        if not left:
            return list(shown)
        assert time.monotonic() < deadline, f"{left} did not end:\n{site.server.output}"
        time.sleep(0.5)


def _outcome(
    installation: Installation,
    clients: Clients,
    shown: list[dict[str, Any]],
    http: httpx.Client,
    provider: httpx.Client,
) -> Outcome:
    submissions = provider.get("/emulator/log", params={"kind": "submit"}).json()
    begun = [entry for entry in submissions if "prediction" in entry]
    films = http.get("/api/v2/assets", params={"asset_type": "video", "limit": 100}).json()
    return Outcome(
        jobs=shown,
        promised=clients.promised,
        begun=Counter(entry["input"]["prompt"] for entry in begun),
        made={entry["input"]["prompt"]: _made(provider, entry["prediction"]) for entry in begun},
        kept={film["id"]: _sha256(http.get(f"/api/v2/assets/{film['id']}")) for film in films},
        known_by=Counter(_known_by(installation).values()),
    )


def _made(provider: httpx.Client, prediction: str) -> str:
    token = {"Authorization": f"Bearer {Options().token}"}
    shown = provider.get(f"/v1/predictions/{prediction}", headers=token).raise_for_status().json()
    return _sha256(provider.get(shown["output"]))


def _sha256(answer: httpx.Response) -> str:
    return hashlib.sha256(answer.raise_for_status().content).hexdigest()


def _known_by(installation: Installation) -> dict[str, str]:
    """By job, as the processes have logged it. One that is killed between its commit and its log says nothing."""
    known = {}
    for log in installation.folder.glob("*.log"):
        for line in log.read_text().splitlines():
            if '"job.submitted"' in line:
                entry = json.loads(line)
                known[entry["job"]] = entry["known_by"]
    return known
