"""The voters' word on its way: what counts, from when on, and for whom."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from dht.dealing import deal_ids
from dht.effects import Effect, Send
from dht.ids import NodeId, to_id
from dht.leases import Lease
from dht.messages import Heartbeat, Vouch, Vouches
from dht.placement import placement_of
from dht.relay import TREES, Relay, parents_of
from dht.settings import RingSettings
from dht.view import MemberState, View
from dht.voter import MOST_BARRED, Voter
from ring_views import member, view_of

SETTINGS = RingSettings(flat_limit=0)
V1, V2, V3, ME, CHILD = (to_id(number << 150) for number in range(1, 6))
NOW = 100.0


def view(voters: int = 3) -> View:
    ring = view_of(member(node) for node in (V1, V2, V3, ME, CHILD))
    return msgspec.structs.replace(ring, voters=(V1, V2, V3)[:voters])


VIEW = view()


class Party:
    """One member's relay, with its voter and its lease."""

    def __init__(self, me: NodeId, ring: View = VIEW, flat_limit: int = 0) -> None:
        self.voter = Voter(ring.by_id[me], None, SETTINGS, durable=False)
        self.voter.install(ring, ring.by_id[me], 0.0)
        self.lease = Lease(SETTINGS.lease)
        self.lease.install(ring)
        self.relay = Relay(me, self.voter, self.lease)
        self.relay.install(placement_of(ring, flat_limit))

    def asked(self, child: NodeId, sent: float, now: float, number: int = 1) -> list[Effect]:
        question = Heartbeat(VIEW.ring, number, VIEW.digest, sent, asks=True)
        return self.relay.asked(child, question, (), (), now)

    def hear(self, sent: float, *vouches: Vouch, number: int = 1) -> list[Effect]:
        return self.relay.hear(Vouches(number, sent, vouches), (), (), sent + 0.01)[1]


def vouch(voter: NodeId, age: float = 0.0, *barred: NodeId) -> Vouch:
    return Vouch(voter, age, barred)


def test_it_is_for_large_rings() -> None:
    assert not Party(ME, flat_limit=5).relay.is_large
    assert Party(ME, flat_limit=5).relay.parents == ()
    assert Party(ME).relay.is_large


def test_voters_ask_each_other_and_all_others_a_few() -> None:
    ids = deal_ids((), 1000, Random(1))
    ring = msgspec.structs.replace(view_of(map(member, ids)), voters=tuple(ids[:5]))
    placement = placement_of(ring)
    asked: dict[NodeId, int] = {}
    for node in ids:
        parents = parents_of(node, placement)
        assert node not in parents
        if node in ring.voters:
            assert set(parents) == set(ring.voters) - {node}
        else:
            assert 1 <= len(parents) <= TREES
        for parent in parents:
            asked[parent] = asked.get(parent, 0) + 1
    assert max(asked.values()) < 100  # of a thousand: nobody is asked by all


def test_a_voter_that_is_not_active_is_asked_itself() -> None:
    members = [member(CHILD), member(V1, "", MemberState.LEAVING)]
    ring = msgspec.structs.replace(view_of(members), voters=(V1,))
    assert parents_of(CHILD, placement_of(ring, 0)) == (V1,)


def test_a_child_is_answered_when_there_is_news_and_its_age_is_told() -> None:
    it = Party(ME)
    assert it.asked(CHILD, 7.0, NOW) == []
    assert it.hear(NOW - 0.1, vouch(V1), number=2) == []  # of another view
    assert it.hear(NOW - 0.1, vouch(V1)) == []  # one of three is no lease
    (answer,) = it.hear(NOW - 0.05, vouch(V2, 0.15), vouch(to_id(9)), vouch(V3, -1.0))
    assert isinstance(answer, Send)
    assert answer.to == CHILD
    assert isinstance(answer.message, Vouches)
    ages = {each.voter: pytest.approx(each.age) for each in answer.message.vouches}
    assert ages == {V1: 0.1, V2: 0.2}
    assert answer.message.sent == 7.0
    assert it.lease.until == pytest.approx(NOW - 0.2 + SETTINGS.lease)
    assert it.hear(NOW, vouch(V1), vouch(V2)) == []  # nobody has asked again


