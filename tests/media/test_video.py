import io
import shutil
import struct
import subprocess
import sys

import pytest
from PIL import Image

from mediakeep.errors import UndecodableMedia
from mediakeep.media import render, video, waveform
from mediakeep.media.container import open_media
from mediakeep.media.probe import probe
from tests.samples import films, hostile

FORMATS = ("mp4", "mov", "mkv", "webm", "avi", "flv", "wmv", "3gp")
DAMAGED = "The video is truncated or damaged and cannot be decoded."


def opened(jpeg: bytes) -> Image.Image:
    return Image.open(io.BytesIO(jpeg), formats=("JPEG",))


def is_second(picture: Image.Image, second: int) -> bool:
    """Whether a poster shows the colour of that second, somewhere below the moving bar."""
    width, height = picture.size
    found = picture.getpixel((width // 2, height // 2))
    return all(abs(a - b) < 30 for a, b in zip(found, films.SECONDS[second], strict=True))


@pytest.mark.parametrize("name", FORMATS)
def test_every_video_format_is_measured(name, saved, limits):
    facts = probe(saved(films.video(name, 2.0)), name, limits)
    assert (facts.width, facts.height) == (160, 120)
    assert facts.duration_seconds == pytest.approx(2.0, abs=0.15)
    assert facts.details["fps"] == pytest.approx(10, abs=0.01)
    assert facts.details["video_codec"]
    assert facts.thumbnail is None


@pytest.mark.parametrize("name", FORMATS)
def test_every_video_format_gives_the_frame_at_one_second(name, saved, limits):
    assert is_second(opened(video.poster(saved(films.video(name, 2.0)), name, limits)), 1)


def test_a_shorter_video_gives_its_middle(saved, limits):
    path = saved(films.video("mp4", 0.8))
    assert is_second(opened(video.poster(path, "mp4", limits)), 0)


def test_the_poster_is_the_very_frame_shown_at_one_second(saved, limits):
    poster = opened(video.poster(saved(films.video("mp4", 2.0, fps=10)), "mp4", limits))
    # The bar of frame 10 begins at 70; each frame moves it on by 7.
    assert min(poster.getpixel((74, 5))) > 200
    assert min(poster.getpixel((65, 5))) < 150


def test_sound_in_a_video_is_described(saved, limits):
    details = probe(saved(films.video("mp4", 2.0, sound=True)), "mp4", limits).details
    assert details["audio_codec"] == "aac"
    assert details["channels"] == 1
    assert details["sample_rate"] == 48_000
    assert details["title"] == "Film"


@pytest.mark.parametrize(("degrees", "size"), [(90, (120, 160)), (180, (160, 120)), (270, (120, 160))])
def test_a_turned_video_is_measured_as_displayed(degrees, size, saved, limits):
    facts = probe(saved(films.video("mp4", rotation=degrees)), "mp4", limits)
    assert (facts.width, facts.height) == size
    assert facts.details["rotation"] == degrees


@pytest.mark.parametrize(("degrees", "bar_at"), [(0, "top"), (90, "right"), (180, "bottom"), (270, "left")])
def test_a_turned_videos_poster_is_upright(degrees, bar_at, saved, limits):
    """The bar runs along the top of the stored picture; a clockwise turn carries it to the right."""
    picture = opened(video.poster(saved(films.video("mp4", rotation=degrees)), "mp4", limits))
    width, height = picture.size
    edges = {
        "top": picture.crop((0, 2, width, 6)),
        "bottom": picture.crop((0, height - 6, width, height - 2)),
        "left": picture.crop((2, 0, 6, height)),
        "right": picture.crop((width - 6, 0, width - 2, height)),
    }
    # A mark that spans only part of an edge, so take the brightest point on it.
    bright = {name: max(min(pixel) for pixel in edge.get_flattened_data()) for name, edge in edges.items()}
    assert max(bright, key=bright.__getitem__) == bar_at


def test_the_place_of_a_phones_video_is_read(saved, limits):
    data = films.video("mov", place="+52.5163+013.3777+034.500/")
    location = probe(saved(data), "mov", limits).location
    assert location == {"latitude": 52.5163, "longitude": 13.3777, "altitude": 34.5}


def test_a_height_without_end_is_no_place(saved, limits):
    """As a number it would be infinite, which JSON has no word for."""
    data = films.video("mov", place=f"+52.5163+013.3777+{'9' * 400}/")
    location = probe(saved(data), "mov", limits).location
    assert location is None or location.get("altitude") is None


def test_a_poster_fits_512_pixels(saved, limits):
    data = films.video("mp4", 1.2, 1280, 720)
    assert opened(video.poster(saved(data), "mp4", limits)).size == (512, 288)


def test_a_costly_poster_falls_back_to_the_keyframe(saved, limits, monkeypatch):
    monkeypatch.setattr(video, "MAX_POSTER_FRAMES", 3)
    data = films.video("mp4", 2.0, fps=30, keyframe_every=300)
    assert is_second(opened(video.poster(saved(data), "mp4", limits)), 0)


def test_an_mp4_with_sound_only_has_no_size_but_a_duration(saved, limits):
    facts = probe(saved(films.sound("mp4")), "mp4", limits)
    assert facts.width is None
    assert facts.duration_seconds == pytest.approx(2.0, abs=0.05)
    assert facts.details["audio_codec"] == "aac"


def test_a_cover_in_an_mp4_is_no_video(saved, limits):
    facts = probe(saved(films.sound("mp4", cover=True)), "mp4", limits)
    assert facts.width is None
    assert "video_codec" not in facts.details


def test_the_thumbnail_of_an_mp4_with_sound_only_is_its_waveform(saved, limits):
    assert opened(render.thumbnail(saved(films.sound("mp4")), "mp4", limits)).size == (512, 192)


def test_a_video_of_one_frame_is_accepted(saved, limits):
    path = saved(films.video("mp4", 0.1))
    assert probe(path, "mp4", limits).duration_seconds == pytest.approx(0.1, abs=0.01)
    assert opened(video.poster(path, "mp4", limits)).size == (160, 120)


def test_a_video_of_no_duration_is_accepted(saved, limits):
    data = _without_durations(films.video("mp4", 0.1))
    facts = probe(saved(data), "mp4", limits)
    assert facts.width == 160
    assert facts.duration_seconds == 0


@pytest.mark.parametrize("name", ["mkv", "webm"])
def test_a_recording_that_does_not_say_is_counted(name, saved, limits):
    data = films.video(name, 2.0)
    at = data.index(b"\x44\x89\x88")  # Duration, 8 bytes, becomes Void
    data = data[:at] + b"\xec\x89" + data[at + 2 :]
    assert probe(saved(data), name, limits).duration_seconds == pytest.approx(2.0, abs=0.11)


@pytest.mark.parametrize("name", ["mp4", "mov"])
def test_a_truncated_video_is_refused(name, saved, limits):
    with pytest.raises(UndecodableMedia) as refusal:
        probe(saved(films.video(name)[:-1500]), name, limits)
    assert refusal.value.detail == DAMAGED


@pytest.mark.parametrize("name", FORMATS)
def test_a_bare_beginning_is_refused(name, saved, limits):
    with pytest.raises(UndecodableMedia):
        probe(saved(films.video(name)[:64]), name, limits)


@pytest.mark.parametrize("name", FORMATS)
def test_a_video_whose_pictures_are_noise_is_refused(name, saved, limits):
    data = films.video(name)
    with pytest.raises(UndecodableMedia):
        probe(saved(data[:48] + b"\xa5" * (len(data) - 48)), name, limits)


def test_frames_over_the_limit_are_refused(saved, limits):
    small = type(limits)(
        **{name: getattr(limits, name) for name in limits.__dataclass_fields__} | {"max_video_pixels": 1000}
    )
    with pytest.raises(UndecodableMedia):
        probe(saved(films.video("mp4")), "mp4", small)


@pytest.mark.parametrize("text", hostile.PLAYLISTS.values(), ids=hostile.PLAYLISTS)
@pytest.mark.parametrize("name", ["mp4", "mkv", "avi", "wmv", "flv", "mp3", "wav", "flac", "ogg"])
def test_a_playlist_is_no_medium_whatever_it_is_called(name, text, saved, limits):
    with pytest.raises(UndecodableMedia):
        probe(saved(text), name, limits)


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize("kind", ["hls", "ffconcat", "sdp"])
def test_a_playlist_opens_no_other_file_and_no_socket(kind, tmp_path):
    content = tmp_path / "content"
    content.write_bytes(hostile.PLAYLISTS[kind])
    (tmp_path / "secret.mp4").write_bytes(films.video("mp4"))
    log = tmp_path / "strace"
    code = (
        "import sys\nfrom mediakeep.media import probe\nfrom mediakeep.media.limits import limits_from\n"
        "from mediakeep.settings import Settings\nfrom mediakeep.errors import UndecodableMedia\n"
        "for name in ('mp4', 'mkv', 'avi', 'flac'):\n"
        "    try: probe.probe(sys.argv[1], name, limits_from(Settings()))\n"
        "    except UndecodableMedia: print('refused')\n"
    )
    run = subprocess.run(
        [
            "strace",
            "-f",
            "-e",
            "trace=open,openat,socket,connect",
            "-o",
            str(log),
            sys.executable,
            "-c",
            code,
            content,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["refused"] * 4
    calls = log.read_text()
    assert str(content) in calls
    assert "secret.mp4" not in calls
    assert "/etc/passwd" not in calls
    assert "AF_INET" not in calls


def _without_durations(data: bytes) -> bytes:
    """Zero the durations of an MP4's film, track and medium headers and its edit."""
    for name, at in ((b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16)):
        start = data.index(name) + 4 + at
        data = data[:start] + struct.pack(">I", 0) + data[start + 4 :]
    start = data.index(b"stts") + 4 + 12
    data = data[:start] + struct.pack(">I", 0) + data[start + 4 :]
    return data.replace(b"elst", b"free")


def test_sound_of_an_unknown_codec_does_not_spoil_a_video(saved, limits):
    path = saved(films.with_unknown_sound(films.video("mp4", 1.0, sound=True)))
    facts = probe(path, "mp4", limits)
    assert facts.width == 160
    assert "audio_codec" not in facts.details
    with pytest.raises(UndecodableMedia, match="no sound"):
        waveform.peaks(path, "mp4", limits)


@pytest.mark.parametrize("function", [probe, video.poster])
def test_a_video_of_an_unknown_codec_is_refused(function, saved, limits):
    data = films.video("mp4", 1.0, sound=True).replace(b"avc1\0\0\0\0\0\0", b"zzzz\0\0\0\0\0\0")
    with pytest.raises(UndecodableMedia) as refusal:
        function(saved(data), "mp4", limits)
    assert refusal.value.detail == DAMAGED
    assert not isinstance(refusal.value, video.NoPictureError)


def test_a_track_that_shows_up_late_does_no_harm(saved, limits):
    """PyAV raises IndexError over a packet of a stream that was not there when the file was opened."""
    path = saved(films.video("flv", 1.0))
    with pytest.raises(UndecodableMedia), open_media(path, "flv", limits, DAMAGED) as container:
        _ = container.streams[9]
