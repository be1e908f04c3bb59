"""Assets that look alike, through `/api/v2`: real pictures, their copies, and what may be asked."""

import io

import pytest
from PIL import Image, ImageDraw

from mediakeep.tasks.worker import drain
from tests.samples import films, papers, pictures

DOOR = "/api/v2/upload-asset"
DUPLICATES = "/api/v2/duplicates"

on_one_engine = pytest.mark.parametrize("library_settings", ["sqlite-disk"], indirect=True)


def saved(picture, kind="JPEG", **options):
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, kind, **options)
    return buffer.getvalue()


def drawn(seed):
    """A picture unlike those of other seeds."""
    picture = Image.new("RGB", (480, 360), (30, 60, 90))
    draw = ImageDraw.Draw(picture)
    for number in range(24):
        x, y = (seed * 131 + number * 197) % 480, (seed * 173 + number * 89) % 360
        side = 20 + (seed * 37 + number * 53) % 120
        color = tuple((seed * 71 + number * 113 + part * 59) % 256 for part in range(3))
        draw.ellipse((x - side // 2, y - side // 2, x + side // 2, y + side // 2), fill=color)
    return picture


def brightened(picture):
    return picture.point([min(255, round(value * 1.2 + 8)) for value in range(256)] * 3)


@pytest.fixture
def upload(owner):
    """Uploads a file and returns the asset's id."""

    async def upload(data, file_name="a.jpg", media_type="image/jpeg", client=owner, **fields):
        answer = await client.post(DOOR, files={"file": (file_name, data, media_type)}, data=fields)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    return upload


@pytest.fixture
def similar(owner):
    """The ids of what looks like an asset."""

    async def similar(asset_id, client=owner, **query):
        answer = await client.get(f"/api/v2/assets/{asset_id}/similar", params=query)
        assert answer.status_code == 200, answer.text
        return [one["asset"]["id"] for one in answer.json()]

    return similar


@pytest.fixture
def groups(owner):
    """The ids of each group."""

    async def groups(client=owner, **query):
        answer = await client.get(DUPLICATES, params=query)
        assert answer.status_code == 200, answer.text
        return [[one["id"] for one in group["assets"]] for group in answer.json()["groups"]]

    return groups


async def test_changed_copies_are_found_and_other_pictures_are_not(upload, similar, groups):
    original = drawn(1)
    first = await upload(saved(original, quality=95))
    copies = [
        await upload(saved(original.resize((160, 120)), quality=90)),
        await upload(saved(original, quality=25)),
        await upload(saved(brightened(original), "PNG"), "a.png", "image/png"),
        await upload(saved(original, "WEBP", quality=60), "a.webp", "image/webp"),
    ]
    others = [await upload(saved(drawn(seed))) for seed in (2, 3, 4)]
    assert set(await similar(first)) == set(copies)
    assert set(await similar(copies[0])) == {first, *copies[1:]}
    assert await similar(others[0]) == []
    assert await groups() == [[*reversed(copies), first]]


async def test_an_answer_has_the_asset_the_distance_and_whether_it_is_the_same_content(owner, upload):
    data = saved(drawn(1), quality=95)
    first, copy = await upload(data, name="first"), await upload(data, name="copy")
    small = await upload(saved(drawn(1).resize((120, 90)), quality=40))
    answer = await owner.get(f"/api/v2/assets/{first}/similar", params={"distance": 16})
    near, *rest = answer.json()
    assert (near["distance"], near["exact"], rest[0]["exact"]) == (0, True, False)
    assert [one["asset"]["id"] for one in answer.json()] == [copy, small]
    assert near["asset"] == (await owner.get(f"/api/v2/assets/{copy}/info")).json()
    assert answer.headers["x-total-count"] == "2"


async def test_duplicates_are_groups_with_their_distance_and_a_total(owner, upload):
    data = saved(drawn(1))
    first, copy = await upload(data), await upload(data)
    answer = (await owner.get(DUPLICATES)).json()
    assert {name: answer[name] for name in answer if name != "groups"} == {
        "total": 1,
        "limit": 20,
        "offset": 0,
        "has_more": False,
    }
    (group,) = answer["groups"]
    assert (group["distance"], group["exact"]) == (0, True)
    assert group["assets"] == [
        (await owner.get(f"/api/v2/assets/{one}/info")).json() for one in (copy, first)
    ]


async def test_sound_has_only_its_same_content(upload, similar, groups):
    sound = films.sound("wav", seconds=0.1)
    first, copy = [await upload(sound, "a.wav", "audio/wav") for _ in range(2)]
    await upload(films.sound("wav", seconds=0.2), "b.wav", "audio/wav")
    assert await similar(first) == [copy]
    assert await groups() == [[copy, first]]


async def test_films_and_papers_are_found_once_their_picture_is_made(app, upload, similar):
    film = await upload(films.video("mp4", 1.0), "a.mp4", "video/mp4")
    longer = await upload(films.video("mp4", 1.5), "b.mp4", "video/mp4")
    paper = await upload(papers.pdf(), "a.pdf", "application/pdf")
    assert await similar(film, distance=16) == []
    await drain(app.state.library)
    assert await similar(film, distance=16) == [longer]
    assert paper not in await similar(film, distance=16)


@on_one_engine
async def test_flat_pictures_do_not_look_alike(upload, similar, groups):
    flat = [
        await upload(saved(Image.new("RGB", (90, 60), (level, level, 0)), "PNG"), "a.png", "image/png")
        for level in (0, 90, 255)
    ]
    assert await similar(flat[1], distance=16) == []
    assert await groups(distance=8) == []


async def test_somebody_else_s_copies_are_never_found(upload, similar, groups, stranger, admin):
    data = saved(drawn(1))
    mine, copy = await upload(data), await upload(data)
    theirs = await upload(data, client=stranger)
    assert await similar(mine) == [copy]
    assert await similar(theirs, client=stranger) == []
    assert await groups(client=stranger) == []
    assert await similar(mine, client=admin) == [copy]
    assert await groups(client=admin) == []


async def test_an_admin_asks_for_everybody_s_copies(upload, owner, stranger, admin):
    data = saved(drawn(1))
    mine = await upload(data)
    theirs = await upload(data, client=stranger)
    await upload(saved(drawn(2)), client=admin)
    for client in (owner, stranger):
        assert (await client.get(DUPLICATES)).json()["total"] == 0
        refused = await client.get(f"{DUPLICATES}?all=true")
        assert (refused.status_code, refused.json()["detail"]) == (403, "Only an admin may do this.")
    found = (await admin.get(f"{DUPLICATES}?all=true")).json()
    assert [[one["id"] for one in group["assets"]] for group in found["groups"]] == [[theirs, mine]]
    assert (found["total"], found["groups"][0]["exact"]) == (1, True)
    assert (await admin.get(DUPLICATES)).json()["total"] == 0


async def test_a_private_place_is_shown_to_the_owner_only(upload, owner, admin):
    place = (48.2, 16.37, 170.0)
    first = await upload(pictures.jpeg(place=place))
    await upload(pictures.jpeg(place=place))

    async def metadata(client):
        answer = await client.get(f"/api/v2/assets/{first}/similar")
        return answer.json()[0]["asset"]["metadata"]

    assert "location" in await metadata(owner)
    assert "location" not in await metadata(admin)


async def test_what_is_deleted_is_gone_at_once(owner, upload, similar, groups):
    data = saved(drawn(1))
    first, copy, third = [await upload(data) for _ in range(3)]
    assert await similar(first) == [third, copy]
    assert await groups() == [[third, copy, first]]
    await owner.delete(f"/api/v2/assets/{third}")
    assert await similar(first) == [copy]
    assert await groups() == [[copy, first]]
    await owner.delete(f"/api/v2/assets/{copy}")
    assert await similar(first) == await groups() == []
    assert (await owner.get(f"/api/v2/assets/{copy}/similar")).status_code == 404


@on_one_engine
async def test_pages_have_their_headers_and_counts(owner, upload):
    for seed in (1, 2, 3):
        ids = [await upload(saved(drawn(seed), quality=quality)) for quality in (95, 80, 60)]
    address = f"/api/v2/assets/{ids[0]}/similar"
    answer = await owner.get(address, params={"limit": 1, "offset": 1})
    assert len(answer.json()) == 1
    assert answer.headers["x-total-count"] == "2"
    assert f'<http://localhost:8000{address}?limit=1&offset=0>; rel="prev"' in answer.headers["link"]
    assert 'rel="next"' not in answer.headers["link"]
    pages = [
        (await owner.get(DUPLICATES, params={"limit": 2, "offset": offset})).json() for offset in (0, 2, 4)
    ]
    assert [(len(page["groups"]), page["total"], page["has_more"]) for page in pages] == [
        (2, 3, True),
        (1, 3, False),
        (0, 3, False),
    ]


@on_one_engine
async def test_large_groups_show_their_newest(owner, upload, monkeypatch):
    monkeypatch.setattr("mediakeep.http.v2.duplicates._MOST_SHOWN", 2)
    ids = [await upload(saved(drawn(1))) for _ in range(3)]
    (group,) = (await owner.get(DUPLICATES)).json()["groups"]
    assert [one["id"] for one in group["assets"]] == [ids[2], ids[1]]


@on_one_engine
@pytest.mark.parametrize(
    ("address", "query"),
    [
        ("similar", {"distance": 17}),
        ("similar", {"distance": -1}),
        ("similar", {"distance": "near"}),
        ("similar", {"distance": 1.5}),
        ("similar", {"distance": ""}),
        ("similar", {"limit": 0}),
        ("similar", {"limit": 101}),
        ("similar", {"offset": -1}),
        ("similar", {"offset": 2**31 + 1}),
        ("duplicates", {"distance": 9}),
        ("duplicates", {"distance": -1}),
        ("duplicates", {"distance": "9" * 5000}),
        ("duplicates", {"limit": 0}),
        ("duplicates", {"limit": 101}),
        ("duplicates", {"offset": -1}),
    ],
    ids=range(15),
)
async def test_parameters_out_of_range_are_refused_by_name(owner, upload, address, query):
    asset_id = await upload(saved(drawn(1)))
    where = DUPLICATES if address == "duplicates" else f"/api/v2/assets/{asset_id}/similar"
    answer = await owner.get(where, params=query)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == list(query)


@on_one_engine
async def test_an_offset_far_past_the_end_is_an_empty_page(owner, upload):
    ids = [await upload(saved(drawn(1))) for _ in range(2)]
    answer = await owner.get(f"/api/v2/assets/{ids[0]}/similar", params={"offset": 2**31})
    assert (answer.json(), answer.headers["x-total-count"]) == ([], "1")
    answer = (await owner.get(DUPLICATES, params={"offset": 2**31})).json()
    assert (answer["groups"], answer["total"], answer["has_more"]) == ([], 1, False)


@on_one_engine
@pytest.mark.parametrize("asset_id", ["1", "00000000-0000-4000-8000-000000000000", "%00", "x" * 2000])
async def test_what_is_not_there_is_not_found(owner, asset_id):
    answer = await owner.get(f"/api/v2/assets/{asset_id}/similar")
    assert (answer.status_code, answer.json()["detail"]) == (404, "Asset not found")


@on_one_engine
async def test_both_need_a_login(api, upload):
    asset_id = await upload(saved(drawn(1)))
    for address in (f"/api/v2/assets/{asset_id}/similar", DUPLICATES):
        answer = await api.get(address)
        assert (answer.status_code, answer.json()["detail"]) == (401, "Not authenticated")


@on_one_engine
async def test_too_many_pictures_for_a_distance_are_a_sentence(owner, upload, monkeypatch):
    await upload(saved(drawn(1)))
    await upload(saved(drawn(1), quality=50))
    monkeypatch.setattr("mediakeep.search.similar._MAX_SECONDS", -1.0)
    answer = await owner.get(DUPLICATES, params={"distance": 8})
    assert answer.status_code == 400
    assert answer.json()["detail"] == (
        "There are too many pictures to find all that are 8 bits apart. Ask for a smaller distance."
    )
