"""Each fault of the stock table is shown first, then its absence in ours."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kademlia.routing import RoutingTable

from dht.contact import Contact
from dht.ids import ID_BITS, random_id, to_id
from dht.table import ContactTable

ME = Contact(to_id(1), "me:1")


class NoLoop:
    """What the stock table wants to ping through; without a coroutine asyncio refuses."""

    def call_ping(self, _: Contact) -> None:
        return None


def contact(number: int) -> Contact:
    return Contact(to_id(number), f"h:{number % 60_000}")


def crowd(seed: int, count: int) -> list[Contact]:
    rng = Random(seed)
    return [Contact(random_id(rng), "h:1") for _ in range(count)]


def stock_table(k: int = 20) -> Any:
    return RoutingTable(NoLoop(), k, ME)


def true_order(contacts: list[Contact], target: Contact, k: int) -> list[Contact]:
    return sorted(contacts, key=target.distance_to)[:k]


def fill(table: Any, contacts: list[Contact]) -> list[Contact]:
    """Add them all; the contacts that the table really holds."""
    for each in contacts:
        with suppress(TypeError):  # the stock table's call of asyncio
            table.add_contact(each)
    return [held for bucket in table.buckets for held in bucket.nodes.values()]


class TestFindNeighbors:
    @staticmethod
    def wrong_answers(table: Any, held: list[Contact], k: int) -> int:
        rng = Random(2)
        targets = [Contact(random_id(rng), "") for _ in range(100)]
        return sum(table.find_neighbors(t, k) != true_order(held, t, k) for t in targets)

    @pytest.mark.parametrize("k", [1, 20])
    def test_the_stock_table_answers_in_bucket_order(self, k: int) -> None:
        table = stock_table()
        held = fill(table, crowd(1, 200))
        assert self.wrong_answers(table, held, k) > 50

    @pytest.mark.parametrize("k", [1, 20])
    def test_ours_answers_in_xor_order(self, k: int) -> None:
        table = ContactTable(ME)
        held = fill(table, crowd(1, 200))
        assert len(held) == len(table) > 40
        assert self.wrong_answers(table, held, k) == 0

    def test_it_leaves_out_the_target_and_whom_it_is_told_to(self) -> None:
        table = ContactTable(ME)
        one, two, three = contact(8), contact(9), contact(10)
        for each in (one, two, three):
            table.add_contact(each)
        assert table.find_neighbors(one) == [two, three]
        assert table.find_neighbors(one, exclude=two) == [three]


class TestBucketEdges:
    EDGE = (2**ID_BITS) // 2  # the midpoint of the first bucket, its lower half's upper edge

    def full(self, table: Any) -> None:
        for number in range(-10, 10):
            table.add_contact(contact(self.EDGE + number))
        table.add_contact(contact(self.EDGE // 2))  # the 21st splits the first bucket

    def test_the_stock_table_cannot_remove_an_id_on_an_edge(self) -> None:
        table = stock_table()
        self.full(table)
        edge = contact(self.EDGE)
        assert any(edge.id in bucket.nodes for bucket in table.buckets)
        table.remove_contact(edge)
        assert any(edge.id in bucket.nodes for bucket in table.buckets)

    def test_ours_can(self) -> None:
        table = ContactTable(ME)
        self.full(table)
        assert self.EDGE.to_bytes(20, "big") in table
        table.remove_contact(contact(self.EDGE))
        assert self.EDGE.to_bytes(20, "big") not in table


class TestFullBucket:
    # Far from ME, and alike in their first 15 bits: a bucket that is not split.
    CROWD = tuple(contact(2 ** (ID_BITS - 1) + 1 + (number << 143)) for number in range(8))

    def test_the_stock_table_calls_asyncio(self) -> None:
        table = stock_table(k=4)
        for each in self.CROWD[:4]:
            table.add_contact(each)
        with pytest.raises(TypeError, match="asyncio"):
            table.add_contact(self.CROWD[4])

    def test_ours_returns_the_contact_to_ping(self) -> None:
        table = ContactTable(ME, k=4)
        pings = [(each, table.add_contact(each)) for each in self.CROWD]
        newcomer, oldest = next((each, ping) for each, ping in pings if ping is not None)
        assert oldest == self.CROWD[0]
        assert oldest.id in table
        assert newcomer.id not in table

    def test_a_dead_contact_makes_room_for_the_newest_replacement(self) -> None:
        table = ContactTable(ME, k=4)
        for each in self.CROWD:
            oldest = table.add_contact(each)
            if oldest is not None:
                table.remove_contact(oldest)
                assert oldest.id not in table
                assert each.id in table


def test_it_never_keeps_itself() -> None:
    table = ContactTable(ME)
    assert table.add_contact(ME) is None
    assert len(table) == 0


@given(st.sets(st.one_of(st.integers(0, 2**160 - 1), st.integers(0, 40)), max_size=120))
@settings(deadline=None)
def test_every_contact_sits_in_the_bucket_that_is_asked_for_it(numbers: set[int]) -> None:
    table = ContactTable(ME, k=3)
    for number in numbers:
        table.add_contact(contact(number))
    for index, bucket in enumerate(table.buckets):
        assert len(bucket) <= 3
        for held in bucket.nodes.values():
            assert table.get_bucket_for(held) == index
            assert table.get(held.id) == held
    for held in list(table):
        table.remove_contact(held)
        assert table.get(held.id) is None or held.id not in {c.id for c in table}
