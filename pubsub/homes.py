"""A node as home: append, commit, deliver.

Three steps, because replicas come between the first and the second: `append`
assigns the position, `_commit` makes the entry visible in the log, `_deliver`
starts it on its way. Alone on its slot, a home commits at once.
"""

from __future__ import annotations

from itertools import islice
from math import inf
from typing import TYPE_CHECKING

from pubsub.dedupe import Window
from pubsub.errors import Code
from pubsub.feed import resume
from pubsub.messages import Append, Appended, Cursor, Entry, Failed, Fetch, Fetched
from pubsub.slot import Topic, is_inbox

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.flow import Flow
    from pubsub.inboxes import Inboxes
    from pubsub.messages import Source
    from pubsub.patterns import Patterns
    from pubsub.patterns_forwarding import Forwarding
    from pubsub.patterns_receiving import Receiving
    from pubsub.registry import Registry
    from pubsub.requests import Requests
    from pubsub.slot import Slot

TURN_SECONDS = 5.0  # how often windows of message ids are looked at
_EVICTION_LOOK = 64  # topics looked at for one that can be forgotten


class Homes:
    """The topics of this node's open slots."""

    def __init__(self, core: Core, requests: Requests) -> None:
        self._core = core
        self._requests = requests
        self.flow: Flow
        self.inboxes: Inboxes
        self.registry: Registry
        self.patterns: Patterns
        self.forwarding: Forwarding
        self.receiving: Receiving
        self.refused = 0  # for want of memory
        self._remembered = 0
        self._windows: dict[int, Slot] = {}
        self._turn_at = inf

    # -- append ---------------------------------------------------------------

    def receive_append(
        self, sender: NodeId, message: Append, slot: Slot, now: float, out: list[Effect]
    ) -> None:
        """A publisher's node wants an entry appended to a topic of `slot`."""
        result = self.append(sender, message, slot, now, out)
        self._requests.respond(sender, result, now, out)

    def append(
        self, sender: NodeId, message: Append, slot: Slot, now: float, out: list[Effect]
    ) -> Appended | Failed:
        """Give the message its position and commit it; a repeat is told the first position.

        Effects of the delivery are added to `out`; the caller answers the publisher.
        """
        core = self._core
        name = message.topic
        if not self.patterns.ready and not is_inbox(name):
            return Failed(message.request, Code.UNAVAILABLE)
        known = self._known(slot, message)
        topic = core.topics.get(name)
        record = slot.record(name) if is_inbox(name) else None
        if topic is None:
            if record is None and is_inbox(name):
                return Failed(message.request, self.registry.unknown(slot, now))
            if known is None:
                topic = self.open_topic(name, slot)
                if topic is None:
                    self.refused += 1
                    return Failed(message.request, Code.OVERLOADED)
        if known is None and topic is not None:
            if not self._has_room(topic, len(message.payload)):
                self.refused += 1
                return Failed(message.request, Code.OVERLOADED)
            offset = topic.assigned = topic.assigned + 1
            known = Cursor(slot.epoch, offset)
            hops = 0 if sender == core.me else message.hops
            entry = Entry(slot.epoch, offset, message.message_id, message.payload, message.at, hops)
            if message.client_id or sender != core.me:
                self._remember(slot, message, known, now)
            self._commit(topic, entry, known, now, out)
        connected = record is not None and record.edge in core.members
        return Appended(message.request, known or slot.origin, connected, name)

    def append_forwarded(
        self,
        topic: Topic,
        forwarded: Entry,
        source: Source,
        hops: int,
        now: float,
        out: list[Effect],
    ) -> bool:
        """Give an entry of a channel its position in the log of a pattern; False for no room."""
        if not self._has_room(topic, len(forwarded.payload)):
            self.refused += 1
            return False
        cursor = Cursor(topic.slot.epoch, topic.assigned + 1)
        topic.assigned = cursor.offset
        entry = Entry(
            cursor.epoch,
            cursor.offset,
            forwarded.message_id,
            forwarded.payload,
            forwarded.at,
            hops,
            source,
        )
        self._commit(topic, entry, cursor, now, out)
        return True

    def _has_room(self, topic: Topic, size: int) -> bool:
        """Whether the node, and what is forwarded of the topic, allow for another entry."""
        core = self._core
        if self.patterns.known and not self.forwarding.may_append(topic, size):
            return False
        if core.crowded():
            if not self.forwarding.holds(topic):
                core.shrink(topic.log)
            return core.budget.used <= 2 * core.limits.total_log_bytes
        return True

    def _commit(
        self, topic: Topic, entry: Entry, cursor: Cursor, now: float, out: list[Effect]
    ) -> None:
        """Every copy has the entry: readers may see it."""
        topic.log.append(entry)
        topic.last = cursor
        self._deliver(topic, entry, now, out)
        if entry.source is not None:
            self.receiving.committed(topic, entry.source, now, out)
        elif self.patterns.known:
            self.forwarding.committed(topic, entry, now, out)

    def _deliver(self, topic: Topic, entry: Entry, now: float, out: list[Effect]) -> None:
        if topic.record is not None:
            self.inboxes.deliver(topic, topic.record, (entry,), out)
        elif topic.feed is not None:
            topic.feed.last = topic.last
            self.flow.spread(topic.feed, (entry,), 0, now, out)

    # -- topics ---------------------------------------------------------------

    def open_topic(self, name: str, slot: Slot) -> Topic | None:
        """The topic, begun if it is new; None if there are too many."""
        core = self._core
        topic = core.topics.get(name)
        if topic is not None:
            return topic
        if len(core.topics) >= core.limits.topics and not self._forget_one():
            return None
        record = slot.record(name)
        last = slot.origin if record is None else record.inbox
        topic = Topic(name, slot, core.new_log(last.offset), last, record)
        core.topics[name] = topic
        return topic

    def close_topic(self, topic: Topic) -> None:
        """Drop a topic; who needs its last position again must have kept it."""
        topic.log.clear(topic.log.last)
        del self._core.topics[topic.name]

    def drop_if_untouched(self, topic: Topic) -> None:
        """A channel that was only listened to leaves nothing behind."""
        if topic.feed is None and topic.assigned <= topic.slot.floor and not len(topic.log):
            self.close_topic(topic)

    def _forget_one(self) -> bool:
        """Make room: forget a channel that nobody reads. Its slot remembers how far offsets went.

        A later topic of the slot begins above that floor, so that no position
        ever names two messages.
        """
        topics = self._core.topics
        for name in list(islice(topics, _EVICTION_LOOK)):
            topic = topics.pop(name)
            topics[name] = topic  # looked at last when there is a next time
            if topic.feed is None and topic.record is None and not self.forwarding.holds(topic):
                slot = topic.slot
                if topic.assigned > slot.floor:
                    slot.floor = topic.assigned
                    slot.origin = Cursor(slot.epoch, slot.floor)
                self.close_topic(topic)
                return True
        return False

    def receive_fetch(
        self, sender: NodeId, message: Fetch, slot: Slot, now: float, out: list[Effect]
    ) -> None:
        """Somebody in the tree lacks entries that its parent does not hold."""
        topic = self._core.topics.get(message.topic)
        if topic is None:
            answer = Fetched(message.request, message.topic, slot.origin, slot.lineage, ())
        else:
            cursor = resume(topic.log, topic.last, topic.slot.lineage, message.cursor)
            entries: list[Entry] = []
            size = 0
            for entry in topic.log.after(cursor.offset, self._core.limits.log_entries):
                size += len(entry.payload)
                if entries and size > self._core.limits.batch_bytes:
                    break
                entries.append(entry)
            answer = Fetched(message.request, message.topic, cursor, slot.lineage, tuple(entries))
        self._requests.respond(sender, answer, now, out)

    # -- message ids ------------------------------------------------------------

    def _known(self, slot: Slot, message: Append) -> Cursor | None:
        """The position of an earlier append with the same message id, if remembered."""
        if message.client_id:
            if slot.client_ids is not None:
                return slot.client_ids.get((message.topic, message.message_id))
        elif slot.recent_ids is not None:
            return slot.recent_ids.get(message.message_id)
        return None

    def _remember(self, slot: Slot, message: Append, cursor: Cursor, now: float) -> None:
        if message.client_id:
            self.remember_client(slot, ((message.topic, message.message_id), cursor), now)
        else:
            self.remember_recent(slot, (message.message_id, cursor), now)

    def remember_client(self, slot: Slot, item: tuple[tuple[str, str], Cursor], now: float) -> None:
        """Remember an id that the application chose (it is unique within its topic only)."""
        window = slot.client_ids
        if window is None:
            window = slot.client_ids = Window(now)
            self._watch(slot, now)
        self._put(window.fresh, self._core.limits.client_ids, window, now)
        window.put(*item)

    def remember_recent(self, slot: Slot, item: tuple[str, Cursor], now: float) -> None:
        """Remember an id that a node minted (unique by itself), for as long as it may retry."""
        window = slot.recent_ids
        if window is None:
            window = slot.recent_ids = Window(now)
            self._watch(slot, now)
        self._put(window.fresh, self._core.limits.recent_ids, window, now)
        window.put(*item)

    def _put(
        self,
        fresh: int,
        limit: int,
        window: Window[str] | Window[tuple[str, str]],
        now: float,
    ) -> None:
        """Make room in a window: its own bound, or where the node's is met a sixteenth of it."""
        if fresh >= limit or (
            self._remembered >= self._core.limits.remembered and fresh >= limit >> 4
        ):
            self._remembered -= window.turn(now)
        self._remembered += 1

    def _watch(self, slot: Slot, now: float) -> None:
        self._windows[slot.number] = slot
        self._turn_at = min(self._turn_at, now + TURN_SECONDS)

    def watch_ids(self, slot: Slot, now: float) -> None:
        """A slot that was mine before has come back, with its windows."""
        if slot.client_ids is not None or slot.recent_ids is not None:
            self._watch(slot, now)
            for window in (slot.client_ids, slot.recent_ids):
                self._remembered += 0 if window is None else len(window)

    def forget_ids(self, slots: Iterable[Slot]) -> None:
        """These slots are no longer mine."""
        for slot in slots:
            if self._windows.pop(slot.number, None) is not None:
                for window in (slot.client_ids, slot.recent_ids):
                    self._remembered -= 0 if window is None else len(window)

    def next_deadline(self) -> float:
        return self._turn_at

    def handle_timer(self, now: float) -> None:
        """Forget message ids that nobody can be retrying any more."""
        if now < self._turn_at:
            return
        limits = self._core.limits
        for slot in list(self._windows.values()):
            if slot.client_ids and slot.client_ids.due(now, limits.client_id_seconds):
                self._remembered -= slot.client_ids.turn(now)
            if slot.recent_ids and slot.recent_ids.due(now, limits.recent_id_seconds):
                self._remembered -= slot.recent_ids.turn(now)
            slot.client_ids = slot.client_ids or None  # an empty window goes
            slot.recent_ids = slot.recent_ids or None
            if slot.client_ids is None and slot.recent_ids is None:
                del self._windows[slot.number]
        self._turn_at = now + TURN_SECONDS if self._windows else inf
