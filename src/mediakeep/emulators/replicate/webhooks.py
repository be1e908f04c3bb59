"""Webhooks of one prediction: which events are told, how often it is tried, and how they are signed."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from uuid import uuid4

import httpx

from mediakeep.emulators.replicate.journal import Journal
from mediakeep.emulators.replicate.options import Options

Event = Literal["start", "output", "logs", "completed"]

#: What is told where the submission names no events: new outputs, and the end.
DEFAULT_EVENTS: Final = ("output", "completed")

#: `output` and `logs` are told at most so often; those in between are dropped, not held back.
_THROTTLE_SECONDS: Final = 0.5

#: Waits grow from 0.1 s to 25.6 s: the last try is about a minute after the end.
_FIRST_WAIT_SECONDS: Final = 0.1
_RETRIES: Final = 9

_TIMEOUT_SECONDS: Final = 30.0

#: How old the timestamp of `old_timestamp` is.
_OLD_SECONDS: Final = 3600


def sign(secret: str, *, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: `v1,` and the HMAC of id, timestamp and body (Standard Webhooks 1.0)."""
    key = base64.b64decode(secret.partition("_")[2])
    signed = b".".join((webhook_id.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


@dataclass(frozen=True, kw_only=True)
class _Message:
    event: Event
    webhook_id: str
    body: bytes


class Deliveries:
    """Takes note of events, and sends them one after another while `run` runs."""

    def __init__(
        self,
        url: str | None,
        *,
        events: Iterable[str],
        options: Options,
        client: httpx.AsyncClient,
        journal: Journal,
    ) -> None:
        self._url = url or ""
        self._events = frozenset(events if url and "none" not in options.webhooks else ())
        self._options = options
        self._client = client
        self._journal = journal
        self._told_at = float("-inf")
        self._held: list[_Message] = []
        self._waiting: asyncio.Queue[_Message | None] = asyncio.Queue()

    def note(self, event: Event, document: Mapping[str, object]) -> None:
        """Tell of an event, if it was asked for and is not too soon after another."""
        if event in self._events and not self._is_too_soon(event):
            self._told_at = time.monotonic()
            webhook_id = f"msg_{uuid4().hex}"
            self._put(_Message(event=event, webhook_id=webhook_id, body=json.dumps(document).encode()))
        if event == "completed":
            for message in (*self._held, None):
                self._waiting.put_nowait(message)

    async def run(self, prediction_id: str) -> None:
        """Send, until the last event has been delivered or given up."""
        while message := await self._waiting.get():
            if "late" in self._options.webhooks:
                await asyncio.sleep(self._options.late_seconds)
            for _ in range(2 if "duplicate" in self._options.webhooks else 1):
                await self._deliver(message, prediction_id)

    def _is_too_soon(self, event: Event) -> bool:
        since = time.monotonic() - self._told_at
        return event in {"output", "logs"} and since < _THROTTLE_SECONDS / self._options.speed

    def _put(self, message: _Message) -> None:
        if "out_of_order" in self._options.webhooks and message.event != "completed":
            self._held.append(message)
        else:
            self._waiting.put_nowait(message)

    async def _deliver(self, message: _Message, prediction_id: str) -> None:
        tries = 1 + _RETRIES if message.event == "completed" else 1
        for attempt in range(tries):
            if attempt:
                await asyncio.sleep(_FIRST_WAIT_SECONDS * 2 ** (attempt - 1) / self._options.speed)
            entry = self._journal.note(
                "webhook",
                prediction=prediction_id,
                event=message.event,
                webhook_id=message.webhook_id,
                attempt=attempt + 1,
            )
            try:
                entry["status"] = status = await self._post(message)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                entry["error"] = str(error) or type(error).__name__
            else:
                if status < 400:  # redirects are not followed, and count as delivered
                    return

    async def _post(self, message: _Message) -> int:
        answer = await self._client.post(
            self._url,
            content=_tampered(message.body) if "tampered" in self._options.webhooks else message.body,
            headers={"Content-Type": "application/json", **self._signature(message)},
            timeout=_TIMEOUT_SECONDS,
        )
        return answer.status_code

    def _signature(self, message: _Message) -> dict[str, str]:
        if "unsigned" in self._options.webhooks:
            return {}
        age = _OLD_SECONDS if "old_timestamp" in self._options.webhooks else 0
        timestamp = int(time.time()) - age
        signature = sign(
            self._options.webhook_secret,
            webhook_id=message.webhook_id,
            timestamp=timestamp,
            body=message.body,
        )
        return {
            "webhook-id": message.webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature,
        }


def _tampered(body: bytes) -> bytes:
    """What somebody makes of it who has seen it on its way."""
    document = json.loads(body)
    return json.dumps(
        {**document, "status": "succeeded", "output": "https://tampered.example/output.mp4"}
    ).encode()
