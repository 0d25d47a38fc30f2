"""What logs and records are made of: the values inside of messages, and in memory."""

from __future__ import annotations

import msgspec

from dht.ids import NodeId


class Cursor(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """The last entry that a reader has: `offset` as assigned in the reign `epoch`.

    Offsets start at 1, so ``Cursor(epoch, 0)`` stands before the first entry.
    """

    epoch: int
    offset: int


class Source(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where an entry of a pattern's log comes from: a channel, and its position there."""

    topic: str
    epoch: int
    offset: int


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One message in a topic's log. `payload` is the client-facing JSON object."""

    epoch: int
    offset: int
    message_id: str
    payload: bytes
    at: float  # unix time, seconds: when a node accepted it from the publisher
    hops: int  # links it crossed before its home assigned the offset
    source: Source | None = None  # set in the log of a pattern


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A session as its home knows it; outlives connections and edges.

    `cursors` names every subscription (and the inbox, under the session's own
    address) with the position up to which the client has been served.
    `extra` is the edge's own: opaque to the home. `former`: edges from which the session
    was taken without their word, and which may not know it yet.
    """

    address: str
    edge: NodeId
    generation: int
    cursors: tuple[tuple[str, Cursor], ...]
    extra: bytes = b""
    former: tuple[NodeId, ...] = ()
