"""What all upload doors share: authorised and limited before the first byte is read, then straight to disk."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import ClientDisconnect

from mediakeep import assets, metrics
from mediakeep.accounts import idempotency, limits
from mediakeep.accounts.actor import Actor
from mediakeep.assets.queries import Shape
from mediakeep.assets.service import NewAsset
from mediakeep.assets.text import MAX_NAME_LENGTH, check_name, check_tags, clean_file_name
from mediakeep.collections.service import Belonging
from mediakeep.errors import Conflict, InvalidInput, MediakeepError
from mediakeep.files.ingest import Ingested, ingest
from mediakeep.files.policy import Policy
from mediakeep.files.receive import Received
from mediakeep.http.auth import WriteActor, library_of
from mediakeep.http.base_url import told
from mediakeep.http.multipart import Form, receive_form
from mediakeep.library import Library

#: The names of an upload form's fields for where its asset belongs.
_BELONGING = {
    "client_id": "clientId",
    "campaign_id": "campaignId",
    "persona_id": "personaId",
    "project_id": "projectId",
}

#: The header of an upload that may be sent again, for OpenAPI.
IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": idempotency.MAX_KEY_LENGTH,
        "pattern": "^[\\x20-\\x7e]+$",
    },
    "description": "The same key and request within a day give the same answer, and one asset.",
}

#: The form of an upload, for OpenAPI, which FastAPI cannot tell from a route that reads its own stream.
UPLOAD_BODY: dict[str, Any] = {
    "parameters": [IDEMPOTENCY_KEY],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "name": {
                            "type": "string",
                            "maxLength": MAX_NAME_LENGTH,
                            "description": "Display name; else the file's name.",
                        },
                        **{name: {"type": "string"} for name in _BELONGING.values()},
                        "tags": {
                            "type": "string",
                            "description": "A JSON array, or words separated by commas; may be repeated.",
                        },
                        "visibility": {"type": "string", "enum": ["public", "private"]},
                    },
                }
            }
        },
    },
}


_WINDOW = {
    "RateLimit-Limit": ("Uploads that one may start in any minute.", 10),
    "RateLimit-Remaining": ("How many of them are left.", 9),
    "RateLimit-Reset": ("Seconds until there is one more.", 60),
}

#: What `rate_limit_headers` gives where there is a limit, for OpenAPI.
RATE_LIMIT_HEADERS: dict[str, Any] = {
    name: {"description": description, "schema": {"type": "integer"}, "example": example}
    for name, (description, example) in _WINDOW.items()
}


async def _count(request: Request, actor: WriteActor) -> limits.Window:
    limit = library_of(request).settings.uploads_per_minute
    return await _hit(request, actor, limit=limit, bucket=f"upload:user:{actor.user_id}")


async def _count_other(request: Request, actor: WriteActor) -> limits.Window:
    limit = library_of(request).settings.other_uploads_per_minute
    return await _hit(request, actor, limit=limit, bucket=f"other-upload:user:{actor.user_id}")


async def _hit(request: Request, actor: Actor, *, limit: int, bucket: str) -> limits.Window:
    """Count an upload against the caller's limit: the key's own, else this one. Raises `RateLimited`."""
    library = library_of(request)
    if actor.uploads_per_minute is not None:
        limit, bucket = actor.uploads_per_minute, f"upload:key:{actor.api_key_id}"
    if not limit:
        return limits.Window(limit=0, remaining=0, reset_seconds=0, allowed=True)
    async with library.database.write() as session:
        window = await limits.hit(session, bucket, limit=limit)
    window.require()
    return window


#: A dependency that counts the request as an upload, before its body is read.
Counted = Annotated[limits.Window, Depends(_count, scope="function")]

#: The same for the doors that share a wider limit.
OtherCounted = Annotated[limits.Window, Depends(_count_other, scope="function")]

#: Makes of a stored content what the door makes of it, in the transaction that it is given; returns the answer, JSON.
Record = Callable[[AsyncSession, Ingested, Form], Awaitable[str]]


async def take_upload(
    request: Request,
    actor: Actor,
    policy: Policy,
    shape: Shape,
    *,
    belonging: dict[str, str] | None = None,
) -> str:
    """Receive a form, store its file and make an asset of it; returns that as JSON once all of it is safe.

    `belonging` says where the asset belongs besides what the form says. Raises what `store_upload` does, and what the
    asset's collections give reason to.
    """
    described: dict[str, Any] = {}

    def check(form: Form) -> None:
        described.update(_describe(form, library_of(request).settings.default_visibility, belonging or {}))

    async def record(session: AsyncSession, content: Ingested, _form: Form) -> str:
        file = await content.record(session, owner_id=actor.user_id)
        new = NewAsset(type=content.family, metadata=content.told, **described)
        asset_id = await assets.service.create(session, actor, new, file=file)
        return await assets.queries.show(session, actor, asset_id, shape=shape, told=told(request))

    return await store_upload(request, actor, policy, record, check=check)


async def store_upload(
    request: Request,
    actor: Actor,
    policy: Policy,
    record: Record,
    *,
    check: Callable[[Form], object] | None = None,
) -> str:
    """Receive a form, store its file and have `record` make something of it; returns its answer once all is safe.

    `check` may refuse the form before its file is opened. A request that was carried out under the same
    `Idempotency-Key` gives the answer that it gave then. Raises what the policy, the form and the content give reason to.
    """
    library = library_of(request)
    key = idempotency.check_key(request.headers.get("idempotency-key"))
    async with (
        _counted() as upload,
        receive_form(request, library.store.scratch, policy=policy) as form,
    ):
        if check:
            check(form)
        assert form.received is not None
        upload.received_bytes = form.received.size
        asked = idempotency.fingerprint(request.url.path, form.received.sha256, form.file_name, form.fields)
        try:
            if key:
                await _raise_if_repeated(library, actor, key, asked)
            async with (
                _ingested(library, policy, form.received) as content,
                _not_with_itself(library, actor, key, asked),
                library.database.write() as session,
            ):
                shown = await record(session, content, form)
                if key:
                    await idempotency.record(session, actor.user_id, key, asked, shown)
        except idempotency.Repeated as repeated:
            upload.outcome = "repeated"
            return repeated.answer
    return shown


@asynccontextmanager
async def _ingested(library: Library, policy: Policy, received: Received) -> AsyncIterator[Ingested]:
    """As `ingest`. Raises the door's refusal where only the whole content tells that it is none of its types."""
    async with ingest(library, received) as content:
        policy.check_family(content.family, content.format)
        yield content


