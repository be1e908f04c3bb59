"""Reading `multipart/form-data` (RFC 7578) from the stream: one file straight to disk, small fields to memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)
from starlette.requests import Request

from mediakeep.errors import BadRequest, InvalidInput
from mediakeep.files.policy import Policy
from mediakeep.files.receive import Received, Receiver, receiving
from mediakeep.media.formats import Format

MAX_PARTS: Final = 100
MAX_FIELD_BYTES: Final = 64 << 10
#: File names may have 4,000 characters of four bytes each, and more headers than RFC 7578 asks for do no harm.
MAX_HEADER_BYTES: Final = 32 << 10
#: What a body may hold besides its file: fields, headers, boundaries.
OVERHEAD_BYTES: Final = 1 << 20


@dataclass(kw_only=True)
class Form:
    """A form's file and fields. `file_name` and `media_type` are as the client declared them."""

    received: Received | None = None
    #: What the file is by its first bytes, once those are there.
    format: Format | None = None
    file_name: str = ""
    media_type: str | None = None
    fields: dict[str, list[str]] = field(default_factory=dict)

    def one(self, name: str) -> str | None:
        """The last value of a field; None where it is absent or empty."""
        return self.fields.get(name, [""])[-1].strip() or None


@asynccontextmanager
async def receive_form(request: Request, scratch: Path, *, policy: Policy) -> AsyncIterator[Form]:
    """The form of an upload. Its file lies in `scratch` until the block ends.

    Raises what `policy` raises on a file of the wrong type or size, as soon as that is known; `InvalidInput` for a
    body that is no such form, `BadRequest` for a malformed one.
    """
    boundary = _boundary(request)
    declared = request.headers.get("content-length", "")
    least = int(declared) - OVERHEAD_BYTES if declared.isdigit() else 0
    if not policy.family_max_bytes:  # otherwise the first bytes say which limit it is
        policy.check_size(least)
    form = Form()

    def check_head(head: bytes) -> None:
        form.format = policy.check_type(head, file_name=form.file_name, declared=form.media_type)
        policy.check_size(least, form.format)

    async with receiving(
        scratch, on_size=lambda size: policy.check_size(size, form.format), on_head=check_head
    ) as receiver:
        await _FormReader(form, receiver, boundary, policy).read(request)
        if form.received is None:
            raise InvalidInput("The form has no file part named 'file'.", field="file")
        if form.received.size == 0:
            raise BadRequest("The file is empty.")
        yield form


async def receive_fields(request: Request) -> dict[str, str]:
    """The fields of a form without files, of either encoding; of each its last value.

    Raises `InvalidInput` for a body that is no such form.
    """
    kind, options = _content_type(request)
    body = await request.body()
    try:
        if kind == "multipart/form-data":
            return _parse_fields(body, options.get("boundary", ""))
        return dict(
            parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_PARTS, errors="strict")
        )
    except (MultipartError, ValueError) as error:
        raise InvalidInput("The form cannot be read.", field="body") from error


def _parse_fields(body: bytes, boundary: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name, value = "", bytearray()
    with PushMultipartParser(boundary, max_segment_count=MAX_PARTS) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                name, value = event.name or "", bytearray()
                if event.filename is not None:
                    raise InvalidInput("This form takes no file.", field=name or "file")
            elif event is None:
                fields[name] = value.decode()
            else:
                value += event
    return fields


def _boundary(request: Request) -> str:
    kind, options = _content_type(request)
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise InvalidInput("The body must be multipart/form-data with a part named 'file'.", field="file")
    return str(options["boundary"])


def _content_type(request: Request) -> tuple[str, dict[str, str]]:
    kind, options = parse_options_header(request.headers.get("content-type", ""))  # type: ignore[no-untyped-call]  # has no annotations
    return str(kind), options


class _FormReader:
    def __init__(self, form: Form, receiver: Receiver, boundary: str, policy: Policy) -> None:
        self.form = form
        self.policy = policy
        self.receiver = receiver
        self.boundary = boundary
        self.part: MultipartSegment | None = None
        self.value = bytearray()

    async def read(self, request: Request) -> None:
        try:
            parser = PushMultipartParser(
                self.boundary,
                max_header_size=MAX_HEADER_BYTES,
                max_header_count=16,
                max_segment_count=MAX_PARTS,
            )
            with parser:
                size = 0
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > self.policy.max_bytes + OVERHEAD_BYTES:
                        raise self.policy.too_large(self.form.format)
                    if chunk and not parser.closed:
                        for event in parser.parse(bytes(chunk)):
                            await self._take(event)
        except ParserLimitReached as error:
            raise BadRequest(
                f"The form is too large: at most {MAX_PARTS} parts with headers of {MAX_HEADER_BYTES} bytes."
            ) from error
        except MultipartError as error:
            raise BadRequest("The multipart body is malformed or ends too early.") from error

    async def _take(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        if isinstance(event, MultipartSegment):
            self._begin(event)
        elif event is None:
            await self._end()
        elif self._is_file:
            await self.receiver.write(bytes(event))
        else:
            self.value += event
            if len(self.value) > MAX_FIELD_BYTES:
                raise InvalidInput(f"A form field has at most {MAX_FIELD_BYTES} bytes.", field=self._name)

    @property
    def _name(self) -> str:
        return (self.part.name if self.part else None) or ""

    @property
    def _is_file(self) -> bool:
        return self._name == "file"

    def _begin(self, part: MultipartSegment) -> None:
        self.part = part
        self.value.clear()
        if not self._is_file:
            if part.filename is not None:
                raise InvalidInput("The file part must be named 'file'.", field=self._name or "file")
            return
        if self.form.received is not None:
            raise InvalidInput("The form must have exactly one file part.", field="file")
        self.form.file_name = part.filename or ""
        self.form.media_type = part.content_type

    async def _end(self) -> None:
        if self._is_file:
            self.form.received = await self.receiver.finish()
            return
        try:
            text = self.value.decode()
        except UnicodeDecodeError as error:
            raise InvalidInput("A form field must be UTF-8.", field=self._name) from error
        self.form.fields.setdefault(self._name, []).append(text)
