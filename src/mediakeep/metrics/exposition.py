"""The metrics as Prometheus reads them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from mediakeep import __version__
from mediakeep.metrics.cells import Figures, Name
from mediakeep.metrics.kinds import BOUNDS, METRICS, SUM, Gauge, Reading
from mediakeep.metrics.names import BODY, BODY_BYTES, DURATIONS, REQUESTS

_Totals = dict[Name, list[float]]

_LIMITS = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]


def exposition(
    figures: Sequence[Figures], readings: Mapping[Reading, float], accept: str = ""
) -> tuple[bytes, str]:
    """The sum of `figures` and the values of `readings` in the text format that `accept` prefers; and its media type."""
    encode, media_type = choose_encoder(accept)
    return encode(_Collected(figures, readings)), media_type


class _Collected(Collector):
    def __init__(self, figures: Sequence[Figures], readings: Mapping[Reading, float]) -> None:
        self._figures = figures
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        totals = _totals(self._figures) | {
            (reading.name,): [value] for reading, value in self._readings.items()
        }
        by_metric: dict[str, _Totals] = {name: {} for name in METRICS}
        for name, row in totals.items():
            if name[0] in by_metric:  # else it is of the program as it was before it was reloaded
                by_metric[name[0]][name[1:]] = row
        by_metric[REQUESTS.name] = {
            labels: [sum(row[:SUM])] for labels, row in by_metric[DURATIONS.name].items()
        }
        by_metric[BODY_BYTES.name] = {
            labels: [row[BODY]] for labels, row in by_metric[DURATIONS.name].items()
        }
        for metric, rows in by_metric.items():
            yield from _family(metric, rows)
        yield GaugeMetricFamily(
            "mediakeep_processes", "Processes that these figures are of.", len(_pids(self._figures))
        )
        info = GaugeMetricFamily("mediakeep_info", "The program's version.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield from _processes(_pids(self._figures))


def _totals(figures: Iterable[Figures]) -> _Totals:
    totals: _Totals = {}
    for process in figures:
        for name, row in process.rows.items():
            if process.pid is None and isinstance(METRICS.get(name[0]), Gauge):
                continue
            so_far = totals.get(name)
            totals[name] = [a + b for a, b in zip(so_far, row, strict=True)] if so_far else list(row)
    return totals


def _family(name: str, rows: _Totals) -> Iterator[Metric]:
    metric = METRICS[name]
    if not (metric.labels or rows or isinstance(metric, Reading)):
        rows = {(): [0.0] * metric.size}  # so that an alert sees the first one
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(name, metric.meaning, labels=metric.labels)
        for labels, row in sorted(rows.items()):
            histogram.add_metric(labels, list(zip(_LIMITS, accumulate(row[:SUM]), strict=True)), row[SUM])
        yield histogram
        return
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(name, metric.meaning, labels=metric.labels)
    for labels, row in sorted(rows.items()):
        family.add_metric(labels, row[0])
    yield family


def _pids(figures: Iterable[Figures]) -> list[int]:
    return [process.pid for process in figures if process.pid is not None]


def _processes(pids: Iterable[int]) -> Iterator[Metric]:
    """CPU, memory and descriptors of all processes together; the start of the oldest."""
    together: dict[str, Metric] = {}
    for pid in pids:
        for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
            so_far = together.setdefault(metric.name, metric)
            if so_far is metric:
                continue
            add = min if metric.name == "process_start_time_seconds" else float.__add__
            (before,), (now,) = so_far.samples, metric.samples
            so_far.samples = [before._replace(value=add(float(before.value), float(now.value)))]
    yield from together.values()
