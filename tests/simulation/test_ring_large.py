"""A ring beyond `flat_limit`: news travel over buckets, the voters' word along trees."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from dht.messages import Heartbeat, Lease, ViewDeltas, ViewNews
from ring_sets import leader_of, without
from ring_sim import RingSim

if TYPE_CHECKING:
    from ring_network import SimLink
    from ring_process import SimNode


def large(count: int, seed: int = 1) -> tuple[RingSim, list[SimNode]]:
    sim = RingSim(seed, codec=False)
    nodes = sim.establish(count)
    sim.run(2.5)
    return sim, nodes


def watch(sim: RingSim, kinds: tuple[type, ...]) -> Counter[str]:
    """Counts messages of these kinds by sender, from now on."""
    told: Counter[str] = Counter()
    transmit = sim.transmit

    def counted(link: SimLink, sender: SimNode, message: Any) -> None:
        if isinstance(message, kinds):
            told[sender.address] += 1
        transmit(link, sender, message)

    sim.transmit = counted  # type: ignore[method-assign]
    return told


def know(nodes: list[SimNode], number: int) -> bool:
    return all(node.engine.view is not None and node.engine.view.number >= number for node in nodes)


def test_nobody_tells_everyone_of_a_view() -> None:
    sim, nodes = large(120)
    told = watch(sim, (ViewDeltas, ViewNews))
    nodes[70].die()
    rest = without(nodes, nodes[70])
    sim.run(0.5)
    assert know(rest, 2)
    assert max(told.values()) <= 40
    assert told.total() <= 4 * len(nodes)  # some of it to who heard of it by a heartbeat first
    assert len(told) > 12


def test_who_hangs_as_the_news_come_leaves_nobody_behind() -> None:
    """A tenth hangs that nobody suspects yet, and cannot pass on what it is told."""
    sim, nodes = large(100)
    deaf = sim.rng.sample(without(nodes, leader_of(nodes)), 10)
    victim = without(nodes, *deaf, leader_of(nodes))[50]
    for node in deaf:
        node.hang()
    victim.die()
    rest = without(nodes, victim, *deaf)
    sim.run_until(lambda: know(rest, 2), 2.0)
    sim.run_until(lambda: sim.one_ring(rest), 4.0)
    for node in deaf:
        node.resume()
    sim.run_until(lambda: sim.one_ring([*rest, *deaf]), 8.0)


def test_voters_are_asked_by_voters_and_children_only() -> None:
    sim, nodes = large(120)
    assert all(node.engine.holds_lease(sim.now) for node in nodes)
    asked = watch(sim, (Lease,))
    sim.run(1.0)
    assert not asked
    voters = set(leader_of(nodes).engine.status().voters)
    beats: Counter[bytes] = Counter()
    transmit = sim.transmit

    def counted(link: SimLink, sender: SimNode, message: Any) -> None:
        if isinstance(message, Heartbeat) and message.asks:
            beats[link.ids[1 - link.side(sender)]] += 1
        transmit(link, sender, message)

    sim.transmit = counted  # type: ignore[method-assign]
    sim.run(1.0)
    assert sum(beats[voter] for voter in voters) < 5 * 5 * 30
    assert beats.total() <= 5 * 4 * len(nodes)


def test_a_ring_that_grows_past_the_limit_and_shrinks_again_keeps_its_leases() -> None:
    sim = RingSim(3, codec=False)
    nodes = [sim.start(f"n{index}", ["n0"], 3) for index in range(30)]
    sim.run_until(lambda: sim.one_ring(nodes), 10)
    sim.run(2.0)
    more = [sim.start(f"m{index}", ["n0"], 3) for index in range(6)]
    lost = 0
    for _ in range(60):
        sim.run(0.05)
        lost += sum(not node.engine.holds_lease(sim.now) for node in nodes)
    assert sim.one_ring([*nodes, *more])
    assert lost == 0
    for node in more:
        node.leave()
    for _ in range(60):
        sim.run(0.05)
        lost += sum(not node.engine.holds_lease(sim.now) for node in nodes)
    assert sim.one_ring(nodes)
    assert lost == 0
