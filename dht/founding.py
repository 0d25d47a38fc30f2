"""Founding a ring: how nodes that have no view make view 1, once.

Everyone who seeks tells those it has links to whom it knows to be seeking, and
to whom it pledges: the lowest id it knows. The lowest founds, when

- there are at least `expect` of them;
- everyone that any of them knows is among them, and pledges to it;
- nobody has heard of a ring;
- all this has held, unchanged, for a settling time, in which it has tried all
  its seeds again (`dht.seeker`).

Two groups that found at once would have to be strangers to each other
altogether: a node known to both would have to pledge twice. So nodes started
in any order with one seed in common, which all of them know, found one ring.
A seeker whose link broke still counts for a while, unless its process is
proven gone: it may be the one that has just founded.

Who remembers a ring, from an earlier life or because it was struck off, founds no
other beside it. Where a majority of the ring's latest voters seek together they go
on with that ring, through its own ballots (`dht.refounding`); until then they wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dht.ballots import Electorate
from dht.contact import Contact
from dht.messages import Seeking

if TYPE_CHECKING:
    from dht.ids import NodeId
    from dht.settings import RingSettings
    from dht.view import Member

NOBODY = b""  # no pledge


class _Seeker(msgspec.Struct):
    """A node that seeks, as it last said; `linked` says whether it can be told anything."""

    said: Seeking
    heard: float
    linked: bool

    @property
    def contact(self) -> Contact:
        return Contact(self.said.member.id, self.said.member.peer)


class Founding:
    """What one seeker knows of the others. `expect` counts this node too."""

    def __init__(self, expect: int, settings: RingSettings) -> None:
        self.expect = expect
        self._settings = settings
        self._seekers: dict[NodeId, _Seeker] = {}
        self._laggards: dict[NodeId, float] = {}  # members behind what is remembered; when heard
        self._ring_seen: float | None = None
        self._group: frozenset[NodeId] = frozenset()
        self._group_since = 0.0

    def heard(self, node: NodeId, message: Seeking, now: float) -> None:
        """The node whose link has the id `node` seeks too. Beyond the bound the highest go."""
        self._seekers[node] = _Seeker(message, now, linked=True)
        if len(self._seekers) > self._settings.seekers:
            del self._seekers[max(self._seekers)]

    def link_closed(self, node: NodeId, *, gone: bool) -> None:
        """The link to `node` closed; `gone`: its process has ended."""
        if gone:
            self._seekers.pop(node, None)
        elif node in self._seekers:
            self._seekers[node].linked = False

    def gone_at(self, address: str) -> None:
        """Nothing listens at `address` any more."""
        for node in [n for n, each in self._seekers.items() if each.said.member.peer == address]:
            del self._seekers[node]

    def ring_seen(self, node: NodeId | None, now: float) -> None:
        """`node` is in a ring: it does not seek, and nobody should found another."""
        self._ring_seen = now
        if node is not None:
            self._seekers.pop(node, None)

    def link_of(self, member: Member) -> NodeId | None:
        """The id under which the seeker that `member` lists is linked; None: it is none of them."""
        for node, each in self._seekers.items():
            said = each.said.member
            if (said.peer, said.incarnation) == (member.peer, member.incarnation):
                return node
        return None

    def laggard_seen(self, node: NodeId, now: float) -> None:
        """`node` is a member still, but of a view that this node knows to be past.

        It cannot decide anything by itself; its vote may be needed all the same.
        """
        self._laggards[node] = now
        self._seekers.pop(node, None)

    def start_over(self) -> None:
        """Forget the others."""
        self._seekers.clear()
        self._laggards.clear()
        self._group = frozenset()

    def pledge(self, me: NodeId, now: float) -> NodeId:
        """Whose view 1 this node would accept; NOBODY while it knows of a ring."""
        if self._knows_ring(now):
            return NOBODY
        self._expire(now)
        return min((me, *(node for node, each in self._seekers.items() if each.linked)))

    def known(self, now: float) -> tuple[Contact, ...]:
        """The other seekers, lowest first."""
        self._expire(now)
        return tuple(self._seekers[node].contact for node in sorted(self._seekers))

    def strangers(self, me: NodeId, now: float) -> list[Contact]:
        """Seekers that others know and this node should link to.

        The lowest, to pledge to it; or, for the lowest, all.
        """
        self._expire(now)
        named = {
            contact.id: contact
            for each in self._seekers.values()
            for contact in each.said.known
            if contact.id != me
        }
        unknown = [named[node] for node in sorted(named) if not self._is_linked(node)]
        lowest = min((*named, *self._seekers, me))
        if lowest == me:
            return unknown[: self._settings.seekers]
        return [contact for contact in unknown if contact.id == lowest]

    def founders(
        self, me: Member, remembers: Electorate | None, now: float
    ) -> list[Seeking] | None:
        """The others to found with now, or None if this node is not to found (yet)."""
        group = self._founding_group(me.id, remembers, now)
        if group != self._group:
            self._group, self._group_since = group, now
        if not group or now < self._group_since + self._settings.settle:
            return None
        return [self._seekers[node].said for node in sorted(self._seekers)]

    @property
    def settling_since(self) -> float | None:
        """Since when the group that this node would found with has not changed; None: no group."""
        return self._group_since if self._group else None

    def latest_number(self, ring: bytes, remembers: Electorate | None) -> int:
        """The latest view of `ring` that any seeker knows to be voted on; 0: none knows it."""
        memories = (remembers, *(each.said.remembers for each in self._seekers.values()))
        return max((each.number for each in memories if each and each.ring == ring), default=0)

    def electorate(self, me: NodeId, remembers: Electorate | None) -> Electorate | None:
        """Who decides on the ring that the seekers remember; None: they remember none.

        Of several electorates the latest counts. It has no voters where it cannot
        decide: a majority of it is not here, or the seekers remember several rings.
        """
        memories = {node: each.said.remembers for node, each in self._seekers.items()}
        memories[me] = remembers
        known = [each for each in memories.values() if each is not None]
        if not known:
            return None
        latest = max(known, key=lambda each: each.number)
        same_ring = {node for node, each in memories.items() if each and each.ring == latest.ring}
        here = sum(node in same_ring or node in self._laggards for node, _ in latest.voters)
        if len({each.ring for each in known}) > 1 or here < latest.majority:
            return Electorate(latest.ring, latest.number, ())
        return latest

    def _founding_group(
        self, me: NodeId, remembers: Electorate | None, now: float
    ) -> frozenset[NodeId]:
        self._expire(now)
        group = frozenset((me, *self._seekers))
        if self._knows_ring(now) or min(group) != me:
            return frozenset()
        electorate = self.electorate(me, remembers)
        if len(group) < self.expect if electorate is None else not electorate.voters:
            return frozenset()
        for each in self._seekers.values():
            known = all(contact.id in group for contact in each.said.known)
            if not (each.linked and each.said.pledge == me and known):
                return frozenset()
        return group

    def _knows_ring(self, now: float) -> bool:
        return self._ring_seen is not None and now < self._ring_seen + self._settings.ring_seen

    def _is_linked(self, node: NodeId) -> bool:
        return node in self._seekers and self._seekers[node].linked

    def _expire(self, now: float) -> None:
        oldest = now - self._settings.lost_seeker
        for node in [node for node, each in self._seekers.items() if each.heard < oldest]:
            del self._seekers[node]
        for node in [node for node, heard in self._laggards.items() if heard < oldest]:
            del self._laggards[node]
