"""Alternating rounds: every subject in turn, and each round's figures set against one another before the median."""

import gc
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import tree
from bench.clients import Item, send_all
from bench.subjects import Running, Start

_SETTLE_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One subject in one round: `seconds` until all work was done, `answered_seconds` until the last answer.

    Memory is MiB of its whole process tree, `others` the cores that neither it nor the clients kept busy, which tells
    how quiet the machine was.
    """

    items: int
    bytes: int
    seconds: float
    answered_seconds: float
    cpu_seconds: float
    peak_mib: float
    growth_mib: float
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


def alternate(
    rounds: int, folder: Path, subjects: Mapping[str, Start], measure: Callable[[Running], Measured]
) -> Rounds:
    """Measure each subject once in every round, each time started anew on empty folders that are removed afterwards."""
    measured: dict[str, list[Measured]] = {name: [] for name in subjects}
    for number in range(1, rounds + 1):
        for name, start in subjects.items():
            with fresh_folder(folder) as place, start(place) as running:
                found = measure(running)
            measured[name].append(found)
            print(
                f"  round {number} {name:10} {found.rate:8.1f}/s {found.megabytes_per_second:7.1f} MB/s "
                f"{found.cpu_ms:8.2f} CPU ms {found.peak_mib:6.0f} MiB (+{found.growth_mib:.0f}), "
                f"{found.others:.2f} cores busy otherwise",
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

    CPU is read a moment later still, so that what a process puts off in memory counts as well. `when_warm` is called
    between the two.
    """
    send_all(running.address, running.protocol, warm, clients=min(clients, len(warm)))
    running.wait_until_done()
    tree.wait_until_idle(running.session)
    gc.collect()
    when_warm()
    cpu_before, busy_before = tree.cpu_seconds(running.session), tree.machine_cpu_seconds()
    own_before, watched_since = time.process_time(), time.perf_counter()
    with tree.MemorySampler(running.session) as memory:
        began = send_all(running.address, running.protocol, items, clients=clients)
        answered_seconds = time.perf_counter() - began
        running.wait_until_done()
        seconds = time.perf_counter() - began
    time.sleep(_SETTLE_SECONDS)
    cpu = tree.cpu_seconds(running.session) - cpu_before
    own = time.process_time() - own_before
    busy = tree.machine_cpu_seconds() - busy_before
    running.check(len(warm) + len(items))
    return Measured(
        items=len(items),
        bytes=sum(item.size for item in items),
        seconds=seconds,
        answered_seconds=answered_seconds,
        cpu_seconds=cpu,
        peak_mib=memory.peak,
        growth_mib=memory.peak - memory.first,
        others=max(0.0, busy - cpu - own) / (time.perf_counter() - watched_since),
    )
