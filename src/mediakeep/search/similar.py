"""Assets that look alike: the neighbours of one, and groups of duplicates.

The hashes at hand tell who may be near, which takes a millisecond for a million; the database then tells who is there,
whose it is, and what it looks like now. So nothing that is gone, and nothing of somebody else's, is ever among them.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Select, bindparam, select

from mediakeep.accounts.actor import Actor
from mediakeep.assets.models import Asset
from mediakeep.assets.queries import visible
from mediakeep.db import Database, HotQuery, as_time
from mediakeep.db.base import as_public_id
from mediakeep.db.ids import among, is_among
from mediakeep.errors import BadRequest, NotFound
from mediakeep.files.models import File
from mediakeep.search.hashes import Hashes, KnownHashes, Table, latest
from mediakeep.search.neighbours import TooLongError, bits_apart, clusters, nearest, telling

#: Neighbours of one asset, and members of one group: more than these are not told.
MOST_NEIGHBOURS = 10_000
MOST_MEMBERS = 1_000

#: Assets in all groups together; groups after these, which are older, are not told.
MOST_GROUPED = 50_000

#: So long may finding all groups take.
_MAX_SECONDS = 30.0

#: Groups that took longer than this to find are good for a minute, whatever is uploaded meanwhile.
_SLOW_SECONDS = 0.5
_GOOD_SECONDS = 60.0

#: So many that are gone among the hashes at hand are a reason to read them anew.
_MANY_GONE = 1_000

#: Asset, file and hash of each asset of a group.
Entries = list[tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """`distance` is in bits of 64; `exact` is the very same content."""

    asset_id: int
    distance: int
    exact: bool


@dataclass(frozen=True, kw_only=True)
class Group:
    """Newest first. `distance` is that of the farthest from the newest; `exact` if all are the very same content."""

    asset_ids: Sequence[int]
    distance: int
    exact: bool


@dataclass(frozen=True, slots=True)
class _Seen:
    """An asset as the database has it now."""

    id: int
    created_at: datetime
    owner_id: int
    file_id: int
    phash: int | None

    @property
    def entry(self) -> tuple[int, int, int]:
        """As it is among the hashes at hand."""
        return self.id, self.file_id, telling(self.phash)


def _newest_first(asset: _Seen) -> tuple[float, int]:
    return -asset.created_at.timestamp(), -asset.id


class Similar:
    """Answers from the hashes that this process has at hand. Close it at the end."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known = KnownHashes(database)
        #: By owner, None being all of them, and distance.
        self._groupings: dict[tuple[int | None, int], _Grouping] = {}
        # One at a time, so that it takes one core at most.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="duplicates")
        self._is_closed = False

    def close(self) -> None:
        """Give up what is under way."""
        self._is_closed = True
        self._thread.shutdown(cancel_futures=True)

    async def neighbours(
        self, actor: Actor, public_id: str, *, distance: int, limit: int, offset: int
    ) -> tuple[list[Neighbour], int]:
        """A page of what its owner has that looks like this asset, and how many there are in all, which ends at 10,000.

        Nearest first, the same content before others that look the same, then newest first. Something without a hash
        that tells it apart (audio, a flat picture) has only the same content. Raises `NotFound` for what the caller may
        not read.
        """
        asked = await self._asked(actor, public_id)
        same = await self._fetch(_SAME_FILE, owner_id=asked.owner_id, file_id=asked.file_id)
        found = {one.id: (0, False, one) for one in same}
        if phash := telling(asked.phash):
            for one in await self._near(asked.owner_id, phash, distance):
                # It may look otherwise by now.
                if (now := telling(one.phash)) and bits_apart(now, phash) <= distance:
                    found.setdefault(one.id, (bits_apart(now, phash), True, one))
        found.pop(asked.id, None)
        ordered = sorted(found.values(), key=lambda one: (one[0], one[1], _newest_first(one[2])))
        ordered = ordered[:MOST_NEIGHBOURS]
        return [
            Neighbour(asset_id=one.id, distance=apart, exact=not differs)
            for apart, differs, one in ordered[offset : offset + limit]
        ], len(ordered)

    async def duplicates(
        self, actor: Actor, *, distance: int, limit: int, offset: int, everyones: bool = False
    ) -> tuple[list[Group], int]:
        """A page of the groups of the caller's assets that look alike, and how many groups there are in all.

        Those at most `distance` bits apart are together, and those of the same content. Groups whose newest asset is the
        newest come first. Raises `BadRequest` where finding them takes too long, `PermissionDenied` for `everyones` (an
        admin's: whosever they are) unless an admin asks.
        """
        if everyones:
            actor.require("admin")
        owner_id = None if everyones else actor.user_id
        kept = await self._known.everybodys() if owner_id is None else await self._known.of(owner_id)
        grouped = await self._grouped(kept, owner_id, distance)
        seen = await self._living(owner_id, (entry[0] for group in grouped for entry in group))
        groups = await asyncio.to_thread(_as_they_are, grouped, seen, distance)
        return [_told(group) for group in groups[offset : offset + limit]], len(groups)

    async def _asked(self, actor: Actor, public_id: str) -> _Seen:
        query = _ANYBODYS if actor.is_admin else _OWN
        found = await self._fetch(query, public_id=as_public_id(public_id), owner_id=actor.user_id)
        if not found:
            raise NotFound("Asset not found")
        return found[0]

    async def _near(self, owner_id: int, phash: int, distance: int) -> list[_Seen]:
        """What is there of what was near."""
        table = (await self._known.of(owner_id)).table
        hashes = table[2].view(np.uint64)
        places = await asyncio.to_thread(nearest, hashes, phash, distance=distance, most=MOST_NEIGHBOURS + 1)
        return await self._living(owner_id, table[0, places].tolist())

    async def _living(self, owner_id: int | None, ids: Iterable[int]) -> list[_Seen]:
        """Those of the assets that are there and the owner's; whosever they are without one."""
        wanted = set(ids)
        if not wanted:
            return []
        found = await self._fetch(_LIVING, ids=among(wanted))
        if len(wanted) - len(found) > _MANY_GONE:
            self._known.forget(owner_id)
        return [one for one in found if owner_id in {None, one.owner_id}]

    async def _fetch(self, query: HotQuery, **values: Any) -> list[_Seen]:
        rows = await self._database.fetch(query, values)
        if len(rows) > 1_000:
            return await asyncio.to_thread(_seen_in, rows)
        return _seen_in(rows)

    async def _grouped(self, kept: Hashes, owner_id: int | None, distance: int) -> list[Entries]:
        """The groups as the hashes at hand have them; asked several times at once, they are looked for once."""
        wanted = kept.version
        while True:
            grouping = self._groupings.get((owner_id, distance))
            if grouping is None or not grouping.is_good(kept.version):
                grouping = self._groupings[owner_id, distance] = self._begin(kept, distance)
            found = await asyncio.shield(grouping.work)
            if found.groups is None:
                raise BadRequest(
                    f"There are too many pictures to find all that are {distance} bits apart. Ask for a smaller distance."
                )
            if grouping.version >= wanted or found.is_good_for_a_while:
                return found.groups

    def _begin(self, kept: Hashes, distance: int) -> "_Grouping":
        for key in [key for key, one in self._groupings.items() if not one.is_good(-1)]:
            del self._groupings[key]
        work = self._thread.submit(self._group, kept.table, distance)
        return _Grouping(kept.version, asyncio.wrap_future(work))

    def _group(self, table: Table, distance: int) -> "_Found":
        begun = time.monotonic()

        def give_up() -> bool:
            return self._is_closed or time.monotonic() > begun + _MAX_SECONDS

        try:
            groups = _groups_in(latest(table), distance, give_up)
        except TooLongError:
            groups = None
        return _Found(groups, seconds=time.monotonic() - begun, found_at=time.monotonic())


