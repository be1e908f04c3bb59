"""`mediakeep emulate replicate`: the stand-in as a process."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from mediakeep.cli import main
from mediakeep.emulators.replicate import Options
from tests.emulators.replicate.conftest import PLAIN
from tests.processes import Process

ROOT = Path(__file__).parents[3]


def start(folder, *arguments):
    """A process on a free port; returns it and its address."""
    process = Process("emulate", "replicate", *arguments, folder=folder, settings={})
    process.wait_for("Secret of webhooks")
    return process, re.search(r"on (\S+)", process.output)[1]


def create(url, token):
    body = {"version": "minimax/video-01", "input": {"prompt": "a boat"}}
    headers = {"Authorization": f"Bearer {token}", "Prefer": "wait"}
    return httpx.post(f"{url}/predictions", json=body, headers=headers, **PLAIN)


def test_it_serves_with_its_switches_and_can_be_killed_and_started_again(tmp_path):
    switches = (
        "--token",
        "t",
        "--startup",
        "0",
        "--latency",
        "0",
        "--outcome",
        "failed",
        "--error",
        "told to",
    )
    process, url = start(tmp_path, "--port", "0", *switches, "--webhooks", "late", "--webhooks", "unsigned")
    port = str(httpx.URL(url).port)
    try:
        assert f"Secret of webhooks: {Options().webhook_secret}\n" in process.output
        assert create(url, "t").json()["error"] == "told to"
        control = httpx.URL(url).copy_with(path="/emulator/options")
        assert httpx.get(control, **PLAIN).json()["webhooks"] == ["late", "unsigned"]
    finally:
        process.kill()
    process, again = start(tmp_path, "--port", port, "--startup", "0", "--latency", "0")
    try:
        assert again == url
        assert create(url, "r8_of_the_emulator").json()["status"] == "succeeded"
        assert (
            len(
                httpx.get(
                    f"{url}/predictions", headers={"Authorization": "Bearer r8_of_the_emulator"}, **PLAIN
                ).json()["results"]
            )
            == 1
        )
    finally:
        process.stop()


def test_it_stops_although_a_request_waits_for_an_answer(tmp_path):
    process, url = start(tmp_path, "--port", "0", "--answer", "silent")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{url}/predictions", **{**PLAIN, "timeout": 0.2})
    with socket.create_connection((httpx.URL(url).host, httpx.URL(url).port)) as connection:
        connection.sendall(b"POST /v1/predictions HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        process.stop()


def test_port_that_is_taken_is_named(capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        monkeypatch.setattr(sys, "argv", ["mediakeep", "emulate", "replicate", "--port", str(port)])
        with pytest.raises(SystemExit):
            main()
    assert f"127.0.0.1:{port} cannot be listened on: Address already in use." in capsys.readouterr().err


def test_switch_that_cannot_be_is_named(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mediakeep", "emulate", "replicate", "--latency", "-1"])
    with pytest.raises(SystemExit):
        main()
    assert "Invalid value for --latency" in capsys.readouterr().err


def test_help_explains_every_switch(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mediakeep", "emulate", "replicate", "--help"])
    with pytest.raises(SystemExit):
        main()
    shown = " ".join(capsys.readouterr().out.split())
    for field in Options.model_fields.values():
        assert field.description in shown


def test_other_commands_load_none_of_it():
    code = "import sys, mediakeep.cli; print([name for name in sys.modules if 'emulators' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_switch_is_documented():
    documented = (ROOT / "docs" / "emulators.md").read_text()
    for name, field in Options.model_fields.items():
        row = next((line for line in documented.splitlines() if line.startswith(f"| `{name}`")), "")
        assert field.description.rstrip(".") in row, name
