import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mediakeep.errors import Unavailable, UndecodableMedia
from mediakeep.media import canvas, films, image
from tests.samples import films as samples
from tests.samples import hostile, papers, pictures

DAMAGED = "The image is truncated or damaged and cannot be decoded."
STILLS = {
    "jpg": pictures.jpeg(),
    "png": pictures.png(),
    "gif": pictures.gif(1, 320, 240),
    "webp": pictures.webp(),
    "bmp": pictures.bmp(),
    "tiff": pictures.tiff(),
    "heic": pictures.heic(),
    "avif": pictures.avif(),
}
RED, GREEN, BLUE = (200, 30, 40), (30, 160, 60), (40, 60, 220)


@dataclass
class Seen:
    """A film, decoded: `frames[time, y, x, channel]` as a player shows them."""

    data: bytes
    frames: np.ndarray
    times: list[float]
    keyframes: list[float]
    stream: dict[str, object]


def see(path: Path) -> Seen:
    with av.open(str(path)) as container:
        (stream,) = container.streams
        context = stream.codec_context
        frames = list(container.decode(stream))
        facts = {
            "codec": context.name,
            "profile": context.profile,
            "size": (context.width, context.height),
            "pixels": context.pix_fmt,
            "colors": (context.colorspace, context.color_primaries, context.color_trc, context.color_range),
            "fps": stream.average_rate,
            "seconds": float(stream.duration * stream.time_base),
        }
    return Seen(
        data=path.read_bytes(),
        frames=np.stack([frame.to_ndarray(format="rgb24") for frame in frames]).astype(int),
        times=[frame.time for frame in frames],
        keyframes=[frame.time for frame in frames if frame.key_frame],
        stream=facts,
    )


@pytest.fixture
def moved(saved, limits, tmp_path) -> Callable[..., Seen]:
    """The film of a picture's bytes: 64 × 64, a second of 8 frames, to twice as near, where nothing is said."""

    def make(data: bytes, target: Path = tmp_path / "film.mp4", **wishes: object) -> Seen:
        given = {"duration": 1, "width": 64, "height": 64, "fps": 8, "zoom": 2, "seed": 0}
        given |= {"direction": "in", "gravity": "center", "report": lambda _: None, **wishes}
        films.ken_burns(saved(data), str(target), limits=limits, **given)
        return see(target)

    return make


@pytest.fixture
def shown(limits, tmp_path) -> Callable[..., Seen]:
    """The slideshow of pictures' bytes: 64 × 64, a second of 8 frames for each, half of them fading."""

    def make(content: Sequence[bytes], **wishes: object) -> Seen:
        paths = [tmp_path / str(number) for number in range(len(content))]
        for path, data in zip(paths, content, strict=True):
            path.write_bytes(data)
        given = {"seconds_per_image": 1, "fade": 0.5, "fit": "contain", "width": 64, "height": 64, "fps": 8}
        given |= {"report": lambda _: None, **wishes}
        films.slideshow([str(path) for path in paths], str(tmp_path / "film.mp4"), limits=limits, **given)
        return see(tmp_path / "film.mp4")

    return make


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def plain(color: tuple[int, ...], size: tuple[int, int] = (64, 64)) -> bytes:
    return png(Image.new("RGBA" if len(color) == 4 else "RGB", size, color))


def dot(x: float, y: float, size: tuple[int, int] = (256, 256), radius: int = 10) -> bytes:
    """A white dot on black, at these shares of width and height."""
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]] + 0.5
    distance = np.hypot(columns - x * size[0], rows - y * size[1])
    return png(Image.fromarray((255 * np.clip(radius - distance, 0, 1)).astype(np.uint8)).convert("RGB"))


def where(frame: np.ndarray) -> tuple[float, float]:
    """The middle of what is bright, in shares of width and height."""
    light = np.where(frame[..., 1] > 40, frame[..., 1], 0)
    rows, columns = np.mgrid[0 : light.shape[0], 0 : light.shape[1]] + 0.5
    return (
        (columns * light).sum() / light.sum() / light.shape[1],
        (rows * light).sum() / light.sum() / light.shape[0],
    )


