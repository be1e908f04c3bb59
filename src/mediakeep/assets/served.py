"""Assets as their bytes are answered with: looked up by anybody, at most once a second."""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from sqlalchemy import ColumnElement, Text, bindparam, case, cast, select

from mediakeep.assets.models import Asset, Generation
from mediakeep.assets.queries import not_gone
from mediakeep.db import Database, HotQuery, as_time
from mediakeep.db.base import as_public_id
from mediakeep.files.models import File

#: How old an answer may be. A delete in another process is seen everywhere after as long, and nothing has to be told.
SECONDS: Final = 1.0

_MOST_KEPT: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class Served:
    """What answering with an asset's bytes needs, and nothing more."""

    owner_id: int
    public_id: str
    type: str
    visibility: str
    name: str
    created_at: datetime
    updated_at: datetime
    focal_x: float | None
    focal_y: float | None
    key: str
    size: int
    sha256: str
    format: str
    media_type: str
    file_public_id: str
    width: int | None
    height: int | None
    duration_seconds: float | None
    page_count: int | None
    #: What was read out of the file, as JSON.
    facts: str
    #: What was prepared for answering with it, for whoever does so.
    prepared: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def has_thumbnail(self) -> bool:
        """A document that a password protects has none."""
        return self.type != "document" or self.page_count is not None

    @property
    def focal_point(self) -> tuple[float, float] | None:
        """What matters most in the picture, as shares of its width and height."""
        return None if self.focal_x is None or self.focal_y is None else (self.focal_x, self.focal_y)

    @cached_property
    def frame_count(self) -> int:
        """More than 1 for an animation."""
        facts: dict[str, Any] = json.loads(self.facts)
        return int(facts.get("frame_count", 1))


async def find_served(database: Database, public_id: str) -> Served | None:
    """An asset that has a file, whoever asks: the caller checks who may have it."""
    return await _find(database, _SERVED, public_id)


async def find_generation(database: Database, public_id: str) -> Served | None:
    """An asset as one of its generations shows it, by the generation's id; whoever asks, as `find_served`."""
    return await _find(database, _SERVED_GENERATION, public_id)


async def _find(database: Database, query: HotQuery, public_id: str) -> Served | None:
    rows = await database.fetch(query, {"public_id": as_public_id(public_id)})
    if not rows:
        return None
    values = dict(zip(_COLUMNS, rows[0], strict=True))
    times = {name: as_time(values[name]) for name in ("created_at", "updated_at")}
    return Served(**{**values, **times})


_COLUMNS = [one.name for one in fields(Served) if one.compare]


class ServedAssets:
    """What `find` has found, for one second from before it asked; asked several times at once, it asks once.

    An asset that has not changed stays the same object, so that what was prepared for it can be kept.
    """

    def __init__(
        self,
        database: Database,
        find: Callable[[Database, str], Awaitable[Served | None]] = find_served,
    ) -> None:
        self._database = database
        self._look_up = find
        self._found: OrderedDict[str, tuple[float, Served]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Served | None]] = {}

    async def find(self, public_id: str) -> tuple[Served, float] | None:
        """The asset, and until when (`time.monotonic`) that may be believed."""
        known = self._found.get(public_id)
        if known and known[0] > time.monotonic():
            return known[1], known[0]
        asking = self._asking.get(public_id)
        if asking is None:
            asking = self._asking[public_id] = asyncio.create_task(self._ask(public_id))
            # Everybody who asked may have left by the time it fails.
            asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        if await asyncio.shield(asking) is None:
            return None
        good_until, served = self._found.get(public_id) or (0.0, asking.result())
        assert served is not None
        return served, good_until

    def forget(self, public_id: str) -> None:
        """Ask again next time: this process has just changed it."""
        self._found.pop(public_id, None)
        # An answer that is under way may be of the time before.
        self._asking.pop(public_id, None)

    def clear(self) -> None:
        self._found.clear()
        self._asking.clear()

    async def _ask(self, public_id: str) -> Served | None:
        task = asyncio.current_task()
        asked_at = time.monotonic()
        try:
            served = await self._look_up(self._database, public_id)
        finally:
            is_current = self._asking.get(public_id) is task
            if is_current:
                del self._asking[public_id]
        if not is_current:
            return served
        before = self._found.pop(public_id, None)
        if served is None:
            return None
        kept = before[1] if before and before[1] == served else served
        self._found[public_id] = (asked_at + SECONDS, kept)
        while len(self._found) > _MOST_KEPT:
            self._found.popitem(last=False)
        return kept


def _columns(modified_at: ColumnElement[datetime], changed_at: ColumnElement[datetime]) -> list[Any]:
    return [
        Asset.owner_id,
        Asset.public_id,
        Asset.type,
        Asset.visibility,
        Asset.name,
        modified_at,
        changed_at,
        Asset.focal_x,
        Asset.focal_y,
        File.key,
        File.size,
        File.sha256,
        File.format,
        File.media_type,
        File.public_id,
        File.width,
        File.height,
        File.duration_seconds,
        File.page_count,
        cast(File.facts, Text),
    ]


_ID = bindparam("public_id", type_=Asset.public_id.type)

#: A file never changes, but what an asset with generations is shown with does.
_SHOWN_SINCE: ColumnElement[datetime] = case(
    (Asset.generation_count > 0, Asset.updated_at), else_=Asset.created_at
)

_SERVED = HotQuery(
    select(*_columns(_SHOWN_SINCE, Asset.updated_at.expression))
    .join(File, File.id == Asset.file_id)
    .where(Asset.public_id == _ID, not_gone())
)

#: An image comes to a generation some time after that was made.
_SERVED_GENERATION = HotQuery(
    select(*_columns(Generation.updated_at.expression, Generation.updated_at.expression))
    .select_from(Generation)
    .join(Asset, Asset.id == Generation.asset_id)
    .join(File, File.id == Generation.file_id)
    .where(Generation.public_id == _ID, not_gone())
)
