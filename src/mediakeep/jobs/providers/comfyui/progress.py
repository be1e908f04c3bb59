"""What ComfyUI tells over its websocket while a workflow runs, and how much of it is done."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from mediakeep.jobs.providers.base import Report
from mediakeep.jobs.providers.comfyui.server import Server

#: How long one look listens. Whoever looks takes the place of other work.
LISTEN_SECONDS = 20.0

OPEN_SECONDS = 5.0
_CLOSE_SECONDS = 1.0

MAX_MESSAGE_BYTES = 1 << 20

_ENDS: Final = frozenset({"execution_success", "execution_error", "execution_interrupted"})

# Its lines for debugging would have the token.
_log = logging.getLogger("mediakeep.comfyui.websocket")
_log.setLevel(logging.INFO)


class Progress:
    """The share of a workflow that is done: its nodes, and of those at work what they say themselves.

    `report` is told it when it grows. `has_ended` once the server has said so.
    """

    def __init__(self, reference: str, workflow: object, report: Report) -> None:
        self.share = 0.0
        self.has_ended = False
        self._reference = reference
        self._report = report
        self._needs = _needs(workflow)
        self._done: set[str] = set()
        self._parts: dict[str, float] = {}
        self._node: str | None = None

    def hear(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take in a message; one about another prompt is passed over."""
        if data.get("prompt_id", self._reference) != self._reference:
            return
        if kind in _ENDS or (kind == "executing" and data.get("node", "") is None):
            self.has_ended = True
            return
        self._take(kind, data)
        self._tell()

    def _take(self, kind: str, data: Mapping[str, Any]) -> None:
        match kind, data:
            case "execution_cached", {"nodes": list() as nodes}:
                self._done |= {one for one in nodes if isinstance(one, str)}
            case "executing", {"node": str() as node}:
                if self._node is not None:
                    self._done.add(self._node)  # one after the other
                self._begin(node)
            case "executed", {"node": str() as node}:
                self._done.add(node)
            case "progress", {"value": value, "max": most}:
                if isinstance(named := data.get("node"), str):
                    self._begin(named)
                if self._node is not None:
                    self._parts[self._node] = _part(value, most)
            case "progress_state", {"nodes": dict() as nodes}:
                self._take_states(nodes)

    def _take_states(self, nodes: Mapping[str, Any]) -> None:
        for node, state in nodes.items():
            match state:
                case {"state": "finished"}:
                    self._done.add(node)
                case {"state": "running", "value": value, "max": most}:
                    self._begin(node)
                    self._parts[node] = _part(value, most)

    def _begin(self, node: str) -> None:
        """A node is at work, so all that it needs is done; that helps whoever has not listened from the start."""
        self._node = node
        waiting = [node]
        while waiting:
            needed = self._needs.get(waiting.pop(), set()) - self._done - {node}
            self._done |= needed
            waiting += needed

    def _tell(self) -> None:
        if not self._needs:
            return
        done = self._done & self._needs.keys()
        parts = sum(part for node, part in self._parts.items() if node in self._needs.keys() - done)
        share = (len(done) + parts) / len(self._needs)
        if share > self.share:
            self.share = share
            self._report(share)


def _needs(workflow: object) -> dict[str, set[str]]:
    """Which nodes each node takes something from."""
    if not isinstance(workflow, Mapping):
        return {}
    return {node: set(_wires(one)) & workflow.keys() for node, one in workflow.items()}


def _wires(node: object) -> Iterator[str]:
    inputs = node.get("inputs") if isinstance(node, Mapping) else None
    for value in inputs.values() if isinstance(inputs, Mapping) else []:
        match value:
            case [str() as other, int()]:
                yield other


def _part(value: object, most: object) -> float:
    if not isinstance(value, int | float) or not isinstance(most, int | float) or not 0 < most < 1e12:
        return 0.0
    return min(max(value, 0), most) / most


@asynccontextmanager
async def listening(
    server: Server, client_id: str
) -> AsyncIterator[AsyncIterator[tuple[str, Mapping[str, Any]]]]:
    """The messages to a client, as kind and data, from when the block begins until `LISTEN_SECONDS` later.

    They end at once where there is no websocket.
    """
    try:
        connection = await _Direct(
            f"{server.url.replace('http', 'ws', 1)}/ws?{urlencode({'clientId': client_id})}",
            additional_headers=server.headers,
            proxy=None,
            compression=None,
            open_timeout=OPEN_SECONDS,
            close_timeout=_CLOSE_SECONDS,
            max_size=MAX_MESSAGE_BYTES,
            logger=_log,
        )
    except (OSError, TimeoutError, WebSocketException):
        yield _silence()
        return
    try:
        yield _messages(connection)
    finally:
        await connection.close()


class _Direct(connect):
    """Follows no redirect."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


async def _messages(connection: ClientConnection) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
    loop = asyncio.get_running_loop()
    end = loop.time() + LISTEN_SECONDS
    while (left := end - loop.time()) > 0:
        try:
            received = await asyncio.wait_for(connection.recv(), left)
        except (TimeoutError, ConnectionClosed):
            return
        if isinstance(received, str) and (message := _read(received)):  # previews come as bytes
            yield message


async def _silence() -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
    return
    yield  # which makes it an iterator


def _read(text: str) -> tuple[str, Mapping[str, Any]] | None:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    match message:
        case {"type": str() as kind, "data": dict() as data}:
            return kind, data
    return None
