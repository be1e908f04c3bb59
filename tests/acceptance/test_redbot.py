"""What RedBot (https://redbot.org) says of the answers of real servers, and of those to the requests it makes besides."""

import uuid

import pytest

from tests.redbot import Request, inspect
from tests.samples import films, papers, pictures

#: Complaints that docs/http.md argues with, by the name of RedBot's note.
ALLOWED = {
    # "public" is what lets a cache keep the answer to a request with Authorization (RFC 9111 §3.5), which an owner's is.
    "public": {"PUBLIC_UNNECESSARY"},
    # "private" adds nothing to "no-store" but where a cache was told to pass over one of them.
    "private": {"CC_CONFLICTING"},
    "missing": set(),
}

SUPPORTED = {"CL_CORRECT", "DATE_CORRECT", "INM_304", "IMS_304", "RANGE_CORRECT"}

FOUND = [
    "a jpg",
    "an mp4",
    "a large mp4",
    "a pdf",
    "a wav",
    "a download",
    "a thumbnail",
    "a waveform",
    "a drawn waveform",
    "a rendition",
    "a negotiated rendition",
    "a negotiated rendition without Accept",
    "a signed private file",
    "a jpg once more",
    "a thumbnail once more",
]
MISSING = ["nothing", "a private file"]


@pytest.fixture(scope="module")
def reports(two_servers):
    """What RedBot says, by the name of what it looked at."""
    with two_servers.user(f"{uuid.uuid4().hex}@example.com") as user:
        requests = _requests(two_servers.first.url, user)
    return dict(zip(requests, inspect(*requests.values()), strict=True))


def _requests(server, user):
    def upload(name, data, **fields):
        answer = user.first.post("/api/v2/upload-asset", files={"file": (name, data)}, data=fields)
        assert answer.status_code == 201, answer.text
        return f"/api/v2/assets/{answer.json()['id']}"

    def sign(path):
        return user.first.post(f"{path}/sign", json={"expires_in": 600}).json()["url"].partition("/api/")[2]

    photo = upload("a.jpg", pictures.jpeg(640, 480))
    sound = upload("a.wav", films.sound("wav"))
    private = upload("b.jpg", pictures.jpeg(320, 240), visibility="private")
    paths = {
        "a jpg": photo,
        "an mp4": upload("a.mp4", films.video(seconds=2.0)),
        "a large mp4": upload("b.mp4", films.video(seconds=2.0) + bytes(5 << 20)),
        "a pdf": upload("a.pdf", papers.pdf()),
        "a wav": sound,
        "a download": f"{photo}?download=1",
        "a thumbnail": f"{photo}/thumbnail",
        "a waveform": f"{sound}/waveform",
        "a drawn waveform": f"{sound}/waveform?format=png",
        "a rendition": f"{photo}?width=100",
        "a negotiated rendition": f"{photo}?width=100&format=auto",
        "a negotiated rendition without Accept": f"{photo}?width=90&format=auto",
        "a signed private file": f"/api/{sign(private)}",
        "nothing": f"/api/v2/assets/{uuid.uuid4()}",
        "a private file": private,
        # Within the second: these are answered by the connection itself.
        "a jpg before that": photo,
        "a jpg once more": photo,
        "a thumbnail before that": f"{photo}/thumbnail",
        "a thumbnail once more": f"{photo}/thumbnail",
    }
    headers = {"a negotiated rendition": {"Accept": "image/avif,image/webp,*/*"}}
    return {name: Request(url=server + path, headers=headers.get(name, {})) for name, path in paths.items()}


@pytest.mark.parametrize("what", [*FOUND, *MISSING])
def test_redbot_has_nothing_to_complain_about(reports, what):
    kind = "missing" if what in MISSING else "private" if what == "a signed private file" else "public"
    assert reports[what].status == (404 if what in MISSING else 200)
    # No more than is allowed, and no less: what RedBot has stopped complaining of is to be allowed no longer.
    assert {finding.name for finding in reports[what].complaints} == ALLOWED[kind], reports[what].complaints


@pytest.mark.parametrize("what", FOUND)
def test_redbot_finds_conditions_and_ranges_supported(reports, what):
    assert {name for name in SUPPORTED if not reports[what].has(name)} == set()
