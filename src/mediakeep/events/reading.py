"""Reading the outbox in an order in which nothing is passed over.

PostgreSQL commits transactions in another order than it gives out ids, so ids alone would let a reader pass over what
commits late. Transactions that are older than all that still run have ended, though, and what they recorded can be
seen: so rows are read by transaction, then by id, and only those that are *settled*. What settles later comes later.
On SQLite, which has one writer, ids are in the order of commits, and everything that can be seen is settled.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, Self

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Text,
    and_,
    cast,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.db import now_plus
from mediakeep.events.models import Event

#: For so long a reader who was away can go on where it was.
RESUMABLE_SECONDS: Final = 7 * 24 * 3600

_MARK = re.compile(r"([0-9]{1,11})-([0-9]{1,18})-([0-9]{1,18})")


class Place(NamedTuple):
    """A place in the order of reading: after this row and all before it. The transaction is 0 on SQLite."""

    transaction_id: int
    row_id: int


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A place, and the time that it stands for: what clients keep, to go on from there."""

    place: Place
    seconds: int

    def __str__(self) -> str:
        return f"{self.seconds}-{self.place.transaction_id}-{self.place.row_id}"

    @classmethod
    def find(cls, given: str) -> Self | None:
        """The mark that was written so; None for what is none."""
        found = _MARK.fullmatch(given)
        if found is None:
            return None
        seconds, transaction_id, row_id = (int(part) for part in found.groups())
        return cls(place=Place(transaction_id, row_id), seconds=seconds)

    def can_be_followed(self, now: "Mark") -> bool:
        """Whether all that came after it is still kept, and it is of this database as it is now."""
        is_of_this = self.place <= now.place and bool(self.place.transaction_id) == bool(
            now.place.transaction_id
        )
        return is_of_this and self.seconds > now.seconds - RESUMABLE_SECONDS


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which events somebody reads: an owner's or everybody's, of some kinds or all, about one thing or all."""

    #: None: everybody's.
    owner_id: int | None
    #: Such as "asset.created", or "asset.*" for a family; "*" or none for all.
    kinds: Sequence[str] = ()
    subject: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        found = [] if self.owner_id is None else [Event.owner_id == self.owner_id]
        if self.kinds and "*" not in self.kinds:
            found.append(or_(*(_is_of_kind(kind) for kind in self.kinds)))
        if self.subject is not None:
            found.append(Event.subject == self.subject)
        return found


@dataclass(frozen=True, kw_only=True)
class Happened:
    """A row of the outbox, with the mark to go on from after it."""

    mark: Mark
    kind: str
    subject: str
    data: dict[str, Any]  # JSON
    created_at: datetime


async def find_settled(session: AsyncSession) -> Mark:
    """The newest place up to which everything is settled, and the database's time."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    row = (await session.execute(_SQLITE_SETTLED if is_sqlite else _POSTGRESQL_SETTLED)).one()
    return Mark(place=Place(row.transaction_id, row.row_id or 0), seconds=int(row.now.timestamp()))


async def find_owners(session: AsyncSession, after: Place, until: Place) -> set[int | None]:
    """Whose events lie between two places, the second of which is settled."""
    return set(await session.scalars(select(Event.owner_id).distinct().where(_lies_between(after, until))))


async def read_page(
    session: AsyncSession, wanted: Wanted, after: Place, until: Place, *, limit: int
) -> list[Happened]:
    """Up to `limit` events between two places, the second of which is settled, in the order of reading."""
    page = (
        select(Event.id, Event.transaction_id, Event.kind, Event.subject, Event.data, Event.created_at)
        .where(_lies_between(after, until), *wanted.conditions())
        .order_by(Event.transaction_id, Event.id)
        .limit(limit)
    )
    return [
        Happened(
            mark=Mark(place=Place(row.transaction_id or 0, row.id), seconds=int(row.created_at.timestamp())),
            kind=row.kind,
            subject=row.subject,
            data=row.data,
            created_at=row.created_at,
        )
        for row in await session.execute(page)
    ]


def _lies_between(after: Place, until: Place) -> ColumnElement[bool]:
    if not until.transaction_id:
        return and_(Event.transaction_id.is_(None), Event.id > after.row_id, Event.id <= until.row_id)
    transaction_id = Event.transaction_id
    return and_(
        transaction_id >= after.transaction_id,
        or_(transaction_id > after.transaction_id, Event.id > after.row_id),
        transaction_id < until.transaction_id,
    )


def _is_of_kind(kind: str) -> ColumnElement[bool]:
    if kind.endswith(".*"):
        return Event.kind.startswith(kind.removesuffix("*"), autoescape=True)
    return Event.kind == kind


def _settled(transaction_id: ColumnElement[int], row_id: ColumnElement[int]) -> Select[int, int, datetime]:
    return select(transaction_id.label("transaction_id"), row_id.label("row_id"), now_plus().label("now"))


#: Not the largest id that is there: rows are removed, and ids are not used again.
_SQLITE_SETTLED = _settled(
    literal_column("0"), literal_column("(SELECT seq FROM sqlite_sequence WHERE name = 'events')")
)
_POSTGRESQL_SETTLED = _settled(
    cast(cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), Text), BigInteger), literal_column("0")
)
