"""How far messages travel, with real engines: rings of 10 to 10,000 nodes."""

from __future__ import annotations

from math import ceil, log

import pytest

from pubsub.messages import Appended
from pubsub_sim import Simulation


@pytest.mark.parametrize("size", [10, 100, 1_000, 10_000])
def test_a_group_publish_reaches_every_node_over_a_shallow_tree(size: int) -> None:
    sim = Simulation(size, flat_limit=0)
    nodes = sim.start(size)
    readers = [node.read("/chat/room") for node in nodes]
    sim.run(3.0)
    publisher = nodes[size // 3]
    for index in range(3):
        publisher.publish("/chat/room", f"m{index}")
        sim.run(0.5)
    sim.check()
    assert all(reader.ids == ["m0", "m1", "m2"] for reader in readers)
    deepest = max(node.engine.statistics().tree_depth for node in nodes)
    widest = max(node.engine.statistics().tree_children for node in nodes)
    bound = ceil(log(size, 8)) + 1
    assert deepest <= bound
    assert widest <= 45
    # One more link takes the message from its publisher to the root.
    assert max(hops for reader in readers for hops in reader.hops) <= bound + 1
    # Every node but the root got each message once: nothing is sent for nothing.
    assert sim.sent["Entries"] == 3 * (size - 1)
    print(f"{size} nodes: depth {deepest}, fan-out {widest}")


@pytest.mark.parametrize("size", [10, 100, 1_000, 10_000])
def test_a_direct_message_takes_two_links_at_most(size: int) -> None:
    sim = Simulation(size, flat_limit=0)
    nodes = sim.start(size)
    rng = sim.rng
    sessions = [rng.choice(nodes).open(f"t{index}.{index:020d}") for index in range(50)]
    sim.run(1.0)
    publications = [
        rng.choice(nodes).publish(session.address, f"m{index}")
        for index, session in enumerate(sessions)
    ]
    sim.run(1.0)
    assert all(isinstance(publication.result, Appended) for publication in publications)
    for index, session in enumerate(sessions):
        assert session.ids == [f"m{index}"]
        assert max(session.hops) <= 2


def test_a_flat_ring_needs_one_link_down() -> None:
    sim = Simulation(1, flat_limit=32)
    nodes = sim.start(32)
    readers = [node.read("/chat/room") for node in nodes]
    sim.run(0.5)
    nodes[0].publish("/chat/room", "m")
    sim.run(0.5)
    assert max(hops for reader in readers for hops in reader.hops) <= 2
    assert max(node.engine.statistics().tree_depth for node in nodes) == 1
