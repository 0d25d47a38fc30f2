"""Sessions live where they are minted, and minting is bounded wherever the slots are."""

from __future__ import annotations

import pytest

from dht.ids import SLOTS, slot_of
from node.tags import TagPool
from pubsub.sessions import parse_secret


@pytest.mark.parametrize("share", [1.0, 0.3, 0.01])
def test_minted_sessions_are_homed_here(share: float) -> None:
    ours = set(range(int(SLOTS * share)))
    pool = TagPool(ours.__contains__)
    names = [pool.mint() for _ in range(500)]
    assert len(set(names)) == len(names)
    assert all(parse_secret(name) for name in names)
    homed = sum(slot_of(name) in ours for name in names)
    assert homed >= (500 if share > 0.1 else 490)


def test_sessions_spread_over_many_slots() -> None:
    pool = TagPool(lambda _slot: True)
    assert len({slot_of(pool.mint()) for _ in range(2_000)}) >= 50


def test_a_node_without_slots_mints_all_the_same_with_bounded_effort() -> None:
    asked = 0

    def serves(_slot: int) -> bool:
        nonlocal asked
        asked += 1
        return False

    assert parse_secret(TagPool(serves).mint())
    assert asked <= 512


def test_tags_whose_slots_have_moved_are_dropped() -> None:
    ours = set(range(SLOTS // 2))
    pool = TagPool(ours.__contains__)
    for _ in range(100):  # the pool is full
        pool.mint()
    ours.clear()
    ours.update(range(SLOTS // 2, SLOTS))
    assert all(slot_of(pool.mint()) in ours for _ in range(200))
