"""Cuts: who freezes, who goes on, and how they come together again."""

from __future__ import annotations

import pytest

from dht.settings import RingSettings
from ring_sets import leader_of, ring_of, without
from ring_sim import RingSim


class TestTwoWays:
    @pytest.mark.parametrize("small", [1, 2])
    @pytest.mark.parametrize("seed", range(4))
    def test_the_minority_freezes_and_comes_back(self, small: int, seed: int) -> None:
        sim = RingSim(seed)
        nodes = ring_of(sim, 5)
        sim.rng.shuffle(nodes)
        minority, majority = nodes[:small], nodes[small:]
        sim.cut(minority, majority)
        assert sim.run_until(lambda: sim.one_ring(majority), 5) < 3
        sim.run(10)
        assert all(node.engine.status().frozen for node in minority)
        assert all(node.engine.status().number == 1 for node in minority)
        sim.heal()
        assert sim.run_until(lambda: sim.one_ring(nodes), 10) < 4
        assert len({node.engine.status().ring for node in nodes}) == 1

    def test_no_joiner_is_let_in_by_a_minority(self) -> None:
        sim = RingSim(18)
        nodes = ring_of(sim, 5)
        sim.cut(nodes[:2], nodes[2:])
        late = sim.start("late", ["n0"], 1)
        sim.cut([late], nodes[2:])
        sim.run(10)
        assert late.engine.view is None
        sim.heal()
        sim.run_until(lambda: sim.one_ring([*nodes, late]), 10)

    def test_rings_of_two_ids_never_merge(self) -> None:
        sim = RingSim(19)
        one = sim.start("a")
        two = sim.start("b")
        both = sim.start("c", ["a", "b"], 3)
        sim.run(10)
        rings = {node.engine.status().ring for node in (one, two, both)}
        assert len(rings) == 2
        assert both.engine.status().in_ring
        assert len({view.ring for _, view in both.views}) == 1
        assert one.engine.status().ring != two.engine.status().ring


class TestOneWay:
    @pytest.mark.parametrize("leads", [False, True])
    @pytest.mark.parametrize("outwards", [False, True])
    def test_who_cannot_speak_or_hear_is_struck_off_and_comes_back(
        self, leads: bool, outwards: bool
    ) -> None:
        sim = RingSim(20)
        nodes = ring_of(sim, 5)
        victim = leader_of(nodes)
        if not leads:
            victim = without(nodes, victim)[0]
        rest = without(nodes, victim)
        sides = ([victim], rest) if outwards else (rest, [victim])
        sim.cut(*sides, one_way=True)
        assert sim.run_until(lambda: sim.one_ring(rest), 10) < 3
        sim.run(2)
        assert not victim.engine.holds_lease(sim.now)
        sim.heal()
        assert sim.run_until(lambda: sim.one_ring(nodes), 10) < 4


class TestHalf:
    def test_a_leader_that_cannot_reach_the_voters_is_led_past(self) -> None:
        """Its neighbours see it well, so nobody may strike it off; the ring must go on."""
        sim = RingSim(21)
        nodes = ring_of(sim, 24)
        leader = leader_of(nodes)
        voters = set(leader.engine.status().voters) - {leader.engine.me.id}
        others = [node for node in nodes if node.engine.me.id in voters]
        near = {each.id for each in leader.engine.status().members} & voters
        assert near
        sim.cut([leader], others)
        sim.run(3)
        late = sim.start("late", [without(nodes, leader, *others)[0].address.partition(":")[0]], 3)
        sim.run_until(lambda: late.engine.status().in_ring, 10)
        sim.heal()
        sim.run_until(lambda: sim.one_ring([*nodes, late]), 10)

    def test_two_that_cannot_see_each_other_both_stay(self) -> None:
        sim = RingSim(22)
        nodes = ring_of(sim, 9)
        sim.cut(nodes[3:4], nodes[4:5])
        sim.run(20)
        assert nodes[0].engine.status().number == 1
        accused = dict(nodes[0].engine.status().accused)
        assert accused in ({}, dict(leader_of(nodes).engine.status().accused))
        assert all(node.engine.holds_lease(sim.now) for node in nodes)


@pytest.mark.parametrize("flat_limit", [32, 0])
def test_two_that_have_lost_each_other_for_a_while_hear_each_other_again(flat_limit: int) -> None:
    sim = RingSim(24, settings=RingSettings(flat_limit=flat_limit))
    nodes = ring_of(sim, 16)
    by_id = sorted(nodes, key=lambda node: node.engine.me.id)
    leader = by_id.index(leader_of(nodes))
    sim.cut([by_id[leader - 8]], [by_id[leader - 7]])  # they watch each other
    sim.cut([by_id[leader]], [by_id[leader - 5]])  # one asks the other for its word
    sim.run(3)
    assert any(node.engine.status().suspected for node in nodes)
    sim.heal()
    sim.run(1)
    assert not any(node.engine.status().suspected for node in nodes)
    assert not any(node.engine.status().health.missing for node in nodes)
    assert nodes[0].engine.status().number == 1


def test_a_lease_in_a_large_ring_is_lost_before_anyone_is_struck_off() -> None:
    """By relays too: who is cut off stops acknowledging before the others may go on."""
    for seed in range(2):
        sim = RingSim(seed, codec=False)
        nodes = sim.establish(60)
        sim.run(2)
        assert all(node.engine.holds_lease(sim.now) for node in nodes)
        few = sim.rng.sample(nodes, 3)
        rest = without(nodes, *few)
        sim.cut(few, rest)
        cut_at = sim.now
        lost: dict[str, float] = {}
        while not sim.one_ring(rest):
            sim.run(0.02)
            for node in few:
                if not node.engine.holds_lease(sim.now):
                    lost.setdefault(node.address, sim.now)
            assert sim.now < cut_at + 3
        struck = min(at for node in rest for at, view in node.views if view.number > 1)
        assert len(lost) == len(few)
        assert max(lost.values()) < struck + 0.02
        assert sum(node.engine.holds_lease(sim.now) for node in rest) >= len(rest) - 1


def test_two_majorities_of_different_opinion_never_decide_twice() -> None:
    """A leader decides and is cut off before anyone hears: the others find what it has chosen."""
    for delay in range(40):
        sim = RingSim(delay)
        nodes = ring_of(sim, 5)
        leader = leader_of(nodes)
        late = sim.start("late", ["n0"], 3)
        sim.run(0.02 + delay * 0.005)
        sim.cut([leader, late], without(nodes, leader))
        sim.run(5)
        sim.heal()
        sim.run_until(lambda: sim.one_ring([*nodes, late]), 10)  # noqa: B023 - called at once
        digests: dict[int, bytes] = {}
        for node in [*nodes, late]:
            for _, view in node.views:
                assert digests.setdefault(view.number, view.digest) == view.digest


def test_a_recovered_minority_and_the_majority_are_two_rings_and_both_shout() -> None:
    sim = RingSim(23)
    nodes = ring_of(sim, 5)
    few, many = nodes[:2], nodes[2:]
    sim.cut(few, many)
    sim.run(5)
    few[0].call(few[0].engine.recover)
    sim.run_until(lambda: sim.one_ring(few), 5)
    sim.heal()
    sim.run(10)
    assert sim.one_ring(few)
    assert sim.one_ring(many)
    assert any(node.engine.status().health.foreign for node in nodes)
