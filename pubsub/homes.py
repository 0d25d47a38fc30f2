"""A node as home: append, replicate, commit, deliver.

`append` assigns the position and stages the entry; when all holders have it,
`committed` puts it into the log, who asked is answered, and `after_commits`
starts it on its way to readers. Alone on its slot, a home commits at once.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from pubsub.effects import Answer
from pubsub.errors import Code
from pubsub.feed import resume
from pubsub.ids import CHOSEN, MINTED, NOT, MessageIds
from pubsub.messages import Append, Appended, Cursor, Entry, Failed, Fetch, Fetched
from pubsub.replicas import put_mark
from pubsub.slot import Topic, is_inbox
from pubsub.slot_messages import EntryPut, MarkPut, TopicDrop, TopicLimit
from pubsub.staging import Staged, StagedEntry
from pubsub.wildcards import is_pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.flow import Flow
    from pubsub.inboxes import Inboxes
    from pubsub.lanes import Lane, Lanes
    from pubsub.log import Log
    from pubsub.messages import Source
    from pubsub.patterns import Patterns
    from pubsub.patterns_forwarding import Forwarding
    from pubsub.patterns_receiving import Receiving
    from pubsub.registry import Registry
    from pubsub.requests import Requests
    from pubsub.slot import Slot

_EVICTION_LOOK = 64  # topics looked at for one that can be forgotten


class Homes:
    """The topics of this node's open slots.

    `copies_of`: how many holders of its slot have a topic's entries (0: all), by
    its name.
    """

    def __init__(
        self, core: Core, requests: Requests, lanes: Lanes, copies_of: Callable[[str], int]
    ) -> None:
        self._core = core
        self.requests = requests
        self._lanes = lanes
        self._copies_of = copies_of
        self.ids = MessageIds(core)
        self.flow: Flow
        self.inboxes: Inboxes
        self.registry: Registry
        self.patterns: Patterns
        self.forwarding: Forwarding
        self.receiving: Receiving
        self.refused = 0  # for want of memory
        self.trimmed = 0  # entries that gave way where memory was short
        self._fresh: dict[Topic, list[Entry]] = {}

    # -- append ---------------------------------------------------------------

    def receive_append(
        self, sender: NodeId, message: Append, slot: Slot, now: float, out: list[Effect]
    ) -> None:
        """A publisher's node wants an entry appended to a topic of `slot`."""
        result = self.append(sender, message, slot, now, out)
        if result is not None:
            self.requests.respond(sender, result, now, out)

    def append(
        self, sender: NodeId, message: Append, slot: Slot, now: float, out: list[Effect]
    ) -> Appended | Failed | None:
        """Give the message its position; a repeat is told the first position.

        None: the entry is on its way to the other holders, and `sender` (b"" for a
        caller of this node) is answered when they have it. Effects of a delivery
        are added to `out`.
        """
        core = self._core
        name = message.topic
        if not self.patterns.ready and not is_inbox(name):
            return Failed(message.request, Code.UNAVAILABLE)
        known = self.ids.known(slot, message)
        topic = core.topics.get(name)
        record = slot.record(name) if is_inbox(name) else None
        if topic is None:
            if record is None and is_inbox(name):
                return Failed(message.request, self.registry.unknown(slot, now))
            if known is None:
                topic = self.open_topic(name, slot, now)
                if topic is None:
                    self.refused += 1
                    return Failed(message.request, Code.OVERLOADED)
        if topic is not None:
            if known is None:
                return self._append(sender, message, topic, now, out)
            staged = topic.staged.get(known.offset) if topic.staged is not None else None
            if staged is not None and staged.cursor == known:
                staged.wait(sender, message)
                return None
        connected = record is not None and record.edge in core.members
        return Appended(message.request, known or slot.origin, connected, name)

    def _append(
        self, sender: NodeId, message: Append, topic: Topic, now: float, out: list[Effect]
    ) -> Appended | Failed | None:
        if not self._has_room(topic, len(message.payload)):
            self.refused += 1
            return Failed(message.request, Code.OVERLOADED)
        slot = topic.slot
        cursor = Cursor(slot.epoch, topic.assigned + 1)
        is_local = not sender or sender == self._core.me
        hops = 0 if is_local else message.hops
        entry = Entry(
            cursor.epoch, cursor.offset, message.message_id, message.payload, message.at, hops
        )
        remember = CHOSEN if message.client_id else MINTED
        if slot.lane is None and is_local and not message.client_id:
            # Who could ask again would die with this node; but another home may have it already.
            asked = sender and self.requests.asked_elsewhere(message.request)
            remember = MINTED if asked else NOT
        staged = self._put(topic, entry, cursor, remember, now, out)
        if staged is None:
            return self.appended(message, topic, cursor)
        staged.sender, staged.message = sender, message
        return None

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
        entry = Entry(
            cursor.epoch,
            cursor.offset,
            forwarded.message_id,
            forwarded.payload,
            forwarded.at,
            hops,
            source,
        )
        self._put(topic, entry, cursor, NOT, now, out)
        return True

    def _has_room(self, topic: Topic, size: int) -> bool:
        """Whether the node, and what is forwarded of the topic, allow for another entry."""
        core = self._core
        if self._lanes.staged_bytes > core.limits.staged_bytes:
            return False
        if self.patterns.known and not self.forwarding.may_append(topic, size):
            return False
        if core.crowded():
            if not self.forwarding.holds(topic):
                self.shrink(topic.log)
            return core.budget.used <= core.limits.total_log_bytes
        return True

    def _put(
        self,
        topic: Topic,
        entry: Entry,
        cursor: Cursor,
        remember: int,
        now: float,
        out: list[Effect],
    ) -> StagedEntry | None:
        """Send the entry to the other holders; None: there are none, it is committed."""
        slot = topic.slot
        topic.assigned = entry.offset
        if self.patterns.known and entry.source is None:
            self.forwarding.expect(topic, entry.offset, now)
        if remember:
            self.ids.remember(slot, remember, topic.name, (entry.message_id, cursor), now)
        lane = slot.lane if not topic.copies else self._lane_of(topic)
        seq = 0
        if not topic.copies:
            seq = slot.seq = slot.seq + 1
        if lane is None:
            topic.log.append(entry)
            topic.last = cursor
            self._deliver(topic, (entry,), now, out)
            return None
        op = EntryPut(slot.number, seq, topic.name, entry, remember)
        staged = StagedEntry(self, topic, entry, cursor, op)
        if topic.staged is None:
            topic.staged = {}
        topic.staged[entry.offset] = staged
        self._lanes.stage(lane, staged, now)
        return staged

    def appended(self, message: Append, topic: Topic, cursor: Cursor) -> Appended:
        """What a publisher is told of a committed entry."""
        record = topic.record
        connected = record is not None and record.edge in self._core.members
        return Appended(message.request, cursor, connected, topic.name)

    def refuse(self, sender: NodeId, message: Append, now: float, out: list[Effect]) -> None:
        """The reign has ended before the entry was committed: somebody else may do it."""
        if sender:
            failed = Failed(message.request, Code.UNAVAILABLE)
            self.requests.respond(sender, failed, now, out)
        elif not self.requests.submit(message.request, message.topic, message, now, out):
            out.append(Answer(message.request, Failed(message.request, Code.OVERLOADED)))

    def committed(self, staged: StagedEntry) -> None:
        """All holders have the entry: readers may see it, after this turn's commits."""
        topic, entry = staged.topic, staged.entry
        if topic.staged is not None:
            topic.staged.pop(entry.offset, None)
            if not topic.staged:
                topic.staged = None
        if self._core.topics.get(topic.name) is not topic:
            return  # its session is over
        topic.log.append(entry)
        topic.last = staged.cursor
        run = self._fresh.get(topic)
        if run is None:
            self._fresh[topic] = [entry]
        else:
            run.append(entry)

    def after_commits(self, now: float, out: list[Effect]) -> None:
        """Deliver what has just been committed."""
        fresh, self._fresh = self._fresh, {}
        for topic, entries in fresh.items():
            if self._core.topics.get(topic.name) is topic:
                self._deliver(topic, tuple(entries), now, out)

    def _deliver(
        self, topic: Topic, entries: tuple[Entry, ...], now: float, out: list[Effect]
    ) -> None:
        if topic.record is not None:
            self.inboxes.deliver(topic, topic.record, entries, out)
        elif topic.feed is not None:
            topic.feed.last = topic.last
            self.flow.spread(topic.feed, entries, 0, now, out)
        if is_pattern(topic.name):
            self.receiving.committed(topic, entries, now, out)
        elif self.patterns.known:
            for entry in entries:
                self.forwarding.committed(topic, entry, now, out)

    def shrink(self, log: Log) -> None:
        """Memory is short: this log gives up most of what it holds."""
        before = len(log)
        self._core.shrink(log)
        self.trimmed += before - len(log)

    def mark(self, topic: Topic, name: str, cursor: Cursor, now: float) -> None:
        """Note, in the replicated state, how far `name` has got in a topic.

        A cursor with offset -1 forgets it. Nobody waits for this: after a takeover it
        may be a little behind.
        """
        slot = topic.slot
        put_mark(topic, name, cursor)
        if slot.lane is not None:
            slot.seq += 1
            op = MarkPut(slot.number, slot.epoch, slot.seq, topic.name, name, cursor)
            self._lanes.stage(slot.lane, Staged(slot, op), now)

    # -- topics ---------------------------------------------------------------

    def open_topic(self, name: str, slot: Slot, now: float) -> Topic | None:
        """The topic, begun if it is new; None if there are too many."""
        core = self._core
        topic = core.topics.get(name)
        if topic is not None:
            return topic
        if len(core.topics) >= core.limits.topics and not self._forget_one(now):
            return None
        record = slot.record(name)
        last = slot.origin
        if record is not None and record.inbox.epoch >= slot.lineage:
            last = record.inbox  # an inbox goes on from where its log was dropped
        topic = Topic(name, slot, core.new_log(last.offset), last, record)
        core.topics[name] = topic
        slot.put_topic(topic)
        self.limit_copies(topic, now)
        return topic

    def limit_copies(self, topic: Topic, now: float) -> None:
        """A channel that prefers speed: its slot's other holders are told that they lack it."""
        slot = topic.slot
        copies = 0 if topic.record is not None else self._copies_of(topic.name)
        topic.copies = copies if 0 < copies < len(slot.holders) else 0
        if topic.copies and slot.lane is not None:
            slot.seq += 1
            op = TopicLimit(slot.number, slot.epoch, slot.seq, topic.name, topic.copies, topic.last)
            self._lanes.stage(slot.lane, Staged(slot, op), now)

    def _lane_of(self, topic: Topic) -> Lane | None:
        return self._lanes.to(topic.slot.holders[: topic.copies])

    def close_topic(self, topic: Topic) -> None:
        """Drop a topic; who needs its last position again must have kept it."""
        topic.slot.drop_topic(topic.name)
        self._core.topics.pop(topic.name, None)

    def drop_if_untouched(self, topic: Topic) -> None:
        """A channel that was only listened to leaves nothing behind."""
        if topic.feed is None and topic.assigned <= topic.slot.floor and not len(topic.log):
            self.close_topic(topic)

    def _forget_one(self, now: float) -> bool:
        """Make room: forget a channel that nobody reads. Its slot remembers how far offsets went.

        A later topic of the slot begins above that floor, so that no position
        ever names two messages.
        """
        topics = self._core.topics
        for name in list(islice(topics, _EVICTION_LOOK)):
            topic = topics.pop(name)
            topics[name] = topic  # looked at last when there is a next time
            is_idle = topic.feed is None and topic.record is None and topic.staged is None
            if is_idle and not self.forwarding.holds(topic):
                slot = topic.slot
                slot.raise_floor(topic.assigned)
                self.trimmed += len(topic.log)
                self.close_topic(topic)
                if slot.lane is not None:
                    slot.seq += 1
                    op = TopicDrop(slot.number, slot.epoch, slot.seq, name, slot.floor)
                    self._lanes.stage(slot.lane, Staged(slot, op), now)
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
            cursor = resume(topic.log, topic.last, topic.lineage, message.cursor)
            entries: list[Entry] = []
            size = 0
            for entry in topic.log.after(cursor.offset, self._core.limits.log_entries):
                size += len(entry.payload)
                if entries and size > self._core.limits.batch_bytes:
                    break
                entries.append(entry)
            lineage = topic.lineage
            answer = Fetched(message.request, message.topic, cursor, lineage, tuple(entries))
        self.requests.respond(sender, answer, now, out)
