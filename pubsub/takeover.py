"""What a change of the view means for the slots of this node.

One order for every change: stop serving what is lost, fence what others are
home to now, begin to take over what is gained, then let trees, sessions and
requests find their places in the new view, and last let what waited for an
opened slot go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.view import MemberState
from pubsub.messages import Append, Cursor
from pubsub.openings import Openings
from pubsub.pulls import Pulls
from pubsub.sealing import Sealing
from pubsub.slot import is_inbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.placement import Placement
    from dht.view import Member, View
    from pubsub.core import Core
    from pubsub.edge import Edge
    from pubsub.homes import Homes
    from pubsub.lanes import Lanes
    from pubsub.moves import Moves
    from pubsub.patterns_parts import PatternParts
    from pubsub.registry import Registry
    from pubsub.requests import HomeMessage, Requests
    from pubsub.slot import Slot, Topic
    from pubsub.transfer import Unpacker
    from pubsub.tree import Tree


class Takeover:
    """The slots of this node as they come and go. The engine sets `serve` and `refuse`."""

    serve: Callable[[NodeId, HomeMessage, float, list[Effect]], None]
    refuse: Callable[[NodeId, HomeMessage, float, list[Effect]], None]

    def __init__(self, core: Core, homes: Homes, registry: Registry, lanes: Lanes) -> None:
        self._core = core
        self._homes = homes
        self._registry = registry
        self._lanes = lanes
        self.tree: Tree
        self.edge: Edge
        self.moves: Moves
        self.requests: Requests
        self.patterns: PatternParts
        self.pulls = Pulls(core)
        self.sealing = Sealing(core, homes.ids, self.pulls)
        self.openings = Openings(core, self.sealing, self.pulls)
        self.sealing.part = self._part
        self.openings.opened = self._opened
        self.pulls.on_pulled, self.pulls.on_missing = self._pulled, self._missing
        lanes.on_fenced = self._fenced
        self._queues: dict[int, list[tuple[NodeId, HomeMessage]]] = {}  # requests for opening slots
        self._bereft = False  # the last who was ACTIVE was struck off
        self._queued = 0
        self._queued_bytes = 0

    # -- views ----------------------------------------------------------------------

    def install_view(self, view: View, placement: Placement, now: float, out: list[Effect]) -> None:
        """`view` is the ring's present one; a view that is not newer changes nothing."""
        core = self._core
        old_view = core.view
        if old_view is not None and old_view.ring not in {view.ring, view.former}:
            self._change_ring(now, out)
            old_view = None
        elif old_view is not None and view.number <= old_view.number:
            return
        self.sealing.past.leave(now)
        core.install(view, placement)
        if core.renewed:
            self.sealing.past.note_struck(core.struck_after)
        mine = placement.slots_of(core.me)
        kept: set[int] = set()
        for number in mine:
            slot, holders = core.slots.get(number), core.holders(number)
            if slot is not None and slot.holders == holders and not slot.fenced:
                kept.add(number)
        self._part([number for number in core.slots if number not in kept], now, out)
        self.pulls.install_view()
        gone = _gone(old_view, view)
        is_fresh = _is_fresh(old_view, view) and not core.copies and not self._bereft
        self._see_off(view, gone)
        self.sealing.install_view(now)
        self.openings.install_view(gone)
        gained = [number for number in mine if number not in kept]
        # What was on its way starts over: somebody may have been sealed for a view in between.
        since = self.openings.give_up()
        is_sure = old_view is not None and view.number == old_view.number + 1 and not core.renewed
        if core.renewed:
            since = {}  # another may have served them meanwhile
        if not is_sure:  # ... and have answered what waits here
            self._turn_away(list(self._queues), now, out)
        self.patterns.install_view(old_view, now, out)
        opened: list[Slot] = []
        if is_fresh:
            held = placement.slots_held_by(core.me)
            opened = self.openings.begin_fresh(held)
        else:
            self.openings.begin(gained, now, since)
        self.tree.install_view(now, out)
        self._registry.install_view(now, out)
        self.moves.install_view(now, out)
        self._opened(opened, now, out)
        self.openings.proceed(list(self.openings), now, out)
        self._turn_away([n for n in self._queues if n not in self.openings], now, out)
        self._lanes.install_view()
        self.requests.install_view(now, out)
        self.edge.install_view(now, out)
        self.patterns.forwarding.resume(None, now, out)

    def _see_off(self, view: View, gone: list[Member]) -> None:
        """Where nobody is ACTIVE any more there is nobody to give anything to.

        Unless who was ACTIVE was struck off: it may be back for what is here.
        """
        struck_off = any(member.state is MemberState.ACTIVE for member in gone)
        self._bereft = not view.active and (self._bereft or struck_off)
        if not view.active and not self._bereft:
            self.sealing.drop_all()

    def _change_ring(self, now: float, out: list[Effect]) -> None:
        """Another ring: nothing that was known means anything in it."""
        self._part(list(self._core.slots), now, out)
        self._core.leave_ring()
        self.openings.give_up()
        self.sealing.change_ring()
        self.edge.change_ring(out)
        self.tree.change_ring()

    def _fenced(self, slots: list[Slot], now: float, out: list[Effect]) -> None:
        """Holders have refused changes: there was another home since, or is about to be one.

        If this node is home in a view that is later than the reign, it begins
        another; else the view that names the other one is on its way.
        """
        numbers = [slot.number for slot in slots]
        again = [slot.number for slot in slots if slot.epoch < self._core.view_number]
        self._part(numbers, now, out)
        self.openings.begin(again, now)
        self.openings.proceed(again, now, out)

    # -- serving no more --------------------------------------------------------------

    def _part(self, numbers: list[int], now: float, out: list[Effect]) -> None:
        """Stop serving these slots. What was not committed stays in the copies, unseen."""
        if not numbers:
            return
        core = self._core
        slots = {number: core.slots.pop(number) for number in numbers}
        topics = [topic for slot in slots.values() for topic in (slot.topics or {}).values()]
        for topic in topics:
            del core.topics[topic.name]
        for slot in slots.values():
            slot.fenced = True
            self._registry.forget((slot.records or {}).values())
        self.tree.topics_parted(topics)
        self.edge.slots_parted(slots.values(), topics)
        self.patterns.topics_parted(topics)
        for item in self._lanes.withdraw(slots):
            item.fail(now, out)
        for topic in topics:
            for staged in (topic.staged or {}).values():
                topic.log.append(staged.entry)
                topic.last = staged.cursor
            topic.staged = None
            if not len(topic.log) and topic.assigned <= topic.slot.floor:
                topic.slot.drop_topic(topic.name)  # it was only listened to
        for slot in slots.values():
            slot.lane = None

    # -- serving ----------------------------------------------------------------------

    def _opened(self, slots: list[Slot], now: float, out: list[Effect]) -> None:
        """These slots of mine serve from now on: everybody who waits for them goes on."""
        core = self._core
        topics: list[Topic] = []
        for slot in slots:
            self._open(slot, now, topics)
        self.edge.slots_opened(slots, now, out)
        self.moves.slots_opened(slots, out)
        self.tree.slots_opened({slot.number for slot in slots}, now, out)
        self._registry.inboxes.slots_opened(topics, out)
        self.patterns.forwarding.topics_opened(topics, now, out)
        for topic in topics:
            if topic.record is None and core.topics.get(topic.name) is topic:
                self._homes.limit_copies(topic, now)
        for slot in slots:
            for sender, message in self._unqueue(slot.number):
                # What another home has answered meanwhile is not asked of this one any more.
                if sender != core.me or self.requests.waits_for(message):
                    self.serve(sender, message, now, out)

    def _open(self, slot: Slot, now: float, topics: list[Topic]) -> None:
        core = self._core
        core.slots[slot.number] = slot
        slot.fenced = False
        slot.lane = self._lanes.to(slot.holders)
        slot.origin = Cursor(slot.epoch, slot.floor)
        for record in (slot.records or {}).values():
            self._registry.index(record, now)
            self._registry.inboxes.make_lost(slot, record)  # its edge has to be told
        for topic in list((slot.topics or {}).values()):
            topic.record = slot.record(topic.name)
            topic.assigned = topic.last.offset
            if topic.record is None and is_inbox(topic.name):
                slot.drop_topic(topic.name)
            else:
                core.topics[topic.name] = topic
                topics.append(topic)

    def _pulled(self, sender: NodeId, whole: list[Unpacker], now: float, out: list[Effect]) -> None:
        """Copies have come."""
        mine = [
            unpacker.slot.number
            for unpacker in self.sealing.pulled(sender, whole, now, out)
            if self.openings.pulled(sender, unpacker, now)
        ]
        self.openings.proceed(mine, now, out)

    def _missing(self, sender: NodeId, numbers: list[int], now: float, out: list[Effect]) -> None:
        self.sealing.missing(sender, numbers)
        self.openings.missing(sender, numbers)
        self.openings.proceed((), now, out)

    # -- requests that wait -------------------------------------------------------------

    def queue(self, number: int, sender: NodeId, message: HomeMessage) -> bool:
        """Keep a request until its slot opens; False if it is not about to, or too many wait."""
        limits = self._core.limits
        size = len(message.payload) if type(message) is Append else 0
        if (
            number not in self.openings
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

    def _turn_away(self, numbers: list[int], now: float, out: list[Effect]) -> None:
        """Whoever wants something of these slots asks again."""
        for number in numbers:
            for sender, message in self._unqueue(number):
                self.refuse(sender, message, now, out)

    # -- leaving, links, time -------------------------------------------------------------

    def drained(self) -> bool:
        """Whether this node is home to nothing, and nobody needs what it holds."""
        return not (self._core.slots or len(self.openings) or self._core.copies)

    def link_opened(self, node: NodeId, now: float, out: list[Effect]) -> None:
        self.pulls.link_opened(node, now)
        self.openings.link_opened(node, now, out)
        self.pulls.post(now, out)

    def died(self, node: NodeId, incarnation: int, now: float, out: list[Effect]) -> None:
        """That process has ended."""
        self.openings.died(node, incarnation)
        self.openings.handle_timer(now, out)

    def next_deadline(self) -> float:
        return min(
            self.openings.next_deadline(),
            self.sealing.next_deadline(),
            self.pulls.next_deadline(),
        )

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        self.openings.handle_timer(now, out)
        self.sealing.handle_timer(now, out)
        self.pulls.post(now, out)


def _is_fresh(old_view: View | None, view: View) -> bool:
    """Whether nobody can have been home before: the ring has just begun."""
    if old_view is None:
        return view.number <= 1
    return not old_view.active


def _gone(old_view: View | None, view: View) -> list[Member]:
    """Processes that the new view does not list any more."""
    if old_view is None:
        return []
    return [
        member
        for member in old_view.members
        if (new := view.get(member.id)) is None or new.incarnation != member.incarnation
    ]
