"""What a home holds: its open slots, and the topics in them.

Plain state, without behaviour: `homes` appends to topics, `registry` keeps the
records, `handoff` opens slots and parts with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pubsub.messages import Cursor

if TYPE_CHECKING:
    from pubsub.dedupe import Window
    from pubsub.feed import Feed
    from pubsub.log import Log
    from pubsub.records import SessionRecord


class Slot:
    """One open slot of this home: one reign, `epoch` is the view in which it began.

    A node of a small ring has thousands of these, mostly empty: what is empty
    is None.
    """

    __slots__ = (
        "client_ids",
        "epoch",
        "floor",
        "lineage",
        "number",
        "origin",
        "recent_ids",
        "records",
        "settled_at",
    )

    def __init__(
        self, number: int, epoch: int, lineage: int, floor: int = 0, settled_at: float = 0.0
    ) -> None:
        """`settled_at`: until then (monotonic seconds) a missing record proves nothing."""
        self.number = number
        self.epoch = epoch
        self.lineage = lineage
        self.floor = floor
        self.origin = Cursor(epoch, floor)  # before a new topic's first entry; shared by all
        self.settled_at = settled_at
        self.records: dict[str, SessionRecord] | None = None
        self.client_ids: Window[tuple[str, str]] | None = None
        self.recent_ids: Window[str] | None = None

    def record(self, address: str) -> SessionRecord | None:
        return None if self.records is None else self.records.get(address)


class Topic:
    """A topic at its home. `assigned` runs ahead of `last` while an entry is not committed.

    `log` holds committed entries only, because readers look into it. `record`
    is set for an inbox, `feed` while anybody here or below reads the topic.
    """

    __slots__ = (
        "assigned",
        "feed",
        "last",
        "log",
        "marks",
        "name",
        "patterns",
        "patterns_at",
        "record",
        "slot",
    )

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
        self.marks: dict[str, Cursor] | None = None  # how far it has been forwarded, by pattern
        self.patterns: tuple[str, ...] = ()  # active ones that cover it, as of
        self.patterns_at = 0  # this change of the set of them


def is_inbox(topic: str) -> bool:
    """Whether a topic is a session's inbox (its name is an address) rather than a channel."""
    return not topic.startswith("/")
