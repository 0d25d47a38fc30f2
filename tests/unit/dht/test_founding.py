from __future__ import annotations

from random import Random

import msgspec
import pytest

from dht.ballots import NO_BALLOT, Ballot, Electorate, Memory
from dht.contact import Contact
from dht.delta import Delta
from dht.discovery import Discovery
from dht.effects import Dial, Send
from dht.errors import RemoteProtocolError
from dht.founding import NOBODY, Founding
from dht.ids import to_id
from dht.messages import (
    Accepted,
    Admitted,
    FoundNodes,
    Heartbeat,
    Prepare,
    Promise,
    Redirect,
    Seeking,
)
from dht.seeker import Seeker
from dht.settings import RingSettings
from dht.view import MemberState
from dht.voter import Voter
from ring_views import member

SETTINGS = RingSettings(settle=0.5, lost_seeker=3.0, ring_seen=5.0)
ME = member(to_id(1), state=MemberState.JOINING)


def contact(number: int) -> Contact:
    each = member(to_id(number))
    return Contact(each.id, each.peer)


def seeking(number: int, pledge: int | None = 1, *known: int, keeps_id: bool = False) -> Seeking:
    return Seeking(
        member(to_id(number), state=MemberState.JOINING),
        keeps_id,
        NOBODY if pledge is None else to_id(pledge),
        tuple(contact(each) for each in known),
    )


def heard(founding: Founding, now: float, *said: Seeking) -> None:
    for each in said:
        founding.heard(each.member.id, each, now)


class TestFounding:
    def test_the_lowest_founds_when_all_have_pledged_and_it_has_settled(self) -> None:
        founding = Founding(3, SETTINGS)
        heard(founding, 0.0, seeking(2, 1, 1, 3), seeking(3, 1, 1))
        assert founding.founders(ME, None, 0.0) is None
        assert founding.settling_since == 0.0
        assert founding.founders(ME, None, 0.49) is None
        founders = founding.founders(ME, None, 0.5)
        assert founders is not None
        assert [each.member.id for each in founders] == [to_id(2), to_id(3)]

    @pytest.mark.parametrize(
        "reason",
        [
            [seeking(2, 1)],  # too few
            [seeking(2, 1), seeking(3, 2)],  # one has pledged to another
            [seeking(2, 1), seeking(3, None)],  # one knows of a ring
            [seeking(2, 1), seeking(3, 1, 4)],  # one knows of somebody whom this node does not
            [seeking(2, 1), seeking(3, 1), seeking(0, 0)],  # there is a lower one
        ],
    )
    def test_it_does_not_otherwise(self, reason: list[Seeking]) -> None:
        founding = Founding(3, SETTINGS)
        heard(founding, 0.0, *reason)
        assert founding.founders(ME, None, 0.0) is None
        assert founding.settling_since is None
        assert founding.founders(ME, None, 2.0) is None

    def test_a_change_starts_the_settling_anew(self) -> None:
        founding = Founding(2, SETTINGS)
        heard(founding, 0.0, seeking(2))
        founding.founders(ME, None, 0.0)
        heard(founding, 0.4, seeking(3))
        assert founding.founders(ME, None, 0.4) is None
        assert founding.founders(ME, None, 0.8) is None
        assert founding.founders(ME, None, 0.9) is not None

    def test_alone_if_nobody_else_is_expected(self) -> None:
        founding = Founding(1, SETTINGS)
        assert founding.founders(ME, None, 0.0) is None
        assert founding.founders(ME, None, 0.5) == []

    def test_a_broken_link_counts_until_the_process_is_proven_gone(self) -> None:
        founding = Founding(2, SETTINGS)
        heard(founding, 0.0, seeking(2), seeking(3))
        founding.link_closed(to_id(3), gone=False)
        founding.founders(ME, None, 0.0)
        assert founding.founders(ME, None, 0.5) is None
        founding.link_closed(to_id(3), gone=True)
        founding.founders(ME, None, 0.5)
        assert founding.founders(ME, None, 1.0) is not None

    def test_a_silent_one_is_forgotten_in_the_end(self) -> None:
        founding = Founding(2, SETTINGS)
        heard(founding, 0.0, seeking(2), seeking(3))
        founding.gone_at(contact(2).peer)
        assert founding.known(3.0) == (contact(3),)
        assert founding.known(3.1) == ()

    def test_who_has_heard_of_a_ring_pledges_to_nobody_for_a_while(self) -> None:
        founding = Founding(2, SETTINGS)
        heard(founding, 0.0, seeking(2), seeking(3))
        assert founding.pledge(to_id(7), 0.0) == to_id(2)
        founding.ring_seen(to_id(2), 0.0)
        assert founding.pledge(to_id(7), 4.9) == NOBODY
        assert founding.founders(ME, None, 1.0) is None
        heard(founding, 5.0, seeking(9))
        assert founding.pledge(to_id(7), 5.0) == to_id(7)

    def test_the_lowest_dials_all_and_the_others_the_lowest(self) -> None:
        founding = Founding(3, SETTINGS)
        heard(founding, 0.0, seeking(5, 5, 3, 8), seeking(6, 5, 1))
        assert founding.strangers(to_id(1), 0.0) == [contact(3), contact(8)]
        assert founding.strangers(to_id(2), 0.0) == [contact(1)]
        heard(founding, 0.0, seeking(1))
        assert founding.strangers(to_id(2), 0.0) == []

    def test_the_lowest_are_kept_in_mind(self) -> None:
        founding = Founding(2, RingSettings(seekers=3))
        heard(founding, 0.0, *(seeking(number) for number in (9, 2, 8, 3, 7)))
        assert founding.known(0.0) == (contact(2), contact(3), contact(7))


