"""B1, B1b and B2: uploads, from the first byte sent until nothing that they cause is left to do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bench import material, profiling
from bench.clients import Item
from bench.registry import Options, Outcome, Row, Workload, register
from bench.rounds import Measured, Rounds, alternate, upload
from bench.subjects import Running, loop, mediakeep, plain


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is uploaded. `make(number, start)` gives items; those of the warm-up are others."""

    make: Callable[..., list[Item]]
    number: int
    warm: int
    clients: int

    def scaled(self, scale: float) -> "Load":
        """With a share of the items, but enough that every client has some."""
        return replace(self, number=max(2 * self.clients, round(self.number * scale)))

    def run(self, running: Running, when_warm: Callable[[], None] = lambda: None) -> Measured:
        items, warm = self.make(self.number), self.make(self.warm, start=1000)
        return upload(running, items, warm=warm, clients=self.clients, when_warm=when_warm)


PHOTOS = Load(make=material.photos, number=400, warm=60, clients=8)
LARGE_PHOTOS = Load(make=material.large_photos, number=30, warm=6, clients=2)
ONE_FILM = Load(make=material.films, number=12, warm=4, clients=1)
EIGHT_FILMS = Load(make=material.films, number=32, warm=8, clients=8)


def _against_plain(name: str, load: Load, *, rate: float, cpu: float | None, options: Options) -> Outcome:
    found = alternate(
        options.rounds, options.folder, {"ours": mediakeep, "plain": plain}, load.scaled(options.scale).run
    )
    faster = found.ratio("ours", "plain", _rate)
    cheaper = found.ratio("ours", "plain", _cpu_ms)
    row = partial(
        Row, workload=name, cpu=_pair(found, "plain", _cpu_ms, "ms"), memory=_memory(found, "plain")
    )
    rows = [
        row(
            measured="photos a second",
            ours=f"{found.median('ours', _rate):.1f}/s",
            reference=f"plain {found.median('plain', _rate):.1f}/s",
            ratio=f"{faster:.2f}",
            bar=f"≥ {rate} × plain",
            is_met=faster >= rate,
        ),
        row(
            measured="CPU of a photo",
            ours=f"{found.median('ours', _cpu_ms):.2f} ms",
            reference=f"plain {found.median('plain', _cpu_ms):.2f} ms",
            ratio=f"{cheaper:.2f}",
            bar="" if cpu is None else f"≤ {cpu} × plain",
            is_met=None if cpu is None else cheaper <= cpu,
        ),
    ]
    return Outcome(rows=rows, others=found.others)


def _against_loop(options: Options) -> Outcome:
    subjects = {"ours": mediakeep, "loop": loop, "plain": plain}
    rows, others = [], 0.0
    for load, rate in ((ONE_FILM, 0.75), (EIGHT_FILMS, 0.55)):
        found = alternate(options.rounds, options.folder, subjects, load.scaled(options.scale).run)
        rows += _film_rows(found, load, rate=rate)
        others = max(others, found.others)
    return Outcome(rows=rows, others=others)


def _film_rows(found: Rounds, load: Load, *, rate: float) -> list[Row]:
    clients = "1 client" if load.clients == 1 else f"{load.clients} clients"
    faster = found.ratio("ours", "loop", _megabytes)
    cost = found.median("ours", _cpu_per_gigabyte)
    growth = found.median("ours", _growth)
    film_mib = material.FILM_BYTES / 2**20
    row = partial(
        Row, workload="B2", cpu=_pair(found, "loop", _cpu_per_gigabyte, "s/GB"), memory=_memory(found, "loop")
    )
    return [
        row(
            measured=f"MB/s, {clients}",
            ours=f"{found.median('ours', _megabytes):.0f} MB/s",
            reference=f"loop {found.median('loop', _megabytes):.0f} MB/s",
            ratio=f"{faster:.2f}",
            bar=f"≥ {rate} × loop",
            is_met=faster >= rate,
        ),
        row(
            measured=f"MB/s until the last answer, {clients}",
            ours=f"{found.median('ours', _megabytes_answered):.0f} MB/s",
            reference=f"loop {found.median('loop', _megabytes_answered):.0f} MB/s",
            ratio=f"{found.ratio('ours', 'loop', _megabytes_answered):.2f}",
        ),
        row(
            measured=f"CPU of a gigabyte, {clients}",
            ours=f"{cost:.2f} s",
            reference=f"loop {found.median('loop', _cpu_per_gigabyte):.2f} s",
            ratio=f"{found.ratio('ours', 'loop', _cpu_per_gigabyte):.2f}",
            bar="≤ 1.5 s/GB",
            is_met=cost <= 1.5,
        ),
        row(
            measured=f"growth of memory, {clients}",
            ours=f"{growth:.0f} MB",
            reference=f"loop {found.median('loop', _growth):.0f} MB",
            bar=f"< {film_mib:.0f} MB, one film",
            is_met=growth < film_mib,
        ),
        row(
            measured=f"MB/s, {clients}",
            ours=f"{found.median('ours', _megabytes):.0f} MB/s",
            reference=f"plain {found.median('plain', _megabytes):.0f} MB/s",
            ratio=f"{found.ratio('ours', 'plain', _megabytes):.2f}",
            cpu=_pair(found, "plain", _cpu_per_gigabyte, "s/GB"),
            memory=_memory(found, "plain"),
        ),
    ]


def _pair(found: Rounds, reference: str, figure: Callable[[Measured], float], unit: str) -> str:
    return f"{found.median('ours', figure):.2f} / {found.median(reference, figure):.2f} {unit}"


def _memory(found: Rounds, reference: str) -> str:
    return f"{found.median('ours', _peak):.0f} / {found.median(reference, _peak):.0f}"


def _rate(one: Measured) -> float:
    return one.rate


def _megabytes(one: Measured) -> float:
    return one.megabytes_per_second


def _megabytes_answered(one: Measured) -> float:
    return one.bytes / 1e6 / one.answered_seconds


def _cpu_ms(one: Measured) -> float:
    return one.cpu_ms


def _cpu_per_gigabyte(one: Measured) -> float:
    return one.cpu_per_gigabyte


def _peak(one: Measured) -> float:
    return one.peak_mib


def _growth(one: Measured) -> float:
    return one.growth_mib


def _profile(loads: Sequence[Load], options: Options) -> None:
    for load in loads:
        profiling.profile(options.folder, load.scaled(options.scale).run)


register(
    Workload(
        name="B1",
        title="400 photos of 1200 × 800 pixels and 150 KB, 8 clients",
        run=lambda options: _against_plain("B1", PHOTOS, rate=1.3, cpu=0.9, options=options),
        profile=partial(_profile, (PHOTOS,)),
    )
)
register(
    Workload(
        name="B1b",
        title="30 photos of 24 megapixels, 2 clients",
        run=lambda options: _against_plain("B1b", LARGE_PHOTOS, rate=1.5, cpu=None, options=options),
        profile=partial(_profile, (LARGE_PHOTOS,)),
    )
)
register(
    Workload(
        name="B2",
        title="MP4 films of 45 MB with sound, as multipart forms, 1 and 8 clients",
        run=_against_loop,
        profile=partial(_profile, (ONE_FILM, EIGHT_FILMS)),
    )
)
