"""Answers that never come, or end too early."""

from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

#: The ASGI extension that closes the request's connection once what was sent is through; `server.py` has it.
HANG_UP: Final = "mediakeep.hang_up"


class NoAnswer(Response):
    """Nothing, ever: the connection is closed, or stays open until the client has had enough."""

    def __init__(self, *, closes: bool) -> None:
        super().__init__()
        self._closes = closes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  ASGI's
        if self._closes:
            _close(scope)
        await _wait_until_gone(receive)


class HalfAnswer(Response):
    """The length of the whole content, and half of it; then the connection is closed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        _close(scope)
        await _wait_until_gone(receive)


def _close(scope: Scope) -> None:
    if HANG_UP not in scope.get("extensions", {}):
        raise ConnectionAbortedError("Connections can be closed by the emulator's own server only.")
    scope["extensions"][HANG_UP]["close"]()


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
