"""Where Mediakeep's time goes in one round: by py-spy where it is installed, else by cProfile."""

import cProfile
import pstats
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from bench import tree
from bench.rounds import Measured, fresh_folder
from bench.subjects import Library, mediakeep

_SAMPLES_A_SECOND = 50
_ATTACH_SECONDS = 1.0
_SHOWN = 40

_THREAD = re.compile(r"thread \((\d+)\): ([^;]*)")

#: Native functions in which a thread waits for something.
_WAITS = (
    "PyThread_acquire_lock_timed",
    "accept",
    "clock_nanosleep",
    "epoll_",
    "poll ",
    "pthread_cond",
    "select ",
    "syscall ",
    "take_gil",
    "uv__io_poll",
    "wait4",
)

#: Runs the load and calls its second argument once the server is warm.
Run = Callable[[Library, Callable[[], None]], Measured]

Start = Callable[..., AbstractContextManager[Library]]


def profile(folder: Path, run: Run, *, start: Start = mediakeep) -> None:
    """Run one round of Mediakeep, and print the functions that took most of the CPU time of an item.

    `start` is `mediakeep` with some of its arguments.
    """
    found = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")
    if found:
        _by_sampling(found, folder, run, start)
    else:
        _by_tracing(folder, run, start)


def _by_sampling(py_spy: str, folder: Path, run: Run, start: Start) -> None:
    """One round alone tells how much each kind of process uses, one with py-spy, which slows it, for what."""
    output = folder / "profile"
    output.mkdir(exist_ok=True)
    alone = _Usage()
    with fresh_folder(folder) as place, start(place) as running:
        measured = run(running, partial(alone.begin, running))
        alone.end(measured.items)
    watched = _Usage()
    spies: list[subprocess.Popen[bytes]] = []

    def attach(running: Library) -> None:
        watched.begin(running)
        spies.extend(_attached(py_spy, one.pid, output) for one in tree.processes(running.session))
        time.sleep(_ATTACH_SECONDS)

    with fresh_folder(folder) as place, start(place) as running:
        watched.end(run(running, partial(attach, running)).items)
        for spy in spies:
            spy.send_signal(signal.SIGINT)
            spy.wait()
    print(f"\n{measured.items} items in {measured.seconds:.2f} s, {measured.cpu_ms:.3f} ms CPU each")
    for kind, milliseconds in alone.by_kind.most_common():
        if milliseconds < measured.cpu_ms / 100:
            continue
        found = _Costs(factor=milliseconds / (watched.by_kind[kind] or 1))
        for pid in (pid for pid, its in watched.kinds.items() if its == kind):
            found.add(output / f"{pid}.txt", watched.threads[pid])
        found.show(kind)


class _Usage:
    """CPU milliseconds of an item between `begin` and `end`: by kind of process, and by process and thread."""

    def begin(self, running: Library) -> None:
        self._running = running
        self._before = self._seconds()

    def end(self, items: int) -> None:
        self.kinds = _kinds(self._running)
        after = self._seconds()
        self.threads = {
            pid: {
                thread: (seconds - self._before.get(pid, {}).get(thread, 0.0)) * 1000 / items
                for thread, seconds in threads.items()
            }
            for pid, threads in after.items()
        }
        self.by_kind: Counter[str] = Counter()
        for pid, threads in self.threads.items():
            self.by_kind[self.kinds[pid]] += sum(threads.values())

    def _seconds(self) -> dict[int, dict[int, float]]:
        members = tree.processes(self._running.session)
        return {one.pid: tree.thread_cpu_seconds(one.pid) for one in members}


