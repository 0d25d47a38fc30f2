"""The engine's contract with its driver, one input at a time; rings are in tests/simulation."""

from __future__ import annotations

from random import Random
from typing import TypeVar

import msgspec
import pytest

from dht.effects import Departed, Dial, Effect, IdentityDealt, Send, ViewInstalled
from dht.engine import RingEngine
from dht.errors import LocalProtocolError, RemoteProtocolError
from dht.ids import to_id
from dht.messages import (
    Accuse,
    Admitted,
    Assent,
    FindNode,
    FoundNodes,
    Heartbeat,
    Left,
    Propose,
    PullView,
    Redirect,
    RingMessage,
    Seeking,
    Suspicion,
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
        engine.receive(each.id, Heartbeat(view.ring, view.number, view.digest), SETTLED)
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
            Heartbeat(view.ring, 3, view.digest),
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
        assert engine.receive(to_id(2), PullView(), 0.0) == []
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
        beat = Heartbeat(self.RING.ring, 5, self.RING.digest)
        assert said(effects, 2) == said(effects, 3) == [beat]

    def test_a_better_view_is_pulled_and_a_worse_one_mended(self) -> None:
        engine = admitted(1, self.RING)

        def answer(number: int, digest: bytes, ring: bytes = self.RING.ring) -> list[Effect]:
            return engine.receive(to_id(2), Heartbeat(ring, number, digest), SETTLED)

        assert answer(6, b"") == [Send(to_id(2), PullView())]
        assert answer(5, b"\xff" * 9) == [Send(to_id(2), PullView())]
        assert answer(5, self.RING.digest) == []
        assert answer(5, b"") == [Send(to_id(2), ViewNews(self.RING))]
        assert answer(4, b"\xff") == [Send(to_id(2), ViewNews(self.RING))]
        assert answer(9, b"", b"x" * 16) == []
        assert engine.receive(to_id(2), PullView(), SETTLED) == [
            Send(to_id(2), ViewNews(self.RING))
        ]

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
        assert said(engine.handle_timer(SETTLED), 2)[0] == Seeking(engine.me, True, b"", ())
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

    def test_a_voter_assents_to_the_next_view_only(self) -> None:
        engine = admitted(2, self.RING)
        following = ring({1: A, 2: A}, 6)

        def ask(view: View) -> list[Effect]:
            return engine.receive(to_id(1), Propose(view), SETTLED)

        assert ask(following) == [Send(to_id(1), Assent(following.digest))]
        assert ask(ring({1: A}, 7)) == [Send(to_id(1), PullView())]
        assert ask(ring({1: A}, 5)) == [Send(to_id(1), ViewNews(self.RING))]
        assert ask(msgspec.structs.replace(following, ring=b"x" * 16)) == []
        assert engine.receive(to_id(3), Propose(ring({2: A, 3: A}, 6)), SETTLED) == []
        outsider = admitted(3, ring({1: A, 2: A, 3: A}, 5, 1))
        assert outsider.receive(to_id(1), Propose(following), SETTLED) == []

    @pytest.mark.parametrize(
        "message",
        [Wish(1, A), Left(1), Accuse(5, ()), Assent(b""), Propose(RING), FoundNodes(to_id(1), ())],
    )
    def test_strangers_have_no_say(self, message: RingMessage) -> None:
        engine = admitted(1, self.RING)
        assert engine.receive(to_id(99), message, SETTLED) == []
        assert engine.next_deadline() is not None
        assert engine.view is self.RING


class TestLeading:
    def lead(self) -> RingEngine:
        return admitted(1, ring({1: A, 2: A, 3: J}))

    @staticmethod
    def until_proposed(engine: RingEngine) -> View:
        for _ in range(20):
            due = engine.next_deadline()
            assert due is not None
            asked = [e.message for e in only(engine.handle_timer(due), Send)]
            for message in asked:
                if isinstance(message, Propose):
                    return message.view
        raise AssertionError("nothing proposed")

    def test_a_wish_is_voted_on_and_told_to_all(self) -> None:
        engine = self.lead()
        engine.receive(to_id(3), Wish(1, A), SETTLED)
        proposed = self.until_proposed(engine)
        assert proposed.number == 6
        assert proposed.by_id[to_id(3)].state is A
        assert engine.status().number == 5
        effects = engine.receive(to_id(2), Assent(proposed.digest), SETTLED + 0.1)
        assert effects[0] == ViewInstalled(proposed)
        assert said(effects, 2) == said(effects, 3) == [ViewNews(proposed)]

    def test_without_a_majority_nothing_is_decided_and_it_is_asked_again(self) -> None:
        engine = self.lead()
        engine.receive(to_id(3), Wish(1, A), SETTLED)
        first = self.until_proposed(engine)
        assert self.until_proposed(engine) == first
        assert engine.status().number == 5

    def test_the_dead_need_accusers(self) -> None:
        engine = self.lead()
        engine.link_closed(to_id(3), True, SETTLED)
        assert engine.status().dead == ()
        accuse = Accuse(5, (Suspicion(to_id(3), 1, True),))
        engine.receive(to_id(2), accuse, SETTLED)
        assert engine.status().dead == (to_id(3),)
        assert to_id(3) not in self.until_proposed(engine)

    def test_cut_off_from_the_majority_of_voters_it_is_frozen(self) -> None:
        engine = self.lead()
        engine.handle_timer(SETTLED + 0.5)
        engine.handle_timer(SETTLED + 5.0)  # late itself: nobody is accused
        assert not engine.status().frozen
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
