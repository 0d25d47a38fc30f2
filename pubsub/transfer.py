"""A slot's state as messages, and messages as a slot's state.

Packing cuts a slot into parts of bounded size: records first, then topics with
their logs, then message ids. A large topic goes over several parts. Unpacking
takes the parts in order and starts over when part 0 comes again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pubsub.messages import Cursor, Record, SlotState, TopicState
from pubsub.records import SessionRecord
from pubsub.slot import Slot, Topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.messages import Entry

_IDS = 1_000  # message ids of one topic in one piece
_ITEM = 48  # bytes of an item besides its strings and payload, roughly
SLOT_BYTES = 64  # bytes of an empty slot's state, roughly


class Parted:
    """A slot that this node was home to, frozen until its new home has it."""

    __slots__ = ("given_to", "heir", "parted_at", "slot", "topics")

    def __init__(self, slot: Slot, topics: list[Topic], heir: NodeId, now: float) -> None:
        """`heir`: the home that the view named when this node parted with the slot."""
        self.slot = slot
        self.topics = topics
        self.parted_at = now
        self.heir = heir
        self.given_to: NodeId | None = None

    def release(self) -> None:
        """Its logs no longer count."""
        for topic in self.topics:
            topic.log.clear(topic.log.last)


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
            slot.epoch,
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
        fixed = _ITEM + len(topic.name)
        entries: list[Entry] = []
        for entry in topic.log.after(0, len(topic.log)):
            size = _ITEM + len(entry.payload) + len(entry.message_id)
            if not entries:
                size += fixed
            if self._full(size):
                if entries:
                    self._topics.append(_state_of(topic, entries))
                    entries = []
                    size += fixed
                yield self.cut(final=False)
            entries.append(entry)
            self._size += size
        self._topics.append(_state_of(topic, entries))

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


def _state_of(topic: Topic, entries: list[Entry]) -> TopicState:
    marks = tuple(topic.marks.items()) if topic.marks else ()
    return TopicState(topic.name, topic.last, tuple(entries), (), marks)


def pack(parted: Parted, limit: int) -> Iterator[tuple[SlotState, int]]:
    """The parts of a slot, each with its size in bytes (roughly), the last one final."""
    slot = parted.slot
    packer = _Packer(slot, limit)
    for record in (slot.records or {}).values():
        yield from packer.add_record(record)
    for topic in parted.topics:
        if len(topic.log):  # one that was only listened to leaves nothing behind
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
    """Gathers the parts of one slot; topics and records are ready to be put in place."""

    __slots__ = ("_core", "_next", "recent", "records", "seen", "slot", "topics")

    def __init__(self, core: Core, slot: Slot) -> None:
        """`slot` is not open yet: nobody sees what is gathered for it."""
        self._core = core
        self.slot = slot
        self.topics: dict[str, Topic] = {}
        self.clear()

    def clear(self) -> None:
        """Forget what has come: the sender starts over, or will not go on."""
        for topic in self.topics.values():
            topic.log.clear(topic.log.last)
        self._next = 0
        self.topics = {}
        self.records: list[SessionRecord] = []
        self.seen: list[tuple[tuple[str, str], Cursor]] = []
        self.recent: list[tuple[str, Cursor]] = []

    def take(self, state: SlotState) -> bool:
        """One part; False if it is out of order."""
        if state.part == 0:
            self.clear()
        if state.part != self._next:
            return False
        self._next += 1
        for record in state.records:
            self.records.append(SessionRecord.from_wire(record, self._core.sharer))
        for topic in state.topics:
            self._take_topic(topic)
        self.recent.extend(state.recent)
        return True

    def _take_topic(self, state: TopicState) -> None:
        self.seen.extend(((state.topic, name), cursor) for name, cursor in state.seen)
        if not state.entries:
            return
        topic = self.topics.get(state.topic)
        if topic is None:
            log = self._core.new_log(state.entries[0].offset - 1)
            topic = self.topics[state.topic] = Topic(state.topic, self.slot, log, state.cursor)
        topic.marks = dict(state.marks) or None
        for entry in state.entries:
            topic.log.append(entry)
