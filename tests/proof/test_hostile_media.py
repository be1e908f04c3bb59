"""S4 in full: damaged, lying and greedy files through the decode processes, and what they open meanwhile."""

import logging
import shutil
from pathlib import Path

import pytest

from mediakeep.media.formats import FORMATS
from mediakeep.media.limits import Limits, limits_from
from mediakeep.media.pool import DecodePool
from mediakeep.settings import Settings
from tests.proof.report import write_row
from tests.samples import bombs, films, references
from tests.samples.mutations import mutation
from tests.traced import TracedFile, trace
from tests.trials import Trial, endure

FILES = 20_000
WATCHED_FILES = 1000
SEED = 4
MIB = 1 << 20
_log = logging.getLogger(__name__)

# Names that lead FFmpeg and ImageMagick to one reader or another.
EXTENSIONS = (
    "",
    ".m3u8",
    ".mpd",
    ".sdp",
    ".ffconcat",
    ".svg",
    ".mp4",
    ".mkv",
    ".jpg",
    ".gif",
    ".wav",
    ".pdf",
    ".txt",
)
ALL = tuple(format_.name for format_ in FORMATS)


@pytest.fixture
def limits() -> Limits:
    return limits_from(Settings(_env_file=None))


@pytest.fixture
def pool():
    running = DecodePool(processes=2, memory_bytes=1024 * MIB)
    running.start()
    yield running
    running.close()


@pytest.mark.timeout(7200)
async def test_twenty_thousand_damaged_files_are_measured_or_refused(pool, limits, tmp_path):
    mutations = ((number, mutation(SEED, number)) for number in range(FILES))
    trials = (Trial(f"{number} {one.done}", one.format, one.data) for number, one in mutations)
    outcomes = await endure(pool, trials, folder=tmp_path, limits=limits, warm_after=FILES // 10)
    write_row(
        "hostile media: damage",
        f"{outcomes.files:,} files of {len(ALL)} formats, damaged at random, through probe, thumbnail and waveform",
        f"{outcomes.accepted:,} accepted, the rest refused; {len(outcomes.wrong)} wrong answers, "
        f"{len(outcomes.faults)} unexpected exceptions, {len(outcomes.timeouts)} stopped at the time limit, "
        f"{len(outcomes.deaths)} processes died; {outcomes.known_good} of {outcomes.known_good} good files in "
        f"between succeeded; server grew by {max(0, outcomes.grown_bytes) / MIB:.0f} MiB; "
        f"slowest job {outcomes.slowest[0][0]:.1f} s",
    )
    _log.info("slowest %s; faults %s", outcomes.slowest, outcomes.faults)
    assert outcomes.wrong == []
    assert outcomes.files == FILES
    assert outcomes.grown_bytes < 48 * MIB


@pytest.mark.timeout(3600)
async def test_bombs_cost_one_job_each_within_the_time_limit(pool, limits, tmp_path):
    trials = (Trial(name, format_name, make()) for name, (format_name, make) in bombs.BOMBS.items())
    outcomes = await endure(pool, trials, folder=tmp_path, limits=limits, side_by_side=1)
    write_row(
        "hostile media: bombs",
        f"{outcomes.files} small files that inflate, nest, repeat or claim to be huge",
        f"{outcomes.accepted} accepted, {outcomes.files - outcomes.accepted} refused; {len(outcomes.wrong)} wrong "
        f"answers, {len(outcomes.timeouts)} jobs stopped at the time limit, {len(outcomes.deaths)} for their memory",
    )
    assert outcomes.wrong == []
    assert outcomes.files == len(bombs.BOMBS)


@pytest.mark.skipif(not shutil.which("strace"), reason="strace, which watches, is not installed")
@pytest.mark.timeout(3600)
def test_nothing_beyond_the_upload_is_opened(limits, tmp_path):
    files = [*_texts(tmp_path), *_media(tmp_path), *_bombs(tmp_path), *_damaged(tmp_path)]
    seen = trace(files, tmp_path, limits, seconds=10)
    offenders = seen.offenders()
    write_row(
        "hostile media: references",
        f"{len(files):,} playlists, references, polyglots, bombs and damaged files, decoded "
        f"{sum(len(one.results) for one in seen.files.values()):,} times under strace",
        f"{len(offenders)} opened a file or a socket beyond the upload",
    )
    assert offenders == {}


def _texts(folder: Path) -> list[TracedFile]:
    secret = folder / references.NEIGHBOUR
    secret.write_bytes(films.video("mp4", 0.5))
    contents = {
        f"{name}{extension}": data
        for name, data in references.texts(secret).items()
        for extension in EXTENSIONS
    }
    return [_saved(folder, name, data, ALL) for name, data in contents.items()]


def _media(folder: Path) -> list[TracedFile]:
    media = references.media(folder / references.NEIGHBOUR)
    return [_saved(folder, name, data, (format_name,)) for name, (format_name, data) in media.items()]


def _bombs(folder: Path) -> list[TracedFile]:
    return [_saved(folder, name, make(), (format_name,)) for name, (format_name, make) in bombs.BOMBS.items()]


def _damaged(folder: Path) -> list[TracedFile]:
    mutations = ((number, mutation(SEED + 1, number)) for number in range(WATCHED_FILES))
    return [_saved(folder, f"damaged-{number}", one.data, (one.format,)) for number, one in mutations]


def _saved(folder: Path, name: str, data: bytes, formats: tuple[str, ...]) -> TracedFile:
    (folder / name).write_bytes(data)
    return TracedFile(name, folder / name, formats)
