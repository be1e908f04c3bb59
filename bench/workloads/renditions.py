"""B5 and B6: pictures that nobody has asked for before, and the same ones again."""

import io
import socket
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from bench import material, profiling
from bench.clients import Answer, Buffers, Item, exchange, get, read_http, send_all
from bench.figures import CPU_MS, CPU_US, PEAK, RATE, SLOW_RATE, Table
from bench.processes import SubjectFailed, server_and_client_cpu
from bench.reading import Ask, Reading, fetch, unchanged, verify
from bench.registry import Options, Outcome, Workload, register
from bench.rounds import Measured, Work, alternate, turn, watch
from bench.subjects import Library, Shelf, Subject, mediakeep, nginx, resize

_SIDE = 512
_QUALITY = 80
_CLIENTS = 2
_PHOTOS = 24
_WARM_PHOTOS = 4
_SIZES = 4
_PEAK_MIB = 400

_AGAIN_PHOTOS = 16
_AGAIN_SECONDS = 5

# Longer than Mediakeep puts off writing down what it has made.
_SETTLE_SECONDS = 2.5

_LENGTH = struct.Struct(">I")

SETTINGS = {"MEDIAKEEP_RENDITION_MISSES_PER_MINUTE": "0"}

#: A photo and the side of the box that its picture is to fit into, in pixels.
Wanted = tuple[Item, int]


def _wanted(number: int, *, start: int = 0, sizes: int) -> list[Wanted]:
    """Every photo in a first size, then all of them in one that is a little smaller, and so on."""
    photos = material.large_photos(number, start=start)
    return [(photo, _SIDE - 2 * step) for step in range(sizes) for photo in photos]


def _rendition(path: str, side: int) -> str:
    return f"{path}?width={side}&height={side}&format=webp&quality={_QUALITY}"


def _check_picture(data: bytes, side: int) -> None:
    with Image.open(io.BytesIO(data)) as picture:
        if picture.format != "WEBP" or picture.size != (side, round(side * 4000 / 6000)):
            raise SubjectFailed(f"the picture is {picture.format} of {picture.size} pixels, asked for {side}")


def _check_answer(answer: Answer, side: int) -> None:
    if answer.headers["content-type"] != "image/webp":
        raise SubjectFailed(f"the picture comes as {answer.headers['content-type']}")
    _check_picture(answer.body, side)


# B5


def _by_mediakeep(
    wanted: Sequence[Wanted],
    warm: Sequence[Wanted],
    library: Library,
    when_warm: Callable[[], None] = lambda: None,
) -> Measured:
    paths = _stocked(library, [*wanted, *warm])

    def heads(those: Sequence[Wanted]) -> list[bytes]:
        return [get(_rendition(paths[photo.name], side), {}) for photo, side in those]

    for answer, (_, side) in zip(
        exchange(library.address, *([head] for head in heads(warm))), warm, strict=True
    ):
        _check_answer(answer, side)
    requests: list[Buffers] = [[head] for head in heads(wanted)]
    return _timed(library, requests, lambda connection: read_http(connection).body, wanted, when_warm)


def _stocked(library: Library, wanted: Sequence[Wanted]) -> dict[str, str]:
    """The path of each photo by its name."""
    photos = list({photo.name: photo for photo, _ in wanted}.values())
    return dict(zip((photo.name for photo in photos), library.stock(photos), strict=True))


def _by_script(wanted: Sequence[Wanted], warm: Sequence[Wanted], script: Subject) -> Measured:
    def lines(those: Sequence[Wanted]) -> list[Buffers]:
        return [
            [f"{side} {side} {material.KEPT.absolute() / photo.name}\n".encode()] for photo, side in those
        ]

    send_all(script.address, lines(warm), _read_frame, clients=_CLIENTS)
    return _timed(script, lines(wanted), _read_frame, wanted)


def _timed(
    subject: Subject,
    requests: Sequence[Buffers],
    read_picture: Callable[[socket.socket], bytes],
    wanted: Sequence[Wanted],
    when_warm: Callable[[], None] = lambda: None,
) -> Measured:
    """Two clients ask for all pictures once; afterwards each is looked at."""
    pictures: list[bytes] = []

    def work() -> Work:
        began = send_all(
            subject.address,
            requests,
            lambda connection: pictures.append(read_picture(connection)),
            clients=_CLIENTS,
        )
        seconds = time.perf_counter() - began
        size = sum(len(picture) for picture in pictures)
        return Work(items=len(pictures), bytes=size, seconds=seconds, answered_seconds=seconds)

    found = watch(subject.session, work, when_warm=when_warm, settle_seconds=_SETTLE_SECONDS)
    if len(pictures) != len(wanted):
        raise SubjectFailed(f"there are {len(pictures)} pictures instead of {len(wanted)}")
    sides = {side for _, side in wanted}
    for picture in pictures:
        with Image.open(io.BytesIO(picture)) as opened:
            side = opened.width
        if side not in sides:
            raise SubjectFailed(f"a picture is {side} pixels wide")
        _check_picture(picture, side)
    return found


