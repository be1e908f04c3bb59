"""Alternating rounds: every subject in turn, and each round's figures set against one another before the median."""

import gc
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

from bench import tree
from bench.clients import Item, send_all
from bench.subjects import Running

_SETTLE_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One subject in one round: `seconds` until all work was done, `answered_seconds` until the last answer.

    Memory is MiB of its whole process tree, `clients` the cores that asked it, `others` those that neither kept busy,
    which tells how quiet the machine was.
    """

    items: int
    bytes: int
    seconds: float
    answered_seconds: float
    cpu_seconds: float
    peak_mib: float
    growth_mib: float
    clients: float
    others: float

    @property
    def rate(self) -> float:
        """Items a second."""
        return self.items / self.seconds

    @property
    def megabytes_per_second(self) -> float:
        return self.bytes / 1e6 / self.seconds

    @property
    def cpu_ms(self) -> float:
        """For one item."""
        return self.cpu_seconds * 1000 / self.items

    @property
    def cpu_per_gigabyte(self) -> float:
        return self.cpu_seconds / (self.bytes / 1e9)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What was done, as `Measured` has it."""

    items: int
    bytes: int
    seconds: float
    answered_seconds: float


Figure = Callable[[Measured], float]


class Rounds:
    """The figures of all rounds, by subject."""

    def __init__(self, measured: Mapping[str, Sequence[Measured]]) -> None:
        self._measured = measured

    def median(self, subject: str, figure: Figure) -> float:
        return median(figure(one) for one in self._measured[subject])

    def ratio(self, subject: str, reference: str, figure: Figure) -> float:
        """The median over the rounds of the two figures' ratio, each of the same round."""
        pairs = zip(self._measured[subject], self._measured[reference], strict=True)
        return median(figure(ours) / figure(theirs) for ours, theirs in pairs)

    @property
    def others(self) -> float:
        """Cores busy with something else, in the median."""
        return median(one.others for measured in self._measured.values() for one in measured)


#: Starts a subject on an empty folder, measures it and ends it.
Turn = Callable[[Path], Measured]

Started = TypeVar("Started")


def turn(
    start: Callable[[Path], AbstractContextManager[Started]], measure: Callable[[Started], Measured]
) -> Turn:
    def run(place: Path) -> Measured:
        with start(place) as subject:
            return measure(subject)

    return run


def alternate(rounds: int, folder: Path, turns: Mapping[str, Turn]) -> Rounds:
    """Let each subject have its turn in every round, on a new folder that is removed afterwards."""
    measured: dict[str, list[Measured]] = {name: [] for name in turns}
    for number in range(1, rounds + 1):
        for name, run in turns.items():
            with fresh_folder(folder) as place:
                found = run(place)
            measured[name].append(found)
            print(
                f"  round {number} {name:10} {found.rate:8.1f}/s {found.megabytes_per_second:7.1f} MB/s "
                f"{found.cpu_ms:8.3f} CPU ms {found.peak_mib:6.0f} MiB (+{found.growth_mib:.0f}), "
                f"clients {found.clients:.2f} and others {found.others:.2f} cores",
                file=sys.stderr,
                flush=True,
            )
    return Rounds(measured)


class fresh_folder:  # noqa: N801 used like a function
    """A new folder for the block; afterwards it is removed and the disk has caught up, so that nobody pays for others."""

    def __init__(self, parent: Path) -> None:
        self._path = parent / "round"

    def __enter__(self) -> Path:
        self._path.mkdir()
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path)
        os.sync()


def upload(
    running: Running,
    items: Sequence[Item],
    *,
    warm: Sequence[Item],
    clients: int,
    when_warm: Callable[[], None] = lambda: None,
) -> Measured:
    """Upload the warm-up's items, then measure the others, until everything that they cause is done.

    `when_warm` is called between the two.
    """

    def send(those: Sequence[Item]) -> Work:
        requests = [running.protocol.request(item) for item in those]
        began = send_all(
            running.address, requests, running.protocol.read_answer, clients=min(clients, len(requests))
        )
        answered_seconds = time.perf_counter() - began
        running.wait_until_done()
        return Work(
            items=len(those),
            bytes=sum(item.size for item in those),
            seconds=time.perf_counter() - began,
            answered_seconds=answered_seconds,
        )

    send(warm)
    found = watch(running.session, lambda: send(items), when_warm=when_warm)
    running.check(len(warm) + len(items))
    return found


def watch(
    session: int,
    work: Callable[[], Work],
    *,
    when_warm: Callable[[], None] = lambda: None,
    sample_seconds: float = 0.1,
    settle_seconds: float = _SETTLE_SECONDS,
) -> Measured:
    """What the session's processes use for a work, once they have calmed down and `when_warm` was called.

    CPU is read `settle_seconds` after the work, so that what a process puts off in memory counts as well. The clients
    are this process and those of its children that it waits for. Memory is looked at every `sample_seconds`.
    """
    tree.wait_until_idle(session)
    gc.collect()
    when_warm()
    cpu_before, busy_before = tree.cpu_seconds(session), tree.machine_cpu_seconds()
    own_before, watched_since = _own_cpu_seconds(), time.perf_counter()
    with tree.MemorySampler(session, every=sample_seconds) as memory:
        done = work()
    time.sleep(settle_seconds)
    cpu = tree.cpu_seconds(session) - cpu_before
    own = _own_cpu_seconds() - own_before
    busy = tree.machine_cpu_seconds() - busy_before
    return Measured(
        items=done.items,
        bytes=done.bytes,
        seconds=done.seconds,
        answered_seconds=done.answered_seconds,
        cpu_seconds=cpu,
        peak_mib=memory.peak,
        growth_mib=memory.peak - memory.first,
        clients=own / done.seconds,
        others=max(0.0, busy - cpu - own) / (time.perf_counter() - watched_since),
    )


def _own_cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
