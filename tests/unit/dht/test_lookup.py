from __future__ import annotations

from random import Random

import pytest

from dht.contact import Contact
from dht.ids import random_id, to_id
from dht.lookup import Lookup
from dht.table import ContactTable

ASKER = to_id(0)


def contact(number: int) -> Contact:
    return Contact(to_id(number), f"h:{number}")


class Network:
    """Tables of real nodes; `dead` ones never answer."""

    def __init__(self, count: int, seed: int) -> None:
        self.rng = Random(seed)
        self.nodes = [Contact(random_id(self.rng), f"h:{n}") for n in range(count)]
        self.tables = {node.id: ContactTable(node, k=8) for node in self.nodes}
        for table in self.tables.values():
            for other in self.rng.sample(self.nodes, count):
                table.add_contact(other)
        self.dead: set[bytes] = set()

    def run(self, lookup: Lookup) -> tuple[int, float]:
        """Drive the lookup to its end; questions asked, and seconds passed."""
        asked, now = 0, 0.0
        while not lookup.done:
            questions = lookup.questions(now)
            asked += len(questions)
            for each in questions:
                if each.id not in self.dead:
                    found = self.tables[each.id].find_neighbors(Contact(lookup.target, ""), 8)
                    lookup.answered(each.id, found)
            deadline = lookup.next_deadline()
            if not questions and deadline is not None:
                now = deadline
                lookup.handle_timer(now)
        return asked, now

    def true_closest(self, target: bytes, k: int) -> list[Contact]:
        live = [node for node in self.nodes if node.id not in self.dead]
        return sorted(live, key=Contact(target, "").distance_to)[:k]


@pytest.mark.parametrize("count", [1, 5, 150])
def test_it_finds_the_closest_of_all(count: int) -> None:
    network = Network(count, count)
    for _ in range(10):
        target = random_id(network.rng)
        lookup = Lookup(target, [network.rng.choice(network.nodes)], ASKER, k=8)
        asked, _ = network.run(lookup)
        assert lookup.closest() == network.true_closest(target, 8)
        assert asked <= 40


def test_it_walks_around_the_dead() -> None:
    network = Network(200, 3)
    network.dead = {node.id for node in network.rng.sample(network.nodes[1:], 50)}
    target = random_id(network.rng)
    lookup = Lookup(target, [network.nodes[0]], ASKER, k=8)
    network.run(lookup)
    found, best = lookup.closest(), network.true_closest(target, 8)
    assert found[:4] == best[:4]  # tables full of the dead hide some of the farther ones
    assert not network.dead & {each.id for each in found}


def test_it_asks_alpha_at_a_time_and_nobody_twice() -> None:
    lookup = Lookup(to_id(7), [contact(n) for n in range(1, 9)], ASKER, alpha=3)
    first = lookup.questions(0.0)
    assert [each.long_id for each in first] == [7, 6, 5]
    assert lookup.questions(0.0) == []
    lookup.answered(first[0].id, [contact(6)])
    assert [each.long_id for each in lookup.questions(0.0)] == [4]


def test_it_never_asks_again_who_timed_out() -> None:
    lookup = Lookup(to_id(7), [contact(7), contact(6)], ASKER, patience=1.0)
    assert len(lookup.questions(0.0)) == 2
    assert lookup.next_deadline() == 1.0
    lookup.handle_timer(0.9)
    lookup.answered(contact(6).id, [])
    lookup.handle_timer(1.0)
    assert lookup.done
    lookup.answered(contact(7).id, [contact(7)])  # too late
    assert lookup.done
    assert lookup.closest() == [contact(6)]


def test_it_does_not_take_back_whom_others_still_name() -> None:
    lookup = Lookup(to_id(7), [contact(7), contact(6)], ASKER)
    lookup.questions(0.0)
    lookup.failed(contact(7).id)
    lookup.answered(contact(6).id, [contact(7), contact(ASKER[0])])
    assert lookup.questions(0.0) == []
    assert lookup.done


def test_an_answer_nobody_asked_for_teaches_nothing() -> None:
    lookup = Lookup(to_id(7), [contact(7)], ASKER)
    lookup.answered(contact(7).id, [contact(1)])
    assert [each.long_id for each in lookup.questions(0.0)] == [7]


def test_a_liar_cannot_fill_the_memory() -> None:
    lookup = Lookup(to_id(0), [contact(n) for n in range(1, 9)], ASKER, k=4, alpha=8)
    for liar in lookup.questions(0.0):
        lookup.answered(liar.id, [contact(n + 1000 * liar.long_id) for n in range(1000)])
    assert len(lookup._heap.heap) == 16


def test_without_anybody_it_is_done_at_once() -> None:
    lookup = Lookup(to_id(7), [], ASKER)
    assert lookup.done
    assert lookup.closest() == []
    assert lookup.next_deadline() is None