def _attached(py_spy: str, pid: int, output: Path) -> subprocess.Popen[bytes]:
    words = ["record", "--pid", str(pid), "--rate", str(_SAMPLES_A_SECOND), "--format", "raw"]
    target = output / f"{pid}.txt"
    target.unlink(missing_ok=True)
    return subprocess.Popen(
        [py_spy, *words, "--native", "--threads", "--output", str(target)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _kinds(running: Library) -> dict[int, str]:
    members = tree.processes(running.session)
    fork_servers = {one.pid for one in members if "forkserver" in one.command and one.parent == running.pid}
    kinds = {running.pid: "server process"}
    for one in members:
        if one.pid != running.pid:
            kinds[one.pid] = (
                "decode processes" if one.parent in fork_servers else "fork server and resource tracker"
            )
    return kinds


class _Costs:
    """CPU milliseconds of an item by function. The kernel says how much each thread has used, the samples for what.

    Samples of a thread that waits are left out: py-spy cannot always tell a waiting thread from a busy one.
    """

    def __init__(self, *, factor: float) -> None:
        self._factor = factor
        self._own: Counter[str] = Counter()
        self._within: Counter[str] = Counter()
        self._packages: Counter[str] = Counter()
        self._threads: Counter[str] = Counter()
        self._unseen = 0.0

    def add(self, path: Path, used: dict[int, float]) -> None:
        """The samples of one process; `used` are the milliseconds of each thread."""
        stacks: dict[int, Counter[tuple[str, ...]]] = {thread: Counter() for thread in used}
        names: dict[int, str] = {}
        for line in path.read_text().splitlines() if path.is_file() else ():
            text, _, number = line.rpartition(" ")
            frames = text.split(";")
            named = _THREAD.search(text)
            if named is None:  # a thread that was about to end
                continue
            thread = int(named[1])
            names[thread] = re.sub(r"\d+", "…", named[2])
            if not any(frame.startswith(_WAITS) for frame in frames[-4:]):
                stacks.setdefault(thread, Counter())[tuple(frames[1:])] += int(number)
        for thread, seen in stacks.items():
            milliseconds = used.get(thread, 0.0) * self._factor
            self._threads[names.get(thread, "threads of libraries, without samples")] += milliseconds
            if seen:
                self._spread(seen, milliseconds / seen.total())
            else:
                self._unseen += milliseconds

    def _spread(self, seen: Counter[tuple[str, ...]], each: float) -> None:
        for stack, number in seen.items():
            frames = [_short(frame) for frame in stack if ".py:" in frame]
            innermost = frames[-1] if frames else "no Python"
            library = "" if not stack or ".py:" in stack[-1] else f" in {_library(stack[-1])}"
            self._own[innermost + library] += number * each
            self._packages[_package(innermost)] += number * each
            for frame in set(frames):
                if frame.partition("(")[2].startswith("mediakeep/"):
                    self._within[frame] += number * each

    def show(self, kind: str) -> None:
        print(
            f"\n== {kind}: {self._threads.total():.3f} ms CPU an item, {self._unseen:.3f} of it without samples"
        )
        for title, costs in (
            ("by thread", self._threads),
            ("by package, each without what it calls", self._packages),
            ("by function, without what it calls, and the library it was in", self._own),
            ("by function of Mediakeep, with what it calls", self._within),
        ):
            print(f"   ms, {title}")
            for name, milliseconds in costs.most_common(_SHOWN):
                print(f"  {milliseconds:6.3f}  {name}")


def _short(text: str) -> str:
    """The function and its file, without the line, and without what every path begins with."""
    name, _, place = text.partition(" (")
    path = place.rpartition(":")[0]
    for part in ("site-packages/", "/src/", "/lib/"):
        path = path.rpartition(part)[2]
    return f"{name} ({path})"


def _package(frame: str) -> str:
    """The package of a function, or the module of the standard library."""
    return frame.partition("(")[2].partition("/")[0].rstrip(")")


def _library(frame: str) -> str:
    name, _, place = frame.rpartition(" (")
    place = place.rstrip(")").rpartition("/")[2]
    return place if name.startswith("0x") else f"{name} ({place})"


def _by_tracing(folder: Path, run: Run, start: Start) -> None:
    """The main thread of the server by cProfile, which slows it; then the probe of a decode process, in this one."""
    output = folder / "server.prof"
    launcher = ("-m", "cProfile", "-o", str(output), "-m")
    with fresh_folder(folder) as place:
        with start(place, launcher=launcher) as running:
            measured = run(running, lambda: None)
        print(f"\n{measured.items} items in {measured.seconds:.2f} s under cProfile\n\n== server process")
        _print_trace(pstats.Stats(str(output)))
        print("\n== decode processes: the probe of each stored file, run here")
        with _traced() as trace:
            _probe_all(place / "data")
        _print_trace(pstats.Stats(trace))


@contextmanager
def _traced() -> Iterator[cProfile.Profile]:
    trace = cProfile.Profile()
    trace.enable()
    yield trace
    trace.disable()


def _probe_all(data: Path) -> None:
    from mediakeep.media.limits import limits_from
    from mediakeep.media.probe import probe
    from mediakeep.media.sniff import sniff
    from mediakeep.settings import Settings

    for path in sorted(path for path in (data / "files").rglob("*") if path.is_file()):
        with path.open("rb") as file:
            found = sniff(file.read(4096))
        if found:
            probe(str(path), found.name, limits_from(Settings()))


def _print_trace(stats: pstats.Stats) -> None:
    stats.stream = sys.stdout  # type: ignore[attr-defined]  # missing from its published types
    for key in ("tottime", "cumulative"):
        stats.strip_dirs().sort_stats(key).print_stats(_SHOWN)
