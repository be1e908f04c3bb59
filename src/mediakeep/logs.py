"""Log lines: JSON for machines or coloured for people, each with the request's id, none with a secret."""

import asyncio
import logging
import re
import sys
import time
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import structlog
from pydantic_core import to_json

from mediakeep.settings import Settings

_SECRET_NAMES = re.compile(r"password|secret|token|authorization|cookie|api_key|signature", re.IGNORECASE)
# Bearer tokens, our API keys, signed URLs and database addresses, wherever a library may have put them into its message.
_SECRET_TEXTS = re.compile(
    r"(?i)(bearer\s+|\bmk_|signature=|password=|://[^:/@\s]*:(?=[^/\s]*@))[A-Za-z0-9._~+/=%!$&'()*,;-]{4,}"
)


def configure_logging(settings: Settings) -> None:
    """Send everything, the libraries' lines too, to standard error in one form.

    Our own lines do not take the way through the standard library's logging, which costs several times as much.
    """
    to_people = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]
    renderer: list[structlog.types.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if to_people
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_to_json)]
    )
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    _access.is_on = level <= logging.INFO
    _access.is_plain = not to_people
    structlog.configure(
        processors=[_add_name, structlog.processors.add_log_level, *shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_NamedLogger,
        cache_logger_on_first_use=True,
    )
    _configure_libraries(
        [structlog.stdlib.add_logger_name, structlog.stdlib.add_log_level, *shared], renderer, level
    )


def log_request(method: str, path: str, status: int, seconds: float, *, request_id: str) -> None:
    """One line about a request. There is one for each, so it takes the shortest way there is."""
    _access.write(method, path, status, round(seconds * 1000, 1), request_id)


class _Access:
    """Writes the lines about requests: for machines without any of structlog's steps, which cost ten times as much.

    What comes within one turn of the event loop is written at its end, all at once.
    """

    def __init__(self) -> None:
        self.is_on = True
        self.is_plain = False
        self._log = structlog.get_logger("mediakeep.access")
        self._lines: list[str] = []

    def write(self, method: str, path: str, status: int, ms: float, request_id: str) -> None:
        if not self.is_on:
            return
        if not self.is_plain:
            self._log.info("request", method=method, path=path, status=status, ms=ms, request_id=request_id)
            return
        now = time.time()
        second = int(now)
        self._lines.append(
            f'{{{_start(method, path)},"status":{status},"ms":{ms},"event":"request",'
            f'"logger":"mediakeep.access","level":"info","request_id":"{request_id}",'
            f'"timestamp":"{_iso_second(second)}.{int((now - second) * 1_000_000):06}Z"}}\n'
        )
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        sys.stderr.write("".join(lines))
        sys.stderr.flush()


def _start(method: str, path: str) -> str:
    # Anybody may ask for any path: what is kept of them has to be small.
    return (
        _named(method, path) if len(path) <= _KEPT_PATH else _named.__wrapped__(method, path[:_LONGEST_PATH])
    )


@lru_cache(maxsize=4096)
def _named(method: str, path: str) -> str:
    """The line's first members, as JSON."""
    return to_json({"method": method, "path": _SECRET_TEXTS.sub(r"\1***", path)}).decode()[1:-1]


@lru_cache(maxsize=2)
def _iso_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


_KEPT_PATH = 200
_LONGEST_PATH = 2000

_access = _Access()


def _configure_libraries(
    processors: list[structlog.types.Processor], renderer: list[structlog.types.Processor], level: int
) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=processors,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers[:] = []
        logging.getLogger(name).propagate = (
            name != "uvicorn.access"
        )  # our own access line has the request's id
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells whole addresses, which may be secrets
    logging.getLogger("uvicorn.error").setLevel(max(level, logging.INFO))


class _NamedLogger(structlog.WriteLogger):
    """Writes to standard error, whichever that is by then, and knows whose lines they are."""

    def __init__(self, name: str = "mediakeep") -> None:
        super().__init__(sys.stderr)
        self.name = name


def _add_name(logger: Any, _: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:  # a _NamedLogger
    event["logger"] = logger.name
    return event


def _to_json(event: Any, **_: Any) -> str:  # structlog hands on whatever was logged
    return to_json(event, fallback=str).decode()


def hide_secrets(_: object, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """A structlog processor: blank the values that must not be kept, by their name or by their look."""
    for name, value in event.items():
        if _SECRET_NAMES.search(name) and value:
            event[name] = "***"
        elif isinstance(value, str):
            event[name] = _SECRET_TEXTS.sub(r"\1***", value)
    return event