@dataclass(frozen=True)
class _Found:
    """Groups, or None where finding them took too long."""

    groups: list[Entries] | None
    seconds: float
    found_at: float

    @property
    def is_good_for_a_while(self) -> bool:
        return self.seconds > _SLOW_SECONDS and time.monotonic() < self.found_at + _GOOD_SECONDS


@dataclass(frozen=True)
class _Grouping:
    """Groups that are being found, or were, of the hashes of one version."""

    version: int
    work: asyncio.Future[_Found]

    def is_good(self, version: int) -> bool:
        if not self.work.done():
            return True
        if self.work.cancelled() or self.work.exception():
            return False
        return self.version == version or self.work.result().is_good_for_a_while


def _groups_in(table: Table, distance: int, give_up: Callable[[], bool] = lambda: False) -> list[Entries]:
    """The entries of each group of at least two, newest first, those of the newest groups. Raises `TooLongError`."""
    assets, files, hashes = table[0], table[1], table[2].view(np.uint64)
    tells = hashes != 0
    different, places = np.unique(hashes[tells], return_inverse=True)
    names = -files  # without a hash it is the content that counts; the others' names are not negative
    names[tells] = clusters(different, distance, give_up=give_up)[places]
    order = np.lexsort((-assets, names))
    _, begins, counts = np.unique(names[order], return_index=True, return_counts=True)
    several = counts > 1
    begins, counts = begins[several], np.minimum(counts[several], MOST_MEMBERS)
    newest_first = np.argsort(-assets[order[begins]])
    enough = int(np.searchsorted(np.cumsum(counts[newest_first]), MOST_GROUPED)) + 1
    # As plain numbers, which comparing many small groups takes less time with.
    return [
        list(map(tuple, table[:, order[begin : begin + count]].T.tolist()))
        for begin, count in zip(begins[newest_first[:enough]], counts[newest_first[:enough]], strict=True)
    ]


