"""The load: some clients that send prepared bytes over plain sockets, the same for every subject.

Threads that are nearly always inside the kernel; nothing is built, copied or parsed beyond the answer's status and
length, so that the clients take little of the cores they share with what is measured.
"""

import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

_TIMEOUT_SECONDS = 120.0
_SKIP_BYTES = 1 << 20

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


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP answer; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def send_all(
    address: tuple[str, int],
    requests: Sequence[Buffers],
    read_answer: Callable[[socket.socket], object],
    *,
    clients: int,
) -> float:
    """Have so many clients send the requests, each the next one that is left; returns the time when they began.

    Raises what the first client that failed raised.
    """
    numbers = iter(count())
    failures: list[BaseException] = []
    together = threading.Barrier(clients + 1)

    def work() -> None:
        try:
            with _connected(address) as connection:
                together.wait()
                while not failures and (number := next(numbers)) < len(requests):
                    send(connection, requests[number])
                    read_answer(connection)
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


def exchange(address: tuple[str, int], *requests: Buffers) -> list[Answer]:
    """The answers to HTTP requests that are sent one after the other. Raises where one says that something failed."""
    answers = []
    with _connected(address) as connection:
        for request in requests:
            send(connection, request)
            answers.append(read_http(connection))
    return answers


def _connected(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address, timeout=_TIMEOUT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def send(connection: socket.socket, parts: Buffers) -> None:
    left = [memoryview(part) for part in parts if part]
    while left:
        sent = connection.sendmsg(left)
        while left and sent >= len(left[0]):
            sent -= len(left.pop(0))
        if left:
            left[0] = left[0][sent:]


def read_http(connection: socket.socket) -> Answer:
    """An HTTP answer that says its length. Raises unless its status is below 400."""
    status, headers, begun = _read_head(connection)
    body = bytearray(begun)
    while len(body) < _body_size(status, headers):
        body += _some(connection)
    if status >= 400:
        raise ConnectionError(f"the server answered {status}: {bytes(body[:300])!r}")
    return Answer(status=status, headers=headers, body=bytes(body))


def skip_http(connection: socket.socket) -> int:
    """Read a 200 and throw its body away; returns the body's size in bytes."""
    status, headers, begun = _read_head(connection)
    size, read, buffer = _body_size(status, headers), len(begun), bytearray(_SKIP_BYTES)
    if status != 200:
        raise ConnectionError(f"the server answered {status}")
    while read < size:
        received = connection.recv_into(buffer, min(size - read, _SKIP_BYTES))
        if not received:
            raise ConnectionError("the server closed the connection")
        read += received
    return size


def _read_head(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers by their names in lower case, and what has come of the body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines)
    return int(first.split(" ", 2)[1]), {name.lower(): value.strip() for name, _, value in fields}, body


def _body_size(status: int, headers: Mapping[str, str]) -> int:
    return 0 if status == 304 else int(headers.get("content-length", "0"))


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(64 << 10)
    if not data:
        raise ConnectionError("the server closed the connection")
    return data


def get(path: str, headers: Mapping[str, str]) -> bytes:
    """A request for `path`."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n".encode()


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
