"""A voter's word on evictions, and the leases that it grants."""

from __future__ import annotations

import msgspec
import pytest

from dht.ballots import Ballot, Memory, electorate_of
from dht.delta import Delta, between, whole
from dht.effects import Effect, Send
from dht.ids import to_id
from dht.messages import Accept, Accepted, Heartbeat, Lease, Prepare, Refused
from dht.settings import RingSettings
from dht.view import MemberState, View
from dht.voter import Voter
from ring_views import member, view_of

SETTINGS = RingSettings()
P, ME, YOU, LEAVER = (to_id(number) for number in (1, 2, 3, 4))
NOW = 100.0


def view() -> View:
    members = [member(P), member(ME), member(YOU), member(LEAVER, "", MemberState.LEAVING)]
    return msgspec.structs.replace(view_of(members), voters=(P, ME, YOU))


VIEW = view()
BEAT = Heartbeat(VIEW.ring, VIEW.number, VIEW.digest, 99.9)


def ballot(number: int = 1) -> Ballot:
    return Ballot(number, 1, P)


def without(*nodes: bytes) -> Delta:
    left = {node: each for node, each in VIEW.by_id.items() if node not in nodes}
    return between(VIEW, VIEW.successor(left, (P, ME)))


def accept(delta: Delta, number: int = 1) -> Accept:
    return Accept(electorate_of(VIEW), ballot(number), delta)


@pytest.fixture
def voter() -> Voter:
    it = Voter(VIEW.by_id[ME], None, SETTINGS, durable=False)
    it.start(0.0)
    it.install(VIEW, VIEW.by_id[ME], 0.0)
    return it


def grant(voter: Voter, node: bytes, now: float, *dead: bytes) -> list[Effect]:
    return voter.grant(node, BEAT, VIEW, dead, now)


def asked(voter: Voter, message: Accept | Prepare, now: float, *gone: bytes) -> list[Effect]:
    return voter.receive(P, message, VIEW, gone, now)


ACCEPTED = [Send(P, Accepted(2, ballot()))]


def test_it_grants_members_of_its_own_view(voter: Voter) -> None:
    assert grant(voter, YOU, NOW) == [Send(YOU, Lease(1, 99.9))]
    assert grant(voter, YOU, NOW, YOU) == []  # dead by verdict
    assert grant(voter, to_id(9), NOW) == []
    for other in ({"number": 2}, {"digest": b"other..."}):
        assert voter.grant(YOU, msgspec.structs.replace(BEAT, **other), VIEW, (), NOW) == []


def test_it_strikes_nobody_off_under_lease(voter: Voter) -> None:
    grant(voter, YOU, NOW)
    assert asked(voter, accept(without(YOU)), NOW + 0.1) == []
    assert voter.next_deadline() == pytest.approx(NOW + SETTINGS.lease)
    assert grant(voter, YOU, NOW + 0.2) == []  # or the time would never come
    assert grant(voter, P, NOW + 0.2)
    assert voter.handle_timer(VIEW, (), NOW + 0.5) == []
    assert voter.handle_timer(VIEW, (), NOW + SETTINGS.lease + 1e-6) == ACCEPTED
    assert voter.next_deadline() is None


def test_who_is_gone_leaves_or_has_an_heir_holds_no_lease(voter: Voter) -> None:
    grant(voter, YOU, NOW)
    grant(voter, LEAVER, NOW)
    assert asked(voter, accept(without(LEAVER)), NOW) == ACCEPTED
    assert asked(voter, accept(without(YOU)), NOW, YOU) == ACCEPTED
    heir = msgspec.structs.replace(member(to_id(9), "", MemberState.JOINING), peer=member(YOU).peer)
    kept = {node: each for node, each in VIEW.by_id.items() if node != YOU}
    new = VIEW.successor({**kept, heir.id: heir})
    assert asked(voter, accept(between(VIEW, new)), NOW) == ACCEPTED


def test_a_lease_of_the_view_before_may_still_run(voter: Voter) -> None:
    voter.install(VIEW, VIEW.by_id[ME], NOW)
    later = VIEW.successor(VIEW.by_id)
    voter.install(later, VIEW.by_id[ME], NOW)
    left = {node: each for node, each in later.by_id.items() if node != YOU}
    ask = Accept(electorate_of(later), ballot(), between(later, later.successor(left)))
    assert voter.receive(P, ask, later, (), NOW + 0.1) == []
    assert voter.next_deadline() == pytest.approx(NOW + SETTINGS.lease)


def test_once_it_has_accepted_it_grants_nothing_more(voter: Voter) -> None:
    asked(voter, accept(without(LEAVER)), NOW)
    assert voter.unresolved_since() == NOW
    assert grant(voter, P, NOW) == []
    voter.install(VIEW.successor(VIEW.by_id), VIEW.by_id[ME], NOW)
    assert voter.unresolved_since() is None


def test_a_greater_ballot_ends_what_was_held_back(voter: Voter) -> None:
    grant(voter, YOU, NOW)
    asked(voter, accept(without(YOU)), NOW)
    asked(voter, Prepare(electorate_of(VIEW), ballot(2)), NOW)
    (refused,) = voter.handle_timer(VIEW, (), NOW + 1.0)
    assert isinstance(refused, Send)
    assert isinstance(refused.message, Refused)


def test_nobody_is_barred_for_ever(voter: Voter) -> None:
    grant(voter, YOU, NOW)
    asked(voter, accept(without(YOU)), NOW)
    assert grant(voter, YOU, NOW + SETTINGS.bar_life - 0.1) == []
    assert grant(voter, YOU, NOW + SETTINGS.bar_life) != []


def test_restarted_it_honours_what_it_may_have_granted_before(voter: Voter) -> None:
    memory = Memory(ME, 1, electorate_of(VIEW))
    again = Voter(member(ME, incarnation=5), memory, SETTINGS, durable=False)
    again.start(NOW)
    assert again.receive(P, accept(without(YOU)), None, (), NOW + 0.1) == []
    assert again.handle_timer(None, (), NOW + SETTINGS.lease) == ACCEPTED


def test_a_whole_view_strikes_off_everyone(voter: Voter) -> None:
    grant(voter, P, NOW)
    new = msgspec.structs.replace(VIEW, number=2, members=(member(ME, incarnation=9),))
    assert asked(voter, accept(whole(new)), NOW) == []
    assert grant(voter, ME, NOW + 0.1) == []
    assert voter.handle_timer(VIEW, (), NOW + SETTINGS.lease) == ACCEPTED


def test_it_votes_for_the_ring_that_it_knows(voter: Voter) -> None:
    foreign = msgspec.structs.replace(electorate_of(VIEW), ring=b"x" * 16)
    assert asked(voter, Prepare(foreign, ballot()), NOW) == []
    assert asked(voter, Accept(foreign, ballot(), without(LEAVER)), NOW) == []
    assert voter.remembers == electorate_of(VIEW)
    assert Voter(member(ME), None, SETTINGS, durable=False).remembers is None
