"""A member's part in deciding: verdicts, the leader, and when a view is due.

Every member comes to the same verdicts from the same accusations; the one that
finds itself the most senior alive leads, and works off its docket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.accusations import Accusations
from dht.agreement import leader_of, may_decide
from dht.docket import Docket
from dht.effects import Send
from dht.messages import Propose
from dht.voting import Poll, Voter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from random import Random

    from dht.docket import Proposal
    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.messages import Suspicion
    from dht.settings import RingSettings
    from dht.view import View


class Council:
    """What one member knows of the ring's health, and owes it if it leads."""

    def __init__(self, rng: Random, settings: RingSettings) -> None:
        self._rng = rng
        self._settings = settings
        self._accusations = Accusations(settings)
        self.docket = Docket(settings.joins)
        self.absent: frozenset[NodeId] = frozenset()  # dead by verdict, or suspected by us
        self.dead: frozenset[NodeId] = frozenset()
        self.frozen = False
        self.voter = Voter(settings)
        self.poll: Poll | None = None
        self.decide_at: float | None = None  # when this node, leading, proposes the next view
        self._gone: frozenset[NodeId] = frozenset()
        self._decided_at = float("-inf")

    def install(self, view: View) -> None:
        """Go on from `view`."""
        self._accusations.install(view)
        self.docket.settle(view)
        self.dead = frozenset(node for node in self.dead if node in view)
        self.absent = frozenset(node for node in self.absent if node in view)
        self.decide_at = None
        self.poll = None

    def accuse(self, observer: NodeId, suspicions: Iterable[Suspicion], now: float) -> None:
        """All that the member `observer` suspects now."""
        self._accusations.record(observer, suspicions, now)

    def leader(self, view: View) -> NodeId | None:
        """Who leads, as far as this node can tell."""
        return leader_of(view, self.absent)

    def consider(
        self,
        view: View,
        me: NodeId,
        suspicions: Sequence[Suspicion],
        gone: Iterable[NodeId],
        now: float,
    ) -> None:
        """Weigh what is known now. `gone`: members of whose end this node has proof."""
        self._accusations.record(me, suspicions, now)
        suspected = {each.node for each in suspicions}.union(gone)
        verdict = self._accusations.verdict(view, me, suspected, now)
        proven = {node for node, certain in verdict.items() if certain}.union(gone)
        self.dead = frozenset(verdict)
        self.absent = frozenset(suspected.union(verdict))
        self._gone = frozenset(proven)
        self.frozen = not may_decide(view, self.absent, proven)
        if self.poll is not None and self.poll.deadline <= now:
            self.poll = None
        if leader_of(view, self.dead) != me:
            self.docket.clear()
            self.decide_at = self.poll = None
        elif self.frozen or self.poll is not None or not (self.dead or self.docket):
            self.decide_at = None
        elif self.decide_at is None:
            soonest = self._decided_at + self._settings.view_gap
            self.decide_at = max(now + self._settings.batch, soonest)

    def propose(self, view: View, me: NodeId, now: float) -> list[Effect]:
        """Have the next view voted on, if there is anything to change."""
        self.decide_at = None
        self._decided_at = now
        proposal = self.docket.propose(view, me, self.dead, self._rng)
        if proposal is None:
            return []
        # Without a new view, someone who is in already is told so: nothing to vote on.
        voters = () if proposal.view is view else view.voters
        if me in voters and not self.assents(proposal.view, me, now):
            return []  # it stands by another's proposal for a moment yet
        self.poll = Poll(proposal, voters, now + self._settings.poll)
        self.poll.count(me, proposal.view.digest, now)
        return self.ask()

    def ask(self) -> list[Effect]:
        """Ask the voters that have not assented yet (again)."""
        if self.poll is None:
            return []
        propose = Propose(self.poll.proposal.view)
        return [Send(node, propose) for node in sorted(self.poll.missing() - self.absent)]

    def decision(self) -> Proposal | None:
        """The proposal that has won its poll, once."""
        if self.poll is None or not self.poll.is_won(self._gone):
            return None
        proposal, self.poll = self.poll.proposal, None
        return proposal

    def assents(self, proposed: View, proposer: NodeId, now: float) -> bool:
        """Whether this node, as a voter, stands by `proposed`."""
        return self.voter.assents(proposed, proposer, self._gone, now)
