"""What happens inside a decode process: locked in first, then one job after another.

Imported by the fork server before any job, so that a new process has all libraries already.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from mediakeep.errors import MediakeepError, UndecodableMedia
from mediakeep.media import films, picture, probe, render  # noqa: F401 the jobs, imported for every process at once

if sys.platform != "win32":
    import resource

_OPEN_FILES = 128
# The server answers first, pictures are made in what is left.
_NICENESS = 5
# Films are made in what is left of that: beside a busy decoder they get a twentieth of a core.
_FILM_NICENESS = 19
# Twice what the largest film may take.
_FILM_BYTES = 512 << 20


class DecoderFaultError(Exception):
    """A library raised what no code of ours expects; the text is its traceback, for the log only."""


def lock_in(memory_bytes: int, *, file_bytes: int = 0, niceness: int = _NICENESS) -> None:
    """Take away what a decoder has no use for. `memory_bytes` come on top of what the process has now; `file_bytes` is
    how large a file it may write.
    """
    _end_with_server()
    _leave_folder()
    os.nice(niceness)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, file_bytes)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if sys.platform == "linux":  # elsewhere an address space limit has no effect, or is refused
        _limit(resource.RLIMIT_AS, _address_space() + memory_bytes)


def execute(function: Callable[..., Any], args: tuple[Any, ...], timeout_seconds: float) -> Any:
    """Run one job. The alarm stops a process that its server should have stopped a second before, and did not."""
    signal.setitimer(signal.ITIMER_REAL, timeout_seconds + 1)
    try:
        return function(*args)
    except MediakeepError:
        raise
    except MemoryError:
        raise UndecodableMedia("Decoding the file takes more memory than is allowed.") from None
    except Exception:  # noqa: BLE001 a library's own exception may not survive pickling, which would end the whole pool
        raise DecoderFaultError(traceback.format_exc()) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def make_film(
    rendering: Callable[..., None],
    told: Connection,
    *,
    memory_bytes: int,
    timeout_seconds: float,
    **arguments: Any,
) -> None:
    """All that a film's process does: make one, and tell how it goes, a line of JSON each: `{"progress": 0.31}` for each
    hundredth, at last `{"done": true}`, or `{"refused": code, "detail": sentence}`, or `{"fault": traceback}`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends us
    lock_in(memory_bytes, file_bytes=_FILM_BYTES, niceness=_FILM_NICENESS)
    os.umask(0o077)
    progress = _Progress(told)
    try:
        execute(partial(rendering, report=progress, **arguments), (), timeout_seconds)
    except MediakeepError as error:
        _tell(told, refused=error.code, detail=error.detail)
    except DecoderFaultError as error:
        _tell(told, fault=str(error))
    else:
        _tell(told, done=True)


class _Progress:
    def __init__(self, told: Connection) -> None:
        self._told = told
        self._hundredths = 0

    def __call__(self, share: float) -> None:
        if self._hundredths < int(share * 100) < 100:
            self._hundredths = int(share * 100)
            _tell(self._told, progress=self._hundredths / 100)


def _tell(told: Connection, **message: object) -> None:
    os.write(told.fileno(), json.dumps(message).encode() + b"\n")


def _end_with_server() -> None:
    """A killed server ends no process: the fork server lives on while one of its children does. So each watches."""
    server = multiprocessing.parent_process()
    if server is None:  # not a child of the pool: a test calls us
        return
    threading.Thread(target=_watch, args=(server,), daemon=True, name="watch").start()


def _watch(server: BaseProcess) -> None:
    server.join()
    os._exit(1)


def _leave_folder() -> None:
    """Stand in a folder that is gone: no relative name finds or makes a file."""
    folder = tempfile.mkdtemp(prefix="mediakeep-")
    os.chdir(folder)
    Path(folder).rmdir()


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(ValueError):  # macOS refuses some
        resource.setrlimit(kind, (allowed, allowed))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
