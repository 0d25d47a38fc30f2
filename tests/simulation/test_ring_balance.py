"""How evenly the keys lie: after joins, after leaves, and with nodes that start together."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from dht.dealing import deal_ids
from dht.ids import SLOTS
from dht.placement import Placement
from ring_scale import uneven
from ring_sets import without
from ring_sim import RingSim
from ring_views import member, view_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dht.ids import NodeId

FIVE = [f"n{index}" for index in range(5)]


def unevenness(ids: Iterable[NodeId]) -> float:
    """The largest share over the mean."""
    view = view_of(member(node) for node in ids)
    placement = Placement(view)
    slots = [len(placement.slots_of(each.id)) for each in view.members]
    return max(slots) * len(slots) / SLOTS


def dealt(count: int, rng: Random) -> list[NodeId]:
    """As views let them in: some at a time."""
    ids: list[NodeId] = []
    while len(ids) < count:
        ids += deal_ids(ids, min(rng.choice((1, 1, 3, 20)), count - len(ids)), rng)
    return ids


@pytest.mark.parametrize("count", [3, 10, 100, 1000])
def test_after_joins_nobody_has_twice_its_share(count: int) -> None:
    for seed in range(3):
        assert unevenness(dealt(count, Random(seed))) <= 2.0


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_after_a_tenth_has_left_nobody_has_four_times_its_share(count: int) -> None:
    """Who leaves is drawn."""
    for seed in range(40 if count < 1000 else 4):
        rng = Random(seed)
        ids = dealt(count, rng)
        assert unevenness(rng.sample(ids, count - count // 10)) <= 4.0


@pytest.mark.parametrize("count", [3, 10, 40])
def test_a_ring_that_has_formed_is_even_and_stays_so_as_a_tenth_leaves(count: int) -> None:
    sim = RingSim(count, codec=False)
    nodes = [sim.start(f"n{index}", ["n0"], 3) for index in range(count)]
    sim.run_until(lambda: sim.one_ring(nodes), 15)
    assert uneven(nodes) <= 2.0
    leavers = sim.rng.sample(nodes, count // 10)
    for node in leavers:
        node.leave()
    rest = without(nodes, *leavers)
    sim.run_until(lambda: sim.one_ring(rest), 15)
    assert uneven(rest) <= 4.0


@pytest.mark.parametrize("first", range(0, 100, 20))
def test_five_that_start_together_are_one_ring_also_after_a_full_stop(first: int) -> None:
    """One seed name that resolves to all five, their own addresses among them."""
    for seed in range(first, first + 20):
        sim = RingSim(seed, latency=0.002, loss=0.005, codec=False)
        sim.names["ring:7400"] = tuple(f"{name}:7400" for name in FIVE)
        expect = 5 if seed % 2 else 3
        nodes = [sim.start(name, ["ring"], expect, durable=True) for name in FIVE]
        sim.run_until(lambda: sim.one_ring(nodes), 15)  # noqa: B023 - called at once
        sim.run(sim.rng.uniform(0.0, 3.0))
        ring, ids = nodes[0].engine.status().ring, {node.engine.me.id for node in nodes}
        for node in nodes:
            node.die()
            sim.run(sim.rng.choice((0.0, 0.0, 0.3)))
        again = [sim.start(name, ["ring"], expect, durable=True) for name in FIVE]
        sim.run_until(lambda: sim.one_ring(again), 20)  # noqa: B023 - called at once
        assert {view.ring for node in (*nodes, *again) for _, view in node.views} == {ring}
        assert {node.engine.me.id for node in again} == ids
