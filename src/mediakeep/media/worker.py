"""What happens inside a decode process: locked in first, then one job after another.

Imported by the fork server before any job, so that a new process has all libraries already.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from mediakeep.errors import MediakeepError, UndecodableMedia
from mediakeep.media import picture, probe, render  # noqa: F401 the jobs, imported for every process at once

if sys.platform != "win32":
    import resource

_OPEN_FILES = 128
# The server answers first, pictures are made in what is left.
_NICENESS = 5


class DecoderFaultError(Exception):
    """A library raised what no code of ours expects; the text is its traceback, for the log only."""


def lock_in(memory_bytes: int) -> None:
    """Take away what a decoder has no use for. `memory_bytes` come on top of what the process has now."""
    _end_with_server()
    _leave_folder()
    os.nice(_NICENESS)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
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
