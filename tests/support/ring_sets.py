"""Rings to begin a simulation with, and parts of them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ring_sim import RingSim, SimNode


def ring_of(sim: RingSim, count: int, *, durable: bool = False) -> list[SimNode]:
    """A ring that has formed and settled."""
    expect, seeds = min(count, 3), ["n0"] if count > 1 else []
    nodes = [sim.start(f"n{index}", seeds, expect, durable=durable) for index in range(count)]
    sim.run_until(lambda: sim.one_ring(nodes), 10)
    sim.run(2)
    return nodes


def leader_of(nodes: list[SimNode]) -> SimNode:
    leader = nodes[0].engine.status().leader
    return next(node for node in nodes if node.engine.me.id == leader)


def without(nodes: list[SimNode], *some: SimNode) -> list[SimNode]:
    return [node for node in nodes if node not in some]


def assert_numbers_grow_and_mean_one_view(sim: RingSim, nodes: list[SimNode]) -> None:
    digests = defaultdict(set)
    for node in nodes:
        numbers = [view.number for _, view in node.views]
        assert numbers == sorted(numbers)
        for _, view in node.views:
            digests[view.ring, view.number].add(view.digest)
    assert all(len(each) == 1 for each in digests.values()), sim.describe()
