from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dht.docket import Proposal
from dht.ids import to_id
from dht.settings import RingSettings
from dht.voting import Poll, Voter
from ring_views import member, view_of

if TYPE_CHECKING:
    from dht.view import View

SETTINGS = RingSettings(assent_life=1.0)
P, S = to_id(1), to_id(2)
VOTERS = [to_id(number) for number in range(1, 6)]


def view(name: str, number: int = 2) -> View:
    return msgspec.structs.replace(view_of([member(P, zone=name)]), number=number)


class TestVoter:
    def test_it_assents_to_one_view_as_often_as_it_is_asked(self) -> None:
        voter = Voter(SETTINGS)
        assert voter.assents(view("p"), P, (), 0.0)
        assert voter.assents(view("p"), P, (), 0.1)

    def test_not_to_two_proposers_at_once(self) -> None:
        voter = Voter(SETTINGS)
        assert voter.assents(view("p"), P, (), 0.0)
        assert not voter.assents(view("s"), S, (), 0.99)
        assert voter.assents(view("s"), S, (), 1.0)
        assert not voter.assents(view("p"), P, (), 1.5)

    def test_a_proposer_may_better_its_proposal(self) -> None:
        voter = Voter(SETTINGS)
        assert voter.assents(view("p"), P, (), 0.0)
        assert voter.assents(view("p2"), P, (), 0.1)

    def test_who_is_gone_decides_nothing(self) -> None:
        voter = Voter(SETTINGS)
        assert voter.assents(view("p"), P, (), 0.0)
        assert voter.assents(view("s"), S, [P], 0.1)

    def test_another_number_is_another_matter(self) -> None:
        voter = Voter(SETTINGS)
        assert voter.assents(view("p"), P, (), 0.0)
        assert voter.assents(view("s", number=3), S, (), 0.1)


class TestPoll:
    def poll(self, *assents: int) -> Poll:
        poll = Poll(Proposal(view("p"), {}), VOTERS, deadline=0.4)
        for number in assents:
            poll.count(to_id(number), view("p").digest, 0.1)
        return poll

    def test_a_majority_wins(self) -> None:
        assert not self.poll(1, 2).is_won(())
        assert self.poll(1, 2, 3).is_won(())
        assert self.poll(1, 2, 2, 9).missing() == {to_id(3), to_id(4), to_id(5)}

    def test_the_gone_do_not_count_on_either_side(self) -> None:
        assert self.poll(1, 2).is_won([to_id(3), to_id(4)])
        assert not self.poll(1, 2).is_won([to_id(1)])
        assert self.poll().is_won(VOTERS)

    def test_late_and_strange_assents_do_not_count(self) -> None:
        poll = self.poll(1, 2)
        poll.count(to_id(3), view("p").digest, 0.4)
        poll.count(to_id(3), view("other").digest, 0.1)
        poll.count(to_id(77), view("p").digest, 0.1)
        assert not poll.is_won(())
