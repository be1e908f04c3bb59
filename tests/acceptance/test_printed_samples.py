"""The programs that the documents of existing clients print run as they stand; only their names are filled in."""

import io
import json
import os
import re
import shutil
import sys
import textwrap
import uuid
from pathlib import Path

import pytest
from PIL import Image

from tests.samples import films, pictures

NODE_MODULES = Path(__file__).parents[1] / "servers" / "node_modules"


UPLOAD_FILM = "2. Upload Campaign Video"
FILM_GALLERY = "4. Display Campaign Video Gallery with Thumbnails"


@pytest.fixture(scope="module")
def server(install):
    with install("sqlite-disk") as installation:
        server = installation.serve()
        server.wait_until_ready()
        server.installation = installation
        yield server


@pytest.fixture
def account(server):
    """A fresh account's address and token, and a client that is logged in with it."""
    email = f"{uuid.uuid4().hex}@example.com"
    token = server.register(email)
    with server.client(token) as client:
        client.email, client.token = email, token
        yield client


@pytest.fixture
def anyone(server):
    with server.client() as client:
        yield client


@pytest.fixture
def key(server, account):
    """Makes an API key with a limit of its own."""

    def make(limit):
        made = server.installation.run("key", "create", account.email, "--uploads-per-minute", str(limit))
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    return make


@pytest.fixture
def photo(tmp_path):
    (tmp_path / "image.jpg").write_bytes(pictures.jpeg(80, 60))
    return tmp_path / "image.jpg"


@pytest.fixture
def sample(printed, server, account):
    """A printed program with the server and the token filled in."""

    def sample(document, heading, number=0):
        code = printed(document, heading, number)
        older = document in {"000", "001"}
        filled = {
            "http://localhost:8000": server.url + "/legacy" * older,
            "https://api.example.com": server.url,
            "your_jwt_token": account.token,
            "YOUR_JWT_TOKEN": account.token,
            "YOUR_TOKEN": account.token,
        }
        for name, value in filled.items():
            code = code.replace(name, value)
        return code

    return sample


@pytest.fixture
def shell(run):
    """Runs a printed command, up to the answer that is printed after it."""

    def shell(code):
        return run("bash", "-euo", "pipefail", "-c", code.partition("# Response:")[0])

    return shell


@pytest.fixture
def node(run, tmp_path, server, account):
    """Runs JavaScript or TypeScript in Node, where a page's address, file input and token are made up."""

    def node(*parts, file=None):
        prelude = [
            "import { readFileSync } from 'node:fs';",
            f"const token = {json.dumps(account.token)};",
            "const fetchAnything = globalThis.fetch;",
            f"globalThis.fetch = (url, options) => fetchAnything(new URL(url, {json.dumps(server.url)}), options);",
        ]
        if file:
            name = json.dumps(file.name)
            prelude.append(f"const fileOfInput = new File([readFileSync({name})], {name});")
        (tmp_path / "program.ts").write_text("\n".join([*prelude, *parts]))
        search = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
        esbuild = NODE_MODULES / "esbuild" / "bin" / "esbuild"
        run(str(esbuild), "program.ts", "--outfile=program.mjs", "--log-level=warning", PATH=search)
        return run(shutil.which("node", path=search), "program.mjs")

    return node


# 000 and 001: Python


def test_an_asset_s_url_goes_into_a_video_request(sample, python, account, anyone, photo):
    names = f"import json, requests\ntoken = {account.token!r}"
    printed = python(names, sample("000", "7. Integration Points"), "print(json.dumps(video_request))")
    url = json.loads(printed)["input"]["image"]
    assert "/legacy" not in url
    assert anyone.get(url).content == photo.read_bytes()


def test_the_python_client_uploads_lists_and_deletes(sample, python, account, photo):
    printed = python(sample("001", "Python Client Example")).splitlines()
    assert re.fullmatch(r"Uploaded: http://\S+/api/v2/assets/[0-9a-f-]{36}", printed[0])
    assert printed[1:] == ["Total assets: 1", "Deleted"]
    assert account.get("/api/v2/assets").json() == []


