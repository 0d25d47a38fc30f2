"""The engine's contract with its driver, one input at a time; rings are in tests/simulation."""

from __future__ import annotations

from random import Random
from typing import TypeVar

import msgspec
import pytest

from dht.ballots import NO_BALLOT, Ballot, Memory, electorate_of
from dht.delta import Delta, apply, between
from dht.effects import Departed, Dial, Effect, IdentityDealt, Keep, Send, ViewInstalled
from dht.engine import RingEngine
from dht.errors import LocalProtocolError, RemoteProtocolError
from dht.ids import ID_BITS, to_id
from dht.messages import (
    Accept,
    Accepted,
    Accuse,
    Admitted,
    FindNode,
    FoundNodes,
    Heartbeat,
    Lease,
    Left,
    Prepare,
    Promise,
    PullView,
    Redirect,
    RingMessage,
    Seeking,
    Suspicion,
    ViewDeltas,
    ViewNews,
    Wish,
)
from dht.view import Member, MemberState, View
from ring_views import member

J, A, L = MemberState.JOINING, MemberState.ACTIVE, MemberState.LEAVING
SETTLED = 100.0
E = TypeVar("E", bound=Effect)


def ring(states: dict[int, MemberState], number: int = 5, *voters: int) -> View:
    members = tuple(member(to_id(n), state=state) for n, state in sorted(states.items()))
    return View(number, b"r" * 16, members, tuple(to_id(n) for n in voters or states))


def seeker(number: int = 1, *seeds: str, expect: int = 3) -> RingEngine:
    return RingEngine(member(to_id(number), state=J), seeds, expect, Random(number))


def admitted(number: int, view: View) -> RingEngine:
    """An engine that has been let in as member `number`, long enough ago for all grace."""
    engine = seeker(number)
    engine.start(0.0)
    engine.receive(view.members[0].id, Admitted(to_id(number), 1, view), 1.0)
    engine.handle_timer(1.0)
    for each in view.members:
        engine.receive(each.id, Heartbeat(view.ring, view.number, view.digest, 0.0), SETTLED)
    engine.handle_timer(SETTLED)
    return engine


