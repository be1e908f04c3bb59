"""Server processes that end with the tests, however those end, and leave no folder behind."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# Waits for the server and for the end of its own standard input, which is the end of the process that holds the pipe.
_KEEPER = """
folder=$1; signal=$2; shift 2
"$@" < /dev/null > "$folder/log" 2>&1 &
server=$!
cat
kill -s "$signal" "$server" 2> /dev/null
wait "$server"
rm -rf "$folder"
"""


def make_folder(name: str, parent: Path | None = None) -> Path:
    """A new folder for a server's data, outside pytest's own, which other accounts may not enter."""
    return Path(tempfile.mkdtemp(prefix=f"mediakeep-{name}-", dir=parent or find_memory(2 << 30)))


def find_memory(size: int) -> Path | None:
    """A file system in memory with room for `size` bytes, if there is one: what tests write is not kept anyway."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or os.statvfs(memory).f_flag & (os.ST_NOEXEC | os.ST_RDONLY):
        return None
    return memory if shutil.disk_usage(memory).free >= size else None


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class ServerProcess:
    """A server with its folder, which is removed after it; its output is in the folder's `log`."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        folder: Path,
        stop_signal: str,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "sh", folder, stop_signal, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # ^C is for pytest, which then stops its servers
            **as_user(user),
        )

    def wait_until(self, ready: Callable[[], bool], *, timeout_seconds: float = 30) -> None:
        """Return once `ready` says so. Raises `RuntimeError` with the server's output if that does not happen."""
        deadline = time.monotonic() + timeout_seconds
        while not ready():
            if time.monotonic() > deadline:
                output = self.output()
                self.stop()
                raise RuntimeError(f"The server did not start:\n{output}")
            time.sleep(0.02)

    def output(self) -> str:
        log = self.folder / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    def stop(self) -> None:
        if self._keeper.stdin:
            self._keeper.stdin.close()
        try:
            self._keeper.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(self._keeper.pid, 9)
            self._keeper.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def as_user(user: str | None) -> dict[str, object]:
    """The arguments of `subprocess` that run a command under another account."""
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
