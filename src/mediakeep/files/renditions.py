"""What is derived from a file: found in memory or in the store, else made once and kept."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from pydantic_core import from_json, to_json

from mediakeep.errors import NotFound, UndecodableMedia
from mediakeep.files.models import File
from mediakeep.library import Library
from mediakeep.media.formats import get_format
from mediakeep.media.image import THUMBNAIL_SIDE
from mediakeep.media.limits import PEAKS_SECONDS, limits_from
from mediakeep.media.pool import Priority
from mediakeep.media.render import thumbnail, thumbnail_seconds
from mediakeep.media.waveform import draw, draw_jpeg, peaks
from mediakeep.storage import MissingObject

log = structlog.get_logger(__name__)

#: Raised whenever the same parameters give other bytes than before, so that nothing stale is served.
PIPELINE_VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is needed to make a rendition of a file."""

    public_id: str
    key: str
    format: str
    family: str

    @classmethod
    def of(cls, file: File) -> "Source":
        return cls(
            public_id=file.public_id, key=file.key, format=file.format, family=get_format(file.format).family
        )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a rendition is made, and what it is."""

    name: str
    media_type: str
    extension: str
    #: What a whole one ends with; storage may lose the end of one to a power cut.
    ending: bytes
    make: Callable[[Library, Source], Awaitable[bytes]]


@dataclass(frozen=True, kw_only=True)
class Rendition:
    """The bytes of an answer, and the SHA-256 of them (hex), which is their ETag."""

    body: bytes
    media_type: str
    sha256: str


#: How long one that could not be made is not tried again, and how many of those are remembered.
_RETRY_SECONDS: Final = 300.0
_MOST_FAILURES: Final = 1000

_WAVEFORM_THUMBNAIL_HEIGHT: Final = 192
WAVEFORM_WIDTH: Final = 1800
WAVEFORM_HEIGHT: Final = 280


async def _make_thumbnail(library: Library, source: Source) -> bytes:
    if source.family == "audio":  # the peaks are made anyway, and only once
        waveform = await find_or_make(library, source, WAVEFORM)
        return await asyncio.to_thread(
            draw_jpeg, from_json(waveform), THUMBNAIL_SIDE, _WAVEFORM_THUMBNAIL_HEIGHT
        )
    async with original(library, source) as path:
        return await library.decoders.run(
            thumbnail,
            str(path),
            source.format,
            limits_from(library.settings),
            timeout_seconds=thumbnail_seconds(source.format),
            priority=Priority.RENDITION,
        )


async def _make_waveform(library: Library, source: Source) -> bytes:
    async with original(library, source) as path:
        found = await library.decoders.run(
            peaks,
            str(path),
            source.format,
            limits_from(library.settings),
            timeout_seconds=PEAKS_SECONDS,
            priority=Priority.RENDITION,
        )
    return to_json(found)


async def _make_waveform_picture(library: Library, source: Source) -> bytes:
    waveform = await find_or_make(library, source, WAVEFORM)
    return await asyncio.to_thread(draw, from_json(waveform), WAVEFORM_WIDTH, WAVEFORM_HEIGHT)


#: The picture that stands for a file: JPEG, at most 512 px on the long side.
THUMBNAIL: Final = Recipe(
    name="thumbnail", media_type="image/jpeg", extension="jpg", ending=b"\xff\xd9", make=_make_thumbnail
)
WAVEFORM: Final = Recipe(
    name="waveform", media_type="application/json", extension="json", ending=b"}", make=_make_waveform
)
WAVEFORM_PICTURE: Final = Recipe(
    name="waveform-picture",
    media_type="image/png",
    extension="png",
    ending=b"IEND\xaeB`\x82",
    make=_make_waveform_picture,
)


def rendition_prefix(public_id: str) -> str:
    return f"renditions/{public_id[:2]}/{public_id}"


def rendition_key(public_id: str, recipe: Recipe) -> str:
    digest = hashlib.sha256(f"{PIPELINE_VERSION}:{recipe.name}".encode()).hexdigest()[:32]
    return f"{rendition_prefix(public_id)}/{digest}.{recipe.extension}"


@asynccontextmanager
async def original(library: Library, source: Source) -> AsyncIterator[Path]:
    """The original's bytes as a local file. Raises `NotFound`, and logs it, where the store has lost them."""
    try:
        async with library.store.local_copy(source.key) as path:
            yield path
    except MissingObject as error:
        log.error("file.missing", key=source.key)
        raise NotFound("The file's content is missing.") from error


async def find_or_make(library: Library, source: Source, recipe: Recipe) -> bytes:
    """A rendition from the store, else made and kept there. Raises `NotFound` and what decoding raises."""
    key = rendition_key(source.public_id, recipe)
    with suppress(MissingObject):
        body = await library.store.read_bytes(key)
        if body.endswith(recipe.ending):
            return body
    body = await recipe.make(library, source)
    await library.store.put_bytes(key, body, media_type=recipe.media_type)
    return body


class RenditionCache:
    """The last renditions asked of this process, up to `max_bytes`; one asked several times at once is made once.

    A file that cannot be decoded is not tried again for a while: anybody may ask, and each try may take all the time
    that decoding is allowed.
    """

    def __init__(self, library: Library, *, max_bytes: int = 64 << 20) -> None:
        self._library = library
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, Rendition] = OrderedDict()
        self._kept_bytes = 0
        self._under_way: dict[str, asyncio.Future[Rendition]] = {}
        self._failed: OrderedDict[str, tuple[float, UndecodableMedia]] = OrderedDict()

    async def get(self, source: Source, recipe: Recipe) -> Rendition:
        """Raises as `find_or_make` does."""
        key = rendition_key(source.public_id, recipe)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        failed_at, failure = self._failed.get(key, (-_RETRY_SECONDS, None))
        if failure is not None and time.monotonic() - failed_at < _RETRY_SECONDS:
            raise UndecodableMedia(failure.detail)
        work = self._under_way.get(key)
        if work is None:
            work = self._under_way[key] = asyncio.ensure_future(self._fetch(source, recipe, key))
            # Everybody who asked may have left by the time it fails.
            work.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(work)

    async def _fetch(self, source: Source, recipe: Recipe, key: str) -> Rendition:
        try:
            body = await find_or_make(self._library, source, recipe)
        except UndecodableMedia as error:
            self._failed[key] = (time.monotonic(), error)
            self._failed.move_to_end(key)
            if len(self._failed) > _MOST_FAILURES:
                self._failed.popitem(last=False)
            raise
        finally:
            del self._under_way[key]
        rendition = Rendition(
            body=body, media_type=recipe.media_type, sha256=hashlib.sha256(body).hexdigest()
        )
        self._keep(key, rendition)
        return rendition

    def _keep(self, key: str, rendition: Rendition) -> None:
        if len(rendition.body) > self._max_bytes // 8:
            return
        self._kept[key] = rendition
        self._kept_bytes += len(rendition.body)
        while self._kept_bytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest.body)
