"""`mediakeep upload` against a server that answers as it is told."""

import json
import os
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from mediakeep.settings import load_settings
from tests.cli.conftest import LOST, Answer
from tests.servers.process import free_port

BUSY = Answer(status=503, detail="The storage does not answer. Try again in a moment.")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Makes files in the folder `tmp_path`, where the command then runs."""
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            path = Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"content of " + os.fsencode(name))

    return make


def test_every_file_goes_up_and_is_told(files, upload, scripted):
    files("one.png", "two.png")
    code, out, err = upload("one.png", "two.png", "-j", 1)
    assert code == 0
    assert out == [f"Uploaded one.png: {scripted.url}/0", f"Uploaded two.png: {scripted.url}/1"]
    assert err == ["Uploaded 2 of 2 files (36 bytes)."]
    assert [(one.name, one.content) for one in scripted.uploads] == [
        ("one.png", b"content of one.png"),
        ("two.png", b"content of two.png"),
    ]


def test_what_is_said_of_the_files_reaches_the_server(files, upload, scripted):
    files("one.png")
    upload("one.png", "--client", "c1", "--campaign", "c2", "--tag", "a, b", "--tag", "c", "--private")
    (arrived,) = scripted.uploads
    assert json.loads(arrived.fields.pop("tags")) == ["a, b", "c"]
    assert arrived.fields == {"clientId": "c1", "campaignId": "c2", "visibility": "private"}


def test_nothing_is_said_of_the_files_by_default(files, upload, scripted):
    files("one.png")
    upload("one.png")
    assert scripted.uploads[0].fields == {}


def test_folders_are_walked_and_what_is_hidden_is_left_out(files, upload, scripted):
    files("in/a.png", "in/deep/er/b.png", "in/.c.png", "in/.git/d.png", ".e.png")
    assert upload("in", ".e.png", "-j", 1)[0] == 0
    assert [one.name for one in scripted.uploads] == ["a.png", "b.png", ".e.png"]


def test_links_that_go_in_circles_end(files, upload, scripted):
    files("in/deep/a.png")
    Path("in/deep/loop").symlink_to("..")
    Path("self").symlink_to("self")
    assert upload("in")[0] == 0
    assert [one.name for one in scripted.uploads] == ["a.png"]


def test_a_file_that_several_paths_lead_to_goes_up_once(files, upload, scripted):
    files("in/a.png")
    Path("in/b.png").symlink_to("a.png")
    assert upload("in/a.png", "in", "./in")[0] == 0
    assert len(scripted.uploads) == 1


def test_what_cannot_be_read_is_told_and_the_rest_goes_up(files, upload, scripted):
    files("in/a.png")
    Path("in/broken.png").symlink_to("nowhere")
    os.mkfifo("in/pipe")
    code, _, err = upload("in")
    assert code == 1
    assert err == [
        "in/broken.png: No such file or directory.",
        "in/pipe: It is not a file.",
        "Uploaded 1 of 3 files (19 bytes); 2 failed.",
    ]


def test_a_folder_that_cannot_be_read_is_told(files, upload, monkeypatch):
    files("in/a.png", "in/shut/b.png")
    scandir = os.scandir

    def refuse(path):
        if isinstance(path, str) and path.endswith("shut"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    code, _, err = upload("in")
    assert code == 1
    assert err[0] == "in/shut: Permission denied."


def test_a_file_that_is_gone_when_its_turn_comes_is_told(files, upload, scripted):
    files("a.png", "b.png")
    scripted.meanwhile = Path("b.png").unlink
    code, _, err = upload("a.png", "b.png", "-j", 1)
    assert code == 1
    assert err == ["b.png: No such file or directory.", "Uploaded 1 of 2 files (16 bytes); 1 failed."]


@pytest.mark.skipif(
    not Path("/proc/version").exists(), reason="takes a file that says it is empty and is not"
)
def test_a_file_that_changes_while_it_is_read_is_told(upload, waits):
    code, _, err = upload("/proc/version")
    assert code == 1
    assert err[0] == "/proc/version: It changed while it was read."
    assert not waits


def test_an_empty_folder_is_no_failure(files, upload, tmp_path):
    (tmp_path / "in").mkdir()
    assert upload(tmp_path / "in") == (0, [], ["Uploaded 0 of 0 files (0 bytes)."])


def test_names_that_no_terminal_should_see_are_made_harmless(files, upload, scripted):
    files("a\n\x1b[31mb.png", os.fsdecode(b"caf\xe9.png"))
    code, out, _ = upload(".", "-j", 1)
    assert code == 0
    assert [line.rpartition(": ")[0] for line in out] == ["Uploaded a��[31mb.png", "Uploaded caf�.png"]
    assert scripted.uploads[1].name == "caf�.png"


def test_a_refusal_is_one_line_with_the_server_s_sentence_and_the_rest_goes_up(files, upload, scripted):
    files("a.png", "b.png")
    scripted.answers = [Answer(status=400, detail="Invalid file type:\ntext/plain.")]
    code, out, err = upload("a.png", "b.png", "-j", 1)
    assert code == 1
    assert out == [f"Uploaded b.png: {scripted.url}/0"]
    assert err == ["a.png: Invalid file type:�text/plain.", "Uploaded 1 of 2 files (16 bytes); 1 failed."]


@pytest.mark.parametrize("status", [400, 409, 413, 422, 500])
def test_what_trying_again_would_not_help_is_not_tried_again(files, upload, scripted, waits, status):
    files("a.png")
    scripted.answers = [Answer(status=status, detail="No.")]
    assert upload("a.png")[::2] == (1, ["a.png: No.", "Uploaded 0 of 1 file (0 bytes); 1 failed."])
    assert len(scripted.uploads) == 1
    assert not waits


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_pass_is_tried_again(files, upload, scripted, waits, status):
    files("a.png")
    scripted.answers = [Answer(status=status, detail="Not now.")]
    code, _, err = upload("a.png")
    assert code == 0
    assert err[0].startswith("a.png: Not now; trying again in ")
    assert len(scripted.uploads) == 2
    assert scripted.uploads[0] == scripted.uploads[1]
    assert len(waits) == 1


def test_a_lost_answer_makes_no_second_asset(files, upload, scripted, waits):
    files("a.png")
    scripted.answers = [LOST, LOST]
    code, out, _ = upload("a.png")
    assert (code, out) == (0, [f"Uploaded a.png: {scripted.url}/0"])
    assert len(scripted.uploads) == 3
    assert len(scripted.assets) == 1


def test_every_file_has_a_key_of_its_own_and_every_run_too(files, upload, scripted):
    files("a.png", "b.png")
    upload("a.png", "b.png")
    upload("a.png")
    assert len({one.idempotency_key for one in scripted.uploads}) == 3


def test_an_upload_that_never_succeeds_is_given_up_after_growing_waits(files, upload, scripted, waits):
    files("a.png")
    scripted.answers = [BUSY] * 100
    code, _, err = upload("a.png")
    assert code == 1
    assert err[-2:] == [f"a.png: {BUSY.detail}", "Uploaded 0 of 1 file (0 bytes); 1 failed."]
    assert len(scripted.uploads) == 8
    for number, wait in enumerate(waits):
        assert min(30, 0.5 * 2**number) <= wait <= min(30, 0.5 * 2**number + 1)
    assert len({wait % 1 for wait in waits[:5]}) == 5, "no wait has its jitter"


def test_a_rate_limit_is_waited_for_however_long_others_are_quicker(files, upload, scripted, waits):
    files("a.png")
    scripted.answers = [Answer(status=429, detail="Too many requests", retry_after="60")] * 20
    code, _, err = upload("a.png")
    assert code == 0
    assert err[0].startswith("a.png: Too many requests; trying again in 6")
    assert len(waits) == 20
    assert all(60 <= wait <= 61 for wait in waits)


def test_retry_after_may_be_a_date(files, upload, scripted, waits):
    files("a.png")
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=200), usegmt=True)
    scripted.answers = [Answer(status=503, retry_after=at)]
    assert upload("a.png")[0] == 0
    assert 100 < waits[0] <= 201


@pytest.mark.parametrize("text", ["soon", "-5", "²"])
def test_a_retry_after_that_says_nothing_is_as_good_as_none(files, upload, scripted, waits, text):
    files("a.png")
    scripted.answers = [Answer(status=503, retry_after=text)]
    assert upload("a.png")[0] == 0
    assert 0.5 <= waits[0] <= 1.5


def test_nobody_waits_for_hours(files, upload, scripted, waits):
    files("a.png")
    scripted.answers = [Answer(status=503, detail="Closed today.", retry_after="7200")]
    code, _, err = upload("a.png")
    assert (code, err[0]) == (1, "a.png: Closed today.")
    assert not waits


def test_json_is_one_asset_a_line_and_nothing_else(files, upload, scripted):
    files("a.png", "b.png")
    scripted.answers = [Answer(status=400, detail="No.")]
    code, out, err = upload("a.png", "b.png", "--json", "-j", 1)
    assert code == 1
    assert [json.loads(line) for line in out] == [{"id": "0", "name": "b.png", "url": f"{scripted.url}/0"}]
    assert len(err) == 2


def test_as_many_uploads_as_asked_for_are_under_way_at_a_time(files, upload, scripted):
    files(*(f"{number}.png" for number in range(6)))
    together = threading.Barrier(3, timeout=20)
    scripted.meanwhile = together.wait
    assert upload(".", "-j", 3)[0] == 0
    assert len(scripted.uploads) == 6


def test_no_more_uploads_than_asked_for_are_under_way_at_a_time(files, upload, scripted):
    files(*(f"{number}.png" for number in range(6)))
    under_way, most, lock = set(), [], threading.Lock()

    def meanwhile():
        with lock:
            under_way.add(threading.get_ident())
            most.append(len(under_way))
        threading.Event().wait(0.02)
        with lock:
            under_way.discard(threading.get_ident())

    scripted.meanwhile = meanwhile
    assert upload(".", "--jobs", 2)[0] == 0
    assert max(most) <= 2


def test_a_wrong_key_fails_at_once_with_one_sentence(files, upload, scripted):
    files("a.png")
    said = [f"mediakeep: The server at {scripted.url} does not know this key."]
    assert upload("a.png", "--key", "mk_wrong") == (1, [], said)
    assert not scripted.uploads


def test_a_server_that_is_not_there_fails_at_once_with_one_sentence(files, upload, waits):
    files("a.png")
    url = f"http://127.0.0.1:{free_port()}"
    said = [f"mediakeep: Cannot reach the server at {url} (All connection attempts failed)."]
    assert upload("a.png", "--url", f"{url}/") == (1, [], said)
    assert not waits


def test_a_server_that_is_another_fails_at_once_with_one_sentence(files, upload, scripted):
    files("a.png")
    url = f"{scripted.url}/elsewhere"
    said = [f"mediakeep: {url} is no Mediakeep server: it answers 404 Not Found."]
    assert upload("a.png", "--url", url) == (1, [], said)


def test_a_server_that_is_not_well_fails_at_once_with_its_sentence(files, upload, scripted):
    files("a.png")
    scripted.greeting = BUSY
    assert upload("a.png") == (1, [], [f"mediakeep: {BUSY.detail}"])


@pytest.mark.parametrize(
    ("status", "detail"),
    [(403, "This API key may not write."), (404, "Client not found"), (401, "Not authenticated")],
)
def test_what_every_file_would_meet_ends_the_run(files, upload, scripted, status, detail):
    files("a.png", "b.png", "c.png")
    scripted.answers = [Answer(status=201, takes=True), Answer(status=status, detail=detail)]
    code, out, err = upload(".", "-j", 1)
    assert code == 1
    assert len(out) == 1
    assert err == ["Uploaded 1 of 3 files (16 bytes).", f"mediakeep: {detail}"]
    assert len(scripted.uploads) == 2


def test_a_server_that_goes_away_ends_the_run(files, upload, scripted, waits):
    files("a.png", "b.png")
    scripted.answers = [LOST]
    scripted.meanwhile = scripted.leave
    code, out, err = upload("a.png", "b.png", "-j", 1)
    assert (code, out) == (1, [])
    assert (
        err[-1] == f"mediakeep: Cannot reach the server at {scripted.url} (All connection attempts failed)."
    )
    assert len(waits) == 7


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing argument 'PATHS...'"),
        (("nowhere",), "Path 'nowhere' does not exist"),
        (("a.png", "--url", "ftp://example.com"), "it must be an http or https address"),
        (("a.png", "--url", "http://localhost:port"), "--url"),
        (("a.png", "--key", "schlüssel"), "it must be an API key"),
        (("a.png", "-j", "0"), "--jobs"),
    ],
)
def test_wrong_use_is_exit_code_2(files, upload, arguments, said):
    files("a.png")
    code, out, err = upload(*arguments)
    assert (code, out) == (2, [])
    assert said in err[-1]


def test_without_a_key_nothing_is_tried(files, upload, monkeypatch):
    files("a.png")
    monkeypatch.delenv("MEDIAKEEP_API_KEY")
    code, _, err = upload("a.png")
    assert code == 2
    assert "MEDIAKEEP_API_KEY" in err[-1]


def test_the_variables_of_the_client_do_not_disturb_a_server(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDIAKEEP_DATA", str(tmp_path))
    monkeypatch.setenv("MEDIAKEEP_API_KEY", "mk_…")
    monkeypatch.setenv("MEDIAKEEP_URL", "http://localhost:8000")
    assert load_settings().data == tmp_path
