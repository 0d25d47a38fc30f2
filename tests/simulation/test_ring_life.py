"""A ring's life: joins, polite leaves, kills, hangs, cuts, restarts."""

from __future__ import annotations

import pytest

from dht.view import MemberState
from ring_sets import assert_numbers_grow_and_mean_one_view, leader_of, ring_of, without
from ring_sim import RingSim


class TestJoining:
    @pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
    def test_a_later_node_joins_and_takes_its_share(self, count: int) -> None:
        sim = RingSim(count)
        nodes = ring_of(sim, count)
        late = sim.start("late", ["n0"], 3)
        assert sim.run_until(lambda: sim.one_ring([*nodes, late]), 5) < 1
        assert [view.get(late.engine.me.id).state for _, view in late.views] == [  # type: ignore[union-attr]
            MemberState.JOINING,
            MemberState.ACTIVE,
        ]
        placement = late.engine.placement
        assert placement is not None
        shares = [placement.share(node.engine.me.id) for node in [*nodes, late]]
        assert placement.share(late.engine.me.id) > 0
        assert max(shares) * (count + 1) <= 2
        assert late.dealt == 1
        assert_numbers_grow_and_mean_one_view(sim, [*nodes, late])

    def test_it_may_know_a_seed_that_does_not_lead(self) -> None:
        sim = RingSim(2)
        nodes = ring_of(sim, 5)
        other = without(nodes, leader_of(nodes))[0]
        late = sim.start("late", [other.address.partition(":")[0]], 3)
        assert sim.run_until(lambda: sim.one_ring([*nodes, late]), 5) < 1

    def test_a_storm_of_joiners(self) -> None:
        sim = RingSim(3)
        nodes = ring_of(sim, 3)
        nodes += [sim.start(f"s{index}", ["n0"], 3) for index in range(40)]
        sim.run_until(lambda: sim.one_ring(nodes), 20)
        placement = nodes[0].engine.placement
        assert placement is not None
        assert max(placement.share(node.engine.me.id) for node in nodes) * 43 <= 2
        sim.run(5)
        assert sim.one_ring(nodes)

    def test_it_keeps_an_id_that_it_was_dealt_before(self) -> None:
        sim = RingSim(4)
        nodes = ring_of(sim, 3)
        kept = bytes(range(20))
        late = sim.start("late", ["n0"], 3, node=kept)
        sim.run_until(lambda: sim.one_ring([*nodes, late]), 5)
        assert late.engine.me.id == kept
        assert late.dealt == 0

    def test_a_joiner_that_dies_at_once_is_dropped(self) -> None:
        sim = RingSim(5)
        nodes = ring_of(sim, 5)
        late = sim.start("late", ["n0"], 3)
        sim.run_until(lambda: len(nodes[0].engine.status().members) == 6, 5)
        late.die()
        assert sim.run_until(lambda: sim.one_ring(nodes), 5) < 2


class TestLeaving:
    @pytest.mark.parametrize("count", [2, 3, 6, 9])
    @pytest.mark.parametrize("leads", [False, True])
    def test_a_polite_leaver_is_gone_from_every_view_in_two_seconds(
        self, count: int, leads: bool
    ) -> None:
        sim = RingSim(count)
        nodes = ring_of(sim, count)
        leaver = leader_of(nodes)
        if not leads:
            leaver = without(nodes, leaver)[0]
        rest = without(nodes, leaver)
        leaver.leave(drain=0.2)
        assert sim.run_until(lambda: sim.one_ring(rest), 5) < 2
        sim.run(0.1)
        assert leaver.departed_at is not None
        assert leaver.views[-1][1].get(leaver.engine.me.id) is None
        states = [
            member.state for _, view in rest[0].views if (member := view.get(leaver.engine.me.id))
        ]
        assert states[-1] is MemberState.LEAVING
        assert_numbers_grow_and_mean_one_view(sim, nodes)

    def test_all_leave_at_once(self) -> None:
        sim = RingSim(6)
        nodes = ring_of(sim, 5)
        for node in nodes:
            node.leave()
        sim.run_until(lambda: not sim.nodes, 5)
        assert all(node.departed_at is not None for node in nodes)

    def test_one_by_one_to_the_last(self) -> None:
        sim = RingSim(7)
        nodes = ring_of(sim, 4)
        while nodes:
            nodes.pop(0).leave()
            if nodes:
                sim.run_until(lambda: sim.one_ring(nodes), 3)
        sim.run_until(lambda: not sim.nodes, 3)

    def test_a_node_that_seeks_leaves_at_once(self) -> None:
        sim = RingSim(8)
        node = sim.start("n1", ["n0"], 3)
        sim.run(1)
        node.leave()
        assert node.departed_at == sim.now

    def test_a_leaver_whom_nobody_answers_goes_all_the_same(self) -> None:
        sim = RingSim(9)
        nodes = ring_of(sim, 3)
        sim.cut(nodes[:1], nodes[1:])
        nodes[0].leave()
        sim.run_until(lambda: nodes[0].departed_at is not None, 2.5)


