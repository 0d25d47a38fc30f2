from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dht.ids import to_id
from dht.leases import Grants, Lease
from ring_views import member, view_of

if TYPE_CHECKING:
    from dht.view import View

ME = to_id(9)


def view(voters: int, number: int = 1) -> View:
    ids = tuple(to_id(each) for each in range(voters))
    return msgspec.structs.replace(view_of(map(member, ids), number), voters=ids)


class TestLease:
    def test_it_takes_a_majority_and_counts_from_what_was_sent(self) -> None:
        lease = Lease(0.8)
        lease.install(view(3))
        lease.answered(to_id(0), 1, 10.0)
        assert not lease.is_held(10.0)
        lease.answered(to_id(0), 1, 10.2)
        assert not lease.is_held(10.2)
        lease.answered(to_id(1), 1, 10.1)
        assert lease.is_held(10.89)
        assert not lease.is_held(10.91)
        lease.answered(to_id(2), 1, 10.4)
        assert lease.until == 10.2 + 0.8

    def test_other_views_and_others_than_voters_do_not_count(self) -> None:
        lease = Lease(0.8)
        lease.answered(to_id(0), 1, 10.0)
        lease.install(view(1, number=2))
        lease.answered(to_id(0), 1, 10.0)
        lease.answered(to_id(1), 2, 10.0)
        assert not lease.is_held(10.0)

    def test_it_outlives_its_view_but_is_not_renewed_by_it(self) -> None:
        lease = Lease(0.8)
        lease.install(view(1))
        lease.answered(to_id(0), 1, 10.0)
        lease.install(view(1, number=2))
        lease.answered(to_id(0), 1, 10.5)
        assert lease.until == 10.8

    def test_an_answer_that_comes_late_takes_nothing_back(self) -> None:
        lease = Lease(0.8)
        lease.install(view(1))
        lease.answered(to_id(0), 1, 10.0)
        lease.answered(to_id(0), 1, 9.0)
        assert lease.until == 10.8


class TestGrants:
    def test_whom_it_has_granted_it_keeps_for_a_lease(self) -> None:
        grants = Grants(0.8)
        grants.grant(ME, 10.0)
        assert grants.free_at([ME], 5.0) == 10.8
        assert grants.free_at([to_id(1)], 5.0) == 5.8
        assert grants.free_at([ME, to_id(1)], 11.0) == 11.8
        assert grants.free_at([], 11.0) < 0
        assert grants.free_of_all(5.0) == 10.8
        assert Grants(0.8).free_of_all(5.0) == 5.8

    def test_it_forgets_who_is_no_member(self) -> None:
        grants = Grants(0.8)
        for number in range(5):
            grants.grant(to_id(number), 10.0)
        grants.install(view(3))
        assert grants.free_at([to_id(4)], 1.0) == 1.8
        assert grants.free_at([to_id(2)], 1.0) == 10.8
