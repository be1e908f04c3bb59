"""Images that are written anew at upload, where the settings ask for it."""

import hashlib
import io
from dataclasses import replace

import pytest
from PIL import Image, ImageCms

from mediakeep.errors import Unavailable, UndecodableMedia
from mediakeep.files.ingest import ingest
from mediakeep.media.formats import get_format
from mediakeep.storage import folders
from tests.samples import films, papers, pictures

on_one_engine = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)
PLACE = (48.2, 16.37, 171.0)


@pytest.fixture
def given():
    """Settings that differ from those of the other tests."""
    return {"upload_max_side": 100}


@pytest.fixture
def library_settings(library_settings, given):
    return library_settings.model_copy(update=given)


@pytest.fixture
def kept(library, keep):
    """Stores content; returns its row and the bytes that will be served."""

    async def kept(data):
        file, _ = await keep(data)
        return file, await library.store.read_bytes(file.key)

    return kept


def opened(body):
    return Image.open(io.BytesIO(body))


def corners(body):
    """The colours near the corners: top left, top right, bottom left, bottom right."""
    picture = opened(body).convert("RGB")
    width, height = picture.size
    points = [(x, y) for y in (height // 8, height * 7 // 8 - 1) for x in (width // 8, width * 7 // 8 - 1)]
    return [picture.getpixel(point) for point in points]


def are_close(colors, expected):
    """Whether they are those colours, but for the sample's waves and grain."""
    pairs = zip(colors, expected, strict=True)
    return all(abs(a - b) < 60 for color, wanted in pairs for a, b in zip(color, wanted, strict=True))


# What is kept as it is


@on_one_engine
@pytest.mark.parametrize("given", [{}], ids=["not asked for"])
@pytest.mark.parametrize(
    "data",
    [
        pictures.jpeg(320, 240, orientation=6, place=PLACE, camera=True),
        pictures.png(mode="I;16"),
        pictures.bmp(),
        pictures.heic(),
        pictures.tiff(2),
    ],
    ids=["jpg", "png", "bmp", "heic", "tiff"],
)
async def test_without_the_settings_the_bytes_stay(kept, data):
    assert (await kept(data))[1] == data


@on_one_engine
@pytest.mark.parametrize("given", [{"upload_max_side": 16, "upload_format": "webp"}], ids=["both"])
@pytest.mark.parametrize(
    "data",
    [
        pictures.gif(3),
        pictures.webp(3),
        pictures.avif(3),
        pictures.tiff(3),
        films.video("mp4", 2.0),
        films.sound("mp3"),
        papers.pdf(),
    ],
    ids=["gif", "webp", "avif", "pages", "video", "sound", "pdf"],
)
async def test_what_moves_or_has_pages_stays(kept, data):
    assert (await kept(data))[1] == data


@on_one_engine
async def test_an_animated_png_stays(kept):
    frames = [Image.new("RGB", (200, 100), (shade, 9, 9)) for shade in (0, 80, 160)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:], duration=100)
    assert (await kept(buffer.getvalue()))[1] == buffer.getvalue()


@on_one_engine
@pytest.mark.parametrize("given", [{"upload_max_side": 320}, {"upload_format": "jpg"}], ids=str)
@pytest.mark.parametrize(("width", "height"), [(320, 240), (240, 320), (320, 320), (1, 1)])
async def test_an_image_that_is_no_larger_and_of_the_format_stays(kept, width, height):
    data = pictures.jpeg(width, height, place=PLACE)
    assert (await kept(data))[1] == data


# What is written anew


@pytest.mark.parametrize(
    ("data", "format_name", "size"),
    [
        (pictures.jpeg(320, 240), "jpg", (100, 75)),
        (pictures.jpeg(240, 320), "jpg", (75, 100)),
        (pictures.jpeg(101, 101), "jpg", (100, 100)),
        (pictures.png(320, 240), "png", (100, 75)),
        (pictures.webp(1), "webp", (100, 75)),
        (pictures.avif(1), "avif", (100, 75)),
        (pictures.gif(1, 320, 240), "gif", (100, 75)),
        (pictures.bmp(), "jpg", (100, 75)),
        (pictures.tiff(), "jpg", (100, 75)),
        (pictures.heic(), "jpg", (100, 75)),
    ],
    ids=["jpg", "upright", "by one", "png", "webp", "avif", "gif", "bmp", "tiff", "heic"],
)
async def test_a_larger_image_is_shrunk_and_its_row_tells_what_is_served(kept, data, format_name, size):
    file, body = await kept(data)
    assert opened(body).size == (file.width, file.height) == size
    assert file.format == format_name
    assert file.media_type == get_format(format_name).media_type
    assert (file.size, file.sha256) == (len(body), hashlib.sha256(body).hexdigest())


@on_one_engine
@pytest.mark.parametrize(
    ("given", "size"),
    [({"upload_format": "webp"}, (320, 240)), ({"upload_format": "webp", "upload_max_side": 80}, (80, 60))],
    ids=str,
)
@pytest.mark.parametrize("data", [pictures.jpeg(), pictures.png(mode="P"), pictures.gif(1, 320, 240)])
async def test_another_format_is_written_whatever_the_size(kept, data, size):
    file, body = await kept(data)
    assert (file.format, opened(body).format, opened(body).size) == ("webp", "WEBP", size)


@on_one_engine
async def test_quality_is_what_the_settings_say(library, received):
    sizes = []
    for quality in (20, 90):
        settings = library.settings.model_copy(update={"upload_quality": quality})
        one = replace(library, settings=settings)
        async with ingest(one, received(pictures.jpeg())) as content, library.database.write() as session:
            await content.record(session, owner_id=1)
        sizes.append(content.received.size)
    assert sizes[0] < sizes[1] / 2


@on_one_engine
@pytest.mark.parametrize("orientation", range(1, 9))
async def test_orientation_is_applied(kept, orientation):
    file, body = await kept(pictures.jpeg(320, 240, orientation=orientation))
    assert (file.width, file.height) == opened(body).size == (100, 75)
    assert opened(body).getexif().get(pictures.ORIENTATION, 1) == 1
    assert "orientation" not in file.facts
    expected = [pictures.RED, pictures.GREEN, pictures.BLUE, pictures.WHITE]
    assert are_close(corners(body), expected)


@on_one_engine
async def test_a_turned_heic_is_upright(kept):
    file, body = await kept(pictures.heic(320, 240, orientation=6))
    assert (file.width, file.height) == opened(body).size == (100, 75)
    assert are_close(corners(body), [pictures.RED, pictures.GREEN, pictures.BLUE, pictures.WHITE])


@on_one_engine
@pytest.mark.parametrize(
    "given", [{"upload_format": name} for name in ("jpg", "png", "webp", "avif")], ids=str
)
async def test_no_format_carries_what_the_camera_told(kept, given):
    is_jpeg = given["upload_format"] == "jpg"
    data = pictures.heic() if is_jpeg else pictures.jpeg(320, 240, camera=True, place=PLACE)
    assert b"Tester" in data
    _, body = await kept(data)
    picture = opened(body)
    assert not picture.getexif()
    assert not {"exif", "xmp", "comment", "photoshop"} & picture.info.keys()
    assert b"Tester" not in body


@on_one_engine
@pytest.mark.parametrize("place", [None, PLACE], ids=["without a place", "with a place"])
async def test_an_image_that_is_shrunk_carries_none_of_it(kept, place):
    _, body = await kept(pictures.jpeg(320, 240, camera=True, place=place))
    assert not opened(body).getexif()
    assert b"Tester" not in body


@on_one_engine
async def test_colours_are_srgb_and_the_row_says_no_other(kept):
    file, body = await kept(pictures.jpeg(320, 240, profile=pictures.display_p3()))
    assert "color_profile" not in file.facts
    profile = opened(body).info.get("icc_profile")
    assert not profile or "sRGB" in ImageCms.getProfileDescription(
        ImageCms.ImageCmsProfile(io.BytesIO(profile))
    )


@on_one_engine
async def test_what_is_transparent_stays_so_where_the_format_can(kept):
    _, body = await kept(pictures.png(mode="RGBA"))
    low, high = opened(body).convert("RGBA").getchannel("A").getextrema()
    assert (low < 20, high > 235) == (True, True)


@on_one_engine
@pytest.mark.parametrize(
    "given",
    [{"upload_format": "avif", "max_heif_pixels": 10_000, "upload_max_side": side} for side in (0, 300)],
)
async def test_what_is_written_keeps_within_what_may_be_read(kept, given):
    """An AVIF may have fewer pixels than a JPEG; refusing the JPEG for it would be odd."""
    file, body = await kept(pictures.jpeg(320, 240))
    assert file.width * file.height <= 10_000
    assert file.width * file.height > 9_000
    assert opened(body).size == (file.width, file.height)


# Several times, and failures


async def test_the_same_original_twice_is_one_file(keep, keys, rows):
    (first, _), (second, _) = await keep(pictures.jpeg(640, 480)), await keep(pictures.jpeg(640, 480))
    assert first.id == second.id
    assert len(await rows()) == 1
    assert len(await keys()) == 2


@pytest.mark.parametrize(
    "given", [{"upload_format": name} for name in ("jpg", "png", "webp", "avif")], ids=str
)
@on_one_engine
async def test_every_format_is_written_the_same_each_time(keep, rows, given):
    data = pictures.bmp(700, 500)
    await keep(data)
    await keep(data)
    assert len(await rows()) == 1


async def test_what_was_written_is_taken_as_it_is_when_it_comes_back(keep, kept, rows):
    first, body = await kept(pictures.jpeg(640, 480))
    again, _ = await keep(body)
    assert again.id == first.id
    assert len(await rows()) == 1


async def test_bytes_that_were_lost_are_brought_back_by_the_original(keep, kept, library, keys):
    first, body = await kept(pictures.jpeg(640, 480))
    await library.store.delete([first.key])
    again, _ = await keep(pictures.jpeg(640, 480))
    assert again.id == first.id
    (key,) = [one for one in await keys() if one.startswith("files/")]
    assert await library.store.read_bytes(key) == body


async def test_nothing_but_what_was_received_stays_in_the_scratch_folder(received, library):
    """That is removed by whoever received it."""
    part = received(pictures.jpeg(640, 480))
    async with ingest(library, part) as content, library.database.write() as session:
        await content.record(session, owner_id=1)
    assert list(library.store.scratch.iterdir()) == [part.path]


@on_one_engine
@pytest.mark.parametrize("data", [pictures.jpeg()[:3000], pictures.png()[:2000]], ids=["jpg", "png"])
async def test_a_damaged_image_is_refused(library, received, keys, data):
    part = received(data)
    with pytest.raises(UndecodableMedia):
        async with ingest(library, part):
            pytest.fail("it was taken")
    assert await keys() == set()
    assert list(library.store.scratch.iterdir()) == [part.path]


@on_one_engine
async def test_a_refusal_after_it_was_written_leaves_nothing(library, received, keys):
    async def refuse():
        async with ingest(library, part):
            raise LookupError

    part = received(pictures.jpeg(640, 480))
    with pytest.raises(LookupError):
        await refuse()
    assert await keys() == set()
    assert list(library.store.scratch.iterdir()) == [part.path]


@on_one_engine
async def test_a_full_disk_leaves_nothing_of_it(library, received, keys, monkeypatch):
    part = received(pictures.jpeg(640, 480))

    def full(path):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders, "create_private", full)
    with pytest.raises(Unavailable):
        async with ingest(library, part):
            pytest.fail("it was taken")
    assert await keys() == set()
    assert list(library.store.scratch.iterdir()) == [part.path]
