"""Hostile files through the decode processes as an upload sends them, and what must be true of each answer."""

import asyncio
import dataclasses
import heapq
import io
import json
import math
import resource
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from mediakeep.errors import UndecodableMedia
from mediakeep.media import pool as pool_module
from mediakeep.media.facts import MAX_TEXT, Facts
from mediakeep.media.formats import get_format
from mediakeep.media.limits import PEAKS_SECONDS, Limits
from mediakeep.media.pool import DecodePool
from mediakeep.media.probe import probe
from mediakeep.media.render import thumbnail, thumbnail_seconds
from mediakeep.media.sniff import HEAD_BYTES, sniff
from mediakeep.media.waveform import MAX_PEAKS, draw, peaks
from tests.samples import pictures

# What the pool may need to notice, to stop the process and to start the next, on a busy machine.
TOLERANCE_SECONDS = 8.0
_KNOWN_GOOD_EVERY = 50
_INT32, _INT64 = 1 << 31, 1 << 63


@dataclass(frozen=True, slots=True)
class Trial:
    """A file, what to call it in a report, and its format where the sniffer finds none."""

    label: str
    format: str
    data: bytes


@dataclass
class Outcomes:
    """What happened. `wrong` has a line for each answer that breaks a rule: there must be none."""

    files: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    by_format: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    #: Exceptions of libraries that our code does not expect; the caller gets a refusal all the same.
    faults: list[str] = field(default_factory=list)
    timeouts: list[str] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)
    slowest: list[tuple[float, str]] = field(default_factory=list)
    known_good: int = 0
    grown_bytes: int = 0


async def endure(
    pool: DecodePool,
    trials: Iterable[Trial],
    *,
    folder: Path,
    limits: Limits,
    side_by_side: int = 2,
    most_seconds: float = math.inf,
    warm_after: int = 100,
) -> Outcomes:
    """Send every file through `pool`, whose processes must be no fewer than `side_by_side`; after some, a good one.

    `most_seconds` shortens the decoders' time limits. This process' memory at the end is compared with that after
    `warm_after` files, when everything has been used once.
    """
    outcomes = Outcomes()
    queue, warm = iter(trials), resident_bytes()

    async def work(number: int) -> None:
        nonlocal warm
        attempt = _Attempt(pool, folder / f"upload-{number}", limits, most_seconds, outcomes)
        for trial in queue:
            await attempt.run(trial)
            outcomes.files += 1
            if outcomes.files == warm_after:
                warm = resident_bytes()
            if outcomes.files % _KNOWN_GOOD_EVERY == 0:
                await attempt.run_known_good(trial)
        await attempt.run_known_good(None)

    await asyncio.gather(*(work(number) for number in range(side_by_side)))
    outcomes.grown_bytes = resident_bytes() - warm
    return outcomes


class _Attempt:
    def __init__(
        self, pool: DecodePool, path: Path, limits: Limits, most_seconds: float, outcomes: Outcomes
    ) -> None:
        self.pool, self.path, self.limits = pool, path, limits
        self.most_seconds, self.outcomes = most_seconds, outcomes

    async def run(self, trial: Trial) -> None:
        """As `files/ingest.py` does; then what `files/renditions.py` may be asked for."""
        found = sniff(trial.data[:HEAD_BYTES])
        name = found.name if found else trial.format  # worse than an upload: there it would end here
        self.path.write_bytes(trial.data)
        label = f"{trial.label} as {name}"
        facts = await self._job(probe, label, name, thumbnail_seconds(name))
        if facts is None:
            return
        self.outcomes.accepted += 1
        self.outcomes.by_format[name] += 1
        self._note(label, facts_flaws(facts, name, self.limits))
        picture = await self._job(thumbnail, label, name, thumbnail_seconds(name))
        self._note(label, thumbnail_flaws(picture))
        if get_format(name).family in {"audio", "video"}:
            self._note(label, peaks_flaws(await self._job(peaks, label, name, PEAKS_SECONDS)))

    async def run_known_good(self, after: Trial | None) -> None:
        self.path.write_bytes(pictures.jpeg(64, 48))
        try:
            facts = await self.pool.run(probe, str(self.path), "jpg", self.limits, timeout_seconds=60)
        except Exception as error:  # noqa: BLE001 whatever it is, it is the finding
            self._note(f"good file after {after and after.label}", [repr(error)])
            return
        self.outcomes.known_good += 1
        if (facts.width, facts.height) != (64, 48):
            self._note("good file", [f"measured as {facts.width} × {facts.height}"])

    async def _job(self, function: Callable[..., Any], label: str, name: str, seconds: float) -> Any:
        seconds, label = min(seconds, self.most_seconds), f"{function.__name__} {label}"
        start = time.monotonic()
        try:
            return await self.pool.run(function, str(self.path), name, self.limits, timeout_seconds=seconds)
        except UndecodableMedia as refusal:
            self._refused(label, refusal)
        except Exception as error:  # noqa: BLE001 whatever it is, it is the finding
            self._note(label, [f"raised {error!r}"])
        finally:
            took = time.monotonic() - start
            heapq.heappush(self.outcomes.slowest, (took, label))
            self.outcomes.slowest = heapq.nlargest(10, self.outcomes.slowest)
            if took > seconds + TOLERANCE_SECONDS:
                self._note(label, [f"ended after {took:.1f} s; the limit is {seconds:g} s"])
        return None

    def _refused(self, label: str, refusal: UndecodableMedia) -> None:
        self.outcomes.refused[refusal.detail] += 1
        self._note(label, sentence_flaws(refusal.detail, self.path))
        cause = refusal.__cause__
        if isinstance(cause, pool_module.worker.DecoderFaultError):
            self.outcomes.faults.append(f"{label}: {str(cause).strip().splitlines()[-1][:300]}")
        elif isinstance(cause, TimeoutError):
            self.outcomes.timeouts.append(label)
        elif isinstance(cause, pool_module.ProcessExpired):
            self.outcomes.deaths.append(label)

    def _note(self, label: str, flaws: list[str]) -> None:
        self.outcomes.wrong += [f"{label}: {flaw}" for flaw in flaws]


