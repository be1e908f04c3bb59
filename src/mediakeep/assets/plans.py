"""The way to a list: along the order that it is shown in, or through the filter that leaves the fewest.

The engines cannot know: SQLite has no statistics of what people upload, PostgreSQL none of one owner's tags. The
counters tell how much each filter leaves; the statements are then written so that there is one way to run them.
"""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, func, literal_column, select

from mediakeep.db import Database, HotQuery
from mediakeep.db.hot import Value
from mediakeep.index import query as index

#: Totals are counted up to here where no counter tells them; this many means "more than 10,000".
MOST_COUNTED: Final = 10_001

#: So many assets that hold a word are many: they are passed over in the order of the list.
MANY: Final = 5000

#: A filter that leaves so few is begun with, rather than with the words that are looked for.
_FEW: Final = 2000

#: The way from the newest match of words on, for what is in the order of time. Where these are no more than can be
#: counted, it finds the total as well.
NEWEST: Final = "newest"

#: The way along the order.
IN_ORDER: Final = "order"

#: What it costs to look at a row of a filter and put it in order, beside passing one that is in order already.
_SORTING: Final = 2


def best_way(
    total: int,
    left: Mapping[str, int],
    *,
    needed: int,
    ordered: Collection[str] = (),
    reached: Mapping[str, int] | None = None,
) -> str:
    """Which filter to begin with, or `IN_ORDER`.

    `total` is how many there are without filters, `left` how many each filter leaves by itself, `needed` how many rows
    of the list are passed or shown. The filters in `ordered` have an index that gives what they leave in the order of
    the list; `reached` says of each filter how many rows its index gives, where those are more than it leaves, and only
    those in it are begun with. Filters are taken to have nothing to do with one another.
    """
    matching = float(total)
    for one in left.values():
        matching *= one / total if total else 0
    passed = needed * total / matching if matching else total  # of all, until enough have been found
    best, cost = IN_ORDER, min(passed, total)
    for name, size in (left if reached is None else reached).items():
        own = min(size, passed * size / total) if name in ordered and total else size * _SORTING
        if own < cost:
            best, cost = name, own
    return best


def best_way_with_words(
    total: int, left: Mapping[str, int], *, matching: int | None, page_end: int, needed: int
) -> str:
    """As `best_way` for a list that is narrowed to words as well ("q").

    `matching` says how many hold them, or that there are at least `MANY`; None for a list in the order of time, where
    the index tells soon enough. `page_end` is the first row after the page.
    """
    narrowest = min(left, key=lambda name: left[name], default=IN_ORDER)
    if narrowest != IN_ORDER and left[narrowest] <= _FEW:
        return narrowest
    if matching is None:
        return NEWEST if page_end < MOST_COUNTED else IN_ORDER
    if matching < MANY:
        return "q"
    return best_way(total, left, needed=needed)


def fewest(left: Mapping[str, int]) -> str:
    """The filter to begin with where all that match are counted."""
    return min(left, key=lambda name: left[name], default=IN_ORDER)


def passed_over(column: Any, dialect_name: str) -> ColumnElement[Any]:
    """The column in a condition for which SQLite is to use no index (https://sqlite.org/optoverview.html, 2.5)."""
    if dialect_name != "sqlite":
        plain: ColumnElement[Any] = column
        return plain
    return literal_column(f"+{column.table.name}.{column.name}", column.type)


def counted(matching: Select[Any]) -> Select[int]:
    """How many rows a SELECT has, up to `MOST_COUNTED`."""
    return select(func.count()).select_from(matching.limit(MOST_COUNTED).subquery())


def total_of(counted: int, *, offset: int, shown: int, limit: int) -> int:
    """The total to tell: what was counted, but beyond `MOST_COUNTED` as many as are known to be there.

    A page that is full has one more after it, so that who follows the links gets to the end.
    """
    known = offset + shown + (shown == limit) if shown else 0
    return counted if counted < MOST_COUNTED else max(counted, known)


async def count_matching(database: Database, matching: Value) -> int:
    """How many assets a query of the index finds, up to `MANY`."""
    [(count,)] = await database.fetch(
        _some_query(database.dialect_name), {"matching": matching, "most": MANY}
    )
    return int(count)


@lru_cache(maxsize=2)
def _some_query(dialect_name: str) -> HotQuery:
    matching = index.matching(dialect_name)
    found = select(matching.asset_id).select_from(matching.source).where(matching.condition)
    some = found.limit(bindparam("most", type_=BigInteger())).subquery()
    return HotQuery(select(func.count()).select_from(some), is_scan=True)


def newest_of(matching: Select[Any], dialect_name: str, descending: bool) -> Select[Any]:
    """Of a SELECT of ids and times from the index on, the ids of the newest or oldest in the order of time, and the total.

    Newest are the largest ids, which the index has in order; as many are put in order as are counted at most.
    """
    asset_id = index.matching(dialect_name).asset_id
    some = matching.order_by(asset_id.desc() if descending else asset_id.asc()).limit(MOST_COUNTED).subquery()
    times = (some.c.created_at, some.c.id)
    total = func.count().over().label("total")
    return select(some.c.id, total).order_by(*(one.desc() if descending else one.asc() for one in times))
