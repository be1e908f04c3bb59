"""Counters, gauges and histograms, and the numbers of this process that they count in."""

import os
import threading
from bisect import bisect_left
from pathlib import Path
from typing import Literal

from mediakeep.metrics.cells import Cells, Figures, Name, Row, read

#: Every metric, in the order in which they are shown.
METRICS: dict[str, "Counter | Gauge | Reading | Histogram"] = {}

#: Upper bounds of a histogram's buckets, seconds; the last bucket has none.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SUM = len(BOUNDS) + 1  # where a histogram's row has the sum, after its buckets

_lock = threading.Lock()


#: Set for server processes that count together. Looked at here and not later: rows are handed out from now on.
FOLDER_VARIABLE = "_MEDIAKEEP_METRICS_FOLDER"
_folder = Path(os.environ[FOLDER_VARIABLE]) if FOLDER_VARIABLE in os.environ else None
_cells = Cells.shared(_folder) if _folder else Cells()


class _Metric:
    kind: Literal["counter", "gauge", "histogram"]
    size = 1

    def __init__(self, name: str, meaning: str, *labels: str) -> None:
        self.name = name
        self.meaning = meaning
        self.labels = labels
        self._rows: dict[Name, Row] = {}
        METRICS[name] = self  # type: ignore[assignment]  # one of those below

    def row(self, *labels: str) -> Row:
        """The numbers for these values of the labels, to be added to."""
        found = self._rows.get(labels)
        if found is None:
            found = self._rows[labels] = _cells.row((self.name, *labels), self.size)
        return found


class Counter(_Metric):
    """Grows. Its name ends with `_total`."""

    kind = "counter"

    def inc(self, *labels: str, by: float = 1.0) -> None:
        row = self.row(*labels)
        with _lock:
            row[0] += by


class Gauge(_Metric):
    """Rises and falls; what a process had that has ended does not count."""

    kind = "gauge"

    def __init__(self, name: str, meaning: str) -> None:
        super().__init__(name, meaning)
        if _folder:
            self.row()[0] = 0.0  # a process may have ended that counted in this row before

    def add(self, by: float) -> None:
        row = self.row()
        with _lock:
            row[0] += by


class Reading(_Metric):
    """A gauge that no process keeps: it is read where it stands when somebody asks."""

    kind = "gauge"


class Histogram(_Metric):
    """How many took how long, seconds."""

    kind = "histogram"
    size = SUM + 1

    def observe(self, seconds: float, *labels: str) -> None:
        row = self.row(*labels)
        with _lock:
            row[bisect_left(BOUNDS, seconds)] += 1.0
            row[SUM] += seconds


def figures(folder: Path | None = None) -> list[Figures]:
    """What all processes of `folder` have counted; without it, those that this process counts together with."""
    folder = folder or _folder
    return read(folder) if folder else [_cells.figures()]
