"""What one node holds of one topic that it reads or forwards.

A feed exists while the node is in the topic's tree: it has local readers,
children, or somebody who waits to become one. The home's feed shares the log
of the topic; any other node's feed keeps a log of its own, of the same entry
objects, from which it serves late readers and repairs its children's gaps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pubsub.messages import Cursor

if TYPE_CHECKING:
    from dht.ids import NodeId
    from pubsub.log import Log

NOWHERE = Cursor(0, 0)  # epochs are view numbers, and those start at 1


class Feed:
    """One topic at an edge, a forwarder or the root. The engine writes it, the node reads it."""

    __slots__ = (
        "children",
        "depth",
        "joined",
        "last",
        "lineage",
        "log",
        "origin",
        "owner",
        "parent",
        "readers",
        "retry_at",
        "topic",
        "touched",
        "waiting",
    )

    topic: str
    log: Log
    last: Cursor
    """The newest contiguous entry here (what `log` ends with)."""
    origin: Cursor
    """Where the log began after the last join or reset: after a `Reset` readers go here."""
    lineage: int
    """The oldest epoch whose offsets this log continues; 0 before the first join."""
    joined: bool
    """Entries flow: the parent has accepted, or this is the root and its slot is open."""
    parent: NodeId | None
    """None at the root, and without a view."""
    children: tuple[NodeId, ...]
    readers: bool
    """The node has local readers (between `PubSubEngine.join` and `leave`)."""
    depth: int
    """Tree links between the root and this node; 0 at the root."""
    owner: object | None
    """The node's own (its list of readers, say); pubsub never looks."""

    def __init__(self, topic: str, log: Log) -> None:
        """A feed that has not joined."""
        self.topic = topic
        self.log = log
        self.last = NOWHERE
        self.origin = NOWHERE
        self.lineage = 0
        self.joined = False
        self.parent = None
        self.children = ()
        self.readers = False
        self.depth = 0
        self.owner = None
        self.touched = -1.0
        self.retry_at = 0.0
        self.waiting: list[tuple[NodeId | int, Cursor | None]] | None = None

    def __repr__(self) -> str:
        state = "joined" if self.joined else "joining"
        return f"<Feed {self.topic} {state} at {self.last.epoch}:{self.last.offset}>"

    def at(self, offset: int) -> Cursor:
        """The cursor of a reader who has got everything up to `offset`, and nothing after it.

        Its epoch is that of the entry there; where that is gone, of the oldest that is left.
        One that is later than what comes next would be taken for that of a later home, by
        whose word the entries of this one are not news (`pubsub.flow.following`).
        """
        entry = None
        if offset < self.last.offset:
            entry = self.log.get(offset) or self.log.get(max(offset + 1, self.log.first))
        return Cursor(self.last.epoch if entry is None else entry.epoch, offset)

    def covers(self, cursor: Cursor) -> bool:
        """Whether a reader at `cursor` can go on from this log without a gap."""
        return resume(self.log, self.last, self.lineage, cursor) is cursor


def resume(log: Log, last: Cursor, lineage: int, cursor: Cursor) -> Cursor:
    """Where a reader at `cursor` goes on in a log that ends at `last`: there itself if it can.

    Otherwise there is a gap: it goes on at the start of the log, or from now on
    if its cursor is one that this log has not reached. A cursor of an epoch
    that had ended when the entry of its offset was made comes from a home whose
    reign is not continued here: the reader goes on with what came after it.
    (A later epoch is no contradiction: a cursor may be a mere position.)
    """
    if cursor.epoch < lineage or cursor.offset < log.first - 1:
        first = log.get(log.first)
        return last if first is None else Cursor(first.epoch, log.first - 1)
    if cursor.offset > log.last or cursor.epoch > last.epoch:
        return last
    entry = log.get(cursor.offset)
    if entry is None or entry.epoch <= cursor.epoch:
        return cursor
    newer = next(e for e in log.after(0, len(log)) if e.epoch > cursor.epoch)
    return Cursor(newer.epoch, newer.offset - 1)
