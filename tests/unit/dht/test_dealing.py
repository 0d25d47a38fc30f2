from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dht.dealing import deal_ids
from dht.ids import ID_BITS, random_id, to_id, to_int


def key_shares(ids: list[bytes]) -> list[float]:
    """The exact fraction of all keys that each id is XOR-closest to."""
    shares: dict[int, float] = {}

    def walk(group: list[int], bit: int, share: float) -> None:
        if len(group) == 1:
            shares[group[0]] = shares.get(group[0], 0.0) + share
            return
        halves = [[g for g in group if g >> bit & 1 == side] for side in (0, 1)]
        for half in halves:
            walk(half or group, bit - 1, share / 2)

    walk([to_int(each) for each in ids], ID_BITS - 1, 1.0)
    return list(shares.values())


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10, 100, 700])
def test_no_one_has_twice_its_share(count: int) -> None:
    ids = deal_ids([], count, Random(count))
    assert len(set(ids)) == count
    shares = key_shares(ids)
    assert sum(shares) == pytest.approx(1.0)
    assert max(shares) * count <= 2


@pytest.mark.parametrize("count", [3, 10, 100])
def test_dealing_one_at_a_time_is_as_even(count: int) -> None:
    rng = Random(count)
    ids: list[bytes] = []
    for _ in range(count):
        ids += deal_ids(ids, 1, rng)
    assert max(key_shares(ids)) * count <= 2


@pytest.mark.parametrize("at_once", [1, 7, 100])
def test_no_region_is_much_fuller_than_another(at_once: int) -> None:
    """So that where some leave others are near, who share what they had."""
    rng = Random(at_once)
    ids: list[bytes] = []
    while len(ids) < 100:
        ids += deal_ids(ids, min(at_once, 100 - len(ids)), rng)
    regions = Counter(node[0] >> 4 for node in ids)
    assert set(regions.values()) <= {6, 7}
    assert len(regions) == 16


def test_joiners_mend_what_leavers_tore() -> None:
    rng = Random(4)
    ids = deal_ids([], 100, rng)
    left = rng.sample(ids, 90)
    assert max(key_shares(left)) * 90 <= 4
    assert max(key_shares(left + deal_ids(left, 10, rng))) * 100 <= 2


def test_random_ids_are_what_dealing_avoids() -> None:
    rng = Random(5)
    ids = [random_id(rng) for _ in range(100)]
    assert max(key_shares(ids)) * 100 > 2


@given(
    st.sets(
        st.one_of(st.integers(0, 2**160 - 1), st.integers(0, 7), st.just(2**160 - 1)), max_size=12
    ),
    st.integers(0, 8),
    st.integers(0, 999),
)
@settings(deadline=None)
def test_dealt_ids_are_new_whatever_was_taken(taken: set[int], count: int, seed: int) -> None:
    before = {to_id(each) for each in taken}
    dealt = deal_ids(before, count, Random(seed))
    assert len(dealt) == len(set(dealt)) == count
    assert not before & set(dealt)


def test_low_bits_are_random() -> None:
    one, two = (deal_ids([b"\0" * 20], 1, Random(seed))[0] for seed in (1, 2))
    assert one[0] & 0x80 == two[0] & 0x80 == 0x80
    assert one[4:] != two[4:]
