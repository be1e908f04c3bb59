"""What the stand-in holds: all of it in memory, gone with the process."""

import asyncio
import base64
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import httpx
from starlette.requests import Request

from mediakeep.emulators.replicate.journal import Journal
from mediakeep.emulators.replicate.options import Answer, Kind, Options
from mediakeep.emulators.replicate.predictions import Output, Prediction
from mediakeep.emulators.replicate.problems import throttled
from mediakeep.emulators.replicate.rates import Bucket


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file of the files API. Its id is base 64 of a UUID's text, as in recorded answers."""

    name: str
    media_type: str
    content: bytes
    metadata: Any  # whatever JSON the client sent
    lifetime: timedelta
    id: str = field(default_factory=lambda: base64.b64encode(str(uuid4()).encode()).decode())
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def expires_at(self) -> datetime:
        return self.created_at + self.lifetime


@dataclass(frozen=True, kw_only=True)
class Made:
    """A prediction's output, found by the key in its address."""

    prediction: Prediction
    output: Output


class Emulator:
    """Predictions, files and the log, and the switches that hold now."""

    def __init__(self, options: Options) -> None:
        self._initial = options
        self._tasks: set[asyncio.Task[None]] = set()
        self.client = httpx.AsyncClient(trust_env=False, follow_redirects=False)
        self.journal = Journal()
        self.upcoming: deque[dict[str, Any]] = deque()
        self.predictions: dict[str, Prediction] = {}
        self.outputs: dict[str, Made] = {}
        self.files: dict[str, StoredFile] = {}
        self.set_options({})

    def set_options(self, named: Mapping[str, Any]) -> None:
        """Turn these switches, and all others back to how they were at the start. Raises `ValidationError`."""
        self.options = self._initial.turned(named)
        self._buckets = {True: Bucket(), False: Bucket()}
        self._answers_left = self.options.answer_times

    def options_for(self, kind: Kind) -> Options:
        """What holds for one request: `answer` is what becomes of its answer, and counts as having happened."""
        asked = self.upcoming.popleft() if kind == "submit" and self.upcoming else {}
        if "answer" not in asked:
            asked = {**asked, "answer": self._take_answer(kind)}
        return self.options.turned(asked)

    def take_request(self, kind: Kind) -> dict[str, str]:
        """Count one request against its limit; returns the headers that tell how things stand. Raises `Problem`."""
        is_submission = kind == "submit"
        per_minute = (
            self.options.submissions_per_minute if is_submission else self.options.requests_per_minute
        )
        bucket = self._buckets[is_submission]
        if not bucket.take(per_minute):
            raise throttled(bucket.reset_seconds(per_minute))
        return {
            "ratelimit-remaining": str(bucket.remaining(per_minute)),
            "ratelimit-reset": str(bucket.reset_seconds(per_minute)),
        }

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it beside the requests, until it ends or the stand-in does."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def call_later(self, seconds: float, act: Callable[[], object]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            act()

        self.spawn(wait())

    async def reset(self) -> None:
        """Be as at the start."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for held in (self.upcoming, self.predictions, self.outputs, self.files, self.journal):
            held.clear()
        self.set_options({})

    async def close(self) -> None:
        await self.reset()
        await self.client.aclose()

    def _take_answer(self, kind: Kind) -> Answer:
        if self.options.answer_to not in {kind, "any"} or self._answers_left == 0:
            return "normal"
        if self._answers_left is not None:
            self._answers_left -= 1
        return self.options.answer


def emulator_of(request: Request) -> Emulator:
    return cast("Emulator", request.app.state.emulator)


def base_url(request: Request) -> str:
    """The address under which this client knows the server, without a slash at its end."""
    return str(request.base_url).rstrip("/")
