"""A slot's state as messages, and messages as a slot's state.

Packing cuts a slot into parts of bounded size: records first, then topics with
their logs, then message ids. A large topic goes over several parts. Unpacking
takes the parts in order and starts over when part 0 comes again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pubsub.records import SessionRecord
from pubsub.slot import Slot, Topic
from pubsub.slot_messages import SlotState, TopicState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pubsub.core import Core
    from pubsub.messages import Cursor, Entry, Record

_IDS = 1_000  # message ids of one topic in one piece
_ITEM = 48  # bytes of an item besides its strings and payload, roughly
SLOT_BYTES = 64  # bytes of an empty slot's state, roughly


class _Packer:
    """Collects items into parts of at most `limit` bytes (or one item)."""

    def __init__(self, slot: Slot, limit: int) -> None:
        self._slot = slot
        self._limit = limit
        self._part = 0
        self._clear()

    def _clear(self) -> None:
        self._size = SLOT_BYTES
        self._records: list[Record] = []
        self._topics: list[TopicState] = []
        self._recent: list[tuple[str, Cursor]] = []

    def cut(self, *, final: bool) -> tuple[SlotState, int]:
        """The part so far, and its size."""
        slot = self._slot
        state = SlotState(
            slot.number,
            slot.seq,
            slot.lineage,
            slot.floor,
            tuple(self._topics),
            tuple(self._records),
            tuple(self._recent),
            self._part,
            final,
        )
        size = self._size
        self._part += 1
        self._clear()
        return state, size

    def _full(self, size: int) -> bool:
        return self._size > SLOT_BYTES and self._size + size > self._limit

    def add_record(self, record: SessionRecord) -> Iterator[tuple[SlotState, int]]:
        size = 2 * _ITEM + 2 * len(record.address) + len(record.extra)
        size += sum(_ITEM + len(topic) for topic, _ in record.cursors)
        if self._full(size):
            yield self.cut(final=False)
        self._records.append(record.to_wire())
        self._size += size

    def add_topic(self, topic: Topic) -> Iterator[tuple[SlotState, int]]:
        fixed = _ITEM + len(topic.name) + _ITEM * len(topic.marks or ())
        entries: list[Entry] = []
        if not len(topic.log):
            if self._full(fixed):
                yield self.cut(final=False)
            self._size += fixed
        for entry in topic.log.after(0, len(topic.log)):
            size = _ITEM + len(entry.payload) + len(entry.message_id)
            if not entries:
                size += fixed
            if self._full(size):
                if entries:
                    self._topics.append(_state(topic, entries))
                    entries = []
                    size += fixed
                yield self.cut(final=False)
            entries.append(entry)
            self._size += size
        self._topics.append(_state(topic, entries))

    def add_ids(self, name: str, ids: list[tuple[str, Cursor]]) -> Iterator[tuple[SlotState, int]]:
        for start in range(0, len(ids), _IDS):
            run = tuple(ids[start : start + _IDS])
            size = _ITEM + len(name) + sum(_ITEM + len(message_id) for message_id, _ in run)
            if self._full(size):
                yield self.cut(final=False)
            self._topics.append(TopicState(name, run[-1][1], (), run))
            self._size += size

    def add_recent(self, item: tuple[str, Cursor]) -> Iterator[tuple[SlotState, int]]:
        size = _ITEM + len(item[0])
        if self._full(size):
            yield self.cut(final=False)
        self._recent.append(item)
        self._size += size


def _state(topic: Topic, entries: list[Entry]) -> TopicState:
    marks = tuple((topic.marks or {}).items())
    run = tuple(entries)
    return TopicState(topic.name, topic.last, run, (), marks, topic.copies, topic.begun)


def pack(slot: Slot, limit: int) -> Iterator[tuple[SlotState, int]]:
    """The parts of a slot, each with its size in bytes (roughly), the last one final."""
    packer = _Packer(slot, limit)
    for record in (slot.records or {}).values():
        yield from packer.add_record(record)
    for topic in (slot.topics or {}).values():
        if len(topic.log) or topic.copies:  # one that was only listened to leaves nothing behind
            yield from packer.add_topic(topic)
    seen: dict[str, list[tuple[str, Cursor]]] = {}
    for (name, message_id), cursor in slot.client_ids.items() if slot.client_ids else ():
        seen.setdefault(name, []).append((message_id, cursor))
    for name, ids in seen.items():
        yield from packer.add_ids(name, ids)
    for item in slot.recent_ids.items() if slot.recent_ids else ():
        yield from packer.add_recent(item)
    yield packer.cut(final=True)


class Unpacker:
    """Gathers the parts of one slot, until it is whole."""

    __slots__ = ("_core", "_next", "_number", "recent", "seen", "slot")

    def __init__(self, core: Core, number: int) -> None:
        self._core = core
        self._number = number
        self.slot = Slot(number, 0, 0)
        self._next = 0
        self.seen: list[tuple[tuple[str, str], Cursor]] = []
        self.recent: list[tuple[str, Cursor]] = []

    def clear(self) -> None:
        """Forget what has come: the sender starts over, or will not go on."""
        self.slot.release()
        self.slot = Slot(self._number, 0, 0)
        self._next = 0
        self.seen = []
        self.recent = []

    def take(self, state: SlotState) -> bool:
        """One part; False if it is out of order."""
        if state.part == 0:
            self.clear()
            self.slot.lineage, self.slot.floor = state.lineage, state.floor
            self.slot.seq = state.seq
        if state.part != self._next:
            return False
        self._next += 1
        for record in state.records:
            self.slot.put_record(SessionRecord.from_wire(record, self._core.sharer))
        for topic in state.topics:
            self._take_topic(topic)
        self.recent.extend(state.recent)
        return True

    def _take_topic(self, state: TopicState) -> None:
        self.seen.extend(((state.topic, name), cursor) for name, cursor in state.seen)
        if not state.entries and not state.copies:
            return
        topic = self.slot.topic(state.topic)
        if topic is None:
            before = state.entries[0].offset - 1 if state.entries else state.cursor.offset
            topic = Topic(state.topic, self.slot, self._core.new_log(before), state.cursor)
            topic.record = self.slot.record(state.topic)  # records come first
            topic.marks = dict(state.marks) or None
            topic.copies, topic.begun = state.copies, state.lineage
            self.slot.put_topic(topic)
        for entry in state.entries:
            topic.log.append(entry)
