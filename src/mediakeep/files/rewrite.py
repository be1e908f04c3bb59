"""Still images written anew at upload, where the settings ask for it: smaller, or in another format."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

from mediakeep.files.receive import HEAD_BYTES, Received
from mediakeep.library import Library
from mediakeep.media.facts import Facts
from mediakeep.media.formats import Format
from mediakeep.media.limits import limits_from
from mediakeep.media.picture import picture, picture_seconds
from mediakeep.media.pool import Priority
from mediakeep.media.transform import DEFAULT_QUALITY, MAX_PIXELS, MAX_SIDE, OutputFormat, Transform, fitted
from mediakeep.settings import Settings
from mediakeep.storage import folders
from mediakeep.storage.base import unavailable_after

#: What is told of a file and no longer true of one that was written anew.
_OF_THE_FILE = ("color_profile", "orientation")

#: What only files that hold more than one picture tell.
_PLURAL = frozenset({"frame_count", "page_count"})


def wanted_transform(settings: Settings, received: Received, found: Format, facts: Facts) -> Transform | None:
    """What the settings make of an image; None where it stays as it is, as animations and several pages do."""
    if (
        found.family != "image"
        or not facts.width
        or not facts.height
        or not _PLURAL.isdisjoint(facts.details)
        # An animated PNG, whose facts are those of a still.
        or (found.name == "png" and b"acTL" in received.head)
    ):
        return None
    is_large = bool(settings.upload_max_side) and max(facts.width, facts.height) > settings.upload_max_side
    if not is_large and settings.upload_format in {"", found.name}:
        return None
    own: OutputFormat = next((name for name in get_args(OutputFormat) if name == found.name), "jpg")
    format_: OutputFormat = settings.upload_format or own
    transform = Transform(
        format=format_,
        quality=settings.upload_quality if format_ in DEFAULT_QUALITY else None,
    )
    # What is written is read again, under the same limits as what was sent.
    max_pixels = settings.max_heif_pixels if format_ == "avif" else settings.max_image_pixels
    max_pixels = min(max_pixels, MAX_PIXELS.get(format_, max_pixels))
    max_side = settings.upload_max_side or MAX_SIDE
    return fitted(transform, (facts.width, facts.height), max_side=max_side, max_pixels=max_pixels)


@asynccontextmanager
async def rewritten(
    library: Library, received: Received, found: Format, transform: Transform
) -> AsyncIterator[Received]:
    """What was received as `transform` says, in the scratch folder; what is not taken from there is removed.

    Raises `UndecodableMedia`.
    """
    body = await library.decoders.run(
        picture,
        str(received.path),
        found.name,
        transform,
        limits_from(library.settings),
        timeout_seconds=picture_seconds(found.name, transform),
        priority=Priority.UPLOAD,
    )
    path = library.store.scratch / f"upload-{uuid.uuid4()}"
    try:
        with unavailable_after(OSError):
            await asyncio.to_thread(_write, path, body)
        yield Received(
            path=path, size=len(body), sha256=hashlib.sha256(body).hexdigest(), head=body[:HEAD_BYTES]
        )
    finally:
        path.unlink(missing_ok=True)


def _write(path: Path, body: bytes) -> None:
    with folders.create_private(path) as file:
        file.write(body)


def told_by(original: Facts) -> dict[str, Any]:
    """What an image that was written anew told before and is still true. It is the asset's: the bytes do not tell it to
    others, whose assets may share the file.
    """
    told = {name: value for name, value in original.details.items() if name not in _OF_THE_FILE}
    return told | ({"location": original.location} if original.location else {})