def only(effects: list[Effect], kind: type[E]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


def said(effects: list[Effect], to: int) -> list[msgspec.Struct]:
    return [effect.message for effect in only(effects, Send) if effect.to == to_id(to)]


class TestStart:
    def test_alone(self) -> None:
        engine = seeker(expect=1)
        assert engine.next_deadline() is None
        (installed,) = engine.start(10.0)
        assert isinstance(installed, ViewInstalled)
        assert engine.view is installed.view
        assert engine.view.number == 1
        assert engine.me == engine.view.members[0]
        assert engine.me.state is A
        assert engine.view.voters == (engine.me.id,)
        assert engine.placement is not None
        assert engine.placement.home(7) == engine.me.id

    def test_with_seeds(self) -> None:
        engine = seeker(1, "s:1", "s:2")
        assert engine.start(10.0) == [Dial("s:1"), Dial("s:2")]
        assert engine.next_deadline() == pytest.approx(10.2)
        assert engine.view is None

    def test_a_seed_may_be_itself(self) -> None:
        engine = seeker(1, "alias:1", expect=1)
        engine.start(0.0)
        assert engine.link_opened(to_id(1), engine.me.peer, 0.1, "alias:1") == []
        effects = []
        for tick in range(20):
            effects += engine.handle_timer(0.1 * tick)
        assert len(only(effects, ViewInstalled)) == 1
        assert not only(effects, Dial)

    def test_two_rings_of_one_have_two_ids(self) -> None:
        one, two = seeker(1, expect=1), seeker(2, expect=1)
        one.start(0.0)
        two.start(0.0)
        assert one.status().ring != two.status().ring


class TestSeeking:
    def test_it_introduces_itself_on_every_link(self) -> None:
        engine = seeker()
        engine.start(0.0)
        (seeking,) = said(engine.link_opened(to_id(2), "b:1", 0.0), 2)
        assert seeking == Seeking(engine.me, False, to_id(1), ())
        assert said(engine.handle_timer(0.2), 2)

    def test_it_may_seek_for_itself_alone(self) -> None:
        engine = seeker()
        engine.start(0.0)
        with pytest.raises(RemoteProtocolError):
            engine.receive(to_id(3), Seeking(member(to_id(2)), False, b"", ()), 0.0)

    def test_news_among_seekers_does_not_wait_for_the_beat(self) -> None:
        engine = seeker()
        engine.start(0.0)
        engine.link_opened(to_id(2), "b:1", 0.0)
        engine.receive(to_id(2), Seeking(member(to_id(2)), False, to_id(2), ()), 0.05)
        assert engine.next_deadline() == pytest.approx(0.07)

    def test_a_lost_seeker_is_dialled_again(self) -> None:
        engine = seeker()
        engine.start(0.0)
        engine.link_opened(to_id(2), "b:1", 0.0)
        assert engine.link_closed(to_id(2), False, 1.0) == [Dial("b:1")]
        assert engine.link_closed(to_id(2), True, 1.1) == []
        assert engine.dial_failed("b:1", True, 1.2) == []

    def test_an_identity_is_dealt_before_the_view_is_installed(self) -> None:
        engine = seeker(9)
        engine.start(0.0)
        engine.link_opened(to_id(1), "a:1", 0.0)
        mine = msgspec.structs.replace(engine.me, id=to_id(4), state=J)
        view = View(3, b"r" * 16, (member(to_id(1)), mine), (to_id(1),))
        effects = engine.receive(to_id(1), Admitted(to_id(4), 1, view), 1.0)
        assert effects == [IdentityDealt(to_id(4)), ViewInstalled(view)]
        assert engine.me == mine
        assert engine.status().links == 0
        effects = engine.handle_timer(1.0)
        assert said(effects, 1) == [
            Heartbeat(view.ring, 3, view.digest, 1.0),
            Wish(1, A),
        ]

    def test_an_id_that_is_kept_is_not_dealt(self) -> None:
        engine = RingEngine(member(to_id(4), state=J), (), 3, Random(4), keeps_id=True)
        engine.start(0.0)
        view = ring({1: A, 4: J})
        assert engine.receive(to_id(1), Admitted(to_id(4), 1, view), 1.0) == [ViewInstalled(view)]
        assert engine.receive(to_id(1), Admitted(to_id(4), 1, view), 1.1) == []

    def test_views_that_do_not_list_it_are_not_for_it(self) -> None:
        engine = seeker()
        engine.start(0.0)
        assert engine.receive(to_id(2), ViewNews(ring({2: A})), 0.0) == []
        assert engine.receive(to_id(2), PullView(1, b""), 0.0) == []
        assert engine.view is None

    def test_it_answers_lookups(self) -> None:
        engine = seeker()
        engine.start(0.0)
        engine.link_opened(to_id(2), "b:1", 0.0)
        (answer,) = said(engine.receive(to_id(3), FindNode(to_id(0)), 0.0), 3)
        assert isinstance(answer, FoundNodes)
        assert [each.id for each in answer.contacts] == [to_id(2)]


class TestMember:
    RING = ring({1: A, 2: A, 3: A})

    def test_a_heartbeat_goes_to_every_observer_every_beat(self) -> None:
        engine = admitted(1, self.RING)
        due = engine.next_deadline()
        assert due is not None
        effects = engine.handle_timer(due)
        beat = Heartbeat(self.RING.ring, 5, self.RING.digest, due)
        assert said(effects, 2) == said(effects, 3) == [beat]

    def test_a_better_view_is_pulled_and_a_worse_one_mended(self) -> None:
        engine = admitted(1, self.RING)

        def answer(number: int, digest: bytes, ring: bytes = self.RING.ring) -> list[Effect]:
            return engine.receive(to_id(2), Heartbeat(ring, number, digest, 7.0), SETTLED)

        assert answer(6, b"") == [Send(to_id(2), PullView(5, self.RING.digest))]
        assert answer(5, self.RING.digest) == [Send(to_id(2), Lease(5, 7.0))]
        assert answer(4, b"\xff") == [Send(to_id(2), ViewNews(self.RING))]
        assert answer(9, b"", b"x" * 16) == []
        assert engine.status().health.foreign == (b"x" * 16,)
        assert engine.receive(to_id(2), PullView(1, b""), SETTLED) == [
            Send(to_id(2), ViewNews(self.RING))
        ]

    def test_who_is_a_few_views_behind_is_told_the_difference(self) -> None:
        engine = admitted(3, self.RING)
        left = {n: m for n, m in self.RING.by_id.items() if n != to_id(2)}
        second = self.RING.successor(left, (to_id(1), to_id(3)))
        third = second.successor({to_id(3): second.by_id[to_id(3)]}, (to_id(3),))
        steps = (between(self.RING, second), between(second, third))
        for step in steps:
            engine.receive(to_id(1), ViewDeltas((step,), ID_BITS), SETTLED)
        assert engine.view == third
        behind = Heartbeat(self.RING.ring, 5, self.RING.digest, 0.0)
        assert engine.receive(to_id(1), behind, SETTLED) == [
            Send(to_id(1), ViewDeltas(steps, ID_BITS))
        ]
        assert engine.receive(to_id(1), PullView(6, second.digest), SETTLED) == [
            Send(to_id(1), ViewDeltas(steps[1:], ID_BITS))
        ]

    def test_a_step_from_a_view_that_it_has_not_is_asked_for(self) -> None:
        engine = admitted(3, self.RING)
        later = msgspec.structs.replace(self.RING, number=9)
        step = between(later, later.successor(later.by_id))
        assert engine.receive(to_id(1), ViewDeltas((step,), ID_BITS), SETTLED) == [
            Send(to_id(1), PullView(5, self.RING.digest))
        ]
        old = between(
            msgspec.structs.replace(self.RING, number=3), msgspec.structs.replace(later, number=4)
        )
        assert engine.receive(to_id(1), ViewDeltas((old,), ID_BITS), SETTLED) == []
        assert seeker().receive(to_id(1), ViewDeltas((step,), ID_BITS), 0.0) == []

    def test_it_adopts_later_views_of_its_ring_only(self) -> None:
        engine = admitted(1, self.RING)
        later = ring({1: A, 2: A}, 6)
        assert engine.receive(to_id(2), ViewNews(later), SETTLED) == [ViewInstalled(later)]
        assert engine.receive(to_id(2), ViewNews(self.RING), SETTLED) == []
        foreign = msgspec.structs.replace(ring({1: A}, 9), ring=b"x" * 16)
        assert engine.receive(to_id(2), ViewNews(foreign), SETTLED) == []
        assert engine.view is later

    def test_struck_off_it_seeks_as_a_new_incarnation(self) -> None:
        engine = admitted(1, self.RING)
        engine.link_opened(to_id(2), "b:1", SETTLED)
        later = ring({2: A, 3: A}, 6)
        assert engine.receive(to_id(2), ViewNews(later), SETTLED) == [ViewInstalled(later)]
        assert (engine.me.incarnation, engine.me.state) == (2, J)
        assert not engine.status().in_ring
        assert said(engine.handle_timer(SETTLED), 2)[0] == Seeking(
            engine.me, True, b"", (), electorate_of(later)
        )
        back = View(7, later.ring, (engine.me, *later.members), later.voters)
        stale = Admitted(to_id(1), 2, msgspec.structs.replace(back, number=6 - 1))
        assert engine.receive(to_id(2), stale, SETTLED) == []
        assert engine.receive(to_id(2), Admitted(to_id(1), 2, back), SETTLED) == [
            ViewInstalled(back)
        ]
        assert engine.status().in_ring

    def test_a_lost_link_to_a_neighbour_is_tried_at_once(self) -> None:
        engine = admitted(1, self.RING)
        peer = member(to_id(2)).peer
        assert engine.link_closed(to_id(2), False, SETTLED) == [Dial(peer)]
        assert engine.status().suspected == ()
        effects = engine.dial_failed(peer, True, SETTLED)
        assert said(effects, 3) == [Accuse(5, (Suspicion(to_id(2), 1, True),))]
        assert engine.status().suspected == (to_id(2),)

    def test_another_process_at_its_address_is_proof_too(self) -> None:
        engine = admitted(1, self.RING)
        effects = engine.link_opened(to_id(99), member(to_id(2)).peer, SETTLED)
        assert isinstance(said(effects, 99)[0], Heartbeat)
        assert engine.status().suspected == (to_id(2),)

    def test_but_not_while_the_member_may_be_changing_its_id(self) -> None:
        engine = admitted(1, self.RING)
        late = View(6, self.RING.ring, (*self.RING.members, member(to_id(4))), self.RING.voters)
        engine.receive(to_id(2), ViewNews(late), SETTLED)
        engine.link_opened(to_id(99), member(to_id(4)).peer, SETTLED + 0.1)
        assert engine.status().suspected == ()

    def test_a_seeker_is_sent_to_the_leader(self) -> None:
        engine = admitted(2, self.RING)
        seeking = Seeking(member(to_id(8), state=J), False, b"", ())
        (redirect,) = said(engine.receive(to_id(8), seeking, SETTLED), 8)
        assert isinstance(redirect, Redirect)
        assert redirect.leader.id == to_id(1)
        assert redirect.leader.peer == member(to_id(1)).peer

    def test_a_voter_votes_on_the_next_view_only(self) -> None:
        engine = admitted(2, self.RING)
        ballot = Ballot(1, 1, to_id(1))

        def ask(view: View) -> list[Effect]:
            return engine.receive(to_id(1), Prepare(electorate_of(view), ballot), SETTLED)

        promise = Promise(6, ballot, NO_BALLOT, None)
        assert ask(self.RING) == [Send(to_id(1), promise)]
        assert ask(ring({1: A}, 4)) == [Send(to_id(1), ViewNews(self.RING))]
        assert ask(msgspec.structs.replace(self.RING, ring=b"x" * 16)) == []
        later = msgspec.structs.replace(promise, number=8)
        pull = PullView(5, self.RING.digest)
        assert ask(ring({1: A, 2: A}, 7)) == [Send(to_id(1), later), Send(to_id(1), pull)]
        outsider = admitted(3, ring({1: A, 2: A, 3: A}, 5, 1))
        electorate = electorate_of(ring({1: A, 2: A, 3: A}, 5, 1))
        assert outsider.receive(to_id(1), Prepare(electorate, ballot), SETTLED) == []

    @pytest.mark.parametrize(
        "message",
        [
            Wish(1, A),
            Left(1),
            Accuse(5, ()),
            Lease(5, SETTLED),
            Accepted(6, NO_BALLOT),
            FoundNodes(to_id(1), ()),
        ],
    )
    def test_strangers_have_no_say(self, message: RingMessage) -> None:
        engine = admitted(1, self.RING)
        assert engine.receive(to_id(99), message, SETTLED) == []
        assert engine.next_deadline() is not None
        assert engine.view is self.RING


class TestLeading:
    def lead(self) -> RingEngine:
        return admitted(1, ring({1: A, 2: A, 3: J}, 5, 1, 2))

    @staticmethod
    def until_proposed(engine: RingEngine) -> Delta:
        """The value for which it asks, once another voter has promised."""
        for _ in range(20):
            due = engine.next_deadline()
            assert due is not None
            questions = [e.message for e in only(engine.handle_timer(due), Send)]
            for question in questions:
                if isinstance(question, Prepare):
                    promise = Promise(6, question.ballot, NO_BALLOT, None)
                    (asked,) = said(engine.receive(to_id(2), promise, due), 2)
                    assert isinstance(asked, Accept)
                    return asked.delta
        raise AssertionError("nothing proposed")

    def test_a_wish_is_voted_on_and_told_to_all(self) -> None:
        engine = self.lead()
        before = engine.view
        assert before is not None
        engine.receive(to_id(3), Wish(1, A), SETTLED)
        proposed = self.until_proposed(engine)
        assert proposed.number == 6
        assert proposed.changed == (member(to_id(3)),)
        assert engine.status().number == 5
        candidate = engine._member and engine._member.council.campaign.candidate
        assert candidate
        effects = engine.receive(to_id(2), Accepted(6, candidate.ballot), SETTLED + 0.1)
        after = engine.view
        assert after == apply(before, proposed)
        assert effects[0] == ViewInstalled(after)
        news = ViewDeltas((proposed,), ID_BITS)
        assert news in said(effects, 2)
        assert news in said(effects, 3)

    def test_without_a_majority_nothing_is_decided(self) -> None:
        engine = self.lead()
        now = SETTLED
        while now < SETTLED + 5.0:
            due = engine.next_deadline()
            assert due is not None
            now = max(now, due)
            engine.receive(to_id(3), Wish(1, A), now)
            engine.handle_timer(now)
        assert engine.status().number == 5
        assert engine.status().frozen

    def test_the_dead_need_accusers(self) -> None:
        engine = self.lead()
        engine.link_closed(to_id(3), True, SETTLED)
        assert engine.status().dead == ()
        accuse = Accuse(5, (Suspicion(to_id(3), 1, True),))
        engine.receive(to_id(2), accuse, SETTLED)
        assert engine.status().dead == (to_id(3),)
        assert self.until_proposed(engine).struck == (to_id(3),)

    def test_cut_off_from_the_majority_of_voters_it_is_frozen(self) -> None:
        engine = self.lead()
        engine.handle_timer(SETTLED + 0.5)
        engine.handle_timer(SETTLED + 5.0)  # late itself: nobody is accused
        assert engine.status().suspected == ()
        now = SETTLED + 5.0
        while now < SETTLED + 7.0:
            due = engine.next_deadline()
            assert due is not None
            now = max(now, due)
            engine.handle_timer(now)
        status = engine.status()
        assert set(status.suspected) == {to_id(2), to_id(3)}
        assert status.frozen
        assert status.number == 5


class TestLeaving:
    def test_the_way_out(self) -> None:
        engine = admitted(2, ring({1: A, 2: A}, 5, 1))
        assert engine.leave(SETTLED) == [Send(to_id(1), Wish(1, L))]
        assert engine.leave(SETTLED) == []
        leaving = ring({1: A, 2: L}, 6, 1)
        assert engine.receive(to_id(1), ViewNews(leaving), SETTLED) == [ViewInstalled(leaving)]
        engine.handle_timer(SETTLED + 3.0)  # handing over takes its time
        assert engine.handed_over(SETTLED + 3.0) == [Send(to_id(1), Left(1))]
        without = ring({1: A}, 7, 1)
        effects = engine.receive(to_id(1), ViewNews(without), SETTLED + 3.1)
        assert effects == [ViewInstalled(without), Departed()]
        assert engine.next_deadline() is None
        assert engine.handle_timer(SETTLED + 9.0) == []
        assert engine.receive(to_id(1), ViewNews(leaving), SETTLED + 9.0) == []
        assert engine.link_opened(to_id(1), "a:1", SETTLED + 9.0) == []
        assert engine.link_closed(to_id(1), False, SETTLED + 9.0) == []
        assert engine.dial_failed("a:1", True, SETTLED + 9.0) == []
        assert engine.handed_over(SETTLED + 9.0) == []

    def test_alone_or_seeking_it_goes_at_once(self) -> None:
        alone = seeker(expect=1)
        alone.start(0.0)
        assert alone.leave(1.0) == [Departed()]
        assert alone.leave(1.0) == []
        waiting = seeker()
        waiting.start(0.0)
        assert waiting.leave(1.0) == [Departed()]

    @pytest.mark.parametrize("handed_over", [False, True])
    def test_it_does_not_wait_for_ever(self, handed_over: bool) -> None:
        engine = admitted(2, ring({1: A, 2: L if handed_over else A}, 5, 1))
        engine.leave(SETTLED)
        if handed_over:
            engine.handed_over(SETTLED)
        now, effects = SETTLED, list[Effect]()
        while not effects or effects[-1] != Departed():
            due = engine.next_deadline()
            assert due is not None
            now = max(due, now)
            effects += engine.handle_timer(now)
        assert now == pytest.approx(SETTLED + 2.0)
        wish = Left(1) if handed_over else Wish(1, L)
        assert said(effects, 1).count(wish) >= 3  # until it suspects the silent leader

    def test_handing_over_comes_after_leaving(self) -> None:
        engine = seeker(expect=1)
        engine.start(0.0)
        with pytest.raises(LocalProtocolError):
            engine.handed_over(1.0)


def test_status_is_plain() -> None:
    engine = seeker()
    engine.start(0.0)
    empty = engine.status()
    assert (empty.number, empty.ring, empty.members, empty.leader) == (0, b"", (), None)
    assert not empty.in_ring
    full = admitted(1, ring({1: A, 2: A})).status()
    assert (full.number, len(full.members), full.leader) == (5, 2, to_id(1))
    assert isinstance(full.me, Member)
    msgspec.json.encode(full)


class TestRecovering:
    RING = ring({1: A, 2: A, 3: A})

    @staticmethod
    def freeze(engine: RingEngine, *heard: int) -> float:
        """Beat on, hearing only some, until it says that it is frozen."""
        now = SETTLED
        while now < SETTLED + 3.0 or not engine.status().frozen:
            now += 0.05
            for number in heard:
                behind = Heartbeat(b"r" * 16, 5, engine.status().digest, now)
                engine.receive(to_id(number), behind, now)
            engine.handle_timer(now)
            assert now < SETTLED + 10
        return now

    def test_a_frozen_member_makes_a_new_ring_of_those_it_sees(self) -> None:
        engine = admitted(1, self.RING)
        engine.link_opened(to_id(3), "c:1", SETTLED)
        now = self.freeze(engine, 3)
        effects = engine.recover(now)
        view = engine.view
        assert view is not None
        assert view.ring != self.RING.ring
        assert view.former == self.RING.ring
        assert view.number > 1_000
        assert [m.id for m in view.members] == [to_id(1), to_id(3)]
        assert view.voters == (to_id(1),)
        assert said(effects, 3) == [ViewNews(view)]
        assert engine.holds_lease(now)

        other = admitted(3, self.RING)
        for number in (1, 2):
            other.receive(to_id(number), Lease(5, SETTLED), SETTLED)
        assert other.receive(to_id(1), ViewNews(view), SETTLED) == []  # it is not frozen
        assert other.status().health.foreign == (view.ring,)
        then = self.freeze(other)
        assert only(other.receive(to_id(1), ViewNews(view), then), ViewInstalled)
        behind = Heartbeat(self.RING.ring, 5, self.RING.digest, then)
        assert said(other.receive(to_id(2), behind, then), 2) == [ViewNews(view)]

    def test_with_a_majority_there_is_nothing_to_recover(self) -> None:
        engine = admitted(1, self.RING)
        for number in (2, 3):
            engine.receive(to_id(number), Lease(5, SETTLED), SETTLED)
        assert engine.holds_lease(SETTLED)
        with pytest.raises(LocalProtocolError, match="nothing to recover"):
            engine.recover(SETTLED)

    def test_a_seeker_that_waits_for_a_lost_ring_founds_another(self) -> None:
        memory = Memory(to_id(1), 1, electorate_of(self.RING))
        me = member(to_id(1), "", J, 2)
        engine = RingEngine(me, (), 3, Random(1), keeps_id=True, memory=memory, durable=True)
        effects = engine.start(0.0)
        for tick in range(20):
            effects += engine.handle_timer(tick * 0.1)
        assert effects == []
        assert engine.status().health.waits_for == self.RING.ring
        (keep,) = engine.recover(2.0)
        assert isinstance(keep, Keep)
        for tick in range(20, 40):
            effects += engine.handle_timer(tick * 0.1)
        assert only(effects, ViewInstalled)
        assert engine.status().ring != self.RING.ring

    def test_others_have_nothing_to_recover(self) -> None:
        engine = seeker()
        engine.start(0.0)
        with pytest.raises(LocalProtocolError, match="remembers none"):
            engine.recover(1.0)
        engine.leave(1.0)
        with pytest.raises(LocalProtocolError, match="leaving"):
            engine.recover(1.0)
