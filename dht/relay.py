"""The voters' word in a large ring, passed on along trees so that no voter is asked by all.

In a ring of more than `flat_limit` members only the voters ask each other. Everyone
else asks its parents in the trees of the most senior voters (`dht.placement`), with
a heartbeat, and a parent answers when it has heard something new itself: so the word
reaches the leaves within one beat and some hops, and each member sends and receives
as much as in a small ring (a tree's fan-out is bounded), the voters too.

The word is a `Vouch`: "no view without you, except without those I name, before a
lease after this". Its age travels with it: what a parent heard `age` seconds before
it got the child's question counts, for the child, from `age` seconds before it asked.
A question is asked before it is received, so that is early rather than late, and
nobody compares clocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dht.effects import Send
from dht.errors import LocalProtocolError
from dht.ids import NodeId
from dht.messages import Vouch, Vouches

if TYPE_CHECKING:
    from collections.abc import Collection

    from dht.effects import Effect
    from dht.leases import Lease
    from dht.messages import Heartbeat
    from dht.placement import Placement
    from dht.view import View
    from dht.voter import Voter

TREES: Final = 3
"""Parents to ask: a dead one takes none of its children's leases with it."""


class _Word(msgspec.Struct, frozen=True):
    """What is known of one voter: it vouched at `base`, on this member's clock."""

    base: float
    barred: tuple[NodeId, ...]


class _Question(msgspec.Struct, frozen=True):
    number: int
    sent: float  # on the child's clock
    received: float  # on this member's


def parents_of(node: NodeId, placement: Placement) -> tuple[NodeId, ...]:
    """Whom the member `node` asks: voters the other voters, all others a few parents."""
    view = placement.view
    if node in view.voters:
        return tuple(voter for voter in view.voters if voter != node)
    parents: dict[NodeId, None] = {}
    for root in view.voters[:TREES]:
        try:
            parents[placement.parent(node, root)] = None
        except LocalProtocolError:  # a voter that is not ACTIVE is no root
            parents[root] = None
    return tuple(parents)


class Relay:
    """One member's part. Times are its own monotonic seconds.

    `voter`: the process's own word; `lease`: the member's, made longer by what is heard.
    """

    def __init__(self, me: NodeId, voter: Voter, lease: Lease) -> None:
        self._me = me
        self._voter = voter
        self._lease = lease
        self._view: View | None = None
        self._words: dict[NodeId, _Word] = {}  # voter -> the latest that is known
        self._questions: dict[NodeId, _Question] = {}  # child -> the latest
        self.is_large = False
        self.parents: tuple[NodeId, ...] = ()  # whom this member asks; in a small ring nobody

    def install(self, placement: Placement) -> None:
        """Go on under another view; what was said under the one before counts no more."""
        self._view = view = placement.view
        self._words.clear()
        self.is_large = len(view.active) > placement.flat_limit
        self.parents = parents_of(self._me, placement) if self.is_large else ()
        self._questions = {
            child: each
            for child, each in self._questions.items()
            if child in view and each.number >= view.number
        }

    def vouch(self, dead: Collection[NodeId], gone: Collection[NodeId], now: float) -> list[Effect]:
        """If this member is a voter: vouch for all but the `dead`, itself among them."""
        view = self._view
        if view is None or not self.is_large or self._me not in view.voters:
            return []
        barred = self._voter.vouch(view, dead, gone, now)
        if barred is None:
            return []
        self._words[self._me] = _Word(now, barred)
        if self._me not in barred:
            self._lease.answered(self._me, view.number, now)
        return self._answer() if len(view.voters) == 1 else []

    def asked(
        self,
        child: NodeId,
        question: Heartbeat,
        dead: Collection[NodeId],
        gone: Collection[NodeId],
        now: float,
    ) -> list[Effect]:
        """A member wants to know. It is answered when there is something new; voters at once."""
        view = self._view
        if view is None or question.number < view.number:
            return []
        self._questions[child] = _Question(question.number, question.sent, now)
        if self._me not in view.voters or child not in view.voters:
            return []
        return self.vouch(dead, gone, now) or self._answer((child,))

    def hear(
        self, answer: Vouches, dead: Collection[NodeId], gone: Collection[NodeId], now: float
    ) -> tuple[list[tuple[NodeId, float]], list[Effect]]:
        """Take what a parent knows; pass it on if it makes this member's own lease longer.

        Returns the voters that have newly vouched for it too, and since when.
        """
        view = self._view
        if view is None or answer.number != view.number:
            return [], []
        before = self._lease.until
        news: list[tuple[NodeId, float]] = []
        for vouch in answer.vouches:
            base = answer.sent - vouch.age
            known = self._words.get(vouch.voter)
            if vouch.voter not in view.voters or not vouch.age >= 0.0:
                continue
            if known is None or known.base < base:
                self._words[vouch.voter] = _Word(base, vouch.barred)
                if self._me not in vouch.barred:
                    self._lease.answered(vouch.voter, view.number, base)
                    news.append((vouch.voter, base))
        if self._lease.until <= before:
            return news, []
        return news, self.vouch(dead, gone, now) or self._answer()

    def _answer(self, members: Collection[NodeId] | None = None) -> list[Effect]:
        """Tell those who have asked (or only `members` among them) all that is known."""
        view = self._view
        effects: list[Effect] = []
        for child, question in list(self._questions.items()):
            if members is not None and child not in members:
                continue
            if view is not None and question.number == view.number:
                del self._questions[child]
                effects.append(Send(child, self._tell(child, question)))
        return effects

    def _tell(self, child: NodeId, question: _Question) -> Vouches:
        vouches = tuple(
            Vouch(voter, max(0.0, question.received - word.base), word.barred)
            for voter, word in self._words.items()
            if child not in word.barred
        )
        return Vouches(question.number, question.sent, vouches)
