"""A member's part in deciding: verdicts, whose turn it is, and the ballots it runs.

Every voter comes to the same verdicts from the same accusations. The most
senior that is present leads: it works off its docket. The others wait their
turn, and step in when nothing has come of what they know of either; ballots keep
that safe (`dht.voting`), patience keeps it calm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.accusations import Accusations
from dht.agreement import turn_of
from dht.ballots import electorate_of
from dht.campaign import Campaign
from dht.delta import apply, between
from dht.docket import Docket, Proposal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from random import Random

    from dht.delta import Delta
    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.messages import Suspicion
    from dht.settings import RingSettings
    from dht.view import Member, View


class Council:
    """What one member knows of the ring's health, and owes it if it is its turn."""

    def __init__(self, rng: Random, settings: RingSettings) -> None:
        self._rng = rng
        self._settings = settings
        self.accusations = Accusations(settings)
        self.docket = Docket(settings.joins, settings.request_life)
        self.absent: frozenset[NodeId] = frozenset()  # dead by verdict, or not heard by us
        self.dead: frozenset[NodeId] = frozenset()
        self.gone: frozenset[NodeId] = frozenset()  # proven, by us or by who accuses them
        self.campaign = Campaign(rng, settings)
        self.decide_at: float | None = None  # when this node proposes the next view
        self._proposal: Proposal | None = None  # what the candidate wishes for
        self._needed_since: float | None = None

    def install(self, view: View) -> None:
        """Go on from `view`."""
        self.accusations.install(view)
        self.docket.settle(view)
        self.dead = frozenset(node for node in self.dead if node in view)
        self.absent = frozenset(node for node in self.absent if node in view)
        self.decide_at = self._needed_since = None
        self.campaign.end()
        self._proposal = None

    # -- whether a view is due --------------------------------------------------------

    def consider(
        self,
        view: View,
        me: NodeId,
        suspicions: Sequence[Suspicion],
        missing: Iterable[NodeId],
        gone: Iterable[NodeId],
        now: float,
        *,
        unresolved: bool = False,
    ) -> None:
        """Weigh what is known now.

        `missing`: members not heard of late, whether or not this node is to
        accuse them; `gone`: members of whose end it has proof. `unresolved`: it
        has accepted a value, long ago, and knows of no decision.
        """
        self.accusations.record(me, suspicions, now)
        suspected = {each.node for each in suspicions}.union(gone)
        verdict = self.accusations.verdict(view, me, suspected, now)
        proven = {node for node, certain in verdict.items() if certain}.union(gone)
        self.dead = frozenset(verdict)
        self.absent = frozenset(suspected.union(verdict, missing))
        self.gone = frozenset(proven)
        self.campaign.expire(now)
        self.docket.expire(now)
        needed = bool(self.dead or self.docket or unresolved)
        turn = turn_of(view, me, self.absent)
        if not needed or turn is None:
            self.decide_at = self._needed_since = None
            return
        if self._needed_since is None:
            self._needed_since = now
        if self.campaign.candidate is not None:
            self.decide_at = None
            return
        certain = self.dead <= self.gone
        patience = self._settings.batch if certain else self._settings.gather
        due = self._needed_since + patience + turn * self._settings.turn
        self.decide_at = max(due, self.campaign.not_before)

    def is_due(self, now: float) -> bool:
        """Whether this node is to propose the next view now."""
        return self.decide_at is not None and self.decide_at <= now

    # -- ballots ----------------------------------------------------------------------

    def propose(self, view: View, me: Member, now: float, *, unresolved: bool) -> list[Effect]:
        """Begin a ballot, if there is anything to change or to finish."""
        self.decide_at = None
        dead = self._to_strike_off(view)
        self._proposal = self.docket.propose(view, me.id, dead, self.absent, self._rng)
        if self._proposal is None and not unresolved:
            self._needed_since = None
            return []
        wish: Delta | None = None
        if self._proposal is not None and self._proposal.view is not view:
            wish = between(view, self._proposal.view)
        elif not unresolved:
            return []  # somebody who is in already is told so: nothing to vote on
        return self.campaign.begin(electorate_of(view), me, wish, now)

    def _to_strike_off(self, view: View) -> frozenset[NodeId]:
        """The dead, but no silent voter where too few voters would be left to have agreed.

        Who hears of no majority is more likely to be cut off itself, and might yet
        be heard: the majority is not to be struck off on the word of one.
        """
        left = [node for node in view.voters if node not in self.dead]
        if 2 * len(left) > len(view.voters):
            return self.dead
        return self.dead.difference(set(view.voters) - self.gone)

    def decision(self, view: View) -> tuple[Proposal, Delta | None] | None:
        """What has been decided, once; without a delta where `view` stays."""
        if self.campaign.candidate is None:
            proposal, self._proposal = self._proposal, None
            stays = proposal is not None and proposal.view is view
            return (proposal, None) if proposal is not None and stays else None
        delta = self.campaign.take_chosen()
        if delta is None:
            return None
        proposal, self._proposal = self._proposal, None
        if proposal is not None and delta.digest == proposal.view.digest:
            return proposal, delta
        return Proposal(apply(view, delta), {}), delta  # what another had begun
