"""Inboxes at the session's home: a topic with one reader, the session's edge.

Entries go straight to the edge. The log is dropped once the edge has consumed
everything, and the record keeps the position from which offsets go on, so that
an idle session costs its record and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.effects import Send
from pubsub.core import batches
from pubsub.effects import Deliver, Reset
from pubsub.feed import Feed, resume
from pubsub.messages import Entries, Entry, Join, Joined
from pubsub.slot import Topic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.homes import Homes
    from pubsub.records import SessionRecord
    from pubsub.registry import Registry
    from pubsub.slot import Slot


class Inboxes:
    """The inboxes in this node's open slots."""

    def __init__(self, core: Core, homes: Homes, registry: Registry) -> None:
        self._core = core
        self._homes = homes
        self._registry = registry

    def deliver(
        self,
        topic: Topic,
        record: SessionRecord,
        entries: tuple[Entry, ...],
        out: list[Effect],
    ) -> None:
        """Committed entries, straight to the session's edge."""
        core = self._core
        if record.edge == core.me:
            feed = topic.feed or self._attach(topic, record, out)
            feed.last = topic.last
            out.append(Deliver(feed, 0))
        elif record.edge in core.members:
            out.append(Send(record.edge, Entries(topic.name, 1, entries)))

    def _attach(self, topic: Topic, record: SessionRecord, out: list[Effect]) -> Feed:
        """The node is the edge too: its feed of the inbox shares the log."""
        feed = self._core.inboxes.get(topic.name)
        if feed is None:
            feed = Feed(topic.name, topic.log)
            self._core.inboxes[topic.name] = feed
            feed.origin = record.inbox
        elif feed.log is not topic.log:
            feed.log.clear(feed.log.last)
            feed.log = topic.log
        feed.joined = feed.readers = True
        feed.lineage = topic.lineage
        feed.last = topic.last
        topic.feed = feed
        self._tell_gap(feed, topic, record, out)
        return feed

    @staticmethod
    def _tell_gap(feed: Feed, topic: Topic, record: SessionRecord, out: list[Effect]) -> None:
        start = resume(topic.log, topic.last, topic.lineage, record.inbox)
        if start is not record.inbox:
            feed.origin = start
            out.append(Reset(feed))

    def push(self, topic: Topic, record: SessionRecord, out: list[Effect]) -> None:
        """Send the edge everything that it has not consumed (again: it trims).

        A gap is told to every edge until one has consumed something after it:
        the one that was told may have died before it told the client.
        """
        core = self._core
        if record.edge != core.me and record.edge in core.members:
            start = resume(topic.log, topic.last, topic.lineage, record.inbox)
            if start is not record.inbox:
                joined = Joined(topic.name, start, True, topic.lineage)
                out.append(Send(record.edge, joined))
            entries = topic.log.after(start.offset, len(topic.log))
            for batch in batches(entries, core.limits.batch_bytes):
                self.deliver(topic, record, batch, out)
        elif record.edge == core.me and record.inbox < topic.last:
            if topic.feed is not None:
                self._tell_gap(topic.feed, topic, record, out)
            self.deliver(topic, record, (), out)

    def receive_join(
        self, sender: NodeId, message: Join, slot: Slot, now: float, out: list[Effect]
    ) -> None:
        """The edge has missed entries of an inbox: send all that it has not consumed."""
        del now
        record = slot.record(message.topic)
        topic = self._core.topics.get(message.topic)
        if record is None or topic is None or record.edge != sender:
            return
        if message.cursor is not None and message.cursor < record.inbox:
            # What lies between has been consumed, and is here no more.
            out.append(Send(sender, Joined(topic.name, record.inbox, True, topic.lineage)))
        self.push(topic, record, out)

    def begin(self, slot: Slot, record: SessionRecord, out: list[Effect]) -> None:
        """A record that has come late: where its inbox may be lost, its edges are told of that."""
        topic = self.make_lost(slot, record)
        if topic is not None:
            self._core.topics[topic.name] = topic
            self.push(topic, record, out)

    def make_lost(self, slot: Slot, record: SessionRecord) -> Topic | None:
        """The topic of an inbox of which something unread may be lost; None if nothing is.

        It has nothing but its place, which comes after a gap, and stays until an
        edge has consumed something.
        """
        if slot.lineage <= record.inbox.epoch or slot.topic(record.address) is not None:
            return None
        topic = Topic(record.address, slot, self._core.new_log(slot.floor), slot.origin, record)
        slot.put_topic(topic)
        return topic

    def drop(self, topic: Topic) -> None:
        """Everything in it was consumed, or the session is over."""
        if topic.feed is not None and self._core.inboxes.get(topic.name) is topic.feed:
            del self._core.inboxes[topic.name]
        self._homes.close_topic(topic)

    def slots_opened(self, topics: Iterable[Topic], out: list[Effect]) -> None:
        """Inboxes that came with a hand-off: what the old home sent last may be lost."""
        for topic in topics:
            if topic.record is None or self._core.topics.get(topic.name) is not topic:
                continue
            if topic.record.inbox >= topic.last:
                self.drop(topic)
            else:
                self.push(topic, topic.record, out)

    def link_opened(self, node: NodeId, out: list[Effect]) -> None:
        """What was under way on the old link may be lost."""
        for address in self._registry.held_by(node):
            topic = self._core.topics.get(address)
            if topic is not None and topic.record is not None:
                self.push(topic, topic.record, out)
