"""A node as replica: what homes send is done to the copies here, and acknowledged.

A change is refused where the copy is fenced: sealed for a later reign, or held
for a home that this node's own view does not name any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dht.effects import Send
from pubsub.messages import Cursor
from pubsub.records import SessionRecord
from pubsub.slot import Topic, is_inbox
from pubsub.slot_messages import (
    CursorsPut,
    EntryPut,
    LaneBroken,
    MarkPut,
    RecordDrop,
    RecordPut,
    Replicated,
    TopicDrop,
    TopicLimit,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.homes import Homes
    from pubsub.slot import Slot
    from pubsub.slot_messages import Operation, Replicate

_LANES = 64  # of one home that are remembered


class Replicas:
    """The copies that this node holds for other homes."""

    def __init__(self, core: Core, homes: Homes) -> None:
        self._core = core
        self._homes = homes
        self._lanes: dict[NodeId, dict[int, int]] = {}  # home -> lane -> last batch
        self._acks: dict[tuple[NodeId, int], dict[tuple[int, int], None]] = {}
        self._do: dict[type, Callable[[Slot, Any, float], None]] = {
            EntryPut: self._put_entry,
            RecordPut: self._put_record,
            RecordDrop: self._drop_record,
            CursorsPut: self._put_cursors,
            TopicDrop: self._drop_topic,
            MarkPut: self._put_mark,
            TopicLimit: self._limit_topic,
        }

    @property
    def unflushed(self) -> bool:
        """Whether there is something to say at the end of the turn."""
        return bool(self._acks)

    def receive_replicate(
        self, sender: NodeId, message: Replicate, now: float, out: list[Effect]
    ) -> None:
        """A batch from a home."""
        lanes = self._lanes.setdefault(sender, {})
        number = lanes.get(message.lane, 0) + 1
        if message.number != number:
            if message.number > number:
                out.append(Send(sender, LaneBroken(message.lane)))
            return
        lanes[message.lane] = number
        if len(lanes) > _LANES:
            del lanes[min(lanes)]
        refused = self._acks.setdefault((sender, message.lane), {})
        copies = self._core.copies
        for op in message.ops:
            slot = copies.get(op.slot)
            epoch = op.entry.epoch if type(op) is EntryPut else op.epoch  # type: ignore[union-attr]
            if slot is None or not self._takes(slot, epoch, op):
                refused[op.slot, epoch] = None
            elif op.seq > slot.seq or not op.seq:
                slot.seq = op.seq or slot.seq
                self._do[type(op)](slot, op, now)

    @staticmethod
    def _takes(slot: Slot, epoch: int, op: Operation) -> bool:
        """The fence: changes of the present reign only; and none is missing before this one."""
        return slot.epoch == epoch and not slot.fenced and op.seq <= slot.seq + 1

    def flush(self, out: list[Effect]) -> None:
        """The turn is over: acknowledge what came in it."""
        acks, self._acks = self._acks, {}
        for (sender, lane), refused in acks.items():
            number = self._lanes.get(sender, {}).get(lane, 0)
            out.append(Send(sender, Replicated(lane, number, tuple(refused))))

    def link_closed(self, node: NodeId) -> None:
        """Its lanes start over."""
        self._lanes.pop(node, None)
        for key in [key for key in self._acks if key[0] == node]:
            del self._acks[key]

    # -- operations -----------------------------------------------------------------

    def _put_entry(self, slot: Slot, op: EntryPut, now: float) -> None:
        entry, name = op.entry, op.topic
        topic = None if slot.topics is None else slot.topics.get(name)
        if topic is None:
            record = slot.record(name) if is_inbox(name) else None
            before = Cursor(entry.epoch, entry.offset - 1)
            topic = Topic(name, slot, self._core.new_log(before.offset), before, record)
            slot.put_topic(topic)
        log = topic.log
        if entry.offset <= log.last and not op.seq:
            return  # sent again, in a lane that does not count by slot
        if entry.offset != log.last + 1:
            log.clear(entry.offset - 1)  # the home forgot what was before
        log.append(entry)
        cursor = topic.last = Cursor(entry.epoch, entry.offset)
        if op.remember:
            self._homes.ids.remember(slot, op.remember, name, (entry.message_id, cursor), now)
        if self._core.crowded():
            self._homes.shrink(log)

    def _put_record(self, slot: Slot, op: RecordPut, now: float) -> None:
        del now
        new = SessionRecord.from_wire(op.record, self._core.sharer)
        slot.put_record(new)
        topic = slot.topic(new.address)
        if topic is not None:
            topic.record = new
            trim_inbox(slot, new, new.inbox)

    def _drop_record(self, slot: Slot, op: RecordDrop, now: float) -> None:
        del now
        slot.drop_record(op.address)
        slot.drop_topic(op.address)

    def _put_cursors(self, slot: Slot, op: CursorsPut, now: float) -> None:
        del now
        for address in op.addresses:
            record = slot.record(address)
            if record is not None:
                if op.inbox > record.inbox:
                    trim_inbox(slot, record, op.inbox)
                record.advance(op.cursors, self._core.sharer)

    def _drop_topic(self, slot: Slot, op: TopicDrop, now: float) -> None:
        del now
        slot.drop_topic(op.topic)
        slot.raise_floor(op.floor)

    def _put_mark(self, slot: Slot, op: MarkPut, now: float) -> None:
        del now
        topic = slot.topic(op.topic)
        if topic is None and op.cursor.offset >= 0:  # goes ahead of the topic's first entry
            topic = Topic(op.topic, slot, self._core.new_log(op.cursor.offset), op.cursor)
            slot.put_topic(topic)
        if topic is not None:
            put_mark(topic, op.name, op.cursor)

    def _limit_topic(self, slot: Slot, op: TopicLimit, now: float) -> None:
        del now
        topic = slot.topic(op.topic)
        if topic is None:
            topic = Topic(op.topic, slot, self._core.new_log(op.last.offset), op.last)
            slot.put_topic(topic)
        elif topic.last != op.last:
            topic.log.clear(op.last.offset)
            topic.last = op.last
        topic.copies = op.copies


def trim_inbox(slot: Slot, record: SessionRecord, cursor: Cursor) -> None:
    """What the client has of its inbox need not be kept."""
    topic = slot.topic(record.address)
    record.inbox = cursor if topic is None else min(cursor, topic.last)
    if topic is not None:
        topic.log.trim_to(record.inbox.offset)
        if record.inbox >= topic.last:
            slot.drop_topic(record.address)


def put_mark(topic: Topic, name: str, cursor: Cursor) -> None:
    """Note how far `name` has got in a topic; an offset of -1 forgets it."""
    marks = topic.marks or {}
    if cursor.offset < 0:
        marks.pop(name, None)
    else:
        marks[name] = cursor
    topic.marks = marks or None
