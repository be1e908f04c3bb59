"""What is derived from a file: found in memory or in the store, else made once and kept."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import structlog
from pydantic_core import from_json, to_json

from mediakeep import metrics
from mediakeep.errors import NotFound, PermissionDenied, RateLimited, Unavailable, UndecodableMedia
from mediakeep.files.memory import Content, Memory
from mediakeep.files.models import File
from mediakeep.files.variants import VariantLog
from mediakeep.library import Library
from mediakeep.media.formats import get_format
from mediakeep.media.image import THUMBNAIL_SIDE
from mediakeep.media.limits import PEAKS_SECONDS, limits_from
from mediakeep.media.picture import picture, picture_seconds
from mediakeep.media.pool import Priority
from mediakeep.media.render import thumbnail, thumbnail_seconds
from mediakeep.media.transform import Transform
from mediakeep.media.waveform import draw, draw_jpeg, peaks
from mediakeep.storage import MissingObject

T = TypeVar("T")

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
    """How a rendition is made, and what it is. `name` is what tells it from all others of a file, `label` is short."""

    name: str
    label: str
    media_type: str
    extension: str
    #: Whether the bytes are all there; storage may lose the end of them to a power cut.
    is_whole: Callable[[bytes], bool]
    make: Callable[[Library, Source], Awaitable[bytes]]
    #: Whether it is one of any number that may be asked for, and has to be accounted for.
    is_variant: bool = False
    #: Whether it is a variant that the settings name.
    is_preset: bool = False


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How large a picture somebody may ask for: a side, and width × height, pixels; `reason` begins a sentence."""

    max_side: int
    max_pixels: int
    reason: str


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


async def _make_picture(transform: Transform, library: Library, source: Source) -> bytes:
    async with original(library, source) as path:
        return await library.decoders.run(
            picture,
            str(path),
            source.format,
            transform,
            limits_from(library.settings),
            timeout_seconds=picture_seconds(source.format, transform),
            priority=Priority.RENDITION,
        )


def _is_whole_webp(body: bytes) -> bool:
    return int.from_bytes(body[4:8], "little") + 8 == len(body)  # RIFF says how long it is


def _is_whole_avif(body: bytes) -> bool:
    """Whether its boxes fill it (ISO/IEC 14496-12 §4.2); ours are all of 32-bit sizes."""
    position = 0
    while 0 <= position < len(body):
        size = int.from_bytes(body[position : position + 4], "big")
        position = position + size if size >= 8 else -1
    return position == len(body)


_WHOLE: Final[dict[str, Callable[[bytes], bool]]] = {
    "jpg": lambda body: body.endswith(b"\xff\xd9"),
    "png": lambda body: body.endswith(b"IEND\xaeB`\x82"),
    "gif": lambda body: body.endswith(b";"),
    "webp": _is_whole_webp,
    "avif": _is_whole_avif,
    "json": lambda body: body.endswith(b"}"),
}

#: The picture that stands for a file: JPEG, at most 512 px on the long side.
THUMBNAIL: Final = Recipe(
    name="thumbnail",
    label="thumbnail",
    media_type="image/jpeg",
    extension="jpg",
    is_whole=_WHOLE["jpg"],
    make=_make_thumbnail,
)
WAVEFORM: Final = Recipe(
    name="waveform",
    label="waveform",
    media_type="application/json",
    extension="json",
    is_whole=_WHOLE["json"],
    make=_make_waveform,
)
WAVEFORM_PICTURE: Final = Recipe(
    name="waveform-picture",
    label="waveform",
    media_type="image/png",
    extension="png",
    is_whole=_WHOLE["png"],
    make=_make_waveform_picture,
)