def sentence_flaws(sentence: str, path: Path) -> list[str]:
    """What a refusal must not be: somebody else's words, or ours with a path in them."""
    forbidden = (
        path.name,
        "/",
        "\\",
        "Traceback",
        "Error",
        "Errno",
        "0x",
        "vips",
        "PIL",
        "ffmpeg",
        "pdfium",
        "\n",
    )
    flaws = [f"the refusal has {word!r}: {sentence!r}" for word in forbidden if word in sentence]
    if not 10 < len(sentence) < 200 or not sentence.endswith("."):
        flaws.append(f"the refusal is no sentence: {sentence!r}")
    return flaws


def facts_flaws(facts: Facts, name: str, limits: Limits) -> list[str]:
    """Whether an answer, a row of the database and a page can hold the facts."""
    flaws = _measure_flaws(facts, name, limits) + _json_flaws(dataclasses.replace(facts, thumbnail=None))
    if facts.phash is not None and not -_INT64 <= facts.phash < _INT64:
        flaws.append(f"phash {facts.phash}")
    if get_format(name).family == "image":
        flaws += thumbnail_flaws(facts.thumbnail) if facts.thumbnail else ["an image without thumbnail"]
    return flaws


def _measure_flaws(facts: Facts, name: str, limits: Limits) -> list[str]:
    flaws = []
    family = get_format(name).family
    # A video's pixels may be up to four times as wide as high.
    most = {"image": limits.max_image_pixels, "video": 4 * limits.max_video_pixels}.get(family, 0)
    if facts.width is not None or facts.height is not None:
        width, height = facts.width or 0, facts.height or 0
        if not (0 < width < _INT32 and 0 < height < _INT32 and width * height <= most):
            flaws.append(f"{facts.width} × {facts.height}")
    elif family == "image":
        flaws.append("an image without size")
    seconds = facts.duration_seconds
    if seconds is not None and not (math.isfinite(seconds) and 0 <= seconds < _INT64):
        flaws.append(f"duration {seconds}")
    if facts.page_count is not None and not 0 < facts.page_count < _INT32:
        flaws.append(f"page count {facts.page_count}")
    return flaws


def _json_flaws(facts: Facts) -> list[str]:
    try:
        json.dumps(dataclasses.asdict(facts), allow_nan=False).encode()
    except (ValueError, TypeError) as error:
        return [f"no JSON: {error}"]
    flaws = []
    for name, value in facts.details.items():
        if isinstance(value, str) and (len(value) > MAX_TEXT or _has_control(value) or not value.strip()):
            flaws.append(f"{name} is {value!r}")
        if isinstance(value, int | float) and not -_INT64 <= value < _INT64:
            flaws.append(f"{name} is {value}")
        if isinstance(value, int | float) and value < 0:
            flaws.append(f"{name} is negative: {value}")
    place = facts.location
    if place and not (
        abs(place["latitude"]) <= 90
        and abs(place["longitude"]) <= 180
        and abs(place.get("altitude", 0)) < 1e6
    ):
        flaws.append(f"place {place}")
    return flaws


def _has_control(text: str) -> bool:
    return any(unicodedata.category(character)[0] == "C" for character in text)


def thumbnail_flaws(picture: bytes | None) -> list[str]:
    """None was refused, which is fine."""
    if picture is None:
        return []
    try:
        with Image.open(io.BytesIO(picture), formats=("JPEG",)) as image:
            image.load()
            size, mode, metadata = (
                image.size,
                image.mode,
                set(image.info) & {"exif", "icc_profile", "comment", "xmp"},
            )
    except (OSError, SyntaxError, ValueError) as error:
        return [f"the thumbnail does not decode: {error}"]
    flaws = [] if 1 <= min(size) <= max(size) <= 512 else [f"the thumbnail is {size}"]
    if mode != "RGB" or metadata:
        flaws.append(f"the thumbnail is {mode} with {metadata}")
    return flaws


def peaks_flaws(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    flaws = []
    try:
        json.dumps(found, allow_nan=False)
    except (ValueError, TypeError) as error:
        flaws.append(f"peaks are no JSON: {error}")
    values = found["peaks"]
    if len(values) != 2 * found["length"] or not 1 <= found["length"] <= MAX_PEAKS:
        flaws.append(f"{len(values)} peaks, length {found['length']}")
    if not -128 <= min(values) <= max(values) <= 127:
        flaws.append(f"peaks from {min(values)} to {max(values)}")
    if found["samples_per_peak"] < 1 or found["sample_rate"] < 1 or found["duration_seconds"] < 0:
        flaws.append(f"rate {found['sample_rate']}, {found['samples_per_peak']} a peak")
    if not draw(found, 200, 40).startswith(b"\x89PNG"):  # the one thing the server does with them itself
        flaws.append("peaks cannot be drawn")
    return flaws


def resident_bytes() -> int:
    """Memory of this process now (Linux), or the most it ever had."""
    if sys.platform == "linux":
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
