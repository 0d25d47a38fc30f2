"""What a member does for the ring; whole lives are in tests/simulation."""

from __future__ import annotations

from random import Random

import msgspec

from dht.ballots import NO_BALLOT, electorate_of
from dht.effects import Effect, Send
from dht.ids import to_id
from dht.membership import Membership
from dht.messages import (
    Accept,
    Accuse,
    Heartbeat,
    Lease,
    Left,
    Prepare,
    Promise,
    Redirect,
    Refused,
    Seeking,
    Suspicion,
    Vouch,
    Vouches,
    Wish,
)
from dht.settings import RingSettings
from dht.view import MemberState, View
from dht.voter import Voter
from ring_views import member, view_of

SETTINGS = RingSettings()
NOW = 100.0


def view(count: int, *voters: int) -> View:
    ring = view_of(member(to_id(number)) for number in range(1, count + 1))
    return msgspec.structs.replace(ring, voters=tuple(to_id(number) for number in voters))


def beat(ring: View) -> Heartbeat:
    return Heartbeat(ring.ring, ring.number, ring.digest, NOW)


def membership(me: int, ring: View) -> Membership:
    """A member long settled, that has heard all the others just now."""
    mine = ring.by_id[to_id(me)]
    voter = Voter(mine, None, SETTINGS, durable=False)
    voter.install(ring, mine, 0.0)
    it = Membership(mine, ring, voter, Random(me), SETTINGS, 0.0)
    for each in ring.members:
        it.receive(each.id, beat(ring), NOW)
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
    it.receive(to_id(1), beat(it.view), NOW)
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


def test_only_the_most_senior_note_who_wants_in() -> None:
    it = membership(7, view(7, 1, 2, 3, 4, 5))
    it.receive_seeking(to_id(9), seeking(9), (), NOW)
    assert not it.council.docket
    it = membership(5, view(7, 1, 2, 3, 4, 5))
    it.receive_seeking(to_id(9), seeking(9), (), NOW)
    assert it.council.docket


def test_a_leader_that_is_frozen_sends_seekers_to_all_who_may_propose() -> None:
    it = membership(1, view(3, 1, 2, 3))
    for voter in (1, 2):
        it.receive(to_id(voter), Lease(1, NOW), NOW)
    told = to(it.receive_seeking(to_id(9), seeking(9), (), NOW), 9)
    assert [m.leader.id for m in told if isinstance(m, Redirect)] == [to_id(1)]
    later = NOW + SETTINGS.lease + SETTINGS.frozen_after
    for each in it.view.members:
        it.receive(each.id, beat(it.view), later)
    assert it.is_frozen(later)
    told = to(it.receive_seeking(to_id(9), seeking(9), (), later), 9)
    assert [m.leader.id for m in told if isinstance(m, Redirect)] == [to_id(n) for n in (1, 2, 3)]


def test_a_ballot_that_is_not_won_in_time_is_held_again() -> None:
    it = membership(1, view(3, 1, 2, 3))
    it.receive(to_id(3), Wish(1, MemberState.LEAVING), NOW)
    due = it.council.decide_at
    assert due is not None
    assert isinstance(to(it.lead(due), 2)[0], Prepare)
    candidate = it.council.campaign.candidate
    assert candidate is not None
    assert it.lead(due) == []
    assert to(it.beat(due + 0.1), 2)[-1] == Prepare(candidate.electorate, candidate.ballot)
    expired = candidate.deadline
    it.receive(to_id(3), Wish(1, MemberState.LEAVING), expired)
    assert it.council.campaign.candidate is None
    assert it.council.decide_at is not None
    assert it.council.decide_at > expired
    for each in it.view.members:
        it.receive(each.id, beat(it.view), expired)
    again = it.lead(it.council.decide_at)
    assert to(again, 2)
    assert it.council.campaign.candidate is not None
    assert it.council.campaign.candidate.ballot > candidate.ballot


def test_a_greater_ballot_makes_it_wait_and_try_a_greater_one_yet() -> None:
    it = membership(1, view(3, 1, 2, 3))
    it.receive(to_id(3), Wish(1, MemberState.LEAVING), NOW)
    assert it.council.decide_at is not None
    it.lead(it.council.decide_at)
    candidate = it.council.campaign.candidate
    assert candidate is not None
    greater = msgspec.structs.replace(candidate.ballot, round=7)
    it.receive(to_id(2), Refused(2, candidate.ballot, greater), NOW + 0.1)
    assert it.council.campaign.candidate is None
    it.receive(to_id(3), Wish(1, MemberState.LEAVING), NOW + 0.3)
    assert it.council.decide_at is not None
    it.lead(it.council.decide_at)
    assert it.council.campaign.candidate is not None
    assert it.council.campaign.candidate.ballot > greater


def test_the_others_wait_their_turn() -> None:
    wish = Wish(1, MemberState.LEAVING)
    due = []
    for number in (1, 2, 3):
        it = membership(number, view(4, 1, 2, 3))
        it.receive(to_id(4), wish, NOW)
        assert it.council.decide_at is not None
        due.append(round((it.council.decide_at - NOW - SETTINGS.batch) / SETTINGS.turn, 6))
    assert due == [0, 1, 2]


