"""A node as edge: the sessions that it holds, and their inboxes.

Where this node is the session's home too, the home's record is the only one.
For sessions that live elsewhere the edge keeps a copy, from which a new home
that began without the old one's state gets the record back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.effects import Send
from dht.ids import slot_of
from pubsub.arrivals import Arrivals
from pubsub.effects import Deliver, ReleaseSession, Reset, SessionLost
from pubsub.feed import Feed
from pubsub.flow import following
from pubsub.messages import (
    Consumed,
    Cursor,
    Entries,
    Join,
    Joined,
    Release,
    Released,
    SessionClose,
    SessionDone,
    SessionMoved,
    SessionPut,
    Vacated,
)
from pubsub.records import Cursors, SessionRecord

if TYPE_CHECKING:
    from collections.abc import Collection

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.messages import Record
    from pubsub.registry import Registry
    from pubsub.requests import Requests
    from pubsub.slot import Slot, Topic
    from pubsub.slot_messages import Reregister


class Edge:
    """The sessions that this node is the edge of."""

    def __init__(self, core: Core, requests: Requests, registry: Registry) -> None:
        self._core = core
        self._requests = requests
        self._registry = registry
        self._held: dict[int, dict[str, SessionRecord]] = {}  # by slot, where I am not home
        self.arrivals = Arrivals()
        self.putting: dict[str, int] = {}  # sessions that are being registered again
        self.gap_repairs = 0
        self.gaps_reported = 0

    def __len__(self) -> int:
        """Copies of records of sessions that live elsewhere."""
        return sum(len(records) for records in self._held.values())

    def find(self, address: str) -> SessionRecord | None:
        """The record of a session that this node holds."""
        number = slot_of(address)
        slot = self._core.slots.get(number)
        if slot is None:
            return self._held.get(number, {}).get(address)
        record = slot.record(address)
        return record if record is not None and record.edge == self._core.me else None

    # -- what the node does ---------------------------------------------------------

    def adopt(
        self,
        sender: NodeId | None,
        committed: Record,
        now: float,
        out: list[Effect],
        *,
        is_new: bool,
    ) -> None:
        """A home has committed a record that names this node.

        Unless the session is new here, it may have been let go meanwhile. If it is, and
        `sender` is home no more, the session may have moved on since: its home is asked.
        """
        number = slot_of(committed.address)
        if number in self._core.slots or committed.edge != self._core.me:
            return
        record = SessionRecord.from_wire(committed, self._core.sharer)
        held = self.find(record.address)
        if held is None and not is_new:
            return
        if held is not None and held.generation == record.generation:
            record.inbox = max(record.inbox, held.inbox)
            record.advance(held.cursors, self._core.sharer)
            if is_new and self._owes_gap(record):
                self._drop_inbox(record.address)  # the gap was told when there was no client
        else:
            self._drop_inbox(record.address)  # what an earlier generation had unread here
        self._held.setdefault(number, {})[record.address] = record
        if is_new and sender != self._core.home_of(record.address):
            self._put(record, now, out)

    def unclaimed(self, sender: NodeId, done: SessionDone, now: float, out: list[Effect]) -> None:
        """A home's answer to a request that was given up: nobody here holds that session."""
        address, generation = done.record.address, done.record.generation
        if address in self.arrivals:
            return  # another request for it is under way, and will be answered too
        held = self.find(address)
        if sender == self._core.me:
            slot = self._core.slots.get(slot_of(address))
            if slot is not None:
                vacated = Vacated(address, generation)
                self._registry.receive_vacated(sender, vacated, slot, now, out)
        elif held is None or held.generation < generation:
            if held is not None and slot_of(address) not in self._core.slots:
                # Of a generation that is over: its writes are refused.
                self.lost(address, held.generation, out)
            out.append(Send(sender, Vacated(address, generation)))

    def close(self, address: str, generation: int, now: float, out: list[Effect]) -> None:
        """The session is over; its home is told until it confirms."""
        self.drop(address)
        number = self._requests.internal()
        message = SessionClose(address, generation, number)
        seconds = self._core.limits.close_seconds
        self._requests.submit(number, address, message, now, out, seconds)

    def consumed(
        self, address: str, generation: int, cursors: Cursors, now: float, out: list[Effect]
    ) -> None:
        """The client has been served up to these cursors."""
        core = self._core
        record = self.find(address)
        if record is None or record.generation != generation:
            return
        if slot_of(address) in core.slots:
            self._registry.consume(record, cursors, now)
            return
        self._advance(record, cursors)
        home = core.home_of(address)
        if home is not None and home != core.me:
            out.append(Send(home, Consumed(address, generation, cursors)))

    def _advance(self, record: SessionRecord, cursors: Cursors) -> None:
        record.advance(cursors, self._core.sharer)
        feed = self._core.inboxes.get(record.address)
        for name, cursor in cursors:
            if name == record.address and cursor > record.inbox:
                record.inbox = cursor
                if feed is not None and cursor >= feed.origin:  # (not of what a gap has ended)
                    feed.log.trim_to(cursor.offset)
        if feed is not None and record.inbox >= feed.last:
            self._drop_inbox(record.address)

    def released(
        self, address: str, generation: int, cursors: Cursors, now: float, out: list[Effect]
    ) -> None:
        """The node has let go: the home is told."""
        record = self.find(address)
        if record is not None and record.generation <= generation:
            self.drop(address)
        message = Released(address, generation, cursors)
        home = self._core.home_of(address)
        if home == self._core.me:
            self._requests.serve(home, message, now, out)
        elif home is not None:
            out.append(Send(home, message))

    def drop(self, address: str) -> None:
        """Forget the edge's copy, and what was unread of the inbox."""
        number = slot_of(address)
        records = self._held.get(number)
        if records is not None and records.pop(address, None) is not None:
            self._drop_inbox(address)
            if not records:
                del self._held[number]

    def _owes_gap(self, record: SessionRecord) -> bool:
        """Whether its home has told of a gap, and nothing after that was consumed."""
        feed = self._core.inboxes.get(record.address)
        return feed is not None and record.inbox < feed.origin

    def _drop_inbox(self, address: str) -> None:
        feed = self._core.inboxes.pop(address, None)
        if feed is not None:
            feed.log.clear(feed.log.last)

    def lost(self, address: str, generation: int, out: list[Effect]) -> None:
        """The home refused a write of this generation: another edge has the session."""
        record = self.find(address)
        if slot_of(address) not in self._core.slots:
            if record is None or record.generation > generation:
                return
            self.drop(address)
        elif record is not None and record.generation > generation:
            return
        out.append(SessionLost(address))

    # -- what homes say ---------------------------------------------------------------

    def receive_release(
        self, sender: NodeId, message: Release, now: float, out: list[Effect]
    ) -> None:
        """The session moves: the node is asked to let go; if it is not here, that is said.

        Not while an attach is under way: its answer may be of that very generation.
        """
        del now
        record = self.find(message.address)
        if record is not None and record.generation <= message.generation:
            out.append(ReleaseSession(message.address, message.generation))
        elif message.address not in self.arrivals:
            out.append(Send(sender, Released(message.address, message.generation, ())))

    def receive_moved(
        self, sender: NodeId, message: SessionMoved, now: float, out: list[Effect]
    ) -> None:
        del now
        self.lost(message.address, message.generation, out)
        out.append(Send(sender, Released(message.address, message.generation, ())))

    def receive_entries(
        self, sender: NodeId, message: Entries, now: float, out: list[Effect]
    ) -> None:
        """Inbox entries from the home."""
        del now
        record = self._claimed(sender, message.topic, out)
        if record is None or not message.entries:
            return
        feed = self._core.inboxes.get(message.topic)
        last = record.inbox if feed is None else feed.last
        entries = following(last, message.entries)
        if entries is None:
            self.gap_repairs += 1
            out.append(Send(sender, Join(message.topic, last)))
        elif entries:
            feed = feed or self._open_inbox(record.address, record.inbox)
            for entry in entries:
                feed.log.append(entry)
            feed.last = Cursor(entries[-1].epoch, entries[-1].offset)
            feed.depth = message.depth
            out.append(Deliver(feed, message.depth))
        elif feed is None:
            # All of it was consumed before; the home has missed that.
            consumed = ((message.topic, record.inbox),)
            out.append(Send(sender, Consumed(message.topic, record.generation, consumed)))

    def receive_joined(
        self, sender: NodeId, message: Joined, now: float, out: list[Effect]
    ) -> None:
        """The home tells of a gap in the inbox: entries go on after its cursor.

        The record stays where it was: what its client was not told of is not consumed,
        and a home that gets this record has to tell the next edge.
        """
        del now
        record = self._claimed(sender, message.topic, out)
        if record is None or message.cursor <= record.inbox:
            return
        feed = self._core.inboxes.get(message.topic)
        if (
            feed is not None
            and message.lineage <= feed.last.epoch
            and (message.cursor.offset <= feed.last.offset)
        ):
            return  # everything up to there has come
        self._drop_inbox(message.topic)
        feed = self._open_inbox(record.address, message.cursor)
        self.gaps_reported += 1
        out.append(Reset(feed))

    def _claimed(self, sender: NodeId, address: str, out: list[Effect]) -> SessionRecord | None:
        """The record, if this node holds the session; else the home is told that it does not.

        A home of before is told nothing if this node is home and edge now: it would find an
        answer when it is home again, and take it for one to that reign.
        While an attach is under way its answer may have been lost: it will come
        again, and then what is unread. The node knows nothing of the session before,
        even where a record is here because its home was.
        """
        if address in self.arrivals:
            return None
        record = self.find(address)
        if record is not None and slot_of(address) not in self._core.slots:
            return record
        if record is None:
            out.append(Send(sender, Vacated(address, 0)))
        return None

    def _open_inbox(self, address: str, start: Cursor) -> Feed:
        feed = Feed(address, self._core.new_log(start.offset))
        feed.last = feed.origin = start
        feed.lineage = start.epoch
        feed.joined = feed.readers = True
        self._core.inboxes[address] = feed
        return feed

    # -- slots and views ------------------------------------------------------------------

    def slots_parted(self, slots: Collection[Slot], topics: Collection[Topic]) -> None:
        """Somebody else is home to these now: what they held of my sessions I hold myself.

        These are copies: who served a slot goes on holding it as a replica.
        """
        for slot in slots:
            mine = {
                address: record.copy()
                for address, record in (slot.records or {}).items()
                if record.edge == self._core.me
            }
            if mine:
                self._held[slot.number] = mine
        for topic in topics:
            if topic.record is not None and topic.feed is not None:
                topic.feed.log = topic.log.copy()
                topic.feed = None

    def slots_opened(self, slots: Collection[Slot], now: float, out: list[Effect]) -> None:
        """I am home to these now: my copies are merged into the records, or become them."""
        for slot in slots:
            for copy in self._held.pop(slot.number, {}).values():
                record = self._registry.put(copy, slot, now, out)
                if record is None:
                    self._drop_inbox(copy.address)
                    out.append(SessionLost(copy.address))
                elif record is copy:
                    self._registry.commit(slot, record, None, now, out)

    def receive_reregister(
        self, sender: NodeId, message: Reregister, now: float, out: list[Effect]
    ) -> None:
        """A home has begun without its records: it gets those of the sessions held here.

        If the view that names it is not here yet, what is sent finds it later.
        """
        del sender
        for number in message.slots:
            for record in self._held.get(number, {}).values():
                self._put(record, now, out)

    def install_view(self, now: float, out: list[Effect]) -> None:
        """Where others had struck this process off, sessions may have moved: homes are asked."""
        if not self._core.renewed:
            return
        for records in list(self._held.values()):
            for record in list(records.values()):
                self._put(record, now, out)

    def change_ring(self, out: list[Effect]) -> None:
        """The sessions stay behind in the old ring."""
        for records in list(self._held.values()):
            for address in list(records):
                self.drop(address)
                out.append(SessionLost(address))

    def _put(self, record: SessionRecord, now: float, out: list[Effect]) -> None:
        if record.address in self.putting:
            return  # it goes to the new home by itself
        number = self.putting[record.address] = self._requests.internal()
        put = SessionPut(record.to_wire(), number)
        if not self._requests.submit(number, record.address, put, now, out):
            self.putting.pop(record.address, None)
