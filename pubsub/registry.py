"""Session records at their home.

A record names the session's edge and a generation; a write that carries an
older generation, or comes from another node, is refused. A record whose edge
has gone waits a while for a new one.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dht.effects import Send
from dht.ids import slot_of
from pubsub.effects import SessionLost
from pubsub.errors import Code
from pubsub.messages import (
    Consumed,
    Cursor,
    Failed,
    SessionClose,
    SessionClosed,
    SessionDone,
    SessionMoved,
    SessionOpen,
    SessionPut,
    SessionUpdate,
    Vacated,
)
from pubsub.progress import Progress
from pubsub.records import SessionRecord
from pubsub.slot_messages import RecordDrop, RecordPut
from pubsub.staging import StagedAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.inboxes import Inboxes
    from pubsub.lanes import Lane, Lanes
    from pubsub.requests import Requests
    from pubsub.slot import Slot
    from pubsub.staging import Then


class Registry:
    """The session records in this node's open slots."""

    def __init__(self, core: Core, requests: Requests, lanes: Lanes) -> None:
        self._core = core
        self._requests = requests
        self._lanes = lanes
        self.inboxes: Inboxes
        # Dicts for sets, because their order is the same in every run.
        self._away: dict[NodeId, dict[str, None]] = {}  # sessions whose edge is another node
        self._gone: dict[NodeId, None] = {}  # edges that are not in the view
        self._orphans: dict[str, float] = {}  # without an edge, until then; oldest first
        self.progress = Progress(core, lanes)
        self.records = 0

    # -- requests of edges ----------------------------------------------------------

    def receive_open(
        self, sender: NodeId, message: SessionOpen, slot: Slot, now: float, out: list[Effect]
    ) -> None:
        """A new session. A retry finds its record there already."""
        record = slot.record(message.address)
        if record is None:
            if self.records >= self._core.limits.records:
                failed = Failed(message.request, Code.OVERLOADED)
                self._requests.respond(sender, failed, now, out)
                return
            record = SessionRecord(message.address, sender, 1, slot.origin, message.extra)
            self.add(slot, record, now)
        if record.edge == sender and record.generation == 1:
            self.commit(slot, record, (sender, message.request), now, out)
        else:
            failed = Failed(message.request, Code.MOVED)
            self._requests.respond(sender, failed, now, out)

    def receive_update(
        self, sender: NodeId, message: SessionUpdate, slot: Slot, now: float, out: list[Effect]
    ) -> None:
        """Subscriptions come and go; answered once the record has them."""
        record = slot.record(message.address)
        if record is None:
            code = self.unknown(slot, now)
        elif not self.writes(sender, message.generation, record):
            code = Code.MOVED
        elif len(record.cursors) + len(message.subscribe) > self._core.limits.subscriptions:
            code = Code.OVERLOADED
        else:
            record.subscribe(message.subscribe, message.unsubscribe, self._core.sharer)
            self.commit(slot, record, (sender, message.request), now, out)
            return
        self._requests.respond(sender, Failed(message.request, code), now, out)

    def receive_close(
        self, sender: NodeId, message: SessionClose, slot: Slot, now: float, out: list[Effect]
    ) -> None:
        """The session is over, unless a newer edge has it."""
        record = slot.record(message.address)
        closed = SessionClosed(message.request)
        if record is not None and record.generation <= message.generation:
            self.close(slot, record, (sender, closed), now, out)
        elif slot.lane is not None and record is None:
            # It may be closed here and not yet elsewhere: the answer comes after that.
            self._stage_close(slot, slot.lane, message.address, (sender, closed), now)
        else:
            self._requests.respond(sender, closed, now, out)

    def receive_consumed(
        self, sender: NodeId, message: Consumed, slot: Slot, now: float, out: list[Effect]
    ) -> None:
        """The edge has served its client up to these cursors."""
        record = slot.record(message.address)
        if record is None:
            return
        if self.writes(sender, message.generation, record):
            self.consume(record, message.cursors, now)
        elif sender != self._core.me:
            out.append(Send(sender, SessionMoved(message.address, message.generation)))

    def receive_put(
        self, sender: NodeId, message: SessionPut, slot: Slot, now: float, out: list[Effect]
    ) -> None:
        """An edge's own copy, after this home began without the old one's state."""
        copy = SessionRecord.from_wire(message.record, self._core.sharer)
        record = self.put(copy, slot, now, out)
        if record is None:
            failed = Failed(message.request, Code.MOVED)
            self._requests.respond(sender, failed, now, out)
        else:
            self.commit(slot, record, (sender, message.request), now, out)

    def put(
        self, copy: SessionRecord, slot: Slot, now: float, out: list[Effect]
    ) -> SessionRecord | None:
        """Merge an edge's copy into its record; None if another edge has the session.

        Nor has this one if the session is over: what this lineage has had, the
        home would have still.
        """
        record = slot.record(copy.address)
        if record is None:
            if copy.inbox.epoch >= slot.lineage:
                return None
            self.add(slot, copy, now)
            self.inboxes.begin(slot, copy, out)
            return copy
        if record.generation < copy.generation:
            if record.edge == self._core.me:
                out.append(SessionLost(record.address))
            elif record.edge and record.edge != copy.edge:  # it was sooner with its copy
                out.append(Send(record.edge, SessionMoved(record.address, record.generation)))
            self.rename_edge(record, copy.edge)
            record.generation = copy.generation
        elif record.generation > copy.generation or record.edge != copy.edge:
            return None
        self.consume(record, ((copy.address, copy.inbox), *copy.cursors), now)
        return record

    def receive_vacated(
        self, sender: NodeId, message: Vacated, slot: Slot, now: float, out: list[Effect]
    ) -> None:
        """The edge that the record names does not hold the session: it waits for another."""
        record = slot.record(message.address)
        if record is not None and record.edge == sender:
            self.vacate(slot, record, now, out)

    # -- records ----------------------------------------------------------------------

    def unknown(self, slot: Slot, now: float) -> str:
        """What to say of a session that has no record here."""
        return Code.UNAVAILABLE if now < slot.settled_at else Code.UNKNOWN_SESSION

    def writes(self, sender: NodeId, generation: int, record: SessionRecord) -> bool:
        """Whether `sender` may write to the record: it is the edge, of this generation."""
        return record.generation == generation and record.edge == sender

    def add(self, slot: Slot, record: SessionRecord, now: float) -> None:
        """Put a record into its slot."""
        slot.put_record(record)
        self.index(record, now)

    def commit(
        self,
        slot: Slot,
        record: SessionRecord,
        asked: tuple[NodeId, int] | None,
        now: float,
        out: list[Effect],
        then: Then | None = None,
    ) -> None:
        """Replicate a record as it is now; then tell who asked (and by which request)."""
        slot.seq += 1
        wire = record.to_wire()
        self.progress.forget(record.address)
        answer = None if asked is None else (asked[0], SessionDone(asked[1], wire))
        if slot.lane is None:
            if answer is not None:
                self._requests.respond(*answer, now, out)
            if then is not None:
                then(now, out)
            return
        op = RecordPut(slot.number, slot.epoch, slot.seq, wire)
        self._lanes.stage(slot.lane, StagedAnswer(slot, op, self._requests, answer, then), now)

    def index(self, record: SessionRecord, now: float) -> None:
        """A record that is in its slot: find it again by its edge."""
        self.records += 1
        if record.edge != self._core.me:
            self._away.setdefault(record.edge, {})[record.address] = None
            if record.edge not in self._core.members:
                self._gone[record.edge] = None
                self._orphan(record.address, now)

    def close(
        self,
        slot: Slot,
        record: SessionRecord,
        answer: tuple[NodeId, SessionClosed] | None,
        now: float,
        out: list[Effect],
    ) -> None:
        """The record goes, and its inbox."""
        slot.drop_record(record.address)
        self.forget((record,))
        topic = self._core.topics.get(record.address)
        if topic is not None:
            self.inboxes.drop(topic)
        if slot.lane is not None:
            self._stage_close(slot, slot.lane, record.address, answer, now)
        elif answer is not None:
            self._requests.respond(*answer, now, out)

    def _stage_close(
        self,
        slot: Slot,
        lane: Lane,
        address: str,
        answer: tuple[NodeId, SessionClosed] | None,
        now: float,
    ) -> None:
        slot.seq += 1
        op = RecordDrop(slot.number, slot.epoch, slot.seq, address)
        self._lanes.stage(lane, StagedAnswer(slot, op, self._requests, answer), now)

    def forget(self, records: Iterable[SessionRecord]) -> None:
        """These records leave this home: no index is to name them."""
        for record in records:
            self.records -= 1
            self._discard_away(record)
            self._orphans.pop(record.address, None)

    def _discard_away(self, record: SessionRecord) -> None:
        names = self._away.get(record.edge)
        if names is not None:
            names.pop(record.address, None)
            if not names:
                del self._away[record.edge]

    def rename_edge(self, record: SessionRecord, edge: NodeId) -> None:
        """The record names another edge from now on (b"" for none)."""
        self._discard_away(record)
        self._core.inboxes.pop(record.address, None)
        topic = self._core.topics.get(record.address)
        if topic is not None:
            topic.feed = None
        record.edge = edge
        record.settle_with(edge)
        self._orphans.pop(record.address, None)
        if edge != self._core.me:
            self._away.setdefault(edge, {})[record.address] = None
            if edge and edge not in self._core.members:
                self._gone[edge] = None  # (not let in again yet: it gets what is unread then)

    def vacate(self, slot: Slot, record: SessionRecord, now: float, out: list[Effect]) -> None:
        """Nobody holds the session: it waits for an edge, for a while."""
        self.rename_edge(record, b"")
        self._orphan(record.address, now)
        self.commit(slot, record, None, now, out)

    def consume(
        self, record: SessionRecord, cursors: tuple[tuple[str, Cursor], ...], now: float
    ) -> None:
        """Move the record's cursors forward; a log that nobody needs any more goes.

        The replicas hear of it a little later.
        """
        self.progress.note(record.address, now)
        for name, cursor in cursors:
            if name != record.address:
                continue
            topic = self._core.topics.get(name)
            if topic is not None and record.inbox < cursor:
                record.inbox = min(cursor, topic.last)
                topic.log.trim_to(record.inbox.offset)
                if topic.feed is not None:  # (it stays, if an entry is on its way to the copies)
                    topic.feed.origin = record.inbox
                if record.inbox == topic.last and topic.assigned == topic.last.offset:
                    self.inboxes.drop(topic)
        record.advance(cursors, self._core.sharer)

    # -- views, links, time ---------------------------------------------------------------

    def install_view(self, now: float, out: list[Effect]) -> None:
        """Sessions whose edge has gone wait for a new one, or for its return, for a while."""
        for edge, names in self._away.items():
            if edge not in self._core.members:
                self._gone[edge] = None
                for address in names:
                    self._orphan(address, now)
        for edge in [edge for edge in self._gone if edge in self._core.members]:
            del self._gone[edge]
            for address in self.held_by(edge):
                self._orphans.pop(address, None)  # the next time counts from its beginning
            self.inboxes.link_opened(edge, out)  # it got nothing while it was away
        self._gone = {edge: None for edge in self._gone if edge in self._away}

    def held_by(self, node: NodeId) -> Iterable[str]:
        """Addresses of the sessions here whose edge is `node` (another node)."""
        return self._away.get(node, ())

    def _orphan(self, address: str, now: float) -> None:
        self._orphans.setdefault(address, now + self._core.limits.orphan_seconds)

    def next_deadline(self) -> float:
        return min(next(iter(self._orphans.values()), inf), self.progress.next_deadline)

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        """Replicas learn of cursors; sessions that nobody came back for are over."""
        if now >= self.progress.next_deadline:
            self.progress.tell(now)
        while self._orphans:
            address, until = next(iter(self._orphans.items()))
            if until > now:
                return
            del self._orphans[address]
            slot = self._core.slots.get(slot_of(address))
            record = None if slot is None else slot.record(address)
            if slot is not None and record is not None and record.edge not in self._core.members:
                self.close(slot, record, None, now, out)
