"""B3 and B4: files, parts of files and the news that they are unchanged, from one core each."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from bench import material, profiling
from bench.clients import Item, get, send_all, skip_http
from bench.figures import CPU_PER_GIGABYTE, CPU_US, GROWTH, MEGABYTES, RATE, Table
from bench.processes import SubjectFailed, server_and_client_cpu
from bench.reading import Ask, Reading, unchanged
from bench.registry import Options, Outcome, Workload, register
from bench.rounds import Measured, Turn, Work, alternate, turn, watch
from bench.subjects import Library, Shelf, mediakeep, nginx, plain

_SECONDS = 5
_FILES = 16
_FILMS = 4
_RANGES = 256
_RANGE_BYTES = 1_000_000

_LARGE_BYTES = 2 << 30
_LARGE_LIMIT = 3 << 30
_LARGE_CLIENTS = 4
_LARGE_GROWTH_MIB = 64

Make = Callable[[int], list[Item]]


def whole(make: Make, number: int, shelf: Shelf) -> list[Ask]:
    items = make(number)
    paths = shelf.stock(items)
    return [
        Ask(head=get(path, {}), body=b"".join(item.parts)) for path, item in zip(paths, items, strict=True)
    ]


def again(make: Make, number: int, shelf: Shelf) -> list[Ask]:
    """What whoever has the files asks for."""
    return [unchanged(shelf, path) for path in shelf.stock(make(number))]


def ranges(make: Make, number: int, shelf: Shelf) -> list[Ask]:
    """Parts of a megabyte, anywhere in the files."""
    chance = np.random.default_rng(5)
    files = whole(make, number, shelf)
    return [_part(files[chance.integers(number)], chance) for _ in range(_RANGES)]


def _part(file: Ask, chance: np.random.Generator) -> Ask:
    start = int(chance.integers(len(file.body) - _RANGE_BYTES))
    end = start + _RANGE_BYTES
    head = file.head[:-2] + f"Range: bytes={start}-{end - 1}\r\n\r\n".encode()
    return Ask(head=head, status=206, body=memoryview(file.body)[start:end])


SMALL = partial(whole, material.small_photos, _FILES)
SMALL_AGAIN = partial(again, material.small_photos, _FILES)
PHOTOS = partial(whole, material.photos, _FILES)
FILMS = partial(whole, material.films, _FILMS)
PARTS = partial(ranges, material.films, _FILMS)


def _reading(prepare: Callable[[Shelf], list[Ask]], connections: int, options: Options) -> Reading:
    _, cpu = server_and_client_cpu()
    return Reading(
        prepare=prepare,
        connections=connections,
        seconds=max(1, round(_SECONDS * options.scale)),
        cpu=cpu,
    )


def _photos(options: Options) -> Outcome:
    cpu, _ = server_and_client_cpu()
    ours, theirs = partial(mediakeep, cpu=cpu), partial(nginx, cpu=cpu)
    small, same, photo = (_reading(what, 32, options).run for what in (SMALL, SMALL_AGAIN, PHOTOS))
    few = alternate(
        options.rounds,
        options.folder,
        {"ours": turn(ours, small), "304": turn(ours, same), "nginx": turn(theirs, small)},
    )
    many = alternate(
        options.rounds,
        options.folder,
        {
            "ours": turn(ours, photo),
            "nginx": turn(theirs, photo),
            "plain": turn(partial(plain, cpu=cpu), photo),
        },
    )
    of_small = Table(workload="B3", found=few, cpu=CPU_US)
    of_photos = Table(workload="B3", found=many, cpu=CPU_US)
    rows = [
        of_small.against("nginx", "20 KB a second", RATE, at_least=0.25),
        of_small.against("nginx", "CPU of 20 KB", CPU_US),
        of_small.against("ours", "304 a second", RATE, at_least=1.0, ours="304", called="own 200"),
        of_photos.against("plain", "150 KB a second", RATE, at_least=5),
        of_photos.against("plain", "CPU of 150 KB", CPU_US),
        of_photos.against("nginx", "150 KB a second", RATE),
    ]
    return Outcome(rows=rows, others=max(few.others, many.others))


def _films(options: Options) -> Outcome:
    cpu, _ = server_and_client_cpu()
    ours, theirs = partial(mediakeep, cpu=cpu), partial(nginx, cpu=cpu)

    def against_nginx(prepare: Callable[[Shelf], list[Ask]]) -> dict[str, Turn]:
        run = _reading(prepare, 8, options).run
        return {"ours": turn(ours, run), "nginx": turn(theirs, run)}

    films = alternate(options.rounds, options.folder, against_nginx(FILMS))
    parts = alternate(options.rounds, options.folder, against_nginx(PARTS))
    large = alternate(1, options.folder, {"ours": turn(_with_large_files, partial(_read_large, options))})
    of_films = Table(workload="B4", found=films, cpu=CPU_PER_GIGABYTE)
    of_parts = Table(workload="B4", found=parts, cpu=CPU_US)
    of_large = Table(workload="B4", found=large, cpu=CPU_PER_GIGABYTE)
    rows = [
        of_films.against("nginx", "MB/s of 45 MB", MEGABYTES, at_least=1.0),
        of_films.against("nginx", "CPU of a gigabyte", CPU_PER_GIGABYTE),
        of_parts.against("nginx", "ranges of 1 MB a second", RATE, at_least=1.0),
        of_parts.against("nginx", "CPU of a range", CPU_US),
        of_large.bounded(
            f"growth of memory, {_LARGE_BYTES * options.scale / 2**30:g} GiB to {_LARGE_CLIENTS} clients",
            GROWTH,
            at_most=_LARGE_GROWTH_MIB,
            bar=f"< {_LARGE_GROWTH_MIB} MB",
        ),
    ]
    return Outcome(rows=rows, others=max(films.others, parts.others))


@contextmanager
def _with_large_files(folder: Path) -> Iterator[Library]:
    cpu, _ = server_and_client_cpu()
    settings = {"MEDIAKEEP_MAX_UPLOAD_BYTES": str(_LARGE_LIMIT)}
    with mediakeep(folder, cpu=cpu, settings=settings) as library:
        yield library


def _read_large(options: Options, library: Library) -> Measured:
    """Each client reads the whole of one large file once."""
    item = material.large_film(int(_LARGE_BYTES * options.scale))
    (path,) = library.stock([item])

    def work() -> Work:
        requests = [[get(path, {})]] * _LARGE_CLIENTS
        sizes: list[int] = []
        began = send_all(
            library.address,
            requests,
            lambda connection: sizes.append(skip_http(connection)),
            clients=_LARGE_CLIENTS,
        )
        seconds = time.perf_counter() - began
        if sizes != [item.size] * _LARGE_CLIENTS:
            raise SubjectFailed(f"the clients have read {sizes} instead of {item.size} bytes each")
        return Work(items=len(sizes), bytes=sum(sizes), seconds=seconds, answered_seconds=seconds)

    return watch(library.session, work)


def _profile(prepares: dict[Callable[[Shelf], list[Ask]], int], options: Options) -> None:
    cpu, _ = server_and_client_cpu()
    for prepare, connections in prepares.items():
        run = _reading(prepare, connections, options).run
        profiling.profile(options.folder, run, start=partial(mediakeep, cpu=cpu))


register(
    Workload(
        name="B3",
        title="16 JPEGs of 20 KB and 16 of 150 KB, again and again, 32 connections, one core each",
        run=_photos,
        profile=partial(_profile, {SMALL: 32, SMALL_AGAIN: 32, PHOTOS: 32}),
    )
)
register(
    Workload(
        name="B4",
        title="films of 45 MB, whole and in parts of 1 MB anywhere, 8 connections, one core each; one of 2 GiB",
        run=_films,
        profile=partial(_profile, {FILMS: 8, PARTS: 8}),
    )
)
