from __future__ import annotations

import msgspec
import pytest

from dht.agreement import (
    choose_voters,
    deputies,
    leader_of,
    readmits,
    replaces,
    seniority,
    supersedes,
    turn_of,
)
from dht.ids import to_id
from dht.view import Member, MemberState, View
from ring_views import member, view_of

J, A, L = MemberState.JOINING, MemberState.ACTIVE, MemberState.LEAVING


def ids(*numbers: int) -> tuple[bytes, ...]:
    return tuple(to_id(number) for number in numbers)


def members(states: dict[int, MemberState], zone: str = "") -> list[Member]:
    return [member(to_id(number), zone, state) for number, state in states.items()]


def view(states: dict[int, MemberState], *voters: int) -> View:
    return msgspec.structs.replace(view_of(members(states)), voters=ids(*voters))


class TestVoters:
    @pytest.mark.parametrize(
        ("active", "voters"), [(0, 0), (1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (6, 5), (100, 5)]
    )
    def test_how_many(self, active: int, voters: int) -> None:
        assert len(choose_voters(members(dict.fromkeys(range(active), A)), ())) == voters

    def test_who_is_active_stays_in_order_and_new_ones_come_last(self) -> None:
        states = {1: A, 2: J, 3: A, 4: L, 5: A, 6: A}
        assert choose_voters(members(states), ids(5, 4, 2)) == ids(5, 1, 3)

    def test_a_shrinking_ring_keeps_the_most_senior(self) -> None:
        assert choose_voters(members({1: A, 2: A}), ids(2, 9, 1)) == ids(2)

    def test_new_ones_come_from_zones_without_a_voter(self) -> None:
        group = members({1: A, 2: A, 3: A}, "here") + members({8: A, 9: A}, "there")
        assert choose_voters(group, ids(1)) == ids(1, 8, 2, 3, 9)

    def test_who_may_be_dead_votes_only_where_there_is_no_one_else(self) -> None:
        four = members({1: A, 2: A, 3: A, 4: A})
        assert choose_voters(four, ids(1, 2, 3), ids(1)) == ids(2, 3, 4)
        assert choose_voters(four, ids(1, 2, 3), ids(1, 4)) == ids(2, 3, 1)
        assert choose_voters(members({1: A, 2: A}), ids(1), ids(1)) == ids(2)


class TestSeniority:
    RING = view({1: J, 2: A, 3: A, 4: L, 5: A}, 5, 3)

    def test_voters_then_active_then_the_rest(self) -> None:
        assert tuple(seniority(self.RING)) == ids(5, 3, 2, 1, 4)

    def test_the_first_that_is_present_leads(self) -> None:
        assert leader_of(self.RING, ()) == to_id(5)
        assert leader_of(self.RING, ids(5, 3)) == to_id(2)
        assert leader_of(self.RING, ids(1, 2, 3, 4, 5)) is None

    def test_the_most_senior_few_may_propose_in_turn(self) -> None:
        ring = view(dict.fromkeys(range(1, 9), A), 1, 2, 3, 4, 5)
        assert deputies(ring, ids(2)) == ids(1, 3, 4, 5, 6)
        assert turn_of(ring, to_id(1), ()) == 0
        assert turn_of(ring, to_id(3), ids(1)) == 1
        assert turn_of(ring, to_id(1), ids(1)) == 0  # whatever it believes of itself
        assert turn_of(ring, to_id(7), ids(2)) is None


class TestSupersedes:
    def test_a_greater_number_of_the_same_ring(self) -> None:
        one = view({1: A})
        two = one.successor({}, ())
        other = msgspec.structs.replace(two, ring=b"x" * 16)
        assert supersedes(two, one)
        assert not supersedes(one, two)
        assert not supersedes(one, one)
        assert not supersedes(other, one)
        assert readmits(two, one)
        assert not readmits(one, one)
        assert not readmits(other, one)

    def test_a_ring_made_from_another_replaces_it(self) -> None:
        one = view({1: A})
        new = msgspec.structs.replace(one, number=1001, ring=b"x" * 16, former=one.ring)
        assert replaces(new, one)
        assert readmits(new, one)
        assert not supersedes(new, one)
        assert not replaces(one, new)
