"""Slots that this node has become home to, until they are open.

The old home is asked for them, window by window. A slot opens when all of its
parts have come. Where the old home is gone, does not answer, or has nothing,
it opens *lossy*: with a new lineage, in which no older cursor means anything,
so that every reader is told of the gap. Requests for a slot that is about to
open wait for it.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dht.effects import Send
from pubsub.messages import (
    Cursor,
    Handoff,
    HandoffDone,
    HandoffNone,
    HandoffOffer,
    HandoffQuery,
)
from pubsub.slot import Slot, is_inbox
from pubsub.trail import Trail
from pubsub.transfer import Unpacker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.placement import Placement
    from dht.view import View
    from pubsub.core import Core
    from pubsub.giving import Giving
    from pubsub.homes import Homes
    from pubsub.registry import Registry
    from pubsub.slot import Topic

HANDED_OVER = "handed_over"
EMPTY = "empty"
LOSSY = "lossy"


class _Source:
    """An old home, and the slots that it is asked for."""

    __slots__ = ("deadline", "incarnation", "query", "retry_at", "slots")

    def __init__(self, incarnation: int) -> None:
        self.incarnation = incarnation
        self.slots: dict[int, Unpacker | None] = {}
        self.query = 0  # under way; 0 for none
        self.deadline = inf
        self.retry_at = inf


class Taking:
    """The new home's half of a hand-off. The engine sets `opened`."""

    opened: Callable[[list[Slot], list[Topic], float, list[Effect]], None]

    def __init__(self, core: Core, giving: Giving, homes: Homes, registry: Registry) -> None:
        self._core = core
        self._giving = giving
        self._homes = homes
        self._registry = registry
        self._sources: dict[NodeId, _Source] = {}
        self._source_of: dict[int, NodeId] = {}
        self._queries = 0
        self._trail = Trail(core, giving)
        self.outcomes = {HANDED_OVER: 0, EMPTY: 0, LOSSY: 0}

    def __len__(self) -> int:
        return len(self._source_of)

    def __contains__(self, number: int) -> bool:
        return number in self._source_of

    def __iter__(self) -> Iterator[int]:
        return iter(self._source_of)

    # -- views --------------------------------------------------------------------------

    def give_up(self, numbers: Iterable[int], now: float) -> None:
        """These slots are somebody else's before they were open here."""
        for number in numbers:
            source = self._source_of.get(number)
            self._trail.forget(number)
            if source is not None:
                self._forget(number)
                self._giving.point(number, source, now)

    def install_view(
        self,
        gained: Iterable[int],
        old_view: View | None,
        old_placement: Placement | None,
        now: float,
        out: list[Effect],
    ) -> tuple[list[Slot], list[Topic]]:
        """Ask for what was gained; returns what is open at once, and its topics."""
        slots: list[Slot] = []
        topics: list[Topic] = []
        fresh = self._is_fresh(old_view)
        if not fresh:
            self._trail.remember(old_view, old_placement, now)
        for node, source in list(self._sources.items()):
            member = self._core.members.get(node)
            if member is None or member.incarnation != source.incarnation:
                self._go_on_without(node, now, slots, topics)
        for number in gained:
            if fresh:
                epoch = self._core.view_number
                self._open(Slot(number, epoch, epoch), slots)
                self.outcomes[EMPTY] += 1
            else:
                self._seek(number, now, slots, topics)
        self._ask_due(now, out)
        return slots, topics

    def _seek(self, number: int, now: float, slots: list[Slot], topics: list[Topic]) -> None:
        """Ask the latest home that is still there and has not been tried; else do without."""
        node = self._trail.next_home(number)
        if node is None:
            self._open_without(number, now, slots, topics)
        else:
            self._await(number, node, now)

    def _go_on_without(
        self, node: NodeId, now: float, slots: list[Slot], topics: list[Topic]
    ) -> None:
        """An old home is gone, or silent."""
        for number in list(self._sources[node].slots):
            self._forget(number)
            self._trail.skip(number, node)
            self._seek(number, now, slots, topics)

    def _is_fresh(self, old_view: View | None) -> bool:
        """Whether nobody can have been home before me: the ring has just begun."""
        if self._core.view_number <= 1:
            return True
        return old_view is not None and not old_view.active

    # -- asking ---------------------------------------------------------------------------

    def _await(self, number: int, node: NodeId, now: float) -> None:
        source = self._sources.get(node)
        if source is None:
            source = self._sources[node] = _Source(self._core.members[node].incarnation)
        source.deadline = now + self._core.limits.handoff_seconds
        if not source.query:
            source.retry_at = now  # else it is asked for this one too when it has answered
        source.slots[number] = None
        self._source_of[number] = node

    def _forget(self, number: int) -> None:
        node = self._source_of.pop(number)
        source = self._sources[node]
        unpacker = source.slots.pop(number)
        if unpacker is not None:
            unpacker.clear()
        if not source.slots:
            del self._sources[node]

    def _ask_due(self, now: float, out: list[Effect]) -> None:
        for node, source in self._sources.items():
            if source.retry_at <= now:
                self._ask(node, source, now, out)

    def _ask(self, node: NodeId, source: _Source, now: float, out: list[Effect]) -> None:
        source.retry_at = now + self._core.limits.handoff_retry_seconds
        heard = self._trail.heard(next(iter(source.slots)))
        slots = tuple(number for number in source.slots if self._trail.heard(number) == heard)
        self._queries += 1
        source.query = self._queries
        view = self._core.view_number
        query = HandoffQuery(source.query, view, slots, tuple(sorted(heard.items())))
        out.append(Send(node, query))

    def receive_handoff(
        self, sender: NodeId, message: Handoff, now: float, out: list[Effect]
    ) -> None:
        """Parts of slots; those that are complete open."""
        source = self._sources.get(sender)
        slots: list[Slot] = []
        topics: list[Topic] = []
        if source is None:
            self._confirm(sender, [state.slot for state in message.slots], out)
            return
        source.deadline = now + self._core.limits.handoff_seconds
        source.retry_at = now + self._core.limits.handoff_retry_seconds
        done: list[int] = []
        for state in message.slots:
            if state.slot not in source.slots:
                done.append(state.slot)
                continue
            unpacker = source.slots[state.slot]
            if unpacker is None:
                slot = Slot(state.slot, state.epoch, state.lineage, state.floor)
                unpacker = source.slots[state.slot] = Unpacker(self._core, slot)
            if unpacker.take(state) and state.final:
                source.slots[state.slot] = None
                self._forget(state.slot)
                self._install(unpacker, now, slots, topics)
                done.append(state.slot)
        self._confirm(sender, done, out)
        if message.last and message.query == source.query:
            source.query = 0
            source.retry_at = now
            self._ask_due(now, out)
        if slots:
            self.opened(slots, topics, now, out)

    def _confirm(self, sender: NodeId, numbers: Iterable[int], out: list[Effect]) -> None:
        """Tell the old home which slots have come here whole (again, if it asks again)."""
        done = tuple(
            number
            for number in numbers
            if number not in self._source_of and not self._giving.passed_by(number)
        )
        if done:
            out.append(Send(sender, HandoffDone(self._core.view_number, done)))

    def receive_offer(
        self, sender: NodeId, message: HandoffOffer, now: float, out: list[Effect]
    ) -> None:
        """An old home wants to forget what it gave."""
        del now
        self._confirm(sender, message.slots, out)

    def receive_none(
        self, sender: NodeId, message: HandoffNone, now: float, out: list[Effect]
    ) -> None:
        """The old home cannot help: another may, or I can myself, or nobody."""
        source = self._sources.get(sender)
        slots: list[Slot] = []
        topics: list[Topic] = []
        for number in message.slots:
            current = source is not None and source.query == message.query
            if current and self._source_of.get(number) == sender:
                self._forget(number)
                self._follow(number, sender, message, now, (slots, topics))
        self._ask_due(now, out)
        if slots:
            self.opened(slots, topics, now, out)

    def _follow(
        self,
        number: int,
        sender: NodeId,
        message: HandoffNone,
        now: float,
        opened: tuple[list[Slot], list[Topic]],
    ) -> None:
        """Look for a slot further on."""
        node = self._trail.follow(number, sender, message)
        if node is None or node == self._core.me:
            self._open_without(number, now, *opened)
        else:
            self._await(number, node, now)

    # -- opening --------------------------------------------------------------------------

    def _open(self, slot: Slot, slots: list[Slot]) -> None:
        slot.epoch = self._core.view_number
        slot.origin = Cursor(slot.epoch, slot.floor)
        self._core.slots[slot.number] = slot
        self._giving.discard(slot.number)
        self._trail.forget(slot.number)
        slots.append(slot)

    def _open_without(
        self,
        number: int,
        now: float,
        slots: list[Slot],
        topics: list[Topic],
    ) -> None:
        """The old home's state is not to be had: mine, if it is the newest, or a lossy start."""
        parted = self._giving.reclaim(number, self._trail.heard(number), now)
        if parted is not None:
            self._take_back(parted.slot, parted.topics, now, slots)
            topics += parted.topics
            return
        epoch = self._core.view_number
        settled_at = now + self._core.limits.settle_seconds
        self._open(Slot(number, epoch, epoch, settled_at=settled_at), slots)
        self.outcomes[LOSSY] += 1

    def _install(
        self, unpacker: Unpacker, now: float, slots: list[Slot], topics: list[Topic]
    ) -> None:
        slot = unpacker.slot
        slot.records = {record.address: record for record in unpacker.records} or None
        self._take_back(slot, list(unpacker.topics.values()), now, slots)
        topics += unpacker.topics.values()
        for item in unpacker.seen:
            self._homes.remember_client(slot, item, now)
        for recent in unpacker.recent:
            self._homes.remember_recent(slot, recent, now)

    def _take_back(self, slot: Slot, topics: list[Topic], now: float, slots: list[Slot]) -> None:
        """Open a slot with its records and topics."""
        self._open(slot, slots)
        self.outcomes[HANDED_OVER] += 1
        for record in (slot.records or {}).values():
            self._registry.index(record, now)
        for topic in topics:
            topic.record = slot.record(topic.name)
            if topic.record is None and is_inbox(topic.name):
                topic.log.clear(topic.log.last)
            else:
                self._core.topics[topic.name] = topic
        self._homes.watch_ids(slot, now)

    # -- links and time ---------------------------------------------------------------------

    def link_opened(self, node: NodeId, now: float, out: list[Effect]) -> None:
        source = self._sources.get(node)
        if source is not None:
            self._ask(node, source, now, out)

    def next_deadline(self) -> float:
        return min((min(s.deadline, s.retry_at) for s in self._sources.values()), default=inf)

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        """Ask again; give up an old home that stays silent."""
        slots: list[Slot] = []
        topics: list[Topic] = []
        for node, source in list(self._sources.items()):
            if source.deadline <= now:
                self._go_on_without(node, now, slots, topics)
        self._ask_due(now, out)
        if slots:
            self.opened(slots, topics, now, out)
