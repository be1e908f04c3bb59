"""nginx in front of Mediakeep: the example that operators are given, on a port of its own."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import ServerProcess, free_port, make_folder

_ROOT = Path(__file__).parents[2]

#: Where nginx puts what it buffers; its own places belong to the machine's nginx.
_TEMPORARY = "client_body", "proxy", "fastcgi", "uwsgi", "scgi"


class NginxMissing(Exception):
    """The machine has no nginx and cannot fetch one; says why in a line."""


@contextmanager
def running_nginx(*, upstream_port: int, data: Path) -> Iterator[str]:
    """The address of an nginx with `deploy/nginx.conf`, in front of that port and on that data folder. Raises `NginxMissing`."""
    binary = _binary()
    folder = make_folder("nginx")
    try:
        port = free_port()
        (folder / "nginx.conf").write_text(_configuration(port, upstream_port, data, folder))
        process = ServerProcess(
            [
                *(binary, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"),
                *("-g", f"daemon off; pid {folder}/pid; error_log stderr;"),
            ],
            folder=folder,
            stop_signal="TERM",
        )
        try:
            process.wait_until(lambda: _listens(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _configuration(port: int, upstream_port: int, data: Path, folder: Path) -> str:
    """The example with this machine's names in place of its own."""
    text = (_ROOT / "deploy" / "nginx.conf").read_text()
    paths = "".join(f"    {name}_temp_path {folder}/{name};\n" for name in _TEMPORARY)
    for given, ours in {
        "user mediakeep;": f"user {pwd.getpwuid(os.geteuid()).pw_name};",
        "http {\n": f"http {{\n    access_log off;\n{paths}",
        "server 127.0.0.1:8000;": f"server 127.0.0.1:{upstream_port};",
        "listen 80;": f"listen 127.0.0.1:{port};",
        "alias /var/lib/mediakeep/files/;": f"alias {data}/files/;",
    }.items():
        assert text.count(given) == 1, given
        text = text.replace(given, ours)
    return text


def _binary() -> str:
    done = subprocess.run(
        [_ROOT / "tools" / "debian-package", "nginx"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NginxMissing((done.stderr.strip().splitlines() or ["tools/debian-package failed"])[-1])
    return done.stdout.strip()


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