def _read_frame(connection: socket.socket) -> bytes:
    (length,) = _LENGTH.unpack(connection.recv(_LENGTH.size, socket.MSG_WAITALL))
    return connection.recv(length, socket.MSG_WAITALL)


def _load(options: Options) -> tuple[list[Wanted], list[Wanted]]:
    """What is measured, and what is asked for before."""
    photos = max(_CLIENTS, round(_PHOTOS * options.scale))
    return _wanted(photos, sizes=_SIZES), _wanted(_WARM_PHOTOS, start=1000, sizes=1)


def _new(options: Options) -> Outcome:
    wanted, warm = _load(options)
    turns = {
        "ours": turn(partial(mediakeep, settings=SETTINGS), partial(_by_mediakeep, wanted, warm)),
        "vips": turn(partial(resize, way="vips", quality=_QUALITY), partial(_by_script, wanted, warm)),
        "pillow": turn(partial(resize, way="pillow", quality=_QUALITY), partial(_by_script, wanted, warm)),
    }
    found = alternate(options.rounds, options.folder, turns)
    table = Table(workload="B5", found=found, cpu=CPU_MS)
    rows = [
        table.against("vips", "CPU of a new picture", CPU_MS, at_most=1.3),
        table.against("pillow", "CPU of a new picture", CPU_MS, at_most=0.25),
        table.bounded("peak memory", PEAK, at_most=_PEAK_MIB, bar=f"< {_PEAK_MIB} MB"),
        table.against("vips", "new pictures a second", SLOW_RATE),
    ]
    return Outcome(rows=rows, others=found.others)


def _profile_new(options: Options) -> None:
    wanted, warm = _load(options)
    run = partial(_by_mediakeep, wanted, warm)
    profiling.profile(options.folder, run, start=partial(mediakeep, settings=SETTINGS))


# B6


def _made_by_us(kept: Path, library: Library) -> list[Ask]:
    """Pictures that have been made; put into `kept` as well."""
    kept.mkdir(exist_ok=True)
    wanted = _wanted(_AGAIN_PHOTOS, sizes=1)
    asks = []
    for name, path in _stocked(library, wanted).items():
        rendition = _rendition(path, _SIDE)
        answer = fetch(library, rendition)
        _check_answer(answer, _SIDE)
        verify(library, [unchanged(library, rendition)])
        (kept / f"{name}.webp").write_bytes(answer.body)
        asks.append(Ask(head=get(rendition, {}), body=answer.body))
    return asks


def _same_files(kept: Path, shelf: Shelf) -> list[Ask]:
    files = [(path.name, path.read_bytes()) for path in sorted(kept.iterdir())]
    items = [Item(name=name, media_type="image/webp", parts=(data,)) for name, data in files]
    return [
        Ask(head=get(path, {}), body=data) for path, (_, data) in zip(shelf.stock(items), files, strict=True)
    ]


def _reading(prepare: Callable[[Shelf], list[Ask]], options: Options) -> Reading:
    _, cpu = server_and_client_cpu()
    seconds = max(1, round(_AGAIN_SECONDS * options.scale))
    return Reading(prepare=prepare, connections=32, seconds=seconds, cpu=cpu)


def _again(options: Options) -> Outcome:
    cpu, _ = server_and_client_cpu()
    kept = (
        options.folder / "renditions"
    )  # those of the first turn of a round, which is ours, are nginx's files
    ours, theirs = (_reading(partial(how, kept), options).run for how in (_made_by_us, _same_files))
    turns = {
        "ours": turn(partial(mediakeep, cpu=cpu, settings=SETTINGS), ours),
        "nginx": turn(partial(nginx, cpu=cpu), theirs),
    }
    found = alternate(options.rounds, options.folder, turns)
    table = Table(workload="B6", found=found, cpu=CPU_US)
    rows = [
        table.against("nginx", "pictures a second, made before", RATE, at_least=0.25),
        table.against("nginx", "CPU of such a picture", CPU_US),
    ]
    return Outcome(rows=rows, others=found.others)


def _profile_again(options: Options) -> None:
    cpu, _ = server_and_client_cpu()
    run = _reading(partial(_made_by_us, options.folder / "renditions"), options).run
    profiling.profile(options.folder, run, start=partial(mediakeep, cpu=cpu, settings=SETTINGS))


register(
    Workload(
        name="B5",
        title="24-megapixel JPEGs to WebP of about 512 pixels, quality 80, each picture for the first time, 2 clients; "
        "vips with one thread a picture (VIPS_CONCURRENCY=1)",
        run=_new,
        profile=_profile_new,
    )
)
register(
    Workload(
        name="B6",
        title="16 of these pictures again and again, 32 connections, one core each",
        run=_again,
        profile=_profile_again,
    )
)
