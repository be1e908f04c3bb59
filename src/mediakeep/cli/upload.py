"""`mediakeep upload`: files and folders sent to a server, several at a time, straight from disk."""

import asyncio
import io
import json
import os
import random
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast
from uuid import uuid4

import click
import httpx
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential_jitter

from mediakeep import __version__
from mediakeep.errors import MediakeepError

#: Answers after which the same request may succeed.
_PASSING = frozenset({429, 502, 503, 504})

#: Refusals that every further file would meet, too: of the key, or of the client or campaign.
_FINAL = frozenset({401, 403, 404})

_ATTEMPTS = 8
_LONGEST_WAIT_SECONDS = 300

#: Reading waits for the server's decoders, which take their time over a long film.
_TIMEOUT = httpx.Timeout(30, read=300)

_back_off = wait_exponential_jitter(multiplier=0.5, max=30, jitter=1)


def _check_url(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        url = httpx.URL(value.strip())
    except httpx.InvalidURL as error:
        raise click.BadParameter(str(error)) from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise click.BadParameter("it must be an http or https address")
    return str(url).rstrip("/")


def _check_key(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    key = value.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise click.BadParameter("it must be an API key as `mediakeep key create` prints it")
    return key


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--client", "client_id", help="Id of the client that they belong to.")
@click.option("--campaign", "campaign_id", help="Id of the campaign that they belong to.")
@click.option("--tag", "tags", multiple=True, help="A tag for all of them; may be repeated.")
@click.option("--private", is_flag=True, help="Only their owner, or a signed URL, may see them.")
@click.option(
    "-j", "--jobs", type=click.IntRange(1, 64), default=4, show_default=True, help="Uploads at a time."
)
@click.option("--json", "as_json", is_flag=True, help="Print each asset as one line of JSON.")
@click.option(
    "--url",
    envvar="MEDIAKEEP_URL",
    show_envvar=True,
    default="http://localhost:8000",
    show_default=True,
    callback=_check_url,
    help="Address of the server.",
)
@click.option(
    "--key",
    envvar="MEDIAKEEP_API_KEY",
    show_envvar=True,
    required=True,
    callback=_check_key,
    help="API key; other users of this machine can read it unless it comes from the variable.",
)
def upload(
    paths: tuple[Path, ...],
    *,
    client_id: str | None,
    campaign_id: str | None,
    tags: tuple[str, ...],
    private: bool,
    jobs: int,
    as_json: bool,
    url: str,
    key: str,
) -> None:
    """Upload files, and what is in folders, to a server.

    Hidden files in a folder are left out, and links to other folders. Where the server is busy or does not answer, an
    upload is tried again, and becomes one asset however often. Exit code 0 where all went up, 1 where some did not.
    """
    fields = {
        "clientId": client_id,
        "campaignId": campaign_id,
        "tags": json.dumps(tags) if tags else None,
        "visibility": "private" if private else None,
    }
    sent = {name: value for name, value in fields.items() if value}
    with _Report(as_json=as_json) as report:
        try:
            asyncio.run(_upload(paths, fields=sent, jobs=jobs, url=url, key=key, report=report))
        except KeyboardInterrupt:
            report.interrupted = True
    sys.exit(report.exit_code)


class _CannotGoOn(MediakeepError):
    """What is wrong is not wrong with one file."""


@dataclass(frozen=True)
class _LocalFile:
    path: Path
    size: int


class _SteadyFile(io.FileIO):
    """A file that has to keep the size that it had when it was opened: the request has announced it by then."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._announced = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(-1 if size is None else size) or b""
        at = self.tell()
        if at > self._announced or (not chunk and at < self._announced):
            raise OSError("It changed while it was read")
        return chunk


class _Report:
    """What the user sees: bars on a terminal, lines elsewhere; and what became of the files."""

    def __init__(self, *, as_json: bool) -> None:
        self.interrupted = False
        self._as_json = as_json
        self._found = self._sent = self._sent_bytes = self._failed = 0
        self._errors = Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=self._errors,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not sys.stderr.isatty(),
        )
        self._all = self._bars.add_task("", total=0, visible=False)

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return 130
        return 1 if self._sent < self._found else 0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        if kind is None or self._found:
            self._errors.print(self._summary())

    def _summary(self) -> str:
        stopped = "Stopped. " if self.interrupted else ""
        failed = f"; {self._failed} failed" if self._failed else ""
        return (
            f"{stopped}Uploaded {self._sent} of {_count(self._found)} ({decimal(self._sent_bytes)}){failed}."
        )

    def found(self, files: list[_LocalFile]) -> None:
        self._found += len(files)
        self._bars.update(self._all, total=sum(file.size for file in files), visible=len(files) > 1)
        self._show_all()

    def not_readable(self, path: Path, why: str) -> None:
        self._found += 1
        self.failed(path, why)

    @contextmanager
    def reading(self, file: _LocalFile) -> Iterator[BinaryIO]:
        """The content of a file, whose bar moves on as it is read. Raises `OSError`."""
        with _SteadyFile(file.path) as content:
            bar = self._bars.add_task(_shown(file.path), total=file.size)
            try:
                yield self._bars.wrap_file(cast("BinaryIO", content), total=file.size, task_id=bar)
            finally:
                self._bars.remove_task(bar)
                self._bars.advance(self._all, file.size)

    def sent(self, file: _LocalFile, asset: dict[str, Any]) -> None:
        self._sent += 1
        self._sent_bytes += file.size
        self._show_all()
        self._say(json.dumps(asset) if self._as_json else f"Uploaded {_shown(file.path)}: {asset['url']}")

    def failed(self, path: Path, why: str) -> None:
        self._failed += 1
        self._errors.print(f"{_shown(path)}: {why}")

    def waiting(self, path: Path, why: str, seconds: float) -> None:
        self._errors.print(f"{_shown(path)}: {why.rstrip('.')}; trying again in {seconds:.0f} s.")

    def _say(self, line: str) -> None:
        if self._bars.live.is_started and sys.stdout.isatty():
            self._errors.print(line)  # above the bars of the same screen, not through them
        else:
            click.echo(line)

    def _show_all(self) -> None:
        self._bars.update(self._all, description=f"{self._sent} of {_count(self._found)}")


async def _upload(
    paths: tuple[Path, ...], *, fields: dict[str, str], jobs: int, url: str, key: str, report: _Report
) -> None:
    """Send all files, `jobs` at a time. Raises `_CannotGoOn`."""
    headers = {"Authorization": f"Bearer {key}", "User-Agent": f"mediakeep/{__version__}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT) as client:
        await _greet(client)
        files = list(_find_files(paths, report.not_readable))
        report.found(files)
        waiting = iter(files)

        async def work() -> None:
            for file in waiting:
                await _send(client, file, fields, report)

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(jobs, len(files))):
                    workers.create_task(work())
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None


async def _greet(client: httpx.AsyncClient) -> None:
    """See whether the server is there and knows the key, before the first file is read. Raises `_CannotGoOn`."""
    address = str(client.base_url).rstrip("/")
    try:
        answer = await client.get("/api/v2/auth/me")
    except httpx.RequestError as error:
        raise _CannotGoOn(_sentence(error)) from error
    if answer.status_code == 401:
        raise _CannotGoOn(f"The server at {address} does not know this key.")
    if answer.is_server_error:
        raise _CannotGoOn(_detail(answer) or f"The server at {address} answers {_status(answer)}.")
    if not answer.is_success or "json" not in answer.headers.get("content-type", ""):
        raise _CannotGoOn(f"{address} is no Mediakeep server: it answers {_status(answer)}.")


def _find_files(paths: tuple[Path, ...], not_readable: Callable[[Path, str], None]) -> Iterator[_LocalFile]:
    """The files at these paths and in these folders, each once, whatever links lead to it."""
    seen: set[str] = set()

    def refuse(error: OSError) -> None:
        not_readable(Path(error.filename), _reason(error))

    for path in _walk(paths, refuse):
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        try:
            found = path.stat()
        except OSError as error:
            refuse(error)
            continue
        if stat.S_ISREG(found.st_mode):
            yield _LocalFile(path, found.st_size)
        elif not path.is_dir():
            not_readable(path, "It is not a file.")


def _walk(paths: tuple[Path, ...], refuse: Callable[[OSError], None]) -> Iterator[Path]:
    """The paths, with folders replaced by what is in them; links to folders are not followed, which may be loops."""
    for given in paths:
        if not given.is_dir():
            yield given
            continue
        for folder, folders, names in os.walk(given, onerror=refuse):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


async def _send(client: httpx.AsyncClient, file: _LocalFile, fields: dict[str, str], report: _Report) -> None:
    """Send a file, again where that may help. Raises `_CannotGoOn` where no other file would fare better."""
    try:
        with report.reading(file) as content:
            asset: dict[str, Any] = await _retrying(file.path, report)(
                _post, client, file.path, content, fields, str(uuid4())
            )
    except OSError as error:
        report.failed(file.path, _reason(error))
    except (httpx.HTTPStatusError, httpx.RequestError) as error:
        status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else 0
        if status in _FINAL or isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            raise _CannotGoOn(_sentence(error)) from error
        report.failed(file.path, _sentence(error))
    else:
        report.sent(file, asset)


async def _post(
    client: httpx.AsyncClient, path: Path, content: BinaryIO, fields: dict[str, str], idempotency_key: str
) -> dict[str, Any]:
    # No type is declared: the server looks at the content, and machines differ in what they call an extension.
    part = (os.fsencode(path.name).decode(errors="replace"), content, "application/octet-stream")
    headers = {"Idempotency-Key": idempotency_key}
    answer = await client.post("/api/v2/upload-asset", files={"file": part}, data=fields, headers=headers)
    answer.raise_for_status()
    return dict(answer.json())


def _retrying(path: Path, report: _Report) -> AsyncRetrying:
    def say(state: RetryCallState) -> None:
        report.waiting(path, _sentence(_error_of(state)), state.upcoming_sleep)

    return AsyncRetrying(
        retry=retry_if_exception(_may_pass),
        stop=_is_enough,
        wait=_wait_seconds,
        before_sleep=say,
        reraise=True,
    )


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        asked = _retry_after_seconds(error.response) or 0
        return error.response.status_code in _PASSING and asked <= _LONGEST_WAIT_SECONDS
    return isinstance(error, httpx.TransportError)


def _is_enough(state: RetryCallState) -> bool:
    """Whether to give up. A server that counts uploads is well, and says itself when it takes the next one."""
    error = _error_of(state)
    is_counted = isinstance(error, httpx.HTTPStatusError) and error.response.status_code == 429
    return state.attempt_number >= _ATTEMPTS and not is_counted


def _wait_seconds(state: RetryCallState) -> float:
    """As long as the server asks for, else longer from time to time; never the same for all uploads."""
    error = _error_of(state)
    asked = _retry_after_seconds(error.response) if isinstance(error, httpx.HTTPStatusError) else None
    return _back_off(state) if asked is None else asked + random.random()  # noqa: S311 no secret


def _retry_after_seconds(answer: httpx.Response) -> float | None:
    """What `Retry-After` says, in seconds or as a date (RFC 9110 §10.2.3); None where it says nothing."""
    given = answer.headers.get("retry-after", "").strip()
    if given.isascii() and given.isdigit():
        return float(given)
    try:
        at = parsedate_to_datetime(given)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _error_of(state: RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome else None
    assert error is not None
    return error


def _sentence(error: BaseException) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return _detail(error.response) or f"The server answers {_status(error.response)}."
    assert isinstance(error, httpx.RequestError)
    server = f"server at {error.request.url.scheme}://{error.request.url.netloc.decode()}"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return f"Cannot reach the {server} ({str(error).rstrip('.') or 'it does not answer'})."
    if isinstance(error, httpx.TimeoutException):
        return f"The {server} did not answer in time."
    return f"The connection to the {server} broke off."


def _status(answer: httpx.Response) -> str:
    return f"{answer.status_code} {answer.reason_phrase}".rstrip()


def _detail(answer: httpx.Response) -> str:
    """The sentence of a problem document (RFC 9457); empty where the answer is none."""
    try:
        document = answer.json()
    except ValueError:
        return ""
    detail = document.get("detail") if isinstance(document, dict) else None
    return _in_one_line(detail) if isinstance(detail, str) else ""


def _reason(error: OSError) -> str:
    return f"{error.strerror or error}."


def _count(files: int) -> str:
    return "1 file" if files == 1 else f"{files} files"


def _shown(path: Path) -> str:
    return _in_one_line(click.format_filename(path))


def _in_one_line(text: str) -> str:
    """Without what would move the cursor."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
