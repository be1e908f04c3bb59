"""Files that name other files, that are two things at once, or that promise more than a machine has."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from mediakeep.errors import UndecodableMedia
from mediakeep.media.formats import FORMATS
from mediakeep.media.pool import DecodePool
from mediakeep.media.probe import probe
from mediakeep.media.render import thumbnail
from mediakeep.media.sniff import HEAD_BYTES, sniff
from tests.samples import bombs, films, pictures, references
from tests.traced import TracedFile, trace
from tests.trials import Trial, endure

MIB = 1 << 20
ALL = tuple(format_.name for format_ in FORMATS)
EXTENSIONS = {"hls": ".m3u8", "ffconcat": ".ffconcat", "sdp": ".sdp", "dash": ".mpd", "svg": ".svg"}

needs_strace = pytest.mark.skipif(
    not shutil.which("strace"), reason="strace, which watches, is not installed"
)


@pytest.fixture
def secret(tmp_path):
    """What the traps want opened; it is there, and could be."""
    path = tmp_path / references.NEIGHBOUR
    path.write_bytes(films.video("mp4", 0.5))
    return path


@needs_strace
def test_the_watch_sees_a_careless_decoder(secret, tmp_path, limits):
    path = tmp_path / "list.mp4"
    path.write_bytes(references.texts(secret)["ffconcat"])
    seen = trace([TracedFile("careless", path, ("careless",))], tmp_path, limits, seconds=10)
    assert seen.files["careless"].results == {"careless careless": "ok"}
    assert seen.offenders() == {"careless": [f"openat {secret}"]}


@needs_strace
def test_a_text_opens_no_other_file_and_no_socket_whatever_it_is_decoded_as(secret, tmp_path, limits):
    files = []
    for name, data in references.texts(secret).items():
        (tmp_path / name).write_bytes(data)
        files.append(TracedFile(name, tmp_path / name, ALL))
        extension = EXTENSIONS.get(name.partition("-")[0])
        if extension:
            path = tmp_path / f"{name}{extension}"
            path.write_bytes(data)
            files.append(TracedFile(path.name, path, ("mp4", "mkv", "mp3", "flac", "jpg", "pdf")))
    seen = trace(files, tmp_path, limits, seconds=10)
    assert seen.offenders() == {}
    assert {result for one in seen.files.values() for result in one.results.values()} == {"UndecodableMedia"}
    assert seen.printed == ""


@needs_strace
def test_a_medium_that_names_others_opens_none_of_them(secret, tmp_path, limits):
    files = []
    for name, (format_name, data) in references.media(secret).items():
        (tmp_path / name).write_bytes(data)
        files.append(TracedFile(name, tmp_path / name, (format_name,)))
    seen = trace(files, tmp_path, limits, seconds=10)
    assert seen.offenders() == {}
    results = {result for one in seen.files.values() for result in one.results.values()}
    assert results == {"ok", "UndecodableMedia"}
    assert seen.printed == ""


@pytest.mark.parametrize("text", sorted(references.texts(Path("/secret"))))
def test_no_text_is_taken_for_a_medium(text, secret):
    assert sniff(references.texts(secret)[text][:HEAD_BYTES]) is None


def test_two_files_in_one_are_the_outer_one_and_its_picture_carries_nothing(saved, secret, limits):
    media = references.media(secret)
    for name in ("gif-and-script", "jpg-and-html", "jpg-and-hls", "png-and-mp4", "pdf-and-zip", "jpg-xmp"):
        format_name, data = media[name]
        assert sniff(data[:HEAD_BYTES]).name == format_name
        picture = thumbnail(saved(data), format_name, limits)
        assert not any(word in picture for word in (b"script", b"EXTM3U", b"ftyp", b"PK\3\4", b"ENTITY")), (
            name
        )


@pytest.fixture(scope="module")
def pool():
    running = DecodePool(processes=1, memory_bytes=1024 * MIB)
    running.start()
    yield running
    running.close()


@pytest.mark.parametrize("name", bombs.BOMBS)
async def test_a_bomb_costs_one_job(name, pool, limits, tmp_path):
    format_name, make = bombs.BOMBS[name]
    trial = Trial(name, format_name, make())
    assert sniff(trial.data[:HEAD_BYTES]).name == format_name
    outcomes = await endure(pool, [trial], folder=tmp_path, limits=limits, side_by_side=1, most_seconds=1.5)
    assert outcomes.wrong == []
    assert outcomes.faults == []
    assert outcomes.known_good == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("png-pixels", "The image has 2500000000 pixels (50000 × 50000); the limit is 100000000."),
        ("tiff-pixels", "The image has 10000000000 pixels (100000 × 100000); the limit is 100000000."),
        ("gif-frames", "The animation has 10000 frames; the limit is 300."),
        ("webm-16k", "The video is truncated or damaged and cannot be decoded."),
        ("flv-64k", "The video is truncated or damaged and cannot be decoded."),
        ("mov-16k", "The video is truncated or damaged and cannot be decoded."),
    ],
)
def test_what_is_too_large_is_refused_before_a_pixel_is_decoded(name, sentence, saved, limits):
    format_name, make = bombs.BOMBS[name]
    with pytest.raises(UndecodableMedia) as refusal:
        probe(saved(make()), format_name, limits)
    assert refusal.value.detail == sentence


def test_bombs_are_what_they_claim_to_be(saved, limits):
    """Some are accepted as a whole: the rest of each is fine, and what is refused elsewhere is its size alone."""
    assert probe(saved(bombs.avif_grid(2, 3)), "avif", limits).width == 3 * 128
    assert probe(saved(bombs.silent_day(1)), "flac", limits).duration_seconds == pytest.approx(3600, abs=2)
    assert (
        probe(saved(bombs.jpeg_with_exif(pictures.exif(camera=True)[6:])), "jpg", limits).details["iso"]
        == 400
    )
    assert probe(saved(bombs.pdf_of_pages(1000)), "pdf", limits).page_count == 1000
    with Image.open(saved(bombs.png_interlaced())) as image:
        assert image.info["interlace"]