def _seen_in(rows: Sequence[Sequence[Any]]) -> list[_Seen]:
    return [_Seen(row[0], as_time(row[1]), *row[2:]) for row in rows]


def _as_they_are(grouped: list[Entries], seen: Iterable[_Seen], distance: int) -> list[list[_Seen]]:
    """What has become of groups: without those that are gone, others may be no longer connected. Newest first."""
    by_id = {one.id: one for one in seen}
    groups: list[list[_Seen]] = []
    for group in grouped:
        now = [by_id[entry[0]].entry for entry in group if entry[0] in by_id]
        left = [group] if now == group else _groups_in(np.array(now, np.int64).reshape(-1, 3).T, distance)
        groups += [sorted((by_id[entry[0]] for entry in one), key=_newest_first) for one in left]
    groups.sort(key=lambda group: _newest_first(group[0]))
    return groups


def _told(group: Sequence[_Seen]) -> Group:
    newest = group[0]
    return Group(
        asset_ids=[one.id for one in group],
        distance=max(bits_apart(newest.entry[2], one.entry[2]) for one in group),
        exact=all(one.file_id == newest.file_id for one in group),
    )


def _query(*conditions: ColumnElement[bool]) -> Select[Any]:
    columns: list[Any] = [Asset.id, Asset.created_at, Asset.owner_id, Asset.file_id, File.phash]
    return select(*columns).join(File, File.id == Asset.file_id).where(*conditions)


_asked = Asset.public_id == bindparam("public_id", type_=Asset.public_id.type)
_OWN = HotQuery(_query(_asked, *visible(everyones=False)))
_ANYBODYS = HotQuery(_query(_asked, *visible(everyones=True)))

# Whose they are is told apart afterwards: SQLite would rather look at all that the owner has.
_LIVING = HotQuery(_query(is_among(Asset.id, "ids"), *visible(everyones=True)))

_SAME_FILE = HotQuery(
    _query(Asset.file_id == bindparam("file_id", type_=File.id.type), *visible(everyones=False))
    .order_by(Asset.id.desc())
    .limit(MOST_NEIGHBOURS + 1)
)
