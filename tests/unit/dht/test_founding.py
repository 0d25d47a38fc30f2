from __future__ import annotations

from random import Random

import pytest

from dht.contact import Contact
from dht.discovery import Discovery
from dht.effects import Dial, Send
from dht.errors import RemoteProtocolError
from dht.founding import NOBODY, Founding
from dht.ids import to_id
from dht.messages import Admitted, FoundNodes, Heartbeat, Redirect, Seeking
from dht.seeker import Seeker
from dht.settings import RingSettings
from dht.view import MemberState
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
        assert founding.founders(ME, 0.0) is None
        assert founding.settling_since == 0.0
        assert founding.founders(ME, 0.49) is None
        founders = founding.founders(ME, 0.5)
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
        assert founding.founders(ME, 0.0) is None
        assert founding.settling_since is None
        assert founding.founders(ME, 2.0) is None

    def test_a_change_starts_the_settling_anew(self) -> None:
        founding = Founding(2, SETTINGS)
        heard(founding, 0.0, seeking(2))
        founding.founders(ME, 0.0)
        heard(founding, 0.4, seeking(3))
        assert founding.founders(ME, 0.4) is None
        assert founding.founders(ME, 0.8) is None
        assert founding.founders(ME, 0.9) is not None

    def test_alone_if_nobody_else_is_expected(self) -> None:
        founding = Founding(1, SETTINGS)
        assert founding.founders(ME, 0.0) is None
        assert founding.founders(ME, 0.5) == []

    def test_a_broken_link_counts_until_the_process_is_proven_gone(self) -> None:
        founding = Founding(2, SETTINGS)
        heard(founding, 0.0, seeking(2), seeking(3))
        founding.link_closed(to_id(3), gone=False)
        founding.founders(ME, 0.0)
        assert founding.founders(ME, 0.5) is None
        founding.link_closed(to_id(3), gone=True)
        founding.founders(ME, 0.5)
        assert founding.founders(ME, 1.0) is not None

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
        assert founding.founders(ME, 1.0) is None
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


class TestSeeker:
    def seeker(self, *seeds: str, expect: int = 2) -> tuple[Seeker, Discovery]:
        rng = Random(1)
        discovery = Discovery(Contact(ME.id, ME.peer), seeds, rng, SETTINGS)
        return Seeker(expect, discovery, rng, SETTINGS, keeps_id=False), discovery

    def test_the_first_view_deals_ids_to_those_who_keep_none(self) -> None:
        seeker, _ = self.seeker()
        others = [seeking(2), seeking(3, keeps_id=True), seeking(4)]
        view, effects = seeker.make_view(ME, others)
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
        assert seeker.found(ME, 1.1) is None
        assert discovery.redial((), 1.1) == [Dial("seed:1")]  # not when its backoff ends
        assert seeker.found(ME, 1.7) is None
        assert seeker.next_deadline() is None
        discovery.dial_failed("seed:1", 1.8)
        assert seeker.next_deadline() == pytest.approx(1.6)
        assert seeker.found(ME, 1.8) is not None

    def test_a_redirect_is_followed_and_ends_its_pledge(self) -> None:
        seeker, discovery = self.seeker()
        redirect = Redirect(b"r" * 16, contact(5))
        assert seeker.receive(to_id(3), redirect, 0.0) == [Dial(contact(5).peer)]
        assert seeker.receive(to_id(3), redirect, 0.1) == []  # being dialled
        discovery.link_opened(to_id(5), contact(5).peer, None, 0.2)
        assert seeker.receive(to_id(3), redirect, 0.2) == []
        assert seeker.seeking(ME, 0.3).pledge == NOBODY

    def test_a_heartbeat_is_word_of_a_ring(self) -> None:
        seeker, _ = self.seeker()
        assert seeker.receive(to_id(3), Heartbeat(b"r" * 16, 4, b"d" * 8), 0.0) == []
        assert seeker.seeking(ME, 0.0).pledge == NOBODY

    def test_an_answer_that_nobody_waits_for_does_nothing(self) -> None:
        seeker, _ = self.seeker()
        assert seeker.receive(to_id(3), FoundNodes(ME.id, (contact(4),)), 0.0) == []

    def test_an_admission_must_list_it(self) -> None:
        seeker, _ = self.seeker()
        view, _ = seeker.make_view(ME, [seeking(2)])
        assert seeker.accept(ME, Admitted(ME.id, 99, view)) is None
        assert seeker.accept(ME, Admitted(ME.id, 1, view)) == view.by_id[ME.id]
        for you in (to_id(99), next(each.id for each in view.members if each.id != ME.id)):
            with pytest.raises(RemoteProtocolError):
                seeker.accept(ME, Admitted(you, 1, view))