class TestDeath:
    @pytest.mark.parametrize(
        ("count", "leads"),
        [(2, False), *((count, leads) for count in (3, 5, 9, 20) for leads in (False, True))],
    )
    def test_a_killed_member_is_evicted_within_a_second(self, count: int, leads: bool) -> None:
        sim = RingSim(count)
        nodes = ring_of(sim, count)
        victim = leader_of(nodes)
        if not leads:
            victim = without(nodes, victim)[0]
        victim.die()
        assert sim.run_until(lambda: sim.one_ring(without(nodes, victim)), 5) < 1

    @pytest.mark.parametrize("count", [3, 5, 9, 20])
    @pytest.mark.parametrize("leads", [False, True])
    def test_a_hung_member_is_evicted_within_two_seconds_and_comes_back(
        self, count: int, leads: bool
    ) -> None:
        sim = RingSim(count)
        nodes = ring_of(sim, count)
        victim = leader_of(nodes)
        if not leads:
            victim = without(nodes, victim)[0]
        before = victim.engine.me
        victim.hang()
        assert sim.run_until(lambda: sim.one_ring(without(nodes, victim)), 5) < 2
        sim.run(3)
        victim.resume()
        assert sim.run_until(lambda: sim.one_ring(nodes), 5) < 2
        assert victim.engine.me.id == before.id
        assert victim.engine.me.incarnation > before.incarnation

    @pytest.mark.parametrize("count", [2, 3])
    def test_with_a_majority_of_voters_lost_the_rest_freezes_and_says_so(self, count: int) -> None:
        sim = RingSim(10)
        nodes = ring_of(sim, count)
        rest = without(nodes, leader_of(nodes))[0]
        for node in without(nodes, rest):
            node.die()
        assert sim.run_until(lambda: rest.engine.status().frozen, 5) < 2.5
        sim.run(20)
        status = rest.engine.status()
        assert (status.number, len(status.members), status.leased) == (1, count, False)
        assert not rest.engine.holds_lease(sim.now)

    def test_five_survive_two(self) -> None:
        sim = RingSim(10)
        nodes = ring_of(sim, 5)
        nodes[0].die()
        nodes[2].die()
        assert sim.run_until(lambda: sim.one_ring(without(nodes, nodes[0], nodes[2])), 5) < 1

    @pytest.mark.parametrize("seed", range(5))
    def test_a_mass_crash_settles_in_few_views(self, seed: int) -> None:
        sim = RingSim(seed)
        nodes = ring_of(sim, 30)
        number = nodes[0].engine.status().number
        dead = sim.rng.sample(nodes, 6)
        for node in dead:
            node.die()
        rest = without(nodes, *dead)
        assert sim.run_until(lambda: sim.one_ring(rest), 10) < 2
        assert rest[0].engine.status().number <= number + 3

    def test_neighbours_that_die_in_a_block(self) -> None:
        sim = RingSim(11)
        nodes = sorted(ring_of(sim, 24), key=lambda node: node.engine.me.id)
        for node in nodes[5:15]:
            node.die()
        assert sim.run_until(lambda: sim.one_ring(nodes[:5] + nodes[15:]), 10) < 4

    def test_a_pause_shorter_than_the_patience_evicts_nobody(self) -> None:
        sim = RingSim(12, loss=0.01)
        nodes = ring_of(sim, 9)
        number = nodes[0].engine.status().number
        for _ in range(50):
            node = sim.rng.choice(nodes)
            node.hang()
            sim.run(0.1)
            node.resume()
            sim.run(0.1)
        assert sim.one_ring(nodes)
        assert nodes[0].engine.status().number == number

    def test_a_node_that_was_paused_accuses_nobody_for_it(self) -> None:
        sim = RingSim(13)
        nodes = ring_of(sim, 3)
        # All but one pause together: to the one, and to themselves, the others look dead.
        for node in nodes:
            node.hang()
        sim.run(5)
        for node in nodes:
            node.resume()
        sim.run(2)
        assert sim.one_ring(nodes)
        assert nodes[0].engine.status().number == 1


