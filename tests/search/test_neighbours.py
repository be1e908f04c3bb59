"""Neighbours and clusters of hashes, against comparing each with each."""

from itertools import accumulate

import numpy as np
import pytest

from mediakeep.search import neighbours
from mediakeep.search.neighbours import TooLongError, bits_apart, clusters, nearest, telling

RANDOM = np.random.default_rng(11)


def signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def with_flipped(number: int, bits: int) -> int:
    for place in RANDOM.choice(64, bits, replace=False):
        number ^= 1 << int(place)
    return number


def by_hand(hashes: list[int], distance: int) -> set[frozenset[int]]:
    """The clusters of more than one, one step after the other."""
    left, found = set(hashes), set()
    while left:
        cluster, fringe = set(), {left.pop()}
        while fringe:
            one = fringe.pop()
            cluster.add(one)
            near = {other for other in left if (one ^ other).bit_count() <= distance}
            left -= near
            fringe |= near
        if len(cluster) > 1:
            found.add(frozenset(cluster))
    return found


def found_clusters(hashes: list[int], distance: int) -> set[frozenset[int]]:
    named: dict[int, set[int]] = {}
    for one, first in zip(hashes, clusters(np.array(hashes, np.uint64), distance).tolist(), strict=True):
        named.setdefault(first, set()).add(one)
    return {frozenset(cluster) for cluster in named.values() if len(cluster) > 1}


def planted(count: int) -> list[int]:
    """Random hashes, and among them families of which each is some bits from the one before."""
    hashes = [int(one) for one in RANDOM.integers(0, 1 << 64, count, np.uint64)]
    for first in hashes[:40]:
        family = accumulate(RANDOM.integers(1, 10, 4).tolist(), with_flipped, initial=first)
        hashes.extend(family)
    return sorted(set(hashes))


@pytest.mark.parametrize("distance", range(9))
@pytest.mark.parametrize("count", [100, 1_500])
def test_clusters_are_those_of_comparing_each_with_each(count, distance):
    hashes = planted(count)
    expected = by_hand(hashes, distance)
    assert found_clusters(hashes, distance) == expected
    assert bool(expected) == bool(distance)


def test_work_is_cut_into_portions_without_losing_pairs(monkeypatch):
    hashes = planted(1_500)
    expected = found_clusters(hashes, 8)
    monkeypatch.setattr(neighbours, "_PORTION", 7)
    assert found_clusters(hashes, 8) == expected


def test_a_chain_is_one_cluster_and_without_its_middle_two():
    chain = [0xF0F0_F0F0_F0F0_F0F0]
    while len(chain) < 9:
        chain.append(chain[-1] ^ (0xFF << len(chain) * 7 - 7))
    assert len(found_clusters(chain, 8)) == 1
    assert len(found_clusters(chain[:4] + chain[5:], 8)) == 2


def test_clusters_of_nothing_are_nothing():
    assert clusters(np.array([], np.uint64), 8).tolist() == []


def test_work_that_is_given_up_says_so():
    hashes = np.array(planted(1_500), np.uint64)
    with pytest.raises(TooLongError):
        clusters(hashes, 8, give_up=lambda: True)


def test_the_nearest_of_200_000_are_those_of_comparing_with_each():
    hashes = RANDOM.integers(0, 1 << 64, 200_000, np.uint64)
    asked = int(hashes[77])
    near = [with_flipped(asked, bits) for bits in (1, 3, 8, 9, 16, 17)]
    hashes[1000:1006] = near
    for distance in (0, 8, 16):
        expected = [n for n, one in enumerate(hashes.tolist()) if (one ^ asked).bit_count() <= distance]
        found = nearest(hashes, signed(asked), distance=distance, most=1_000)
        assert sorted(found.tolist()) == expected
        assert 77 in expected
    assert {1000, 1001, 1002} <= set(nearest(hashes, signed(asked), distance=8, most=1_000).tolist())


def test_of_more_than_asked_for_the_nearest_and_then_the_last_are_told():
    hashes = np.array([7, 1, 1, 3, 1, 0], np.uint64)
    assert nearest(hashes, 1, distance=8, most=4).tolist() == [4, 2, 1, 5]


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [(0, 0, 0), (-1, 0, 64), (-(1 << 63), 0, 1), (-1, -2, 1), (5, -6, 64), ((1 << 63) - 1, -(1 << 63), 64)],
)
def test_distances_of_signed_numbers(one, other, apart):
    assert bits_apart(one, other) == bits_apart(other, one) == apart


@pytest.mark.parametrize("phash", [None, 0, 1, -1, 0b11111, ~0b11111, -(1 << 63)])
def test_flat_pictures_have_no_hash_that_tells(phash):
    assert telling(phash) == 0


@pytest.mark.parametrize("phash", [0b111111, ~0b111111, -(1 << 32), 0x5555_5555_5555_5555])
def test_other_hashes_tell(phash):
    assert telling(phash) == phash
