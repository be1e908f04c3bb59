"""What a subject is asked for by readers, and that it answers correctly, before anything is measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench import wrk
from bench.clients import Answer, exchange, get
from bench.processes import SubjectFailed
from bench.rounds import Measured
from bench.subjects import Shelf


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request, as its whole head, and the answer that it must get."""

    head: bytes
    status: int = 200
    body: bytes | memoryview


@dataclass(frozen=True, kw_only=True)
class Reading:
    """`prepare` puts into a subject what is to be read, and tells what to ask for; asked in turn, over and over.

    `cpu` is the only core of the client that asks.
    """

    prepare: Callable[[Any], list[Ask]]  # what kind of shelf it wants is its own affair
    connections: int
    seconds: int
    cpu: int | None = None

    def run(self, shelf: Shelf, when_warm: Callable[[], None] = lambda: None) -> Measured:
        asks = self.prepare(shelf)
        verify(shelf, asks)
        heads = [ask.head for ask in asks]
        return wrk.read(
            shelf,
            heads,
            connections=self.connections,
            seconds=self.seconds,
            cpu=self.cpu,
            when_warm=when_warm,
        )


def verify(shelf: Shelf, asks: Sequence[Ask]) -> None:
    """Raises unless every request gets its answer."""
    for ask in asks:
        (answer,) = exchange(shelf.address, [ask.head])
        if answer.status != ask.status or answer.body != ask.body:
            request = ask.head.split(b"\r\n", 1)[0].decode()
            raise SubjectFailed(
                f"{request} gave {answer.status} and {len(answer.body)} bytes instead of {ask.status} "
                f"and {len(ask.body)}, or other ones"
            )


def fetch(shelf: Shelf, path: str) -> Answer:
    """The answer to a request of the one who may."""
    (answer,) = exchange(shelf.address, [get(path, shelf.headers)])
    return answer


def unchanged(shelf: Shelf, path: str) -> Ask:
    """The request of one who has the newest version already."""
    etag = fetch(shelf, path).headers["etag"]
    return Ask(head=get(path, {"If-None-Match": etag}), status=304, body=b"")
