"""What a node does that no view lists: look for a ring, or found one with others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.agreement import choose_voters
from dht.dealing import deal_ids
from dht.effects import Send
from dht.errors import RemoteProtocolError
from dht.founding import Founding
from dht.messages import Admitted, FoundNodes, Redirect, Seeking
from dht.view import MemberState, View

if TYPE_CHECKING:
    from random import Random

    from dht.discovery import Discovery
    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.messages import RingMessage
    from dht.settings import RingSettings
    from dht.view import Member

_RING_ID_BYTES = 16


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
    ) -> None:
        self.keeps_id = keeps_id
        self.founding = Founding(expect, settings)
        self._discovery = discovery
        self._rng = rng
        self._settle = settings.settle
        self._said: tuple[bytes, frozenset[NodeId]] | None = None

    def seeking(self, me: Member, now: float) -> Seeking:
        """What this node tells of itself."""
        pledge = self.founding.pledge(me.id, now)
        return Seeking(me, self.keeps_id, pledge, self.founding.known(now))

    def beat(self, me: Member, now: float) -> list[Effect]:
        """Tell everyone, dial who is missing, crawl on."""
        seeking = self.seeking(me, now)
        self._said = (seeking.pledge, frozenset(each.id for each in seeking.known))
        effects: list[Effect] = [Send(node, seeking) for node in self._discovery.links]
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
        self.founding.ring_seen(sender, now)  # only members say anything else
        if isinstance(message, Redirect) and message.leader.id not in self._discovery.links:
            return self._discovery.dial(message.leader.peer, now)
        return []

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

    def found(self, me: Member, now: float) -> tuple[View, list[Effect]] | None:
        """View 1 and the news of it, if this node is to make it now."""
        before = self.founding.settling_since
        others = self.founding.founders(me, now)
        since = self.founding.settling_since
        if since is not None and since != before:
            self._discovery.hurry()
        if others is None or since is None or not self._discovery.all_tried(since):
            return None
        return self.make_view(me, others)

    def next_deadline(self) -> float | None:
        """When this node can found, if nothing comes between; not while a seed is to be tried."""
        since = self.founding.settling_since
        if since is None or not self._discovery.all_tried(since):
            return None
        return since + self._settle

    def make_view(self, me: Member, others: list[Seeking]) -> tuple[View, list[Effect]]:
        """View 1 of this node and `others`: all ACTIVE, with new ids for those who keep none."""
        members = {me.id: me}
        links = {me.id: me.id}
        for seeking in others:
            if seeking.keeps_id and seeking.member.id not in members:
                members[seeking.member.id] = seeking.member
                links[seeking.member.id] = seeking.member.id
        rest = [seeking.member for seeking in others if seeking.member.id not in members]
        dealt = deal_ids(members, len(rest), self._rng)
        for node, member in zip(dealt, rest, strict=True):
            members[node] = member.renamed(node)
            links[node] = member.id
        active = [members[node].with_state(MemberState.ACTIVE) for node in sorted(members)]
        ring = self._rng.randbytes(_RING_ID_BYTES)
        view = View(1, ring, tuple(active), choose_voters(active, ()))
        return view, [
            Send(links[member.id], Admitted(member.id, member.incarnation, view))
            for member in active
            if member.id != me.id
        ]