class TestRestart:
    @pytest.mark.parametrize("pause", [0.0, 0.1, 3.0])
    def test_with_its_id_it_is_a_new_incarnation(self, pause: float) -> None:
        sim = RingSim(14)
        nodes = ring_of(sim, 5)
        victim = nodes[2]
        victim.die()
        sim.run(pause)
        again = sim.start("n2", ["n0"], 3, node=victim.engine.me.id)
        nodes[2] = again
        assert sim.run_until(lambda: sim.one_ring(nodes), 5) < 3
        assert again.engine.me.id == victim.engine.me.id
        assert again.engine.me.incarnation > victim.engine.me.incarnation
        # It was never a member under the old incarnation's rights.
        assert again.views[0][1].by_id[again.engine.me.id].state is MemberState.JOINING
        sim.run(3)
        assert sim.one_ring(nodes)

    @pytest.mark.parametrize("pause", [0.0, 0.1, 3.0])
    @pytest.mark.parametrize("which", [0, 2])
    def test_without_its_id_the_old_one_is_replaced(self, pause: float, which: int) -> None:
        sim = RingSim(15)
        nodes = ring_of(sim, 5)
        nodes[which].die()
        sim.run(pause)
        nodes[which] = sim.start(f"n{which}", ["n0"], 3)
        assert sim.run_until(lambda: sim.one_ring(nodes), 8) < 4
        sim.run(3)
        assert sim.one_ring(nodes)

    @pytest.mark.parametrize("down", [(0, 2), (1, 2), (0, 1, 2)])
    def test_a_majority_that_restarts_with_its_disk_goes_on(self, down: tuple[int, ...]) -> None:
        sim = RingSim(16)
        nodes = ring_of(sim, 3, durable=True)
        ring, number = nodes[1].engine.status().ring, nodes[1].engine.status().number
        for index in down:
            nodes[index].die()
        for index in down:
            sim.run(0.1)
            nodes[index] = sim.start(f"n{index}", ["n0"], 3, durable=True)
        assert sim.run_until(lambda: sim.one_ring(nodes), 10) < 4
        assert nodes[0].engine.status().ring == ring
        assert nodes[0].engine.status().number > number

    def test_a_majority_that_restarts_without_memory_waits_for_an_operator(self) -> None:
        sim = RingSim(16)
        nodes = ring_of(sim, 3)
        for index in (0, 2):
            nodes[index].die()
            nodes[index] = sim.start(f"n{index}", ["n0"], 3)
        sim.run(20)
        assert nodes[1].engine.status().frozen
        assert nodes[0].engine.view is nodes[2].engine.view is None
        number = nodes[1].engine.status().number
        nodes[1].call(nodes[1].engine.recover)
        assert sim.run_until(lambda: sim.one_ring(nodes), 5) < 3
        assert nodes[1].engine.status().number > number + 1000

    def test_who_remembers_a_ring_waits_for_its_majority(self) -> None:
        sim = RingSim(17)
        nodes = ring_of(sim, 5, durable=True)
        for node in nodes:
            node.die()
        few = [sim.start(f"n{index}", ["n0"], 2, durable=True) for index in range(2)]
        sim.run(20)
        assert all(node.engine.view is None for node in few)
        assert all(node.engine.status().health.waits_for for node in few)
        few.append(sim.start("n2", ["n0"], 2, durable=True))
        sim.run_until(lambda: sim.one_ring(few), 5)
        assert few[0].engine.status().number == 2

    def test_an_operator_tells_those_that_wait_that_it_is_lost(self) -> None:
        sim = RingSim(18)
        nodes = ring_of(sim, 5, durable=True)
        ring = nodes[0].engine.status().ring
        for node in nodes:
            node.die()
        few = [sim.start(f"n{index}", ["n0"], 5, durable=True) for index in range(2)]
        sim.run(5)
        for node in few:
            node.call(node.engine.recover)
        sim.run_until(lambda: sim.one_ring(few), 5)
        assert few[0].engine.status().ring != ring

    def test_a_rolling_restart(self) -> None:
        sim = RingSim(17)
        nodes = ring_of(sim, 5)
        for index, node in enumerate(list(nodes)):
            node.leave()
            sim.run_until(lambda old=node: not old.alive, 3)  # type: ignore[misc]
            nodes[index] = sim.start(f"n{index}", ["n0", "n1"], 3, node=node.engine.me.id)
            sim.run_until(lambda: sim.one_ring(nodes), 5)
        assert len({node.engine.status().ring for node in nodes}) == 1
