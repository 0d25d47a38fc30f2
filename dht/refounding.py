"""Going on with a ring whose members have all been restarted.

Nobody has a view any more, but voters with a state directory remember what they
have said. A majority of the latest electorate can still decide its number, so
the lowest seeker proposes to it a whole view of those who seek: an ordinary
ballot. A value that some of them had accepted before they went down may have
been chosen: it is chosen again, and the number after it is tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.campaign import Campaign
from dht.delta import whole

if TYPE_CHECKING:
    from random import Random

    from dht.ballots import Electorate
    from dht.effects import Effect
    from dht.settings import RingSettings
    from dht.view import Member, View


class Refounding(Campaign):
    """One seeker's ballots for a whole view."""

    def __init__(self, rng: Random, settings: RingSettings) -> None:
        super().__init__(rng, settings)
        self._number = 0

    def propose(self, electorate: Electorate, me: Member, view: View, now: float) -> list[Effect]:
        """Ask `electorate` for `view`, unless a ballot is under way or it is too early."""
        if electorate.number != self._number:
            self.end()
            self._number = electorate.number
        self.expire(now)
        if self.candidate is not None or now < self.not_before:
            return []
        return self.begin(electorate, me, whole(view), now)
