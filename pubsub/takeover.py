"""What a change of the view means for the slots of this node.

One order for every change: stop serving what is lost, ask for or open what is
gained, then let trees, sessions and requests find their places in the new
view, and last let what waited for an opened slot go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pubsub.giving import Giving
from pubsub.messages import Append
from pubsub.taking import Taking

if TYPE_CHECKING:
    from collections.abc import Callable

    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.placement import Placement
    from dht.view import View
    from pubsub.core import Core
    from pubsub.edge import Edge
    from pubsub.homes import Homes
    from pubsub.moves import Moves
    from pubsub.patterns_parts import PatternParts
    from pubsub.registry import Registry
    from pubsub.requests import HomeMessage, Requests
    from pubsub.slot import Slot, Topic
    from pubsub.tree import Tree


class Takeover:
    """The slots of this node as they come and go. The engine sets `serve` and `refuse`."""

    serve: Callable[[NodeId, HomeMessage, float, list[Effect]], None]
    refuse: Callable[[NodeId, HomeMessage, float, list[Effect]], None]

    def __init__(self, core: Core, homes: Homes, registry: Registry) -> None:
        self._core = core
        self._homes = homes
        self._registry = registry
        self.tree: Tree
        self.edge: Edge
        self.moves: Moves
        self.requests: Requests
        self.patterns: PatternParts
        self.giving = Giving(core)
        self.taking = Taking(core, self.giving, homes, registry)
        self.taking.opened = self._opened
        self._queues: dict[int, list[tuple[NodeId, HomeMessage]]] = {}  # requests for opening slots
        self._queued = 0
        self._queued_bytes = 0

    def install_view(self, view: View, placement: Placement, now: float, out: list[Effect]) -> None:
        """`view` is the ring's present one; a view that is not newer changes nothing."""
        core = self._core
        old_view, old_placement = core.view, core.placement
        if old_view is not None and old_view.ring != view.ring:
            self._change_ring(now, out)
            old_view = old_placement = None
        elif old_view is not None and view.number <= old_view.number:
            return
        core.view, core.placement, core.members = view, placement, view.by_id
        mine = set(placement.slots_of(core.me))
        self._part([number for number in core.slots if number not in mine], now)
        strangers = [number for number in self._queues if number not in mine]
        self.taking.give_up([n for n in list(self.taking) if n not in mine], now)
        gained = [n for n in sorted(mine) if n not in core.slots and n not in self.taking]
        self.patterns.install_view(old_view, now, out)
        slots, topics = self.taking.install_view(gained, old_view, old_placement, now, out)
        self.tree.install_view(now, out)
        self._registry.install_view(now, out)
        self.moves.install_view(now, out)
        self.edge.install_view(old_view, old_placement, now, out)
        self._opened(slots, topics, now, out)
        for number in strangers:
            for sender, message in self._unqueue(number):
                self.refuse(sender, message, now, out)
        self.requests.install_view(now, out)
        self.patterns.forwarding.resume(None, now, out)
        self.giving.install_view(now, out)

    def _change_ring(self, now: float, out: list[Effect]) -> None:
        """Another ring: nothing that was known means anything in it."""
        self._core.view = self._core.placement = None
        self._part(list(self._core.slots), now)
        self.taking.give_up(list(self.taking), now)
        self.edge.change_ring(out)
        self.tree.change_ring()

    def _part(self, numbers: list[int], now: float) -> None:
        """Stop serving these slots; what they held is frozen for the new homes."""
        if not numbers:
            return
        core = self._core
        slots = {number: core.slots.pop(number) for number in numbers}
        topics = [topic for topic in core.topics.values() if topic.slot.number in slots]
        for topic in topics:
            del core.topics[topic.name]
        self._homes.forget_ids(slots.values())
        for slot in slots.values():
            self._registry.forget((slot.records or {}).values())
        self.tree.topics_parted(topics)
        self.edge.slots_parted(slots.values(), topics)
        self.patterns.topics_parted(topics)
        self.giving.keep(slots.values(), topics, now)

    def _opened(
        self, slots: list[Slot], topics: list[Topic], now: float, out: list[Effect]
    ) -> None:
        """These slots of mine serve now: everybody who waits for them goes on."""
        self.edge.slots_opened(slots, now, out)
        self.tree.slots_opened({slot.number for slot in slots}, now, out)
        self._registry.inboxes.slots_opened(topics, out)
        self.patterns.forwarding.topics_opened(topics, now, out)
        for slot in slots:
            for sender, message in self._unqueue(slot.number):
                self.serve(sender, message, now, out)

    def queue(self, number: int, sender: NodeId, message: HomeMessage) -> bool:
        """Keep a request until its slot opens; False if it is not about to, or too many wait."""
        limits = self._core.limits
        size = len(message.payload) if type(message) is Append else 0
        if (
            number not in self.taking
            or self._queued >= limits.queued
            or self._queued_bytes + size > limits.queued_bytes
        ):
            return False
        self._queues.setdefault(number, []).append((sender, message))
        self._queued += 1
        self._queued_bytes += size
        return True

    def _unqueue(self, number: int) -> list[tuple[NodeId, HomeMessage]]:
        waiting = self._queues.pop(number, [])
        self._queued -= len(waiting)
        for _, message in waiting:
            self._queued_bytes -= len(message.payload) if type(message) is Append else 0
        return waiting

    def drained(self) -> bool:
        """Whether this node is home to nothing, and nobody waits for what it was home to."""
        return not (self._core.slots or len(self.taking) or len(self.giving))

    def next_deadline(self) -> float:
        return min(self.giving.next_deadline(), self.taking.next_deadline())

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        self.giving.handle_timer(now)
        self.taking.handle_timer(now, out)
