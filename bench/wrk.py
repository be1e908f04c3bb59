"""Reading as fast as a subject answers, by wrk: a client that costs about as little as there is."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.processes import SubjectFailed, debian_binary, pinned
from bench.rounds import Measured, Work, watch
from bench.subjects import Subject

_SCRIPT = Path(__file__).parent / "requests.lua"
_WARM_SECONDS = 1
_STOP_SECONDS = 60.0

# Memory hardly moves while files are read, and looking at it takes time from the core that is measured.
_SAMPLE_SECONDS = 0.5


def read(
    subject: Subject,
    requests: Sequence[bytes],
    *,
    connections: int,
    seconds: int,
    cpu: int | None = None,
    when_warm: Callable[[], None] = lambda: None,
) -> Measured:
    """Ask for the requests in turn, over and over, for so many seconds, after a second to get warm.

    `cpu` is the only core that wrk may use. What is measured in bytes is what came over the connections.
    """
    heads = subject.folder / "requests.txt"
    heads.write_bytes(b"".join(requests))

    def work(seconds: int) -> Work:
        with pinned(cpu):
            return _run(subject.address, heads, connections=connections, seconds=seconds)

    work(_WARM_SECONDS)
    return watch(subject.session, lambda: work(seconds), when_warm=when_warm, sample_seconds=_SAMPLE_SECONDS)


def _run(address: tuple[str, int], heads: Path, *, connections: int, seconds: int) -> Work:
    host, port = address
    options = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    done = subprocess.run(
        [
            debian_binary("wrk"),
            *options,
            "--timeout",
            "30s",
            "-s",
            _SCRIPT,
            f"http://{host}:{port}/",
            "--",
            heads,
        ],
        text=True,
        capture_output=True,
        check=False,
        timeout=seconds + _STOP_SECONDS,
    )
    if done.returncode:
        raise SubjectFailed(f"wrk ended with {done.returncode}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    items, size, microseconds, failed = (int(word) for word in done.stdout.splitlines()[-1].split())
    if failed or not items:
        raise SubjectFailed(f"{failed} of {items} requests have failed:\n{done.stdout[-1000:]}")
    took = microseconds / 1e6
    return Work(items=items, bytes=size, seconds=took, answered_seconds=took)
