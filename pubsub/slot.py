"""What a node holds of one slot, as its home or as a replica: the replicated state.

Plain state, without behaviour: `homes` and `registry` change it at the home,
`replicas` repeats that elsewhere, `takeover` moves it between reigns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pubsub.values import Cursor

if TYPE_CHECKING:
    from pubsub.dedupe import Window
    from pubsub.feed import Feed
    from pubsub.lanes import Lane
    from pubsub.log import Log
    from pubsub.records import SessionRecord
    from pubsub.slot_messages import Holders
    from pubsub.staging import StagedEntry


class Slot:
    """A copy of one slot. It is installed for one reign, `epoch`: the view in which that began.

    A node of a small ring has thousands of these, mostly empty: what is empty
    is None.
    """

    __slots__ = (
        "client_ids",
        "epoch",
        "fenced",
        "floor",
        "holders",
        "lane",
        "lineage",
        "number",
        "origin",
        "recent_ids",
        "records",
        "seq",
        "settled_at",
        "topics",
    )

    seq: int
    """Changes so far. Copies with the same epoch and seq are the same."""
    holders: Holders
    """Who has to have a change before it counts, home first."""
    lineage: int
    """The oldest epoch whose offsets the logs here continue."""
    floor: int
    """Topics that were forgotten had no offset above this."""
    origin: Cursor
    """The position before a new topic's first entry; shared by all."""
    fenced: bool
    """Changes of this reign are refused: there is, or is about to be, a later one."""
    lane: Lane | None
    """At an open home: the way to the other holders; None if there is nobody else."""
    settled_at: float
    """Until then (monotonic seconds) a missing record proves nothing."""

    def __init__(
        self, number: int, epoch: int, lineage: int, holders: Holders = (), floor: int = 0
    ) -> None:
        self.number = number
        self.epoch = epoch
        self.lineage = lineage
        self.holders = holders
        self.floor = floor
        self.seq = 0
        self.origin = Cursor(epoch, floor)
        self.fenced = False
        self.lane = None
        self.settled_at = 0.0
        self.topics: dict[str, Topic] | None = None
        self.records: dict[str, SessionRecord] | None = None
        self.client_ids: Window[tuple[str, str]] | None = None
        self.recent_ids: Window[str] | None = None

    def __repr__(self) -> str:
        return f"<Slot {self.number} {self.epoch}.{self.seq}{' fenced' if self.fenced else ''}>"

    def record(self, address: str) -> SessionRecord | None:
        return None if self.records is None else self.records.get(address)

    def topic(self, name: str) -> Topic | None:
        return None if self.topics is None else self.topics.get(name)

    def put_topic(self, topic: Topic) -> None:
        if self.topics is None:
            self.topics = {}
        self.topics[topic.name] = topic

    def drop_topic(self, name: str) -> Topic | None:
        """Take a topic out; its log counts no more."""
        topic = None if self.topics is None else self.topics.pop(name, None)
        if topic is not None:
            topic.log.clear(topic.log.last)
            self.topics = self.topics or None
        return topic

    def put_record(self, record: SessionRecord) -> None:
        if self.records is None:
            self.records = {}
        self.records[record.address] = record

    def drop_record(self, address: str) -> SessionRecord | None:
        record = None if self.records is None else self.records.pop(address, None)
        self.records = self.records or None
        return record

    def raise_floor(self, floor: int) -> None:
        """A topic was forgotten that had come so far."""
        if floor > self.floor:
            self.floor = floor
            self.origin = Cursor(self.epoch, floor)

    def release(self) -> None:
        """The copy is given up: its logs count no more."""
        for topic in (self.topics or {}).values():
            topic.log.clear(topic.log.last)
        self.topics = self.records = None


class Topic:
    """A topic of a slot. `record` is set for an inbox.

    At an open home `log` holds committed entries only, because readers look into
    it; `assigned` runs ahead of `last` while entries are `staged`, and `feed` is
    set while anybody here or below reads the topic. A replica's log has all that
    has come: nobody reads it there.
    """

    __slots__ = (
        "assigned",
        "begun",
        "copies",
        "feed",
        "last",
        "log",
        "marks",
        "name",
        "patterns",
        "patterns_at",
        "record",
        "slot",
        "staged",
    )

    copies: int
    """How many holders of the slot have it; 0: all."""
    begun: int
    """Later than the slot's lineage where this topic alone has lost its past; else 0."""
    marks: dict[str, Cursor] | None
    """How far others that follow this topic have got, by name: replicated with it."""

    def __init__(
        self, name: str, slot: Slot, log: Log, last: Cursor, record: SessionRecord | None = None
    ) -> None:
        self.name = name
        self.slot = slot
        self.log = log
        self.last = last
        self.assigned = last.offset
        self.record = record
        self.feed: Feed | None = None
        self.staged: dict[int, StagedEntry] | None = None
        self.copies = 0
        self.begun = 0
        self.marks = None
        self.patterns: tuple[str, ...] = ()  # active ones that cover it, as of
        self.patterns_at = 0  # this change of the set of them

    @property
    def lineage(self) -> int:
        """The oldest epoch whose offsets this log continues."""
        return self.begun or self.slot.lineage


def is_inbox(topic: str) -> bool:
    """Whether a topic is a session's inbox (its name is an address) rather than a channel."""
    return not topic.startswith("/")
