"""What a node does that no view lists: look for a ring, or found one with others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.agreement import choose_voters
from dht.ballots import electorate_after
from dht.dealing import deal_ids
from dht.effects import Send
from dht.errors import RemoteProtocolError
from dht.founding import Founding
from dht.messages import (
    Accepted,
    Admitted,
    FoundNodes,
    Heartbeat,
    Promise,
    Redirect,
    Refused,
    Seeking,
)
from dht.refounding import Refounding
from dht.view import MemberState, View

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random

    from dht.ballots import Electorate
    from dht.discovery import Discovery
    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.messages import RingMessage
    from dht.settings import RingSettings
    from dht.view import Member
    from dht.voter import Voter

_RING_ID_BYTES = 16
_LEAP = 1_000  # view numbers left out by `ring recover`


class Seeker:
    """One process's time without a ring."""

    def __init__(
        self,
        expect: int,
        discovery: Discovery,
        rng: Random,
        settings: RingSettings,
        *,
        keeps_id: bool,
        voter: Voter,
    ) -> None:
        self.keeps_id = keeps_id
        self._voter = voter
        self._refounding = Refounding(rng, settings)
        self.founding = Founding(expect, settings)
        self._discovery = discovery
        self._rng = rng
        self._settle = settings.settle
        self._said: tuple[bytes, frozenset[NodeId]] | None = None

    def seeking(self, me: Member, now: float) -> Seeking:
        """What this node tells of itself."""
        pledge = self.founding.pledge(me.id, now)
        known = self.founding.known(now)
        return Seeking(me, self.keeps_id, pledge, known, self._voter.remembers)

    def beat(self, me: Member, now: float) -> list[Effect]:
        """Tell everyone, dial who is missing, crawl on."""
        seeking = self.seeking(me, now)
        self._said = (seeking.pledge, frozenset(each.id for each in seeking.known))
        effects: list[Effect] = [Send(node, seeking) for node in self._discovery.links]
        effects += self._refounding.ask()
        for contact in self.founding.strangers(me.id, now):
            effects += self._discovery.dial(contact.peer, now)
        return effects + self._discovery.crawl(now)

    def has_news(self, me: Member, now: float) -> bool:
        """Whether the others should hear from this node before the next beat."""
        pledge = self.founding.pledge(me.id, now)
        known = frozenset(each.id for each in self.founding.known(now))
        return self._said != (pledge, known)

    def receive(self, sender: NodeId, message: RingMessage, now: float) -> list[Effect]:
        """An answer to what this node asked, or the talk of a member."""
        if isinstance(message, FoundNodes):
            return self._discovery.found(sender, message.contacts, now)
        if isinstance(message, Promise | Accepted | Refused):
            return self._refounding.receive(sender, message, now)
        if isinstance(message, Heartbeat | Redirect) and self._is_past(message):
            self.founding.laggard_seen(sender, now)
            return []
        self.founding.ring_seen(sender, now)  # only members say anything else
        if isinstance(message, Redirect) and message.leader.id not in self._discovery.links:
            return self._discovery.dial(message.leader.peer, now)
        return []

    def _is_past(self, message: Heartbeat | Redirect) -> bool:
        """Whether a member is on a view that this node remembers to be past."""
        latest = self.founding.latest_number(message.ring, self._voter.remembers)
        return message.number < latest - 1

    def accept(self, me: Member, admitted: Admitted) -> Member | None:
        """Where a view lists this node, or None if another process was meant.

        Raises RemoteProtocolError if the view does not list it.
        """
        if admitted.incarnation != me.incarnation:
            return None  # the process that had this link's id before
        mine = admitted.view.get(admitted.you)
        if mine is None or (mine.incarnation, mine.peer) != (me.incarnation, me.peer):
            msg = "admitted to a view that does not list this node"
            raise RemoteProtocolError(msg)
        return mine

    def found(self, me: Member, now: float) -> tuple[View | None, list[Effect]]:
        """A ring's first view where this node is to make it now, or to have it voted on."""
        before = self.founding.settling_since
        others = self.founding.founders(me, self._voter.remembers, now)
        since = self.founding.settling_since
        if since is not None and since != before:
            self._discovery.hurry()
        if others is None or since is None or not self._discovery.all_tried(since):
            return None, []
        electorate = self.founding.electorate(me.id, self._voter.remembers)
        view = self.make_view(me, others, electorate)
        if electorate is None:
            return view, []
        return None, self._refounding.propose(electorate, me, view, now)

    def decision(self, now: float) -> View | None:
        """The whole view that a remembered ring's voters have chosen, once."""
        delta = self._refounding.take_chosen()
        if delta is not None and delta.base:
            self._voter.acceptor.advance(electorate_after(delta), now)
        elif delta is not None:
            voters = tuple(node for node, _ in delta.voters)
            return View(delta.number, delta.ring, delta.changed, voters)
        return None

    def welcome(self, me: Member, view: View) -> list[Effect]:
        """Tell the other seekers that `view` lists."""
        links = ((member, self.founding.link_of(member)) for member in view.members)
        return [
            Send(link, Admitted(member.id, member.incarnation, view))
            for member, link in links
            if link is not None and link != me.id
        ]

    def waits_for(self, me: Member, now: float) -> Electorate | None:
        """The ring that the seekers here remember, but have no majority to go on with."""
        self.founding.pledge(me.id, now)  # forgets who is silent
        electorate = self.founding.electorate(me.id, self._voter.remembers)
        return electorate if electorate is not None and not electorate.voters else None

    def successor_ring(self, view: View, me: Member, absent: Collection[NodeId]) -> View:
        """A new ring of those of `view` who are not `absent`, made without its voters' word.

        The number leaps, so that it is told apart from whatever they may decide.
        """
        here = {node: each for node, each in view.by_id.items() if node not in absent}
        here.setdefault(me.id, me)
        if all(each.state is not MemberState.ACTIVE for each in here.values()):
            here[me.id] = me.with_state(MemberState.ACTIVE)
        unlinked = {node for node in here if node != me.id and node not in self._discovery.links}
        ordered = tuple(here[node] for node in sorted(here))
        voters = choose_voters(ordered, (me.id, *view.voters), unlinked)
        ring = self._rng.randbytes(_RING_ID_BYTES)
        return View(view.number + _LEAP, ring, ordered, voters, view.ring)

    def next_deadline(self) -> float | None:
        """When this node can found, if nothing comes between; not while a seed is to be tried."""
        since = self.founding.settling_since
        if since is None or not self._discovery.all_tried(since):
            return None
        candidate = self._refounding.candidate
        next_ballot = self._refounding.not_before if candidate is None else candidate.deadline
        return max(since + self._settle, next_ballot)

    def make_view(
        self, me: Member, others: list[Seeking], electorate: Electorate | None = None
    ) -> View:
        """A ring's first view, or where `electorate` decides on a ring's next, that one.

        This node and `others`: all ACTIVE, with new ids for those who keep none.
        """
        members = {me.id: me}
        for seeking in others:
            if seeking.keeps_id and seeking.member.id not in members:
                members[seeking.member.id] = seeking.member
        rest = [seeking.member for seeking in others if seeking.member.id not in members]
        dealt = deal_ids(members, len(rest), self._rng)
        for node, member in zip(dealt, rest, strict=True):
            members[node] = member.renamed(node)
        active = [members[node].with_state(MemberState.ACTIVE) for node in sorted(members)]
        ring = electorate.ring if electorate is not None else self._rng.randbytes(_RING_ID_BYTES)
        number = electorate.number if electorate is not None else 1
        # First those that will not forget how they vote; then this node, which is here to.
        kept = [each.member.id for each in others if each.remembers is not None]
        own = self._voter.remembers is not None
        senior = (me.id, *kept) if own else (*kept, me.id)
        return View(number, ring, tuple(active), choose_voters(active, senior))