def is_nearly(one: np.ndarray, other: object, by: float = 4) -> bool:
    return bool(np.abs(one - np.asarray(other)).mean() < by)


def boxes(data: bytes) -> list[bytes]:
    """The kinds of the outermost boxes (ISO/IEC 14496-12 §4.2)."""
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        found.append(kind)
        at += size
    return found


def test_a_film_is_what_browsers_play(moved):
    film = moved(pictures.jpeg(), duration=2.5, width=320, height=180, fps=12)
    assert film.stream == {
        "codec": "h264",
        "profile": "High",
        "size": (320, 180),
        "pixels": "yuv420p",
        "colors": (1, 1, 1, 1),  # BT.709 thrice, 16–235
        "fps": 12,
        "seconds": 2.5,
    }
    assert film.frames.shape == (30, 180, 320, 3)
    assert film.times == pytest.approx([index / 12 for index in range(30)], abs=1e-3)
    assert boxes(film.data) == [b"ftyp", b"moov", b"free", b"mdat"]
    assert b"colr" in film.data[: film.data.index(b"mdat")]


@pytest.mark.parametrize("fps", [1, 10, 60])
def test_a_film_has_a_keyframe_each_second(fps, moved):
    film = moved(pictures.jpeg(), duration=3, fps=fps)
    assert len(film.frames) == 3 * fps
    assert film.keyframes == [0, 1, 2]


def test_the_same_wishes_give_the_same_bytes(moved):
    assert moved(pictures.jpeg()).data == moved(pictures.jpeg()).data


def test_a_length_between_frames_is_rounded(moved):
    assert len(moved(pictures.jpeg(), duration=1.3, fps=8).frames) == 10


@pytest.mark.parametrize("size", [(1920, 64), (64, 1920), (66, 98)])
def test_any_even_size_can_be_had(size, moved):
    film = moved(pictures.jpeg(), width=size[0], height=size[1], fps=2)
    assert film.stream["size"] == size


def test_zooming_in_leaves_the_centre_and_brings_the_rest_nearer(moved):
    film = moved(dot(0.5, 0.5), fps=16)
    assert all(where(frame) == pytest.approx((0.5, 0.5), abs=0.004) for frame in film.frames)
    sizes = [(frame[..., 1] > 128).sum() for frame in film.frames]
    assert sizes == sorted(sizes)
    assert sizes[-1] / sizes[0] == pytest.approx(4, rel=0.1)
    off = moved(dot(0.6, 0.5), fps=16)
    assert where(off.frames[0])[0] == pytest.approx(0.6, abs=0.004)
    assert where(off.frames[-1])[0] == pytest.approx(0.7, abs=0.004)


def test_zooming_out_is_zooming_in_backwards(moved):
    near, away = moved(pictures.jpeg(), fps=6), moved(pictures.jpeg(), fps=6, direction="out")
    assert is_nearly(near.frames, away.frames[::-1])
    assert not is_nearly(near.frames, away.frames)


def test_a_zoom_of_one_stays_where_it_is(moved):
    film = moved(pictures.jpeg(), zoom=1)
    assert is_nearly(film.frames[0], film.frames[-1], by=2)


@pytest.mark.parametrize(
    ("gravity", "point"), [("top-left", (0, 0)), ("bottom", (0.5, 1)), ("right", (1, 0.5))]
)
def test_a_film_moves_towards_its_gravity(gravity, point, moved):
    near = [0.5 * share + 0.25 for share in point]  # halfway between the centre and there
    film = moved(dot(*near), gravity=gravity)
    # What was as far from there as the centre's half is twice as far.
    wanted = [2 * at - share for at, share in zip(near, point, strict=True)]
    assert where(film.frames[-1]) == pytest.approx(wanted, abs=0.01)


