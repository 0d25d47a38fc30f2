"""One node's ballots, one after the other, until something is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.ballots import Ballot
from dht.messages import Accepted, Promise, Refused
from dht.voting import Candidate

if TYPE_CHECKING:
    from random import Random

    from dht.ballots import Electorate
    from dht.delta import Delta
    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.settings import RingSettings
    from dht.view import Member

_DOUBLINGS = 3  # of the pause between ballots


class Campaign:
    """The proposer's side: at most one ballot at a time, each with a greater number."""

    def __init__(self, rng: Random, settings: RingSettings) -> None:
        self._rng = rng
        self._settings = settings
        self._round = 0
        self._failures = 0  # ballots for this number that came to nothing
        self.candidate: Candidate | None = None
        self.not_before = float("-inf")  # when the next ballot may begin

    def end(self) -> None:
        """Another number is voted on now."""
        self.candidate = None
        self._round = self._failures = 0

    def begin(
        self, electorate: Electorate, me: Member, wish: Delta | None, now: float
    ) -> list[Effect]:
        """Ask `electorate` for `wish`, or with None to finish what somebody has begun."""
        self._round += 1
        ballot = Ballot(self._round, me.incarnation, me.id)
        self.candidate = Candidate(ballot, electorate, wish, now + self._settings.poll)
        self.not_before = now + self._settings.view_gap
        return self.candidate.ask()

    def ask(self) -> list[Effect]:
        """Ask the voters that have not answered yet (again)."""
        return self.candidate.ask() if self.candidate is not None else []

    def receive(
        self, voter: NodeId, message: Promise | Accepted | Refused, now: float
    ) -> list[Effect]:
        """A voter answers."""
        candidate = self.candidate
        if candidate is None:
            return []
        match message:
            case Promise():
                effects = candidate.promised(voter, message)
                if candidate.is_void:
                    self.candidate = None
                return effects
            case Accepted():
                candidate.accepted(voter, message)
            case Refused() if message.ballot == candidate.ballot:
                self._round = max(self._round, message.promised.round)
                self._give_up(now)
        return []

    def expire(self, now: float) -> None:
        """Give up a ballot that takes too long."""
        if self.candidate is not None and self.candidate.deadline <= now:
            self._give_up(now)

    def take_chosen(self) -> Delta | None:
        """What has been chosen, once."""
        candidate = self.candidate
        if candidate is None or not candidate.is_chosen:
            return None
        self.candidate = None
        return candidate.value

    def next_deadline(self, now: float) -> float | None:
        """When the ballot under way is to be given up."""
        candidate = self.candidate
        return candidate.deadline if candidate is not None and candidate.deadline > now else None

    def _give_up(self, now: float) -> None:
        """End a ballot that came to nothing: the next is not to cross everyone else's again."""
        self.candidate = None
        least, most = self._settings.ballot_pause
        pause = self._rng.uniform(least, most) * 2 ** min(self._failures, _DOUBLINGS)
        self._failures += 1
        self.not_before = now + pause