def test_a_lease_never_lasts_longer_than_at_who_passed_it_on() -> None:
    """On one clock, whatever the delays: word of voters, two hops, and what the last has."""
    rng = Random(4)
    for _ in range(300):
        parent, child = Party(ME), Party(CHILD)
        times = sorted(rng.uniform(0.0, 0.5) for _ in range(4))
        asked_voters, child_sent, child_received, heard = rng.sample(times, 4)
        if child_received < child_sent or heard < asked_voters or heard < child_received:
            continue
        parent.asked(CHILD, child_sent, child_received)
        (answer,) = parent.hear(asked_voters, vouch(V1), vouch(V2))
        assert isinstance(answer, Send)
        assert isinstance(answer.message, Vouches)
        child.relay.hear(answer.message, (), (), heard)
        assert child.lease.until <= parent.lease.until + 1e-9


def test_a_word_that_leaves_a_member_out_makes_its_lease_no_longer() -> None:
    it = Party(ME)
    it.hear(NOW, vouch(V1), vouch(V2))
    until = it.lease.until
    it.asked(CHILD, NOW, NOW)
    assert it.hear(NOW + 0.2, vouch(V1, 0.0, ME), vouch(V2, 0.0, ME)) == []
    assert it.lease.until == until


def test_whom_a_voter_leaves_out_is_not_told_of_its_word() -> None:
    it = Party(ME)
    it.asked(CHILD, NOW, NOW)
    (answer,) = it.hear(NOW, vouch(V1, 0.0, CHILD), vouch(V2), vouch(V3))
    assert isinstance(answer, Send)
    assert isinstance(answer.message, Vouches)
    assert [each.voter for each in answer.message.vouches] == [V2, V3]


def test_a_voter_answers_voters_at_once_and_in_its_own_name() -> None:
    it = Party(V1)
    (answer,) = it.asked(V2, 5.0, NOW)
    assert answer == Send(V2, Vouches(1, 5.0, (Vouch(V1, 0.0, ()),)))
    assert it.asked(CHILD, 5.0, NOW) == []
    assert not it.lease.is_held(NOW)
    (answer,) = it.hear(NOW, vouch(V2))
    assert isinstance(answer, Send)
    assert answer.to == CHILD
    assert it.lease.is_held(NOW)


def test_the_only_voter_answers_of_itself() -> None:
    it = Party(V1, view(voters=1))
    it.asked(CHILD, 5.0, NOW)
    (answer,) = it.relay.vouch((), (), NOW + 0.1)
    assert answer == Send(CHILD, Vouches(1, 5.0, (Vouch(V1, 0.0, ()),)))
    assert it.lease.until == NOW + 0.1 + SETTINGS.lease


def test_questions_of_a_later_view_wait_for_it_and_earlier_ones_are_void() -> None:
    it = Party(ME)
    it.asked(CHILD, 5.0, NOW, number=2)
    it.asked(V3, 5.0, NOW, number=1)
    assert [each.to for each in it.hear(NOW, vouch(V1), vouch(V2)) if isinstance(each, Send)] == [
        V3
    ]
    later = VIEW.successor(VIEW.by_id)
    it.lease.install(later)
    it.relay.install(placement_of(later, 0))
    assert it.asked(V3, 5.0, NOW, number=1) == []
    answers = it.hear(NOW + 0.1, vouch(V1), vouch(V2), number=2)
    assert [each.to for each in answers if isinstance(each, Send)] == [CHILD]


class TestVoter:
    def test_it_names_the_dead_but_not_those_that_are_gone(self) -> None:
        it = Party(V1).voter
        assert it.vouch(VIEW, (ME, CHILD), (CHILD,), NOW) == (ME,)

    def test_whom_it_left_out_is_free_a_lease_after_it_was_last_among_them(self) -> None:
        it = Party(V1).voter
        it.vouch(VIEW, (), (), NOW)
        it.vouch(VIEW, (ME,), (), NOW + 0.3)
        it.vouch(VIEW, (ME,), (), NOW + 0.5)
        assert it._grants.free_at((ME,), 0.0) == NOW + SETTINGS.lease
        assert it._grants.free_at((CHILD,), 0.0) == NOW + 0.5 + SETTINGS.lease
        assert it._grants.free_of_all(0.0) == NOW + 0.5 + SETTINGS.lease
        it.vouch(VIEW, (), (), NOW + 0.6)
        assert it._grants.free_at((ME,), 0.0) == NOW + 0.6 + SETTINGS.lease

    def test_it_vouches_for_its_own_view_alone_and_never_for_too_few(self) -> None:
        it = Party(V1).voter
        assert it.vouch(VIEW.successor(VIEW.by_id), (), (), NOW) is None
        assert it.vouch(VIEW, [to_id(n) for n in range(MOST_BARRED + 1)], (), NOW) is None
        assert it._grants.free_of_all(0.0) == SETTINGS.lease