def test_the_errors_are_told_apart(sample, python, account, photo, key, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    with (tmp_path / "large.mp4").open("wb") as large:
        large.truncate(52 << 20)
    once = key(1)
    printed = python(
        sample("001", "Common Errors"),
        f"token, once = {account.token!r}, {once!r}",
        "print(sorted(upload_with_error_handling('image.jpg', token)))",
        "for name in ('notes.txt', 'large.mp4', 'empty.png', 'nowhere.jpg'):",
        "    assert upload_with_error_handling(name, token) is None",
        "assert upload_with_error_handling('image.jpg', 'wrong') is None",
        "assert upload_with_error_handling('image.jpg', once)['success']",
        "assert upload_with_error_handling('image.jpg', once) is None",
    )
    assert printed.splitlines() == [
        "['asset_id', 'filename', 'size_bytes', 'success', 'url']",
        "Error: File type not supported",
        "Supported: jpg, jpeg, png, gif, webp, mp4, mov",
        "Error: File exceeds 50MB limit",
        "Error: The file is empty.",
        "Error: File not found: nowhere.jpg",
        "Error: Invalid or expired token",
        "Error: Rate limit exceeded (max 10 uploads/minute)",
        "Please wait and try again",
    ]


def test_what_the_checks_before_an_upload_let_through_is_taken(sample, python, photo):
    checks = sample("001", "Best Practices", 0) + sample("001", "Best Practices", 1)
    client, _, _ = sample("001", "Python Client Example").partition("# Upload")
    printed = python(
        client,
        f"def check(file_path):\n{textwrap.indent(checks, '    ')}    return True",
        "assert check('image.jpg') and client.upload('image.jpg')['success']",
        "assert check('program.py') is None",
    )
    assert printed == "File type text/x-python not supported\n"


def test_an_upload_is_tried_again(sample, python, account, photo):
    client, _, _ = sample("001", "Python Client Example").partition("# Upload")
    python(
        client,
        "file_path, token, broken = 'image.jpg', '', [requests.ConnectionError]",
        "def upload_asset(file_path, token):",
        "    if broken: raise broken.pop()",
        "    return client.upload(file_path)",
        sample("001", "Best Practices", 2),
        "assert result['filename'] == 'image.jpg'",
    )
    assert len(account.get("/api/v2/assets").json()) == 1


def test_old_assets_are_cleaned_up_and_new_ones_kept(sample, python, account, photo):
    client, _, _ = sample("001", "Python Client Example").partition("# Upload")
    printed = python(
        client,
        sample("001", "Best Practices", 3),
        "for _ in range(3): client.upload('image.jpg')",
        "cleanup_old_assets(client)",
        "assert len(client.list_assets()['assets']) == 3",
        "cleanup_old_assets(client, days=-2)",
    )
    assert printed == "Deleting old asset: image.jpg\n" * 3
    assert account.get("/api/v2/assets").json() == []


def test_the_rate_limit_is_waited_for(sample, python, server, key, account, photo):
    """The minute that the function sleeps passes at once: its end is when the counted uploads are forgotten."""
    client, _, _ = sample("001", "Python Client Example").replace(account.token, key(6)).partition("# Upload")
    minute_passes = f"""
        import sqlite3, time
        def pass_at_once(seconds):
            assert seconds == 60
            database = sqlite3.connect({str(server.installation.data / "mediakeep.db")!r}, timeout=30)
            database.execute("DELETE FROM rate_hits")
            database.commit()
            database.close()
        time.sleep = pass_at_once
    """
    printed = python(
        client,
        textwrap.dedent(minute_passes),
        sample("001", "Rate Limiting"),
        "results = upload_with_rate_limit_handling(['image.jpg'] * 11, client)",
        "assert len({result['asset_id'] for result in results}) == 11",
    )
    hit, near = "Rate limit hit, waiting 60 seconds...", "Rate limit approaching, waiting 60 seconds..."
    assert printed.splitlines() == [hit, near]
    assert len(account.get("/api/v2/assets").json()) == 11


def test_an_upload_shows_its_progress(sample, python, server, account, photo):
    printed = python(
        "import os",
        sample("001", "Monitoring Upload Progress"),
        f"print(upload_with_progress('image.jpg', {account.token!r}, {server.url + '/legacy'!r})['size_bytes'])",
    )
    assert int(printed) == photo.stat().st_size


# 001 and 002: the shell


def test_the_older_curl_commands_upload_list_get_and_delete(sample, shell, account, photo, tmp_path):
    upload = sample("001", "1. Upload an Asset").replace("/path/to/image.jpg", str(photo))
    uploaded = json.loads(shell(upload))
    printed_id = "098a4f86-fbc5-4507-99c3-2723e6e79399"
    assert uploaded.keys() == json.loads(upload.partition("# Response:")[2]).keys()

    listing = sample("001", "2. List Your Assets")
    listed, described = json.loads(shell(listing)), json.loads(listing.partition("# Response:")[2])
    assert listed.keys() == described.keys()
    assert listed["assets"][0].keys() == described["assets"][0].keys()

    shell(sample("001", "3. Get an Asset (Public URL)").replace(printed_id, uploaded["asset_id"]))
    assert (tmp_path / "downloaded_image.jpg").read_bytes() == photo.read_bytes()

    delete = sample("001", "4. Delete an Asset").replace(printed_id, uploaded["asset_id"])
    assert json.loads(shell(delete)) == json.loads(delete.partition("# Response:")[2])
    assert account.get("/api/v2/assets").json() == []


@pytest.fixture
def acme(account):
    """The id of a client."""
    return account.post("/api/v2/clients", json={"name": "Acme"}).json()["id"]


@pytest.fixture
def spring(account):
    """The id of a campaign."""
    return account.post("/api/v2/campaigns", json={"name": "Spring"}).json()["id"]


@pytest.fixture
def film(tmp_path):
    (tmp_path / "film.mp4").write_bytes(films.video())
    return tmp_path / "film.mp4"


def test_the_curl_command_uploads_a_logo(sample, shell, account, acme, photo):
    code = sample("002", "1. Upload Asset").replace("/path/to/logo.png", str(photo))
    asset = json.loads(shell(code.replace("client-uuid-123", acme)))
    assert (asset["name"], asset["clientId"], asset["width"]) == ("Company Logo", acme, 80)


def test_the_curl_command_deletes_an_asset(sample, shell, account, photo):
    asset = account.post("/api/v2/upload-asset", files={"file": photo.read_bytes()}).json()
    code = sample("002", "5. Delete Asset").replace("asset-uuid-abc", asset["id"])
    assert json.loads(shell(code)) == {
        "success": True,
        "message": f"Asset {asset['id']} deleted successfully",
    }


def test_the_printed_addresses_answer(sample, account, acme, spring, film):
    fields = {"clientId": acme, "campaignId": spring}
    asset = account.post("/api/v2/upload-asset", files={"file": film.read_bytes()}, data=fields).json()
    names = {"client-uuid-123": acme, "campaign-uuid-456": spring, "asset-uuid-abc": asset["id"]}
    found = []
    for heading in ("2. List Assets", "3. Get Asset File", "4. Get Asset Thumbnail", "Retrieving Assets"):
        text = re.sub("|".join(names), lambda name: names[name[0]], sample("002", heading))
        for address in re.findall(r"^GET (\S+)$", text, re.MULTILINE):
            answer = account.get(address)
            assert answer.status_code == 200, address
            found.append(answer)
    lists, files = [one.json() for one in (*found[:4], *found[6:])], found[4:6]
    assert [len(one) for one in lists] == [1, 1, 1, 0, 1, 1, 1]
    assert files[0].content == film.read_bytes()
    assert Image.open(io.BytesIO(files[1].content)).format == "JPEG"


# 001 and 002: JavaScript and TypeScript


def test_the_typescript_client_uploads_lists_and_deletes(sample, node, account, photo):
    old = account.post("/api/v2/upload-asset", files={"file": photo.read_bytes()}).json()
    page = "globalThis.document = { querySelector: () => ({ files: [fileOfInput] }) };"
    code = sample("001", "JavaScript/TypeScript Example").replace("asset-id-here", old["id"])
    printed = node(page, code, file=photo).splitlines()
    (left,) = account.get("/api/v2/assets").json()
    assert printed == [f"Uploaded: {left['url']}", "Total assets: 2", "Deleted"]
    assert (left["name"], left["size"]) == ("image.jpg", photo.stat().st_size)


def test_the_javascript_uploads_a_logo(sample, node, acme, photo):
    page = "const fileInput = { files: [fileOfInput] };"
    code = sample("002", "1. Upload Asset", 1).replace("client-uuid-123", acme)
    asset = json.loads(node(page, code, "console.log(JSON.stringify(asset));", file=photo))
    assert (asset["name"], asset["clientId"], asset["type"]) == ("Company Logo", acme, "image")


@pytest.fixture
def types(sample):
    return sample("002", "TypeScript Types")


def test_the_typescript_uploads_a_client_s_logo(sample, node, types, acme, photo):
    code = sample("002", "1. Upload Client Logo")
    printed = node(types, code, f"await uploadClientLogo({acme!r}, fileOfInput);", file=photo)
    assert printed == "Logo uploaded: 80x60\n"


def test_the_typescript_uploads_a_campaign_s_film_and_shows_its_gallery(
    sample, node, types, spring, film, anyone
):
    upload, gallery = (sample("002", name) for name in (UPLOAD_FILM, FILM_GALLERY))
    asset, said = (
        f"const asset = await uploadCampaignVideo({spring!r}, fileOfInput);",
        "console.log(JSON.stringify(",
    )
    shown = f"{said}await loadCampaignVideos({spring!r})));"
    printed = node(
        types, upload, asset, sample("002", "TypeScript Types", 1), gallery, shown, file=film
    ).splitlines()
    (video,) = json.loads(printed[-1])
    assert printed[:-1] == [
        f"Video uploaded: {video['duration']}s",
        f"Thumbnail available at: {video['thumbnail']}",
        f"Video duration: {video['duration']}s",
        f"Thumbnail: {video['thumbnail']}",
    ]
    assert anyone.get(video["thumbnail"]).headers["content-type"] == "image/jpeg"
    assert anyone.get(video["videoUrl"]).content == film.read_bytes()


def test_the_typescript_shows_a_client_s_pictures(sample, node, types, account, acme, photo, film):
    for content in (photo, film):
        files = {"file": (content.name, content.read_bytes())}
        account.post("/api/v2/upload-asset", files=files, data={"clientId": acme})
    shown = f"console.log(JSON.stringify(await loadClientAssets({acme!r})));"
    (element,) = json.loads(node(types, sample("002", "3. Display Client Assets Gallery"), shown))
    assert re.fullmatch(r'<img src="http://\S+/api/v2/assets/[0-9a-f-]{36}" alt="image.jpg" />', element)
