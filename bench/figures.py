"""The figures of a table's row, and how they are written."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.registry import Row
from bench.rounds import Measured, Rounds


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What a row is about: `of` takes it from a measurement, `text` writes it with its unit."""

    of: Callable[[Measured], float]
    text: str

    def written(self, found: Rounds, subject: str) -> str:
        return self.text.format(found.median(subject, self.of))


RATE = Figure(of=lambda one: one.rate, text="{:,.0f}/s")
SLOW_RATE = Figure(of=lambda one: one.rate, text="{:.1f}/s")
MEGABYTES = Figure(of=lambda one: one.megabytes_per_second, text="{:.0f} MB/s")
MEGABYTES_ANSWERED = Figure(of=lambda one: one.bytes / 1e6 / one.answered_seconds, text="{:.0f} MB/s")
CPU_MS = Figure(of=lambda one: one.cpu_ms, text="{:.2f} ms")
CPU_US = Figure(of=lambda one: one.cpu_ms * 1000, text="{:.0f} µs")
CPU_PER_GIGABYTE = Figure(of=lambda one: one.cpu_per_gigabyte, text="{:.2f} s/GB")
PEAK = Figure(of=lambda one: one.peak_mib, text="{:.0f} MB")
GROWTH = Figure(of=lambda one: one.growth_mib, text="{:.0f} MB")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of one workload from the same rounds. `cpu` is the figure of their CPU column."""

    workload: str
    found: Rounds
    cpu: Figure

    def against(
        self,
        reference: str,
        measured: str,
        figure: Figure,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        ours: str = "ours",
        called: str = "",
    ) -> Row:
        """A row whose bar, if any, is a bound of the ratio. `ours` is the subject, the reference is `called` so."""
        called = called or reference
        ratio = self.found.ratio(ours, reference, figure.of)
        return Row(
            workload=self.workload,
            measured=measured,
            ours=figure.written(self.found, ours),
            reference=f"{called} {figure.written(self.found, reference)}",
            ratio=f"{ratio:.2f}",
            bar=_bar(at_least, at_most, f" × {called}"),
            is_met=_is_met(ratio, at_least, at_most),
            cpu=self._pair(self.cpu, ours, reference),
            memory=self._pair(PEAK, ours, reference).removesuffix(" MB"),
        )

    def bounded(
        self, measured: str, figure: Figure, *, at_most: float, bar: str, reference: str | None = None
    ) -> Row:
        """A row whose bar is a bound of our own figure; `bar` says it. The reference is for show."""
        return Row(
            workload=self.workload,
            measured=measured,
            ours=figure.written(self.found, "ours"),
            reference=f"{reference} {figure.written(self.found, reference)}" if reference else "",
            bar=bar,
            is_met=self.found.median("ours", figure.of) <= at_most,
            cpu=self._pair(self.cpu, "ours", reference),
            memory=self._pair(PEAK, "ours", reference).removesuffix(" MB"),
        )

    def _pair(self, figure: Figure, ours: str, reference: str | None) -> str:
        """Two figures with their unit once."""
        first = figure.written(self.found, ours)
        if reference is None:
            return first
        return f"{first.partition(' ')[0]} / {figure.written(self.found, reference)}"


def _bar(at_least: float | None, at_most: float | None, of: str) -> str:
    if at_least is not None:
        return f"≥ {at_least:g}{of}"
    return "" if at_most is None else f"≤ {at_most:g}{of}"


def _is_met(ratio: float, at_least: float | None, at_most: float | None) -> bool | None:
    if at_least is not None:
        return ratio >= at_least
    return None if at_most is None else ratio <= at_most
