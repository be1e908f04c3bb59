"""Decoding under strace: which files and sockets each job opened.

Run as a module it is the process that strace watches: it forks for each file, as the fork server does, locks itself in
as a decode process does, and decodes.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av

from mediakeep.errors import MediakeepError
from mediakeep.media import fork_server, waveform, worker
from mediakeep.media.formats import get_format
from mediakeep.media.limits import Limits
from mediakeep.media.probe import probe
from mediakeep.media.render import thumbnail

ROOT = Path(__file__).parent.parent

_BEGIN, _END = "/mediakeep-begin/", "/mediakeep-end/"
_CALLS = "open,openat,openat2,creat,execve,execveat,socket,socketpair,connect,bind,sendto,sendmsg"
_CALL = re.compile(r"^\d+\s+(\w+)\((.*)")
_PATH = re.compile(r'^(?:AT_FDCWD, |-?\d+, )?"((?:[^"\\]|\\.)*)"')
# The libraries' own: shared objects, Python's modules, what the C library asks the kernel, and fonts.
_OWN = (
    *(
        sys.prefix,
        sys.base_prefix,
        str(ROOT / "src"),
        "/usr/lib",
        "/lib",
        "/etc/ld.so.",
        "/proc/self/",
        "/proc/cpuinfo",
    ),
    *(
        "/sys/devices/system/",
        "/sys/fs/cgroup/",
        "/proc/sys/",
        "/proc/meminfo",
        "/dev/urandom",
        "/usr/share/",
    ),
    *("/usr/local/share/fonts", "/etc/localtime", "/etc/fonts"),
)


@dataclass(frozen=True, slots=True)
class TracedFile:
    """A file and the formats to decode it as, one after another."""

    label: str
    path: Path
    formats: tuple[str, ...]


@dataclass
class Traced:
    """What decoding one file did. `opened` leaves out the file itself and what libraries open of their own."""

    opened: list[str] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)
    touched_itself: bool = False
    #: By format and function: "ok", or the class of what was raised. A process that died leaves the rest out.
    results: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Trace:
    """What each file did, by label, and what all of them together wrote to stderr: the server's log."""

    files: dict[str, Traced]
    printed: str

    def offenders(self) -> dict[str, list[str]]:
        """Those that opened a file of no library's own, or a socket, or that were not looked at at all."""
        found = {label: one.opened + one.sockets for label, one in self.files.items()}
        found |= {label: ["was never opened"] for label, one in self.files.items() if not one.touched_itself}
        return {label: calls for label, calls in found.items() if calls}


def trace(files: Iterable[TracedFile], folder: Path, limits: Limits, *, seconds: float) -> Trace:
    """Decode every file under strace, with at most `seconds` for each job."""
    jobs = [(one.label, str(one.path), list(one.formats)) for one in files]
    plan, log = folder / "plan.json", folder / "strace.log"
    given = [getattr(limits, name) for name in Limits.__slots__]
    plan.write_text(json.dumps({"jobs": jobs, "limits": given, "seconds": seconds}))
    command = ["strace", "-f", "--seccomp-bpf", "-s", "4096", "-e", f"trace={_CALLS}", "-o", str(log)]
    environment = {"PATH": os.environ["PATH"], **fork_server._VARIABLES}
    run = subprocess.run(
        [*command, sys.executable, "-m", "tests.traced", str(plan)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    traced = {label: Traced() for label, _, _ in jobs}
    for line in run.stdout.splitlines():
        label, what, result = json.loads(line)
        traced[label].results[what] = result
    _read_log(log, jobs, traced)
    return Trace(traced, run.stderr)


def _read_log(log: Path, jobs: list[tuple[str, str, list[str]]], traced: dict[str, Traced]) -> None:
    current: Traced | None = None
    own_path = ""
    for line in log.read_text(errors="replace").splitlines():
        call = _CALL.match(line)
        if not call:
            continue
        found = _PATH.match(call[2])
        path = found[1] if found else ""
        if path.startswith(_BEGIN):
            label, own_path, _ = jobs[int(path.removeprefix(_BEGIN))]
            current = traced[label]
        elif path.startswith(_END):
            current = None
        elif current is None:
            continue
        elif "socket" in call[1] or call[1] in {"connect", "bind", "sendto", "sendmsg"}:
            current.sockets.append(line)
        elif path == own_path:
            current.touched_itself = True
        elif not path.startswith(_OWN):
            current.opened.append(f"{call[1]} {path}")


def _main(plan: dict[str, Any]) -> None:
    limits, seconds = Limits(*plan["limits"]), plan["seconds"]
    for number, (label, path, formats) in enumerate(plan["jobs"]):
        child = os.fork()
        if not child:
            worker.lock_in(1 << 30)
            _mark(f"{_BEGIN}{number}")
            for name in formats:
                for function in _functions(name):
                    result = _result(function, (path, name, limits), seconds)
                    sys.stdout.write(json.dumps((label, f"{name} {function.__name__}", result)) + "\n")
                    sys.stdout.flush()
            _mark(f"{_END}{number}")
            os._exit(0)
        os.waitpid(child, 0)
        _mark(f"{_END}{number}")  # in case it died


def careless(path: str, format_name: str, limits: Limits) -> None:
    """As nobody should open a file: so that a test can tell that it would be seen."""
    with av.open(path) as container:
        next(container.decode(video=0))


def _functions(format_name: str) -> tuple[Callable[..., object], ...]:
    if format_name == "careless":
        return (careless,)
    sounds = get_format(format_name).family in {"audio", "video"}
    return (probe, thumbnail, waveform.peaks) if sounds else (probe, thumbnail)


def _result(function: Callable[..., object], args: tuple[object, ...], seconds: float) -> str:
    try:
        worker.execute(function, args, seconds)
    except (MediakeepError, worker.DecoderFaultError) as error:
        return type(error).__name__
    return "ok"


def _mark(path: str) -> None:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except FileNotFoundError:
        pass


if __name__ == "__main__":
    _main(json.loads(Path(sys.argv[1]).read_text()))