def test_it_adopts_what_a_voter_has_accepted_before() -> None:
    it = membership(1, view(3, 1, 2, 3))
    it.receive(to_id(3), Wish(1, MemberState.LEAVING), NOW)
    assert it.council.decide_at is not None
    it.lead(it.council.decide_at)
    candidate = it.council.campaign.candidate
    assert candidate is not None
    assert candidate.wish is not None
    theirs = msgspec.structs.replace(candidate.wish, digest=b"theirs..")
    old = msgspec.structs.replace(candidate.ballot, node=to_id(2))
    it.receive(to_id(2), Promise(2, candidate.ballot, old, theirs), NOW)
    effects = it.receive(to_id(3), Promise(2, candidate.ballot, NO_BALLOT, None), NOW)
    assert to(effects, 2) == [Accept(electorate_of(it.view), candidate.ballot, theirs)]


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


def test_a_voter_that_falls_silent_is_led_past_though_it_is_not_ours_to_accuse() -> None:
    ring = view(40, 1, 20, 30)
    it = membership(20, ring)
    later = NOW + SETTINGS.grace
    for each in ring.members:
        if each.id != to_id(1):
            it.receive(each.id, beat(ring), later)
    it.speak_up(later)
    assert it.suspicions(later) == ()
    assert to_id(1) in it.council.absent
    it.receive(to_id(9), Left(1), later)
    assert it.council.decide_at == later + SETTINGS.batch


def test_a_heartbeat_goes_to_neighbours_and_voters_alike() -> None:
    it = membership(20, view(30, 1, 2, 20))
    told = {e.to for e in it.tell_beat(NOW) if isinstance(e, Send)}
    assert told == {to_id(n) for n in (1, 2, 17, 18, 19, 20, 21, 22, 23)}


def test_a_wish_that_is_not_granted_is_told_to_all_who_may_propose() -> None:
    it = membership(3, view(3, 1, 2))
    assert [e.to for e in it.leave(NOW) if isinstance(e, Send)] == [to_id(1)]
    later = NOW + SETTINGS.wish_patience
    for each in it.view.members:
        it.receive(each.id, beat(it.view), later)
    wish = Wish(1, MemberState.LEAVING)
    effects = it.beat(later)
    assert wish in to(effects, 1)
    assert wish in to(effects, 2)


def test_who_has_not_heard_this_member_is_answered_but_not_taken_for_healthy() -> None:
    it = membership(3, view(5, 1, 2, 3))
    later = NOW + SETTINGS.suspect_after
    deaf = msgspec.structs.replace(beat(it.view), deaf=True)
    effects = it.receive(to_id(2), deaf, later)
    assert to(effects, 2) == [it.heartbeat(later)]
    assert to_id(2) in [each.node for each in it.suspicions(later)]
    other = msgspec.structs.replace(deaf, ring=b"x" * 16)
    assert it.receive(to_id(2), other, later) == []


def test_in_a_large_ring_heartbeats_go_to_neighbours_and_parents() -> None:
    it = membership(20, view(40, 1, 2, 3, 4, 5))
    beats = {e.to: e.message for e in it.tell_beat(NOW) if isinstance(e, Send)}
    neighbours = {to_id(n) for n in (17, 18, 19, 21, 22, 23)}
    asked = {node for node, each in beats.items() if isinstance(each, Heartbeat) and each.asks}
    assert neighbours <= set(beats)
    assert set(beats) == neighbours | asked
    assert 1 <= len(asked) <= 3
    voter = membership(1, view(40, 1, 2, 3, 4, 5))
    beats = {e.to: e.message for e in voter.tell_beat(NOW) if isinstance(e, Send)}
    asked = {node for node, each in beats.items() if isinstance(each, Heartbeat) and each.asks}
    assert asked == {to_id(n) for n in (2, 3, 4, 5)}


def test_a_voter_of_a_large_ring_is_missed_when_nobody_tells_of_it() -> None:
    it = membership(20, view(40, 1, 2, 3, 4, 5))
    vouches = tuple(Vouch(to_id(n), 0.1, ()) for n in (1, 2, 3))
    it.receive(to_id(1), Vouches(1, NOW, vouches), NOW)
    assert it.lease.until == NOW - 0.1 + SETTINGS.lease
    later = NOW + SETTINGS.suspect_after + 0.01
    assert it.missing_voters(later) == {to_id(4), to_id(5)}
    assert {to_id(1), to_id(2)} <= it.missing_voters(NOW + SETTINGS.lease + SETTINGS.beat)


def test_of_many_accusers_most_are_weighed_together() -> None:
    it = membership(1, view(60, 1, 2, 3, 4, 5))
    for number in range(10, 40):
        it.receive(to_id(number), Accuse(1, (Suspicion(to_id(number + 1), 1, True),)), NOW)
    accused = it.council.gone
    assert it.next_deadline(NOW) == NOW + SETTINGS.weigh
    it.lead(NOW + SETTINGS.weigh)
    assert it.council.accusations.summary(NOW)
    assert accused <= it.council.gone
    assert it.next_deadline(NOW + SETTINGS.weigh) != NOW + SETTINGS.weigh
