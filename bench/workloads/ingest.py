"""B1, B1b and B2: uploads, from the first byte sent until nothing that they cause is left to do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bench import material, profiling
from bench.clients import Item
from bench.figures import CPU_MS, CPU_PER_GIGABYTE, GROWTH, MEGABYTES, MEGABYTES_ANSWERED, SLOW_RATE, Table
from bench.registry import Options, Outcome, Row, Workload, register
from bench.rounds import Measured, Rounds, alternate, turn, upload
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
    run = load.scaled(options.scale).run
    turns = {"ours": turn(mediakeep, run), "plain": turn(plain, run)}
    found = alternate(options.rounds, options.folder, turns)
    table = Table(workload=name, found=found, cpu=CPU_MS)
    rows = [
        table.against("plain", "photos a second", SLOW_RATE, at_least=rate),
        table.against("plain", "CPU of a photo", CPU_MS, at_most=cpu),
    ]
    return Outcome(rows=rows, others=found.others)


def _against_loop(options: Options) -> Outcome:
    rows, others = [], 0.0
    for load, rate in ((ONE_FILM, 0.75), (EIGHT_FILMS, 0.55)):
        run = load.scaled(options.scale).run
        turns = {"ours": turn(mediakeep, run), "loop": turn(loop, run), "plain": turn(plain, run)}
        found = alternate(options.rounds, options.folder, turns)
        rows += _film_rows(found, load, rate=rate)
        others = max(others, found.others)
    return Outcome(rows=rows, others=others)


def _film_rows(found: Rounds, load: Load, *, rate: float) -> list[Row]:
    clients = "1 client" if load.clients == 1 else f"{load.clients} clients"
    film_mib = material.FILM_BYTES / 2**20
    table = Table(workload="B2", found=found, cpu=CPU_PER_GIGABYTE)
    return [
        table.against("loop", f"MB/s, {clients}", MEGABYTES, at_least=rate),
        table.against("loop", f"MB/s until the last answer, {clients}", MEGABYTES_ANSWERED),
        table.bounded(
            f"CPU of a gigabyte, {clients}", CPU_PER_GIGABYTE, at_most=1.5, bar="≤ 1.5 s/GB", reference="loop"
        ),
        table.bounded(
            f"growth of memory, {clients}",
            GROWTH,
            at_most=film_mib,
            bar=f"< {film_mib:.0f} MB, one film",
            reference="loop",
        ),
        table.against("plain", f"MB/s, {clients}", MEGABYTES),
    ]


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