def voters(*numbers: int, number: int = 7, ring: bytes = b"r" * 16) -> Electorate:
    return Electorate(ring, number, tuple((to_id(each), 1) for each in numbers))


def remembering(number: int, electorate: Electorate, *known: int) -> Seeking:
    said = seeking(number, 1, *known, keeps_id=True)
    return msgspec.structs.replace(said, remembers=electorate)


class TestRemembering:
    def test_a_majority_of_the_latest_voters_goes_on_however_few_they_are(self) -> None:
        founding = Founding(9, SETTINGS)
        latest = voters(1, 2, 3)
        heard(founding, 0.0, remembering(2, latest), seeking(8))
        founding.founders(ME, voters(1, 5, 6, number=5), 0.0)
        assert founding.founders(ME, voters(1, 5, 6, number=5), 0.5) is not None
        assert founding.electorate(ME.id, voters(1, number=5)) == latest

    def test_without_it_they_wait_however_many_they_are(self) -> None:
        founding = Founding(1, SETTINGS)
        heard(founding, 0.0, remembering(2, voters(2, 3, 4)), seeking(8), seeking(9))
        assert founding.founders(ME, None, 0.0) is None
        assert founding.founders(ME, None, 1.0) is None
        assert founding.electorate(ME.id, None) == voters()
        founding.laggard_seen(to_id(3), 1.0)  # a member of an old view can vote
        founding.founders(ME, None, 1.0)
        assert founding.founders(ME, None, 1.5) is not None
        assert founding.founders(ME, None, 4.1) is None  # silent for too long

    def test_those_who_remember_two_rings_do_nothing(self) -> None:
        founding = Founding(1, SETTINGS)
        heard(founding, 0.0, remembering(2, voters(1, 2)))
        other = voters(1, ring=b"x" * 16)
        assert founding.founders(ME, other, 0.0) is None
        assert founding.founders(ME, other, 1.0) is None

    def test_a_member_of_a_past_view_is_not_word_of_a_ring(self) -> None:
        rng = Random(1)
        discovery = Discovery(Contact(ME.id, ME.peer), (), rng, SETTINGS)
        memory = Memory(ME.id, 1, voters(1, 2, 3))
        voter = Voter(ME, memory, SETTINGS, durable=False)
        seeker = Seeker(1, discovery, rng, SETTINGS, keeps_id=True, voter=voter)
        past, present = (Heartbeat(b"r" * 16, number, b"", 0.0) for number in (5, 6))
        seeker.receive(to_id(3), past, 0.0)
        assert seeker.seeking(ME, 0.0).pledge == ME.id
        assert seeker.waits_for(ME, 0.0) is None  # itself and the laggard are a majority
        seeker.receive(to_id(3), present, 0.0)
        assert seeker.seeking(ME, 0.0).pledge == NOBODY

    def test_they_have_a_view_of_all_of_them_voted_on(self) -> None:
        rng = Random(1)
        discovery = Discovery(Contact(ME.id, ME.peer), (), rng, SETTINGS)
        latest = voters(1, 2, 3)
        voter = Voter(ME, Memory(ME.id, 1, latest), SETTINGS, durable=False)
        seeker = Seeker(1, discovery, rng, SETTINGS, keeps_id=True, voter=voter)
        heard(seeker.founding, 0.0, remembering(2, latest), seeking(8))
        assert seeker.found(ME, 0.0) == (None, [])
        view, asked = seeker.found(ME, 0.5)
        assert view is None
        assert {e.to for e in asked if isinstance(e, Send)} == {to_id(1), to_id(2), to_id(3)}
        assert seeker.found(ME, 0.6) == (None, [])  # a ballot is under way
        (question,) = {e.message for e in asked if isinstance(e, Send)}
        assert isinstance(question, Prepare)
        for number in (1, 2):
            promise = Promise(7, question.ballot, NO_BALLOT, None)
            asked = seeker.receive(to_id(number), promise, 0.7)
        assert len(asked) == 3
        assert seeker.decision(0.7) is None
        for number in (1, 2):
            seeker.receive(to_id(number), Accepted(7, question.ballot), 0.8)
        decided = seeker.decision(0.8)
        assert decided is not None
        assert (decided.number, decided.ring, len(decided.members)) == (7, b"r" * 16, 3)
        assert decided.voters[:2] == (to_id(1), to_id(2))
        told = seeker.welcome(ME, decided)
        assert {e.to for e in told if isinstance(e, Send)} == {to_id(2), to_id(8)}

    def test_what_was_begun_before_they_went_down_is_finished_first(self) -> None:
        rng = Random(1)
        discovery = Discovery(Contact(ME.id, ME.peer), (), rng, SETTINGS)
        voter = Voter(ME, Memory(ME.id, 1, voters(1)), SETTINGS, durable=False)
        seeker = Seeker(1, discovery, rng, SETTINGS, keeps_id=True, voter=voter)
        seeker.found(ME, 0.0)
        _, asked = seeker.found(ME, 0.5)
        (question,) = {e.message for e in asked if isinstance(e, Send)}
        assert isinstance(question, Prepare)
        begun = Delta(b"r" * 16, 7, b"before", (), (), ((ME.id, 1), (to_id(2), 1)), b"after")
        seeker.receive(ME.id, Promise(7, question.ballot, Ballot(1, 1, ME.id), begun), 0.6)
        seeker.receive(ME.id, Accepted(7, question.ballot), 0.6)
        assert seeker.decision(0.6) is None
        assert voter.remembers == voters(1, 2, number=8)