def test_a_film_moves_towards_what_draws_the_eye(moved):
    # What libvips looks for first are edges and skin.
    picture = Image.new("RGB", (400, 400), (90, 110, 140))
    picture.paste(pictures.photo(80, 80, 30), (300, 20))
    film = moved(png(picture), gravity="smart")
    assert film.frames[-1][:32, 32:].std() > 1.5 * film.frames[0][:32, 32:].std()
    assert is_nearly(film.frames[-1][40:, :24], (90, 110, 140))


@pytest.mark.parametrize(
    ("direction", "axis", "sign"), [("left", 0, 1), ("right", 0, -1), ("up", 1, 1), ("down", 1, -1)]
)
def test_across_the_view_moves_and_the_picture_the_other_way(direction, axis, sign, moved):
    film = moved(dot(0.5, 0.5), direction=direction, fps=16, zoom=1.5)
    along = [where(frame)[axis] for frame in film.frames]
    assert sorted(along, reverse=sign < 0) == along
    # The view is 2/3 of the picture: its middle moves by 1/3 of that, which is 1/2 of the view.
    assert (along[-1] - along[0]) * sign == pytest.approx(0.5, abs=0.02)
    assert all(where(frame)[1 - axis] == pytest.approx(0.5, abs=0.004) for frame in film.frames)


def test_a_view_crosses_at_most_its_own_length_of_a_panorama(moved):
    film = moved(dot(0.5, 0.5, size=(2000, 100)), direction="right", zoom=1, duration=2)
    middle = film.frames[len(film.frames) // 2 - 1 : len(film.frames) // 2 + 1]
    assert np.mean([where(frame)[0] for frame in middle]) == pytest.approx(0.5, abs=0.02)
    assert film.frames[0][..., 1].max() > 128  # half of the dot is at the view's edge
    assert film.frames[-1][..., 1].max() > 128


def test_a_movement_is_eased_and_does_not_jump_from_pixel_to_pixel(moved):
    film = moved(dot(0.5, 0.5, size=(640, 640), radius=60), direction="left", zoom=1.05, fps=60)
    along = np.array([where(frame)[0] for frame in film.frames]) * 64
    share = np.arange(60) / 59
    expected = along[0] + (along[-1] - along[0]) * share * share * (3 - 2 * share)
    assert along[-1] - along[0] == pytest.approx(0.05 * 64, abs=0.15)  # 3 pixels in 60 frames
    assert np.abs(along - expected).max() < 0.12


def test_a_slow_movement_keeps_its_sharpness(saved, limits):
    grain = np.random.default_rng(3).normal(128, 40, (200, 200)).clip(0, 255).astype(np.uint8)
    still = canvas.read_still(saved(png(Image.fromarray(grain))), limits)

    def change(scale: float) -> float:
        """How much more the sharpest frame has than the softest, of a view as fine as the picture."""
        laid_out = canvas.load(still, canvas.Part(0, 0, 200, 200), scale)
        parts = [canvas.Part(10 + shift, 10, 160, 160) for shift in np.arange(0, 1, 0.1)]
        frames = [laid_out.frame(part, (160, 160))[20:140, 20:140].astype(float) for part in parts]
        energies = [(np.diff(frame) ** 2).mean() for frame in frames]
        return max(energies) / min(energies)

    assert change(films._FINENESS) < 1.3
    assert change(1) > 2


def test_a_random_direction_is_the_seeds(moved):
    found = {moved(pictures.jpeg(), direction="random", seed=seed, fps=2).data for seed in range(12)}
    assert len(found) == 6
    assert moved(pictures.jpeg(), direction="random", seed=7, fps=2).data in found
    assert moved(pictures.jpeg(), direction="up", fps=2).data in found


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_filmed_upright(orientation, moved):
    upright = moved(pictures.jpeg(), gravity="top-left")
    assert is_nearly(moved(pictures.jpeg(orientation=orientation), gravity="top-left").frames, upright.frames)


def test_transparent_parts_are_white(moved):
    film = moved(plain((*RED, 0)))
    assert is_nearly(film.frames, (255, 255, 255), by=2)
    assert is_nearly(moved(plain((*RED, 128))).frames, [(part + 255) / 2 for part in RED])


@pytest.mark.parametrize("color", [RED, GREEN, BLUE, (128, 128, 128), (0, 0, 0), (255, 255, 255)])
def test_colours_are_those_of_the_picture(color, moved):
    assert is_nearly(moved(plain(color)).frames, color, by=2.5)


def test_colours_of_a_wide_profile_become_srgb(moved, saved, limits):
    data = pictures.jpeg(profile=pictures.display_p3())
    small = Image.open(io.BytesIO(image.thumbnail(saved(data), "jpg", limits))).crop((40, 0, 280, 240))
    wanted = np.asarray(small.resize((64, 64)).convert("RGB")).astype(int)
    film = moved(data, zoom=1)
    assert np.abs(film.frames[0].mean((0, 1)) - wanted.mean((0, 1))).max() < 3
    assert not is_nearly(film.frames[0][:24, :24], moved(pictures.jpeg(), zoom=1).frames[0][:24, :24], by=2)


@pytest.mark.parametrize("name", STILLS)
def test_every_image_format_is_filmed(name, moved):
    assert is_nearly(moved(STILLS[name]).frames, moved(STILLS["png"]).frames, by=8)


@pytest.mark.parametrize("mode", ["L", "I;16", "P", "RGBA"])
def test_every_kind_of_pixel_is_filmed(mode, moved):
    assert moved(pictures.png(mode=mode)).frames.shape == (8, 64, 64, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (3, 2), (17, 13), (1281, 719)])
