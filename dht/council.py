"""A member's part in deciding: verdicts, the leader, and when a view is due.

Every member comes to the same verdicts from the same accusations; the one that
finds itself the most senior alive leads, and works off its docket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.accusations import Accusations
from dht.agreement import leader_of, may_decide
from dht.docket import Docket

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from random import Random

    from dht.docket import Proposal
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
        self.decide_at: float | None = None  # when this node, leading, makes the next view
        self._decided_at = float("-inf")

    def install(self, view: View) -> None:
        """Go on from `view`."""
        self._accusations.install(view)
        self.docket.settle(view)
        self.dead = frozenset(node for node in self.dead if node in view)
        self.absent = frozenset(node for node in self.absent if node in view)
        self.decide_at = None

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
        self.frozen = not may_decide(view, self.absent, proven)
        if leader_of(view, self.dead) != me:
            self.docket.clear()
            self.decide_at = None
        elif self.frozen or not (self.dead or self.docket):
            self.decide_at = None
        elif self.decide_at is None:
            soonest = self._decided_at + self._settings.view_gap
            self.decide_at = max(now + self._settings.batch, soonest)

    def decide(self, view: View, me: NodeId, now: float) -> Proposal | None:
        """The next view, now that `decide_at` has come; None if nothing would change."""
        self.decide_at = None
        self._decided_at = now
        return self.docket.propose(view, me, self.dead, self._rng)
