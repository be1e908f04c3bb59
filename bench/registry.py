"""The workloads by name, and what one is given and gives back."""

import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import workloads


@dataclass(frozen=True, kw_only=True)
class Options:
    """`scale` is the share of a workload's items that a round takes, `folder` an empty one on a disk."""

    rounds: int
    scale: float
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. `is_met` is None where there is nothing to reach, only something to show."""

    workload: str
    measured: str
    ours: str
    reference: str
    ratio: str = ""
    bar: str = ""
    is_met: bool | None = None
    cpu: str = ""
    memory: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a workload found. `others` are the cores that neither the subjects nor the clients kept busy meanwhile."""

    rows: list[Row]
    others: float


@dataclass(frozen=True, kw_only=True)
class Workload:
    """`profile` runs one round of Mediakeep alone and prints where its time goes."""

    name: str
    title: str
    run: Callable[[Options], Outcome]
    profile: Callable[[Options], None] | None = None


_registered: dict[str, Workload] = {}


def register(workload: Workload) -> None:
    _registered[workload.name] = workload


def all_workloads() -> dict[str, Workload]:
    """Every workload of `bench.workloads`, in the order of their numbers."""
    for module in pkgutil.iter_modules(workloads.__path__):
        importlib.import_module(f"{workloads.__name__}.{module.name}")
    return {name: _registered[name] for name in sorted(_registered, key=order)}


def order(name: str) -> tuple[int, str]:
    """B2 comes before B10, B1b after B1."""
    found = re.match(r"\D*(\d+)(.*)", name)
    return (int(found[1]), found[2]) if found else (0, name)
