"""What pictures look like, kept at hand: the perceptual hashes of an owner's assets, side by side in memory.

They are hints. Each process has its own, and looks for what is new before it answers; what is deleted stays in them for
a while. So whoever finds something here asks the database whether it is still so.
"""

import asyncio
import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import bindparam, exists, select, tuple_

from mediakeep.accounts.models import User
from mediakeep.assets.models import Asset
from mediakeep.db import Database, HotQuery, as_time, now_plus
from mediakeep.db.hot import Value
from mediakeep.db.ids import among, is_among
from mediakeep.files.models import File
from mediakeep.search.neighbours import telling

#: A transaction that took longer than this to commit would be overlooked.
_OVERLAP = timedelta(seconds=30)

#: Rows read at once: so long does one question take, and so long is the program busy with its answer.
_PORTION = 10_000

#: Of the assets whose hash a task is still to make, those looked at each time; all of them are looked at once a minute.
_MOST_AWAITED = 1_000
_AWAITED_SECONDS = 60

#: The types whose hash a task makes.
_TOLD_LATER = {"video", "document"}

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

_VERSIONS = count()

#: asset, file and hash of each entry, a row each.
Table = npt.NDArray[np.int64]

_NONE: Table = np.empty((3, 0), np.int64)


class OwnersHashes:
    """Three rows of numbers: asset, file, and hash, which is 0 where there is none that tells pictures apart.

    Entries are only added. Of several entries of an asset the last one counts.
    """

    def __init__(self, owner_id: int) -> None:
        self._owner_id = owner_id
        self._table: Table = np.empty((3, 0), np.int64)
        self._length = 0
        #: Grows whenever something is added, and is another one for each owner and each time that they are read.
        self.version = next(_VERSIONS)
        self._lock = asyncio.Lock()
        #: The time of the last look, by the database's clock and by ours, which nobody sets.
        self._looked_at = _BEGINNING
        self._looked_at_monotonic = 0.0
        #: What the next look may read once more, by asset.
        self._recent: Table = np.empty((3, 0), np.int64)
        #: Videos and documents without a hash, which may yet get one.
        self._awaited: dict[int, None] = {}
        self._all_awaited_at = 0.0

    @property
    def table(self) -> Table:
        """Asset, file and hash of each entry; stays as it is when others are added."""
        return self._table[:, : self._length]

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return self._table.nbytes

    async def refresh(self, database: Database) -> None:
        """Add what is new or has changed since the last look, whichever process did it."""
        async with self._lock:
            await self._read_changed(database)
            await self._read_awaited(database)

    async def _read_changed(self, database: Database) -> None:
        now = as_time((await database.fetch(_NOW, {}))[0][0])
        now_monotonic = time.monotonic()
        since = _BEGINNING
        if self._looked_at > _BEGINNING:
            # Whichever is earlier, since somebody may have set the database's clock meanwhile.
            elapsed = timedelta(seconds=now_monotonic - self._looked_at_monotonic)
            since = min(self._looked_at, now - elapsed) - _OVERLAP
        query = _CHANGED if self._length else _ALL
        values: dict[str, Value] = {
            "owner_id": self._owner_id,
            "since": since,
            "after_id": 0,
            "most": _PORTION,
        }
        recent = [self._recent[:, :0]]
        while rows := await database.fetch(query, values):
            entries = await asyncio.to_thread(self._note, rows)
            recent.append(entries[:, bisect_left(rows, now - _OVERLAP, key=lambda row: as_time(row[0])) :])
            if len(rows) < _PORTION:
                break
            values |= {"since": as_time(rows[-1][0]), "after_id": rows[-1][1]}
        self._recent = latest(np.concatenate(recent, axis=1))
        self._looked_at, self._looked_at_monotonic = now, now_monotonic

    async def _read_awaited(self, database: Database) -> None:
        """Tasks make the hashes of videos and documents some time after the upload, and then touch no asset."""
        is_due = time.monotonic() - self._all_awaited_at > _AWAITED_SECONDS
        if is_due:
            self._all_awaited_at = time.monotonic()
        wanted = list(self._awaited)[0 if is_due else -_MOST_AWAITED :]
        for begin in range(0, len(wanted), _PORTION):
            portion = wanted[begin : begin + _PORTION]
            rows = await database.fetch(_BY_ID, {"ids": among(portion)})
            for gone in set(portion) - {row[1] for row in rows}:
                del self._awaited[gone]
            if made := [row for row in rows if row[3] is not None]:
                await asyncio.to_thread(self._note, made)

    def _note(self, rows: Sequence[Sequence[Any]]) -> Table:
        """The rows as entries, of which those are added that the last look has not read."""
        for _, asset_id, _, phash, type_ in rows:
            if phash is None and type_ in _TOLD_LATER:
                self._awaited[asset_id] = None
            else:
                self._awaited.pop(asset_id, None)
        entries: Table = np.array([(row[1], row[2], telling(row[3])) for row in rows], np.int64).T
        places = np.searchsorted(self._recent[0], entries[0])
        is_known = places < self._recent.shape[1]
        is_known[is_known] = (self._recent[:, places[is_known]] == entries[:, is_known]).all(axis=0)
        if not is_known.all():
            self._add(entries[:, ~is_known])
        return entries

    def _add(self, entries: Table) -> None:
        end = self._length + entries.shape[1]
        if end > self._table.shape[1]:
            kept = latest(self.table)
            end = kept.shape[1] + entries.shape[1]
            # What others hold of the old one stays as it is.
            self._table = np.empty((3, max(1024, end * 3 // 2)), np.int64)
            self._table[:, : kept.shape[1]] = kept
        self._table[:, end - entries.shape[1] : end] = entries
        self._length = end
        self.version = next(_VERSIONS)


class EverybodysHashes:
    """Those of several owners as one, as they were when they were put together."""

    def __init__(self, hashes: Sequence[OwnersHashes]) -> None:
        self._tables = [one.table for one in hashes]
        #: Of whoever's were added to last: larger than it was whenever something is added.
        self.version = max((one.version for one in hashes), default=0)

    @property
    def table(self) -> Table:
        """Asset, file and hash of each entry."""
        return np.concatenate([_NONE, *self._tables], axis=1)


Hashes = OwnersHashes | EverybodysHashes


class KnownHashes:
    """Those of the owners who were asked about last, up to so many bytes in all; each owner's are read at the first question."""

    def __init__(self, database: Database, *, max_bytes: int = 256 << 20) -> None:
        self._database = database
        self._max_bytes = max_bytes
        self._kept: OrderedDict[int, OwnersHashes] = OrderedDict()

    async def of(self, owner_id: int) -> OwnersHashes:
        """The owner's, with everything that was committed before the call."""
        kept = await self._refreshed(owner_id)
        self._let_go()
        return kept

    async def everybodys(self) -> EverybodysHashes:
        """All owners', each with everything that was committed before the call."""
        owners = await self._database.fetch(_OWNERS, {})
        hashes = EverybodysHashes([await self._refreshed(owner_id) for (owner_id,) in owners])
        self._let_go()
        return hashes

    def forget(self, owner_id: int | None) -> None:
        """Read them anew next time; without an owner, everybody's."""
        if owner_id is None:
            self._kept.clear()
        else:
            self._kept.pop(owner_id, None)

    async def _refreshed(self, owner_id: int) -> OwnersHashes:
        kept = self._kept.setdefault(owner_id, OwnersHashes(owner_id))
        self._kept.move_to_end(owner_id)
        await kept.refresh(self._database)
        return kept

    def _let_go(self) -> None:
        size = sum(one.size for one in self._kept.values())
        while len(self._kept) > 1 and size > self._max_bytes:
            _, longest_unasked = self._kept.popitem(last=False)
            size -= longest_unasked.size


def latest(table: Table) -> Table:
    """The last entry of each asset, in the order of the assets."""
    _, from_the_end = np.unique(table[0, ::-1], return_index=True)
    kept: Table = table[:, table.shape[1] - 1 - from_the_end]
    return kept


_COLUMNS = (Asset.updated_at, Asset.id, Asset.file_id, File.phash, Asset.type)

_changed = (
    select(*_COLUMNS)
    .join(File, File.id == Asset.file_id)
    .where(
        Asset.owner_id == bindparam("owner_id", type_=Asset.owner_id.type),
        Asset.file_id.is_not(None),
        tuple_(Asset.updated_at, Asset.id)
        > tuple_(bindparam("since", type_=Asset.updated_at.type), bindparam("after_id", type_=Asset.id.type)),
    )
    .order_by(Asset.updated_at, Asset.id)
    .limit(bindparam("most", type_=File.id.type))
)
_CHANGED, _ALL = HotQuery(_changed), HotQuery(_changed, is_scan=True)

_BY_ID = HotQuery(select(*_COLUMNS).join(File, File.id == Asset.file_id).where(is_among(Asset.id, "ids")))

_OWNERS = HotQuery(
    select(User.id)
    .where(exists().where(Asset.owner_id == User.id, Asset.file_id.is_not(None)))
    .order_by(User.id)
)

_NOW = HotQuery(select(now_plus()))