@dataclass(kw_only=True)
class _Upload:
    outcome: str = "stored"
    received_bytes: int = 0


@asynccontextmanager
async def _counted() -> AsyncIterator[_Upload]:
    """Counts an upload in the metrics, by how the block ends."""
    upload = _Upload()
    try:
        yield upload
    except (ClientDisconnect, asyncio.CancelledError):
        upload.outcome = "aborted"
        raise
    except Exception as error:
        is_refused = isinstance(error, MediakeepError) and error.status < 500
        upload.outcome = "refused" if is_refused else "failed"
        raise
    finally:
        metrics.UPLOADS.inc(upload.outcome)
        metrics.UPLOADED_BYTES.inc(upload.outcome, by=upload.received_bytes)


@asynccontextmanager
async def _not_with_itself(
    library: Library, actor: Actor, key: str | None, asked: str
) -> AsyncIterator[None]:
    """Raises `Repeated` where the block conflicts with what the same request has just done."""
    try:
        yield
    except Conflict:
        if key:
            await _raise_if_repeated(library, actor, key, asked)
        raise


async def _raise_if_repeated(library: Library, actor: Actor, key: str, asked: str) -> None:
    async with library.database.read() as session:
        answer = await idempotency.find(session, actor.user_id, key, asked)
    if answer is not None:
        raise idempotency.Repeated(answer)


def _describe(form: Form, default_visibility: str, belonging: dict[str, str]) -> dict[str, Any]:
    """What the form says of the asset. Raises `InvalidInput`."""
    file_name = clean_file_name(form.file_name)
    visibility = form.one("visibility") or default_visibility
    if visibility not in {"public", "private"}:
        raise InvalidInput("visibility is public or private.", field="visibility")
    return {
        "name": check_name(form.one("name") or file_name),
        "file_name": file_name,
        "visibility": visibility,
        "tags": check_tags(_tags(form.fields.get("tags", []))),
        "belonging": Belonging(
            **{column: form.one(field) for column, field in _BELONGING.items()} | belonging
        ),
    }


def _tags(values: Iterable[str]) -> list[str]:
    """Tags from JSON arrays or words separated by commas."""
    found: list[str] = []
    for value in values:
        found += _listed(value) if value.lstrip().startswith("[") else value.split(",")
    return found


def _listed(value: str) -> list[str]:
    try:
        listed = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("tags must be a JSON array of strings, or words.", field="tags") from error
    if not all(isinstance(one, str) for one in listed):
        raise InvalidInput("tags must be a JSON array of strings, or words.", field="tags")
    return list(listed)
