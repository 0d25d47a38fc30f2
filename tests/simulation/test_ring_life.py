"""A ring's life: joins, polite leaves, kills, hangs, cuts, restarts."""

from __future__ import annotations

from collections import defaultdict

import pytest

from dht.view import MemberState
from ring_sim import RingSim, SimNode


def ring_of(sim: RingSim, count: int) -> list[SimNode]:
    """A ring that has formed and settled."""
    expect = min(count, 3)
    nodes = [sim.start(f"n{index}", ["n0"] if count > 1 else [], expect) for index in range(count)]
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
    @pytest.mark.parametrize("count", [2, 3, 5, 9, 20])
    @pytest.mark.parametrize("leads", [False, True])
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

    def test_two_of_three_die_together(self) -> None:
        sim = RingSim(10)
        nodes = ring_of(sim, 3)
        nodes[0].die()
        nodes[2].die()
        assert sim.run_until(lambda: sim.one_ring([nodes[1]]), 5) < 2

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

    def test_a_majority_restarts_at_once_without_memory(self) -> None:
        sim = RingSim(16)
        nodes = ring_of(sim, 3)
        ring = nodes[1].engine.status().ring
        for index in (0, 2):
            nodes[index].die()
            nodes[index] = sim.start(f"n{index}", ["n0"], 3)
        sim.run_until(lambda: sim.one_ring(nodes), 10)
        assert nodes[0].engine.status().ring == ring

    def test_a_rolling_restart(self) -> None:
        sim = RingSim(17)
        nodes = ring_of(sim, 5)
        for index, node in enumerate(list(nodes)):
            node.leave()
            sim.run_until(lambda old=node: not old.alive, 3)  # type: ignore[misc]
            nodes[index] = sim.start(f"n{index}", ["n0", "n1"], 3, node=node.engine.me.id)
            sim.run_until(lambda: sim.one_ring(nodes), 5)
        assert len({node.engine.status().ring for node in nodes}) == 1


class TestCuts:
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


class History:
    """A ring to which anything happens that the living must get over."""

    SEEDS = ("n0", "n1", "n2")

    def __init__(self, seed: int, *events: str) -> None:
        self.events = events
        self.sim = RingSim(seed, latency=0.003, loss=0.01)
        self.rng = self.sim.rng
        self.nodes = [self.sim.start(name, self.SEEDS, 3) for name in self.SEEDS]
        self.everyone = list(self.nodes)
        self.joined = 0

    def restart(self, name: str, node: bytes | None = None) -> None:
        self.nodes.append(self.sim.start(name, self.SEEDS, 3, node=node))
        self.everyone.append(self.nodes[-1])

    def mend(self) -> None:
        """End what is not final."""
        self.sim.heal()
        self.nodes = [node for node in self.nodes if node.alive]
        for node in self.nodes:
            if node.hung:
                node.resume()
        self.nodes = [node for node in self.nodes if node.alive]

    def happen(self) -> None:
        victim = self.rng.choice(self.nodes)
        event = self.rng.choice(self.events)
        if event in ("die", "leave", "restart") and len(self.nodes) <= 3:
            event = "join"
        match event:
            case "die":
                victim.die()
            case "leave":
                victim.leave()
            case "hang":
                victim.hang()
            case "restart":
                victim.die()
                kept = victim.engine.me.id if self.rng.random() < 0.5 else None
                self.restart(victim.address.partition(":")[0], kept)
            case "cut":
                few = self.rng.sample(self.nodes, self.rng.randint(1, len(self.nodes) // 2))
                self.sim.cut(few, without(self.nodes, *few))
            case "join":
                self.joined += 1
                self.restart(f"j{self.joined}")

    def agreed(self) -> bool:
        living = [node for node in self.nodes if node.alive]
        return self.sim.one_ring(living)

    def run(self) -> None:
        """Fifteen events, then quiet, then agreement."""
        sim = self.sim
        sim.run_until(self.agreed, 10)
        for _ in range(15):
            sim.run(self.rng.uniform(0.0, 2.5))
            self.mend()
            self.happen()
        self.mend()
        for name in self.SEEDS:
            if f"{name}:7400" not in sim.nodes:
                self.restart(name)
        sim.run_until(self.agreed, 20)
        sim.run(5)
        assert self.agreed(), sim.describe()
        for node in self.everyone:
            numbers = [view.number for _, view in node.views]
            assert numbers == sorted(numbers)
        assert len({view.ring for node in self.everyone for _, view in node.views}) == 1


@pytest.mark.parametrize("seed", range(30))
def test_after_any_history_the_living_agree(seed: int) -> None:
    History(seed, "die", "leave", "hang", "restart", "cut", "join", "join").run()


@pytest.mark.parametrize("seed", range(30))
def test_a_number_means_one_view(seed: int) -> None:
    history = History(seed, "die", "leave", "restart", "join", "hang", "join")
    history.run()
    assert_numbers_grow_and_mean_one_view(history.sim, history.everyone)


@pytest.mark.parametrize("seed", range(15))
def test_a_number_means_one_view_on_both_sides_of_a_cut(seed: int) -> None:
    """Unless the cut falls between a decision and the news of it (see `dht.voting`)."""
    history = History(seed, "cut", "cut", "join", "hang")
    history.run()
    assert_numbers_grow_and_mean_one_view(history.sim, history.everyone)
