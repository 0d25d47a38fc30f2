"""Hops are computed from real placements: trees of 10 to 10,000 members with dealt ids.

A direct message goes publisher -> home -> edge: at most two links, whatever the
size, because every node knows the home of a name from its view alone.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import pairwise
from math import ceil, log
from random import Random

import pytest

from dht.dealing import deal_ids
from dht.ids import SLOTS, slot_of, to_int
from dht.placement import Placement, closest
from ring_views import member, view_of

SIZES = [10, 100, 1_000, 10_000]
SAMPLED_ROOTS = {10: 10, 100: 40, 1_000: 20, 10_000: 4}


@cache
def placement_of(size: int) -> Placement:
    """Two nodes of one view compute the same, so one placement stands for all engines."""
    ids = deal_ids([], size, Random(size))
    return Placement(view_of(member(node) for node in ids), flat_limit=0)


def depths_and_fan_out(placement: Placement, root: bytes) -> tuple[dict[bytes, int], int]:
    """Each member's distance from the root in links, and the most children of one node."""
    parents = {
        each.id: placement.parent(each.id, root)
        for each in placement.view.members
        if each.id != root
    }
    depths = {root: 0}
    for each, parent in parents.items():
        path, above = [each], parent
        while above not in depths:
            path.append(above)
            above = parents[above]
        for below, node in enumerate(reversed(path), start=1):
            depths[node] = depths[above] + below
    return depths, max(Counter(parents.values()).values())


@pytest.mark.parametrize("size", SIZES)
def test_trees_are_shallow(size: int) -> None:
    placement = placement_of(size)
    rng = Random(size)
    deepest, widest, total, count = 0, 0, 0, 0
    for _ in range(SAMPLED_ROOTS[size]):
        root = placement.home(rng.randrange(SLOTS))
        depths, fan_out = depths_and_fan_out(placement, root)
        assert len(depths) == size
        deepest, widest = max(deepest, *depths.values()), max(widest, fan_out)
        total, count = total + sum(depths.values()), count + size - 1
    print(f"{size} members: depth {deepest}, mean {total / count:.2f}, fan-out {widest}")
    assert deepest <= ceil(log(size, 8)) + 1
    assert widest <= 64


@pytest.mark.parametrize("size", SIZES)
def test_a_direct_message_takes_two_links_at_most(size: int) -> None:
    placement = placement_of(size)
    rng = Random(size)
    members = placement.view.members
    hops: Counter[int] = Counter()
    for number in range(2_000):
        publisher, edge = rng.choice(members).id, rng.choice(members).id
        home = placement.home(slot_of(f"tag{number}.address"))
        path = [publisher, home, edge]  # the publisher knows the home, the home its edge
        hops[sum(one != two for one, two in pairwise(path))] += 1
    print(f"{size} members: direct messages by links crossed {dict(sorted(hops.items()))}")
    assert max(hops) <= 2


@pytest.mark.parametrize("size", SIZES)
def test_no_one_has_more_than_twice_its_share(size: int) -> None:
    placement = placement_of(size)
    members = placement.view.members
    slots = max(placement.share(each.id) for each in members) * size
    # At 10,000 members there are fewer slots than members: what is even there is keys.
    ids = [to_int(each.id) for each in members]
    grid = Counter(closest(ids, key << 142 | 1 << 141) for key in range(1 << 18))
    keys = max(grid.values()) * size / (1 << 18)
    print(f"{size} members: most keys / mean {keys:.2f}, most slots / mean {slots:.2f}")
    assert keys <= 2
    assert slots <= 2 or size > SLOTS
    assert sum(len(placement.slots_of(each.id)) for each in members) == SLOTS
