"""What a member does for the ring; whole lives are in tests/simulation."""

from __future__ import annotations

from random import Random

import msgspec

from dht.effects import Effect, Send
from dht.ids import to_id
from dht.membership import Membership
from dht.messages import Accuse, Assent, Heartbeat, Propose, Seeking, Suspicion, ViewNews, Wish
from dht.settings import RingSettings
from dht.view import MemberState, View
from ring_views import member, view_of

SETTINGS = RingSettings()
NOW = 100.0


def view(count: int, *voters: int) -> View:
    ring = view_of(member(to_id(number)) for number in range(1, count + 1))
    return msgspec.structs.replace(ring, voters=tuple(to_id(number) for number in voters))


def membership(me: int, ring: View) -> Membership:
    """A member long settled, that has heard all the others just now."""
    it = Membership(ring.by_id[to_id(me)], ring, Random(me), SETTINGS, 0.0)
    for each in ring.members:
        it.receive(each.id, Heartbeat(ring.ring, ring.number, ring.digest), NOW)
    return it


def to(effects: list[Effect], number: int) -> list[msgspec.Struct]:
    return [e.message for e in effects if isinstance(e, Send) and e.to == to_id(number)]


def seeking(number: int, incarnation: int = 1, peer: str = "") -> Seeking:
    who = member(to_id(number), "", MemberState.JOINING, incarnation)
    return Seeking(msgspec.structs.replace(who, peer=peer or who.peer), False, b"", ())


def test_suspicions_go_to_the_most_senior_that_live_and_are_withdrawn() -> None:
    it = membership(9, view(9, 1, 2, 3, 4, 5))
    effects = it.gone(to_id(1), NOW)
    accuse = Accuse(1, (Suspicion(to_id(1), 1, True),))
    assert [e.to for e in effects if isinstance(e, Send)] == [to_id(n) for n in (2, 3, 4, 5, 6)]
    assert to(effects, 2) == [accuse]
    it.receive(to_id(1), Heartbeat(b"r" * 16, 1, it.view.digest), NOW)
    assert to(it.speak_up(NOW), 1) == [Accuse(1, ())]
    assert it.speak_up(NOW) == []


def test_a_restart_that_nobody_noticed_is_a_death() -> None:
    it = membership(3, view(3, 1, 2, 3))
    it.receive_seeking(to_id(2), seeking(2, incarnation=7), (), NOW)
    assert [each.node for each in it.suspicions(NOW)] == [to_id(2)]


def test_an_applicant_waits_while_the_tenant_of_its_address_lives() -> None:
    it = membership(1, view(3, 1))
    newcomer = seeking(9, peer=member(to_id(2)).peer)
    it.receive_seeking(to_id(9), newcomer, {to_id(2)}, NOW)
    assert not it.council.docket
    it.receive_seeking(to_id(9), newcomer, (), NOW)
    assert it.council.docket


def test_with_everyone_else_dead_there_is_nobody_to_be_sent_to() -> None:
    it = membership(1, view(1, 1))
    effects = it.receive_seeking(to_id(9), seeking(9), (), NOW)
    assert len(to(effects, 9)) == 1  # itself leads


def test_a_poll_that_is_not_won_in_time_is_held_again() -> None:
    it = membership(1, view(3, 1, 2, 3))
    it.receive(to_id(3), Wish(1, MemberState.LEAVING), NOW)
    due = it.council.decide_at
    assert due is not None
    assert to(it.lead(due), 2)
    assert it.council.poll is not None
    assert it.lead(due) == []
    it.beat(due + 0.1)
    assert to(it.beat(due + 0.2), 2)[-1] == Propose(it.council.poll.proposal.view)
    expired = it.council.poll.deadline
    it.speak_up(expired)
    assert it.council.poll is None
    assert it.council.decide_at is not None
    assert it.lead(it.council.decide_at)


def test_a_leader_that_stands_by_another_proposal_waits() -> None:
    it = membership(1, view(3, 1, 2, 3))
    theirs = it.view.successor({to_id(1): it.me, to_id(2): it.view.by_id[to_id(2)]})
    assert to(it.receive(to_id(2), Propose(theirs), NOW), 2) == [Assent(theirs.digest)]
    it.receive(to_id(3), Wish(1, MemberState.LEAVING), NOW)
    assert it.council.decide_at is not None
    assert it.lead(it.council.decide_at) == []
    assert it.council.poll is None
    later = NOW + SETTINGS.assent_life
    it.receive(to_id(3), Wish(1, MemberState.LEAVING), later)
    for each in it.view.members:
        it.receive(each.id, Heartbeat(it.view.ring, 1, it.view.digest), later)
    assert it.council.decide_at is not None
    assert to(it.lead(it.council.decide_at), 2)


def test_who_no_longer_leads_when_a_view_is_due_makes_none() -> None:
    it = membership(2, view(3, 1, 2, 3))
    it.gone(to_id(1), NOW)
    it.receive(to_id(3), Accuse(1, (Suspicion(to_id(1), 1, True),)), NOW)
    due = it.council.decide_at
    assert due is not None
    it.link_opened(to_id(1), "a:1", NOW)
    it.receive(to_id(3), Accuse(1, ()), NOW)
    assert it.council.decide_at is None
    assert it.lead(due) == []


def test_who_is_behind_is_told() -> None:
    it = membership(2, view(3, 1, 2, 3))
    assert it.receive(to_id(77), Heartbeat(b"r" * 16, 0, b""), NOW) == [
        Send(to_id(77), ViewNews(it.view))
    ]