@pytest.mark.parametrize("direction", ["in", "right", "up"])
def test_a_picture_of_any_size_is_filmed(size, direction, moved):
    film = moved(plain(GREEN, size), direction=direction, gravity="smart", fps=2)
    assert is_nearly(film.frames, GREEN, by=2.5)


def test_of_an_animation_the_first_frame_is_filmed(moved):
    assert is_nearly(moved(pictures.gif(3, 320, 240)).frames, moved(STILLS["gif"]).frames, by=2)


def refused() -> dict[str, tuple[bytes, str]]:
    photo = pictures.jpeg(noise=30)
    return {
        "nothing": (b"", "The content is of no known type; films are made of images."),
        "text": (hostile.HTML, "The content is of no known type; films are made of images."),
        "playlist": (hostile.HLS, "The content is of no known type; films are made of images."),
        "svg": (hostile.SVG, "The content is of no known type; films are made of images."),
        "video": (samples.video("mp4", 1.0), "The content is video/mp4; films are made of images."),
        "paper": (papers.pdf(), "The content is application/pdf; films are made of images."),
        "huge": (
            hostile.png_bomb(),
            "The image has 2500000000 pixels (50000 × 50000); the limit is 100000000.",
        ),
        "long": (hostile.gif_bomb(), "The animation has 10000 frames; the limit is 300."),
        "short": (photo[: len(photo) // 2], DAMAGED),
        "bare": (photo[:200], DAMAGED),
    }


@pytest.mark.parametrize("kind", refused())
def test_what_is_no_sound_image_is_refused_in_a_sentence(kind, moved):
    data, sentence = refused()[kind]
    with pytest.raises(UndecodableMedia) as refusal:
        moved(data)
    assert refusal.value.detail == sentence


def test_a_film_that_cannot_be_written_is_not_the_pictures_fault(moved, tmp_path):
    with pytest.raises(Unavailable, match="cannot be written"):
        moved(pictures.jpeg(), target=tmp_path / "missing" / "film.mp4")


def test_an_encoder_without_memory_is_no_full_disk(moved):
    def fail(_share: float) -> None:
        raise av.error.MemoryError(12, "Cannot allocate memory")

    with pytest.raises(MemoryError):
        moved(pictures.jpeg(), report=fail)


def test_progress_grows_to_one(moved, shown):
    told: list[float] = []
    moved(pictures.jpeg(), report=told.append)
    assert told == [index / 8 for index in range(1, 9)]
    told.clear()
    shown([plain(RED), plain(BLUE)], report=told.append)
    assert told == [index / 16 for index in range(1, 17)]


def test_a_slideshow_shows_each_picture_and_fades_into_the_next(shown):
    film = shown([plain(RED), plain(GREEN), plain(BLUE)], fps=12)
    assert film.stream["seconds"] == 3
    assert len(film.frames) == 36
    for second, color in enumerate((RED, GREEN, BLUE)):
        assert is_nearly(film.frames[12 * second : 12 * second + 6], color, by=3)
    assert is_nearly(film.frames[30:], BLUE, by=3)  # the last one stays
    reds = film.frames[5:13, 32, 32, 0]
    assert list(reds) == sorted(reds, reverse=True)
    halfway = film.frames[8:10].mean(0)
    assert is_nearly(halfway, [(red + green) / 2 for red, green in zip(RED, GREEN, strict=True)], by=5)


def test_without_a_fade_pictures_are_cut(shown):
    film = shown([plain(RED), plain(BLUE)], fade=0)
    assert is_nearly(film.frames[:8], RED, by=3)
    assert is_nearly(film.frames[8:], BLUE, by=3)


def test_pictures_that_fade_all_the_time_fade(shown):
    film = shown([plain(RED), plain(BLUE)], fade=1)
    assert len(film.frames) == 16
    assert is_nearly(film.frames[8:], BLUE, by=3)


def test_a_slideshow_of_one_picture_stands(shown):
    film = shown([pictures.jpeg()], seconds_per_image=1.5)
    assert len(film.frames) == 12
    assert is_nearly(film.frames[0], film.frames[-1], by=3)


@pytest.mark.parametrize(
    ("size", "bars"), [((200, 100), "above"), ((100, 200), "beside"), ((10, 5), "above")]
)
def test_a_whole_picture_stands_on_black(size, bars, shown):
    frame = shown([plain(GREEN, size)], fit="contain").frames[0]
    frame = frame if bars == "above" else frame.swapaxes(0, 1)
    assert is_nearly(frame[18:46], GREEN, by=3)
    assert is_nearly(frame[:14], (0, 0, 0), by=3)
    assert is_nearly(frame[50:], (0, 0, 0), by=3)


def test_a_covering_picture_fills_the_film(shown):
    assert is_nearly(shown([plain(GREEN, (200, 100))], fit="cover").frames, GREEN, by=3)


def test_a_covering_picture_shows_what_draws_the_eye(shown):
    picture = Image.new("RGB", (400, 100), (90, 110, 140))
    picture.paste(pictures.photo(60, 60, 30), (320, 20))
    assert shown([png(picture)], fit="cover").frames[0].std() > 30


def test_a_whole_picture_is_as_sharp_as_it_was(shown):
    checks = np.kron(np.indices((16, 16)).sum(0) % 2, np.ones((4, 4))).astype(np.uint8) * 255
    film = shown([png(Image.fromarray(checks))])
    assert is_nearly(film.frames[4, ..., 1], checks, by=12)


def test_the_picture_that_cannot_be_shown_is_named(shown):
    photo = pictures.jpeg(noise=30)
    with pytest.raises(UndecodableMedia) as refusal:
        shown([plain(RED), photo[: len(photo) // 2]])
    assert refusal.value.detail == f"Image 2: {DAMAGED}"
    with pytest.raises(UndecodableMedia) as refusal:
        shown([plain(RED), plain(RED), hostile.HTML])
    assert refusal.value.detail == "Image 3: The content is of no known type; films are made of images."


def test_types_are_looked_at_before_anything_is_made(shown):
    told: list[float] = []
    with pytest.raises(UndecodableMedia):
        shown([plain(RED), hostile.HTML], report=told.append)
    assert told == []
