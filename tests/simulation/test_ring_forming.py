"""Nodes with one seed in common form one ring, whatever the order they start in."""

from __future__ import annotations

from random import Random

import pytest

from ring_sim import RingSim, SimNode


def ring_ids(sim: RingSim) -> set[bytes]:
    """Every ring that any process was ever in."""
    return {view.ring for node in sim.nodes.values() for _, view in node.views}


def start_all(sim: RingSim, count: int, expect: int, gaps: list[float]) -> list[SimNode]:
    """Start n0 … in random order, `gaps` seconds apart; all know n0 alone, n0 too."""
    order = list(range(count))
    sim.rng.shuffle(order)
    nodes = []
    for index, gap in zip(order, gaps, strict=True):
        nodes.append(sim.start(f"n{index}", ["n0"], expect))
        sim.run(gap)
    return nodes


def test_a_node_without_seeds_is_a_ring_of_one_at_once() -> None:
    sim = RingSim(1)
    node = sim.start("n0")
    assert sim.one_ring([node])
    assert node.engine.placement is not None
    assert node.engine.placement.share(node.engine.me.id) == 1.0


@pytest.mark.parametrize("count", [3, 5, 9])
@pytest.mark.parametrize("seed", range(10))
def test_nodes_started_in_any_order_form_one_ring(count: int, seed: int) -> None:
    sim = RingSim(seed)
    rng = Random(seed)
    gaps = [rng.choice([0.0, 0.001, 0.05, 0.4, 3.0]) for _ in range(count)]
    nodes = start_all(sim, count, 3, gaps)
    sim.run_until(lambda: sim.one_ring(nodes), 10)
    sim.run(5)
    assert sim.one_ring(nodes)
    assert len(ring_ids(sim)) == 1


@pytest.mark.parametrize("count", [3, 5, 9])
def test_nodes_that_start_together_are_quick(count: int) -> None:
    sim = RingSim(count)
    nodes = start_all(sim, count, count, [0.0] * count)
    assert sim.run_until(lambda: sim.one_ring(nodes), 10) < 1.5
    sim.run(1)
    for node in nodes:
        view = node.engine.view
        assert view is not None
        assert view.number == 1
        assert node.engine.placement is not None
        assert node.engine.placement.share(node.engine.me.id) * count <= 2
        assert node.dealt <= 1


@pytest.mark.parametrize("seed", range(5))
def test_the_seed_comes_up_last(seed: int) -> None:
    sim = RingSim(seed)
    nodes = [sim.start(f"n{index}", ["n0"], 3) for index in range(1, 5)]
    sim.run(20)
    assert not ring_ids(sim)
    nodes.append(sim.start("n0", ["n0"], 3))
    assert sim.run_until(lambda: sim.one_ring(nodes), 10) < 5
    assert len(ring_ids(sim)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_many_more_than_expected_at_once_form_one_ring(seed: int) -> None:
    sim = RingSim(seed, latency=0.02, loss=0.02)
    rng = Random(seed)
    nodes = start_all(sim, 12, 3, [rng.choice([0.0, 0.0, 0.1]) for _ in range(12)])
    sim.run_until(lambda: sim.one_ring(nodes), 30)
    assert len(ring_ids(sim)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_all_are_seeds_of_all(seed: int) -> None:
    sim = RingSim(seed, latency=0.005)
    names = [f"n{index}" for index in range(5)]
    nodes = []
    for name in names:
        nodes.append(sim.start(name, names, 3))
        sim.run(sim.rng.choice([0.0, 0.01, 0.3]))
    sim.run_until(lambda: sim.one_ring(nodes), 15)
    assert len(ring_ids(sim)) == 1


@pytest.mark.parametrize("seed", range(10))
def test_the_seed_dies_while_they_find_each_other(seed: int) -> None:
    sim = RingSim(seed)
    first = sim.start("n0", ["n0"], 3)
    others = [sim.start(f"n{index}", ["n0"], 3) for index in range(1, 5)]
    sim.run(sim.rng.uniform(0.0, 0.6))
    first.die()
    sim.run(sim.rng.uniform(0.0, 3.0))
    everyone = [*others, sim.start("n0", ["n0"], 3)]
    sim.run_until(lambda: sim.one_ring(everyone), 15)
    assert len(ring_ids(sim)) == 1


def test_fewer_than_expected_wait() -> None:
    sim = RingSim(7)
    nodes = [sim.start(f"n{index}", ["n0"], 3) for index in range(2)]
    sim.run(30)
    assert all(node.engine.view is None for node in nodes)
    nodes.append(sim.start("n2", ["n0"], 3))
    sim.run_until(lambda: sim.one_ring(nodes), 5)


def test_a_full_stop_and_a_new_start() -> None:
    sim = RingSim(8)
    nodes = [sim.start(f"n{index}", ["n0"], 3) for index in range(5)]
    sim.run_until(lambda: sim.one_ring(nodes), 5)
    kept = {node.address.partition(":")[0]: node.engine.me.id for node in nodes}
    for node in nodes:
        node.die()
    sim.run(2)
    again = [sim.start(name, ["n0"], 3, node=node) for name, node in kept.items()]
    sim.run_until(lambda: sim.one_ring(again), 5)
    assert {node.engine.me.id for node in again} == set(kept.values())


def test_dialling_goes_on_with_backoff_while_the_seed_is_down() -> None:
    sim = RingSim(9)
    node = sim.start("n1", ["n0"], 3)
    dials = 0

    connect = sim.connect

    def counted(dialler: SimNode, address: str) -> None:
        nonlocal dials
        dials += 1
        connect(dialler, address)

    sim.connect = counted  # type: ignore[method-assign]
    sim.run(60)
    assert 25 <= dials <= 50
    assert node.engine.status().links == 0
