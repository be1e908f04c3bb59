"""What a process and all its descendants use: CPU seconds, and memory.

CPU comes from `/proc/<pid>/stat` (proc(5)): each process's own user and system time, and that of its children that have
ended and were waited for. Nothing falls through between the two: a child that nobody has waited for yet is still listed
as a zombie, with its time; one whose parent ended first is adopted by this process (PR_SET_CHILD_SUBREAPER), which never
waits for strangers, so it stays listed as well. Processes belong to a tree by their session, which a subject is started
in and which none of its processes leaves.
"""

import ctypes
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_MIB = 1 << 20


@dataclass(frozen=True)
class Process:
    """`cpu_seconds` are its own, `ended_seconds` those of its children that were waited for."""

    pid: int
    parent: int
    session: int
    state: str
    cpu_seconds: float
    ended_seconds: float

    @property
    def command(self) -> str:
        try:
            return (
                Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
        except OSError:
            return ""


def adopt_orphans() -> None:
    """Make this process the parent of what its descendants leave behind."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def processes(session: int) -> list[Process]:
    """All processes of a session, zombies too."""
    found = (_read(path) for path in Path("/proc").glob("[0-9]*"))
    return [process for process in found if process and process.session == session]


def cpu_seconds(session: int) -> float:
    """All CPU time that the session's processes have used so far, to a hundredth of a second for each."""
    while True:
        members = processes(session)
        # Who ended meanwhile may have been counted twice or not at all: then once more.
        if {one.pid for one in members} == {one.pid for one in processes(session)}:
            return sum(one.cpu_seconds + one.ended_seconds for one in members)


def family_cpu_seconds(pid: int) -> float:
    """CPU time of a process and all its descendants, whatever their sessions: PostgreSQL gives each of its own one."""
    every = [one for path in Path("/proc").glob("[0-9]*") if (one := _read(path))]
    family, size = {pid}, 0
    while len(family) > size:
        size = len(family)
        family |= {one.pid for one in every if one.parent in family}
    return sum(one.cpu_seconds + one.ended_seconds for one in every if one.pid in family)


def thread_cpu_seconds(pid: int) -> dict[int, float]:
    """The CPU time of each thread of a process, by its id."""
    found = (_read(path) for path in Path(f"/proc/{pid}/task").glob("[0-9]*"))
    return {thread.pid: thread.cpu_seconds for thread in found if thread}


def memory_mib(session: int) -> float:
    """Memory of the session's processes in MiB, what several share counted once (PSS)."""
    return sum(_pss(one.pid) for one in processes(session) if one.state != "Z") / _MIB


def machine_cpu_seconds() -> float:
    """CPU time that the whole machine has been busy for."""
    fields = [int(part) for part in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, _stolen = fields
    return (user + nice + system + interrupts + soft_interrupts) / _TICKS


class MemorySampler:
    """Looks at a session's memory `every` so many seconds while its block lasts; `first` and `peak` in MiB."""

    def __init__(self, session: int, *, every: float) -> None:
        self._session = session
        self._every = every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.first = self.peak = memory_mib(session)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            self._look()

    def _look(self) -> None:
        self.peak = max(self.peak, memory_mib(self._session))


def wait_until_idle(session: int, *, seconds: float = 5.0) -> None:
    """Return once a session has used no CPU for a fifth of a second, or after `seconds`."""
    until = time.monotonic() + seconds
    before = cpu_seconds(session)
    while time.monotonic() < until:
        time.sleep(0.2)
        now = cpu_seconds(session)
        if now - before < 0.015:
            return
        before = now


def _read(folder: Path) -> Process | None:
    try:
        text = (folder / "stat").read_text()
    except OSError:
        return None
    # The name in parentheses may hold anything; what follows it is numbers, from the third field on.
    fields = text.rpartition(")")[2].split()
    user, system, ended_user, ended_system = (int(field) / _TICKS for field in fields[11:15])
    return Process(
        int(folder.name), int(fields[1]), int(fields[3]), fields[0], user + system, ended_user + ended_system
    )


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)
