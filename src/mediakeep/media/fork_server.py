"""Processes for what opens uploaded bytes: forked from one that has the libraries, and nothing of the server's."""

import multiprocessing.forkserver as stdlib_forkserver
import os
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, ForkServerProcess
from types import ModuleType
from typing import Any

#: What the fork server imports, so that its children need not.
_PRELOADED = "mediakeep.media.pool"

# Nothing of the server's own environment, which holds its secrets.
_KEPT_VARIABLES = ("PATH", "LANG", "TMPDIR")
_VARIABLES = {
    "VIPS_CONCURRENCY": "1",
    "VIPS_BLOCK_UNTRUSTED": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONDONTWRITEBYTECODE": "1",
}

# What follows changes things of the whole process for a moment: one thread at a time.
_changing = threading.Lock()


class _Process(ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 multiprocessing's name
        with _changing, _bare_main():
            _ensure_running()
            return ForkServerProcess._Popen(process_obj)  # noqa: SLF001


class Context(ForkServerContext):
    """multiprocessing's way to start a process, for pebble and for us."""

    Process = _Process


class _ForkServer:
    """Python's one fork server of this process, ended with the last who uses it."""

    def __init__(self) -> None:
        self._users = 0

    def enter(self) -> None:
        with _changing:
            _ensure_running()
            self._users += 1

    def leave(self) -> None:
        with _changing:
            self._users -= 1
            if not self._users:
                # Python itself ends it only with the whole process.
                stdlib_forkserver._forkserver._stop()  # type: ignore[attr-defined]  # noqa: SLF001


fork_server = _ForkServer()


def _ensure_running() -> None:
    """Python starts it anew by itself where somebody has killed it, with the environment that it then finds."""
    if not _is_running():
        with _scrubbed_environment():
            stdlib_forkserver.set_forkserver_preload([_PRELOADED])
            stdlib_forkserver.ensure_running()


def _is_running() -> bool:
    pipe = stdlib_forkserver._forkserver._forkserver_alive_fd  # type: ignore[attr-defined]  # noqa: SLF001
    if pipe is None:
        return False
    poll = select.poll()
    poll.register(pipe, 0)
    return not poll.poll(0)  # only the fork server reads from it; without a reader it is in error


@contextmanager
def _bare_main() -> Iterator[None]:
    """An empty `__main__` while a process starts: it would import the server's own, with all its libraries."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _scrubbed_environment() -> Iterator[None]:
    """The fork server takes the environment it finds; there is no way to give it another."""
    whole = dict(os.environ)
    kept = {name: whole[name] for name in _KEPT_VARIABLES if name in whole}
    try:
        os.environ.clear()
        os.environ.update(kept | _VARIABLES)
        yield
    finally:
        os.environ.clear()
        os.environ.update(whole)
