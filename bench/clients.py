"""The load: some clients that send prepared bytes over plain sockets, the same for every subject.

Threads that are nearly always inside the kernel; nothing is built, copied or parsed beyond the answer's status and
length, so that the clients take little of the cores they share with what is measured.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

_TIMEOUT_SECONDS = 120.0

Buffers = Sequence[bytes | memoryview]


@dataclass(frozen=True, kw_only=True)
class Item:
    """A file to send, as parts that need not be put together."""

    name: str
    media_type: str
    parts: Buffers

    @property
    def size(self) -> int:
        return sum(len(part) for part in self.parts)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a subject is spoken to: the bytes of a request, and reading its answer, which raises unless it is good."""

    request: Callable[[Item], Buffers]
    read_answer: Callable[[socket.socket], None]


def send_all(address: tuple[str, int], protocol: Protocol, items: Sequence[Item], *, clients: int) -> float:
    """Have so many clients send the items, each the next one that is left; returns the time when they began.

    Raises what the first client that failed raised.
    """
    requests = [(protocol.request(item), item) for item in items]
    numbers = iter(count())
    failures: list[BaseException] = []
    together = threading.Barrier(clients + 1)

    def work() -> None:
        try:
            with socket.create_connection(address, timeout=_TIMEOUT_SECONDS) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                together.wait()
                while not failures and (number := next(numbers)) < len(requests):
                    send(connection, requests[number][0])
                    protocol.read_answer(connection)
        except BaseException as error:  # noqa: BLE001 reported by whoever started the threads
            failures.append(error)
            together.abort()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        together.wait(_TIMEOUT_SECONDS)
    except threading.BrokenBarrierError:
        pass
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return began


def send(connection: socket.socket, parts: Buffers) -> None:
    left = [memoryview(part) for part in parts if part]
    while left:
        sent = connection.sendmsg(left)
        while left and sent >= len(left[0]):
            sent -= len(left.pop(0))
        if left:
            left[0] = left[0][sent:]


def read_http(connection: socket.socket) -> bytes:
    """The body of an HTTP answer that says its length. Raises unless its status is 2xx."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in _lines(head) if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += _some(connection)
    if not head.split(b" ", 2)[1].startswith(b"2"):
        raise ConnectionError(f"the server answered {head.splitlines()[0]!r}: {body[:300]!r}")
    return body


def _lines(head: bytes) -> Iterator[bytes]:
    yield from head.split(b"\r\n")


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(64 << 10)
    if not data:
        raise ConnectionError("the server closed the connection")
    return data


def multipart(path: str, headers: dict[str, str]) -> Callable[[Item], Buffers]:
    """Makes requests that upload an item as the part `file` of a form."""
    boundary = "bench-7d1c9e0b4f3a"
    tail = f"\r\n--{boundary}--\r\n".encode()
    common = "".join(f"{name}: {value}\r\n" for name, value in headers.items())

    def request(item: Item) -> Buffers:
        part = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{item.name}"\r\n'
            f"Content-Type: {item.media_type}\r\n\r\n"
        ).encode()
        length = len(part) + item.size + len(tail)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{common}"
            f"Content-Type: multipart/form-data; boundary={boundary}\r\nContent-Length: {length}\r\n\r\n"
        ).encode()
        return [head + part, *item.parts, tail]

    return request
