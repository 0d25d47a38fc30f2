"""Finding nodes: the seeds, the open links, and the crawl for one's own id.

A node knows only its seeds. It dials them, backing off with jitter and never
giving up; from whoever answers it crawls for its own id, so that it hears of
nodes that the seeds have not met. A member goes on dialling seeds that it does
not see in the ring: that is how a seed that lost its memory finds back. The few
members that vote do so without pause, so that such a seed hears of its ring
before it can found another with nodes that only it knows.
"""

from __future__ import annotations

from heapq import nsmallest
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from dht.contact import Contact
from dht.effects import Dial, Send
from dht.ids import NodeId
from dht.lookup import Lookup
from dht.messages import FindNode
from dht.placement import by_distance
from dht.table import ContactTable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from random import Random

    from dht.effects import Effect
    from dht.settings import RingSettings
    from dht.view import View


class _Seed(msgspec.Struct):
    """A configured address. `node`: who answered there last."""

    next_dial: float
    delay: float
    node: NodeId | None = None
    tried_at: float = float("-inf")  # when it last answered, or was found not to
    is_me: bool = False


class Discovery:
    """Links and contacts of the node `me`."""

    def __init__(
        self, me: Contact, seeds: Sequence[str], rng: Random, settings: RingSettings
    ) -> None:
        self._me = me
        self._rng = rng
        self._settings = settings
        self.links: dict[NodeId, str] = {}  # open links: node -> its advertised HOST:PORT
        self.table = ContactTable(me, settings.k)
        self._seeds = {
            address: _Seed(next_dial=0.0, delay=settings.redial_least)
            for address in seeds
            if address != me.peer
        }
        self._dialling: dict[str, float] = {}  # address -> when to stop waiting for its outcome
        self._crawl: Lookup | None = None
        self._awaited: dict[str, NodeId] = {}  # dialled for the crawl: address -> who is expected
        self._next_crawl = 0.0
        self._backoff_most = settings.redial_most
        self._view: View | None = None

    def all_tried(self, since: float) -> bool:
        """Whether every seed is linked, or has been tried since then, or is this node."""
        return all(
            seed.is_me or seed.node in self.links or seed.tried_at >= since
            for seed in self._seeds.values()
        )

    def hurry(self) -> None:
        """Let the next `redial` dial every seed that is not at work."""
        for seed in self._seeds.values():
            seed.next_dial, seed.delay = 0.0, self._settings.redial_least

    def rename(self, me: Contact) -> None:
        """Take a new id: the links are gone, and who was met as a seeker has a new id too."""
        self._me = me
        self.links.clear()
        self._dialling.clear()
        self._end_crawl()
        self.table = ContactTable(me, self._settings.k)
        self._view = None

    # -- links ----------------------------------------------------------------------

    def link_opened(self, node: NodeId, peer: str, address: str | None, now: float) -> list[Effect]:
        """A link to `node` is up; `address` is what was dialled, if we dialled."""
        is_me = node == self._me.id
        if not is_me:
            self.links[node] = peer
            self._keep(Contact(node, peer))
        effects: list[Effect] = []
        for known in dict.fromkeys((peer, peer if address is None else address)):
            self._dialling.pop(known, None)
            seed = self._seeds.get(known)
            if seed is not None:
                seed.tried_at, seed.is_me, seed.node = now, is_me, node
                seed.delay = self._settings.redial_least
                seed.next_dial = now + seed.delay
            expected = self._awaited.pop(known, None)
            if self._crawl is None or expected is None:
                continue
            if expected == node:
                effects.append(Send(node, FindNode(self._me.id)))
            else:  # another process has the address now
                self._crawl.failed(expected)
        return effects

    def link_closed(self, node: NodeId) -> None:
        """The link to `node` is down; who is no member is no contact either."""
        peer = self.links.pop(node, None)
        if peer is not None and not self._is_member(node):
            self.table.remove_contact(Contact(node, peer))

    def dial(self, address: str, now: float) -> list[Effect]:
        """Dial `address`, unless that is under way."""
        if self._dialling.get(address, now) > now or address == self._me.peer:
            return []
        self._dialling[address] = now + self._settings.dial_patience
        return [Dial(address)]

    def dial_failed(self, address: str, now: float) -> None:
        """Nobody answered at `address`: the next try is later than the last was."""
        self._dialling.pop(address, None)
        seed = self._seeds.get(address)
        if seed is not None:
            seed.tried_at = now
            seed.delay = min(seed.delay, self._backoff_most)
            seed.next_dial = now + seed.delay * self._rng.uniform(0.75, 1.25)
            seed.delay *= 2
        expected = self._awaited.pop(address, None)
        if self._crawl is not None and expected is not None:
            self._crawl.failed(expected)

    def install(self, view: View) -> None:
        """Members are contacts, in the table or not; the crawl has served its purpose."""
        self._end_crawl()
        _, struck = view.since(self._view)
        self._view = view
        for node in struck:
            contact = self.table.get(node) if node not in self.links else None
            if contact is not None:
                self.table.remove_contact(contact)
        votes = self._me.id in view.voters
        self._backoff_most = self._settings.redial_keen if votes else self._settings.redial_most
        if votes:
            self.hurry()

    # -- seeds and the crawl ----------------------------------------------------------

    def redial(self, reached: Collection[str], now: float) -> list[Effect]:
        """Dial the seeds that are due, but not those whose node or address is `reached`."""
        effects: list[Effect] = []
        for address, seed in self._seeds.items():
            at_work = seed.is_me or address in reached or seed.node in self.links
            if not at_work and seed.next_dial <= now:
                effects += self.dial(address, now)
        return effects

    def crawl(self, now: float) -> list[Effect]:
        """Take the lookup of our own id a step further, or start one when it is due."""
        if self._crawl is None:
            if now < self._next_crawl or not self.links:
                return []
            self._next_crawl = now + self._settings.crawl_every
            self._crawl = Lookup(
                self._me.id,
                [Contact(node, peer) for node, peer in self.links.items()],
                self._me.id,
                k=self._settings.k,
                alpha=self._settings.alpha,
                patience=self._settings.answer_patience,
            )
        self._crawl.handle_timer(now)
        effects: list[Effect] = []
        for contact in self._crawl.questions(now):
            if contact.id in self.links:
                effects.append(Send(contact.id, FindNode(self._me.id)))
            else:  # it gets the question when the link is up
                self._awaited[contact.peer] = contact.id
                effects += self.dial(contact.peer, now)
        if self._crawl.done:
            self._end_crawl()
        return effects

    def found(self, node: NodeId, contacts: Iterable[Contact], now: float) -> list[Effect]:
        """`node` answered the crawl."""
        if self._crawl is None:
            return []
        self._crawl.answered(node, contacts)
        return self.crawl(now)

    def closest(self, target: NodeId) -> tuple[Contact, ...]:
        """The contacts closest to `target`, for whoever asks."""
        goal = Contact(target, "")
        known = {each.id: each for each in self.table.find_neighbors(goal)}
        for member in self._closest_members(goal):
            known[member.id] = member
        return tuple(nsmallest(self._settings.k, known.values(), key=goal.distance_to))

    def _closest_members(self, goal: Contact) -> Iterator[Contact]:
        if self._view is None:
            return
        members = self._view.members
        nearest = (members[each] for each in by_distance(self._view.numbers, goal.long_id))
        others = (each for each in nearest if each.id not in {self._me.id, goal.id})
        for member in islice(others, self._settings.k):
            yield Contact(member.id, member.peer)

    def _is_member(self, node: NodeId) -> bool:
        return self._view is not None and node in self._view

    def _end_crawl(self) -> None:
        self._crawl = None
        self._awaited.clear()

    def _keep(self, contact: Contact) -> None:
        """Add `contact`; the oldest of a full bucket makes room if it has no link."""
        oldest = self.table.add_contact(contact)
        if oldest is not None:
            if oldest.id in self.links:
                self.table.add_contact(oldest)
            else:
                self.table.remove_contact(oldest)