class TestSeeker:
    def seeker(self, *seeds: str, expect: int = 2) -> tuple[Seeker, Discovery]:
        rng = Random(1)
        discovery = Discovery(Contact(ME.id, ME.peer), seeds, rng, SETTINGS)
        voter = Voter(ME, None, SETTINGS, durable=False)
        return Seeker(expect, discovery, rng, SETTINGS, keeps_id=False, voter=voter), discovery

    def test_the_first_view_deals_ids_to_those_who_keep_none(self) -> None:
        seeker, _ = self.seeker()
        others = [seeking(2), seeking(3, keeps_id=True), seeking(4)]
        for each in others:
            seeker.founding.heard(each.member.id, each, 0.0)
        view = seeker.make_view(ME, others)
        effects = seeker.welcome(ME, view)
        assert view.number == 1
        assert len(view.ring) == 16
        assert {to_id(1), to_id(3)} < set(view.by_id)
        assert not {to_id(2), to_id(4)} & set(view.by_id)
        assert all(each.state is MemberState.ACTIVE for each in view.members)
        assert len(view.voters) == 3
        told = {effect.to: effect.message for effect in effects if isinstance(effect, Send)}
        assert set(told) == {to_id(2), to_id(3), to_id(4)}
        for link, admitted in told.items():
            assert isinstance(admitted, Admitted)
            assert view.by_id[admitted.you].peer == member(link).peer

    def test_it_founds_only_when_every_seed_has_been_tried_while_it_settled(self) -> None:
        seeker, discovery = self.seeker("seed:1", expect=1)
        discovery.redial((), 0.0)
        discovery.dial_failed("seed:1", 0.0)
        discovery.dial_failed("seed:1", 0.0)
        assert discovery.redial((), 1.0)
        discovery.dial_failed("seed:1", 1.0)
        assert discovery.redial((), 1.1) == []
        assert seeker.found(ME, 1.1) == (None, [])
        assert discovery.redial((), 1.1) == [Dial("seed:1")]  # not when its backoff ends
        assert seeker.found(ME, 1.7) == (None, [])
        assert seeker.next_deadline() is None
        discovery.dial_failed("seed:1", 1.8)
        assert seeker.next_deadline() == pytest.approx(1.6)
        assert seeker.found(ME, 1.8)[0] is not None

    def test_a_redirect_is_followed_and_ends_its_pledge(self) -> None:
        seeker, discovery = self.seeker()
        redirect = Redirect(b"r" * 16, 4, contact(5))
        assert seeker.receive(to_id(3), redirect, 0.0) == [Dial(contact(5).peer)]
        assert seeker.receive(to_id(3), redirect, 0.1) == []  # being dialled
        discovery.link_opened(to_id(5), contact(5).peer, None, 0.2)
        assert seeker.receive(to_id(3), redirect, 0.2) == []
        assert seeker.seeking(ME, 0.3).pledge == NOBODY

    def test_a_heartbeat_is_word_of_a_ring(self) -> None:
        seeker, _ = self.seeker()
        assert seeker.receive(to_id(3), Heartbeat(b"r" * 16, 4, b"d" * 8, 0.0), 0.0) == []
        assert seeker.seeking(ME, 0.0).pledge == NOBODY

    def test_an_answer_that_nobody_waits_for_does_nothing(self) -> None:
        seeker, _ = self.seeker()
        assert seeker.receive(to_id(3), FoundNodes(ME.id, (contact(4),)), 0.0) == []

    def test_an_admission_must_list_it(self) -> None:
        seeker, _ = self.seeker()
        view = seeker.make_view(ME, [seeking(2)])
        assert seeker.accept(ME, Admitted(ME.id, 99, view)) is None
        assert seeker.accept(ME, Admitted(ME.id, 1, view)) == view.by_id[ME.id]
        for you in (to_id(99), next(each.id for each in view.members if each.id != ME.id)):
            with pytest.raises(RemoteProtocolError):
                seeker.accept(ME, Admitted(you, 1, view))
