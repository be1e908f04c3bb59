import io

import pytest
from PIL import Image

from mediakeep.errors import UndecodableMedia
from mediakeep.media import audio, render
from mediakeep.media.probe import probe
from tests.samples import films

FORMATS = ("mp3", "wav", "flac", "ogg", "m4a")


@pytest.mark.parametrize("name", FORMATS)
def test_every_sound_format_is_measured(name, saved, limits):
    facts = probe(saved(films.sound(name)), name, limits)
    assert facts.duration_seconds == pytest.approx(2.0, abs=0.05)
    assert (facts.width, facts.height) == (None, None)
    assert facts.details["channels"] == 1
    assert facts.details["sample_rate"] in {44_100, 48_000}


@pytest.mark.parametrize("name", FORMATS)
def test_title_and_artist_are_read(name, saved, limits):
    details = probe(saved(films.sound(name)), name, limits).details
    assert details["title"] == "Tone"
    assert details["artist"] == "Mediakeep"


@pytest.mark.parametrize("name", ["mp3", "flac"])
def test_a_cover_is_no_video(name, saved, limits):
    facts = probe(saved(films.sound(name, cover=True)), name, limits)
    assert facts.width is None
    assert "video_codec" not in facts.details


def test_an_mp3_that_counts_its_frames_is_believed(saved):
    assert audio.has_frame_count(saved(films.sound("mp3")))


def test_an_mp3_that_does_not_is_counted(saved, limits):
    """One that starts loud and ends silent, so that a guess from its first frames would be far off."""
    path = saved(_quiet_end())
    assert not audio.has_frame_count(path)
    assert probe(path, "mp3", limits).duration_seconds == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize("name", FORMATS)
def test_a_bare_beginning_is_refused(name, saved, limits):
    with pytest.raises(UndecodableMedia) as refusal:
        probe(saved(films.sound(name)[:60]), name, limits)
    assert refusal.value.detail == "The audio is truncated or damaged and cannot be decoded."


def test_tags_are_cleaned(saved, limits):
    data = films.sound("flac").replace(b"TITLE=Tone", b"TITLE=T\x07\xff\nn")
    assert probe(saved(data), "flac", limits).details["title"].isprintable()


@pytest.mark.parametrize("name", FORMATS)
def test_the_thumbnail_of_a_sound_is_its_waveform(name, saved, limits):
    thumbnail = render.thumbnail(saved(films.sound(name)), name, limits)
    assert Image.open(io.BytesIO(thumbnail)).size == (512, 192)


def _quiet_end() -> bytes:
    """Constant-rate frames of 1 s, then as many seconds at a quarter of that rate."""
    loud = films.sound("mp3", 1.0, xing=False)
    quiet = films.sound("mp3", 4.0, xing=False, bit_rate=16_000)
    return loud + quiet[audio.id3_bytes(quiet) :]


def test_sound_of_an_unknown_codec_is_refused(saved, limits):
    path = saved(films.with_unknown_sound(films.sound("m4a")))
    with pytest.raises(UndecodableMedia) as refusal:
        audio.probe(path, "m4a", limits)
    assert refusal.value.detail == "The audio is truncated or damaged and cannot be decoded."
