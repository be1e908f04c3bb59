"""Where films are made: one at a time, each in a process of its own that ends with it."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from mediakeep.errors import MediakeepError, Unavailable, UndecodableMedia
from mediakeep.media import local_models, worker
from mediakeep.media.fork_server import Context, fork_server
from mediakeep.media.limits import Limits
from mediakeep.media.local_models import Film

_REFUSALS: dict[str, type[MediakeepError]] = {kind.code: kind for kind in (UndecodableMedia, Unavailable)}

_log = logging.getLogger(__name__)


class FilmPool:
    """Makes films, one at a time, in a process that may take `memory_bytes` beyond its start.

    Not in the decode processes: a film takes seconds to minutes, and on a small machine there is one of those, for
    which uploads wait. Not more than one in each server process: a film uses a whole core. It runs at the lowest
    priority there is, so that decoding and answering go first by the kernel's own means. While nobody wants a film
    nothing of it is there.
    """

    def __init__(self, *, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._turn = asyncio.Lock()
        self._context = Context()

    @property
    def is_busy(self) -> bool:
        """Whether a film that is asked for now would have to wait."""
        return self._turn.locked()

    async def render(
        self,
        film: Film,
        pictures: Sequence[Path],
        target: Path,
        *,
        limits: Limits,
        on_progress: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Make the film of these files, which are its `images`, at `target`, once it is its turn. Paths are absolute.

        `on_progress` is told the share that is done, in hundredths, growing, 1 at the end. Raises `UndecodableMedia`,
        also when it takes longer than `local_models.timeout_seconds` (waiting does not count) or the process dies, and
        `Unavailable` where the film cannot be written. Cancelling the caller ends the process. Whatever is raised,
        nothing is left at `target`.
        """
        seconds = local_models.timeout_seconds(film)
        async with self._turn:
            told, teller = self._context.Pipe(duplex=False)
            child = _Child(
                self._context.Process(
                    target=worker.make_film,
                    args=(film.rendering([str(path) for path in pictures]), teller),
                    kwargs={
                        "memory_bytes": self._memory_bytes,
                        "timeout_seconds": seconds,
                        "target": str(target),
                        "limits": limits,
                    },
                    daemon=True,
                ),
                teller,
                target,
            )
            async with _running(child, told) as lines:
                try:
                    async with asyncio.timeout(seconds):
                        await _follow(lines, on_progress)
                except TimeoutError as error:
                    raise UndecodableMedia(f"Making the film took longer than {seconds:g} s.") from error
                child.keep_target()


class _Child:
    """A film's process: started and ended in threads, since both block, in whatever order those come to it."""

    def __init__(self, process: Any, teller: Connection, target: Path) -> None:
        self._process = process  # multiprocessing's, which differs with the way it is started
        self._teller = teller
        self._target = target
        self._keeps_target = False
        self._uses_fork_server = False
        self._is_over = False
        self._lock = threading.Lock()

    def start(self) -> None:
        with self._lock:
            if self._is_over:
                return
            fork_server.enter()
            self._uses_fork_server = True
            self._process.start()
            self._teller.close()  # else the pipe would not end with the process

    def keep_target(self) -> None:
        self._keeps_target = True

    def discard_target(self) -> None:
        self._keeps_target = False
        self._target.unlink(missing_ok=True)

    def end(self) -> None:
        with self._lock:
            self._is_over = True
            if self._process.pid is not None:
                self._process.kill()
                self._process.join()
            if self._uses_fork_server:
                fork_server.leave()
            self._teller.close()
            if not self._keeps_target:
                self.discard_target()


@asynccontextmanager
async def _running(child: _Child, told: Connection) -> AsyncIterator[asyncio.StreamReader]:
    """The lines that a process tells while the block runs; it has ended when the block has, however that ends."""
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), told)
    try:
        await _start(child)
        yield lines
    finally:
        transport.close()
        try:
            await asyncio.shield(asyncio.to_thread(child.end))
        except asyncio.CancelledError:
            child.discard_target()
            raise


async def _start(child: _Child) -> None:
    try:
        await asyncio.to_thread(child.start)
    except (OSError, EOFError) as error:  # too many open files, say, or the fork server was killed just now
        raise Unavailable("The film cannot be begun.") from error


async def _follow(lines: asyncio.StreamReader, on_progress: Callable[[float], None]) -> None:
    """Pass progress on until the film is made."""
    done = 0.0
    async for message in _messages(lines):
        if "done" in message:
            on_progress(1.0)
            return
        if "refused" in message:
            refusal = _REFUSALS.get(str(message["refused"]), UndecodableMedia)
            raise refusal(str(message.get("detail")))
        if "fault" in message:
            _log.error("a film failed unexpectedly", extra={"traceback": str(message["fault"])})
            raise UndecodableMedia("The film could not be made.")
        share = message.get("progress")
        if isinstance(share, float) and done < share < 1:
            done = share
            on_progress(share)
    _log.warning("a film's process died")
    raise UndecodableMedia("The film could not be made: its process stopped.")


async def _messages(lines: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """Until the process has ended or tells nonsense: it has opened files that nobody has checked."""
    with suppress(ValueError):
        async for line in lines:
            message = from_json(line)
            if isinstance(message, dict):
                yield message