def picture_recipe(transform: Transform, *, is_preset: bool = False) -> Recipe:
    """The picture that `transform` describes."""
    # A page's picture has bounds; what size it gets, only its decoder knows.
    is_sized = transform.fit != "inside"
    label = f"{transform.width}x{transform.height}" if is_sized else f"page-{transform.page}"
    return Recipe(
        name=f"picture {transform}",
        label=label,
        media_type=get_format(transform.format).media_type,
        extension=transform.format,
        is_whole=_WHOLE[transform.format],
        make=partial(_make_picture, transform),
        is_variant=True,
        is_preset=is_preset,
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
    found = await _find(library, recipe, key)
    return found[0] if found else await _make(library, source, recipe, key)


async def _find(library: Library, recipe: Recipe, key: str) -> tuple[bytes, datetime] | None:
    """A rendition from the store, and when it was put there."""
    with suppress(MissingObject):
        body, made_at = await library.store.read_dated(key)
        if recipe.is_whole(body):
            return body, made_at
    return None


async def _make(library: Library, source: Source, recipe: Recipe, key: str) -> bytes:
    body = await recipe.make(library, source)
    await library.store.put_bytes(key, body, media_type=recipe.media_type)
    return body


class RenditionCache:
    """Renditions as this process answers with them; one asked several times at once is looked for and made once.

    A file that cannot be decoded is not tried again for a while: anybody may ask, and each try may take all the time
    that decoding is allowed.
    """

    def __init__(self, library: Library, memory: Memory, variants: VariantLog) -> None:
        self._library = library
        self._memory = memory
        self._variants = variants
        self._finding: dict[str, asyncio.Task[Content | None]] = {}
        self._making: dict[str, asyncio.Task[Content]] = {}
        self._failed: OrderedDict[str, tuple[float, UndecodableMedia]] = OrderedDict()

    async def get(self, source: Source, recipe: Recipe, *, may_make: Callable[[], None]) -> Content:
        """Raises as `find_or_make` does, and what `may_make` raises, which is asked before anything is made."""
        key = rendition_key(source.public_id, recipe)
        if found := self._memory.find(key):
            self._note("memory", source, recipe, key, found)
            return found
        if large := await self._find_large(source, recipe, key):
            return large
        if work := self._making.get(key):
            return await asyncio.shield(work)
        self._raise_known_failure(key)
        found = await asyncio.shield(
            self._shared(self._finding, key, lambda: self._look(source, recipe, key))
        )
        if found:
            return found
        if key not in self._making:
            with _counting_refusals():
                may_make()
        return await asyncio.shield(
            self._shared(self._making, key, lambda: self._create(source, recipe, key))
        )

    async def _find_large(self, source: Source, recipe: Recipe, key: str) -> Content | None:
        """One that is too large to be read for every range and every reader: its bytes are left in the store."""
        large = self._memory.find_large(key)
        if large is None:
            return None
        if await self._library.store.stat(key) is None:
            self._memory.forget_large(key)
            return None
        self._note("storage", source, recipe, key, large)
        return large

    def _shared(
        self, tasks: dict[str, asyncio.Task[T]], key: str, work: Callable[[], Coroutine[None, None, T]]
    ) -> asyncio.Task[T]:
        """The one task that does this, whoever asks first."""
        task = tasks.get(key)
        if task is None:
            task = tasks[key] = asyncio.create_task(work())
            task.add_done_callback(lambda _: tasks.pop(key, None))
            # Everybody who asked may have left by the time it fails.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _look(self, source: Source, recipe: Recipe, key: str) -> Content | None:
        stored = await _find(self._library, recipe, key)
        if stored is None:
            return None
        found = await Content.of(*stored)
        self._memory.keep(key, found)
        self._note("storage", source, recipe, key, found)
        return found

    async def _create(self, source: Source, recipe: Recipe, key: str) -> Content:
        try:
            with _counting_refusals():
                body = await recipe.make(self._library, source)
        except UndecodableMedia as error:
            metrics.RENDITIONS.inc("failed")
            self._failed[key] = (time.monotonic(), error)
            self._failed.move_to_end(key)
            if len(self._failed) > _MOST_FAILURES:
                self._failed.popitem(last=False)
            raise
        made = await Content.of(body)
        self._memory.keep(key, made)
        try:
            await self._library.store.put_bytes(key, body, media_type=recipe.media_type)
        except Unavailable:  # it was made all the same, and the store has logged why
            metrics.RENDITIONS.inc("made")
        else:
            self._note("made", source, recipe, key, made)
        return made

    def _note(self, found: str, source: Source, recipe: Recipe, key: str, content: Content) -> None:
        metrics.RENDITIONS.inc(found)
        if not recipe.is_variant:
            return
        note = self._variants.made if found == "made" else self._variants.used
        note(source.public_id, key, content.size, is_preset=recipe.is_preset)

    def _raise_known_failure(self, key: str) -> None:
        failed_at, failure = self._failed.get(key, (-_RETRY_SECONDS, None))
        if failure is not None and time.monotonic() - failed_at < _RETRY_SECONDS:
            metrics.RENDITIONS.inc("failed")
            raise UndecodableMedia(failure.detail)


@contextmanager
def _counting_refusals() -> Iterator[None]:
    try:
        yield
    except (NotFound, PermissionDenied, RateLimited, Unavailable):
        metrics.RENDITIONS.inc("refused")
        raise
