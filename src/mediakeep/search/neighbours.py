"""Which of a million 64-bit hashes differ in few bits. Plain numpy: runs in a thread, mostly without the GIL."""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.integer[Any]]

#: Hashes with fewer bits than these set, or unset, are those of flat pictures and plain gradients.
_FEWEST_BITS = 6

#: Where the three parts of a hash begin, and how many bits they have.
_PARTS = ((0, 22), (22, 21), (43, 21))

#: Up to so many, each is compared with each.
_MOST_COMPARED = 1_000

#: Pairs are looked at in portions of about these.
_PORTION = 4_000_000

_ALL_BITS = (1 << 64) - 1


class TooLongError(Exception):
    """The work was given up."""


def telling(phash: int | None) -> int:
    """The hash where it tells pictures apart, else 0: those of flat pictures and plain gradients are alike by chance."""
    if phash is None or not _FEWEST_BITS <= (phash & _ALL_BITS).bit_count() <= 64 - _FEWEST_BITS:
        return 0
    return phash


def bits_apart(one: int, other: int) -> int:
    """In how many bits two hashes, given as signed numbers, differ."""
    return ((one ^ other) & _ALL_BITS).bit_count()


def nearest(hashes: Hashes, phash: int, *, distance: int, most: int) -> Places:
    """The places of the hashes at most `distance` bits from `phash`; the nearest `most`, of equally near ones the last."""
    apart = np.bitwise_count(hashes ^ np.uint64(phash & _ALL_BITS))
    places = np.flatnonzero(apart <= distance)
    if len(places) > most:
        places = places[np.lexsort((-places, apart[places]))[:most]]
    return places


def clusters(hashes: Hashes, distance: int, *, give_up: Callable[[], bool] = lambda: False) -> Places:
    """For each of the hashes, which are all different, the place of the first one of its cluster.

    Two that are at most `distance` bits apart, which is at most 8, are of one cluster, and so are those that others
    connect. Raises `TooLongError` once `give_up` says so.
    """
    firsts = np.arange(len(hashes))
    if distance:
        for one, other in _near_pairs(hashes, distance):
            if give_up():
                raise TooLongError
            _join(firsts, one, other)
    return firsts


def _near_pairs(hashes: Hashes, distance: int) -> Iterator[tuple[Places, Places]]:
    """The places of all pairs at most `distance` bits apart, in portions of which many are empty; some come twice."""
    if len(hashes) <= _MOST_COMPARED:
        rows, columns = np.triu_indices(len(hashes), 1)
        yield _near(hashes, rows, columns, distance)
        return
    # If each part of two hashes differed in more bits than its share, they would differ in more than `distance` in all.
    for number, (start, bits) in enumerate(_PARTS):
        share = (distance + len(_PARTS) - number) // len(_PARTS) - 1
        if share < 0:
            continue
        part = ((hashes >> np.uint64(start)) & np.uint64((1 << bits) - 1)).astype(np.int32)
        order = np.argsort(part, kind="stable")
        for one, other in _pairs_by_part(part[order], bits, share):
            yield _near(hashes, order[one], order[other], distance)


def _pairs_by_part(part: npt.NDArray[np.int32], bits: int, share: int) -> Iterator[tuple[Places, Places]]:
    """The pairs of places whose values, which are sorted and have `bits` bits, differ in at most `share` bits."""
    starts = np.zeros((1 << bits) + 1, np.int32)
    np.cumsum(np.bincount(part, minlength=1 << bits), out=starts[1:])
    for flipped in _masks(bits, share):
        if flipped:
            sought = part ^ np.int32(flipped)
            places = np.flatnonzero(sought > part)  # each pair once
            sought = sought[places]
            begin, end = starts[sought], starts[sought + 1]
        else:
            places = np.arange(len(part))
            begin, end = places + 1, starts[part + 1]
        some = np.flatnonzero(end > begin)
        yield from _spread(places[some], begin[some], (end - begin)[some])


def _masks(bits: int, share: int) -> Iterator[int]:
    for count in range(share + 1):
        for places in combinations(range(bits), count):
            yield sum(1 << place for place in places)


def _spread(places: Places, begin: Places, counts: Places) -> Iterator[tuple[Places, Places]]:
    """Each place with each of the `counts` places from `begin` on."""
    ends = np.cumsum(counts, dtype=np.int64)
    first = 0
    while first < len(places) or not first:
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + _PORTION, "right")))
        chosen = slice(first, last)
        one = np.repeat(places[chosen], counts[chosen])
        shift = begin[chosen] - (ends[chosen] - counts[chosen] - done)
        yield one, np.arange(len(one)) + np.repeat(shift, counts[chosen])
        first = last


def _near(hashes: Hashes, one: Places, other: Places, distance: int) -> tuple[Places, Places]:
    near = np.bitwise_count(hashes[one] ^ hashes[other]) <= distance
    return one[near], other[near]


def _join(firsts: Places, one: Places, other: Places) -> None:
    """Make one cluster of those of each pair. `firsts` names for each place the first one of its cluster."""
    while len(one):
        low, high = firsts[one], firsts[other]
        apart = low != high
        one, other, low, high = one[apart], other[apart], low[apart], high[apart]
        np.minimum.at(firsts, np.maximum(low, high), np.minimum(low, high))
        while not np.array_equal(firsts, settled := firsts[firsts]):
            firsts[:] = settled
