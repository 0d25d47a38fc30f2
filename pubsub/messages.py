"""What nodes say to each other about topics and sessions.

Every message is a frozen array-like struct whose first element is its tag
(dht has 1-31, pubsub 32-95, node 96-127). The node's codec decodes them; a
malformed one never gets here.
"""

from __future__ import annotations

import msgspec

from dht.ids import NodeId  # noqa: TC001


class Cursor(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """A position in a topic's log: the last entry a reader has.

    `epoch` is the reign in which `offset` was assigned. Offsets start at 1, so
    ``Cursor(epoch, 0)`` stands before the first entry.
    """

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


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A session as its home knows it; outlives connections and edges.

    `cursors` names every subscription (and the inbox, under the session's own
    address) with the position up to which the client has been served.
    `extra` is the edge's own: opaque to the home.
    """

    address: str
    edge: NodeId
    generation: int
    cursors: tuple[tuple[str, Cursor], ...]
    extra: bytes = b""


# -- publishing ---------------------------------------------------------------


class Append(msgspec.Struct, frozen=True, array_like=True, tag=32):
    """Publisher's node -> home. Retried with the same `message_id` until answered."""

    request: int
    topic: str
    message_id: str
    payload: bytes
    at: float
    hops: int
    client_id: bool = False  # the application chose message_id: remember it for two minutes


class Appended(msgspec.Struct, frozen=True, array_like=True, tag=33):
    """Committed. `connected`: for an inbox, whether an edge holds the session."""

    request: int
    cursor: Cursor
    connected: bool
    topic: str  # the topic that it really went to (an address, where an id was named)


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=34):
    """A request was refused. `code` is one of `pubsub.errors.Code`."""

    request: int
    code: str


# -- the tree -----------------------------------------------------------------


class Join(msgspec.Struct, frozen=True, array_like=True, tag=35):
    """Child -> parent. `cursor` is the last entry the child has; None means from now on."""

    topic: str
    cursor: Cursor | None


class Joined(msgspec.Struct, frozen=True, array_like=True, tag=36):
    """Parent -> child: entries after `cursor` will follow.

    `gap`: entries between the child's cursor and this one are no longer held
    by anyone; the child tells its readers.
    """

    topic: str
    cursor: Cursor
    gap: bool


class JoinRefused(msgspec.Struct, frozen=True, array_like=True, tag=37):
    """The receiver is not the child's parent in its view, or cannot serve yet; try again."""

    topic: str
    view: int


class Leave(msgspec.Struct, frozen=True, array_like=True, tag=38):
    """Child -> parent: no more of this topic."""

    topic: str


class Entries(msgspec.Struct, frozen=True, array_like=True, tag=39):
    """Down the tree, or home -> edge for an inbox: contiguous committed entries."""

    topic: str
    depth: int  # tree links crossed, this one included
    entries: tuple[Entry, ...]


class HighWater(msgspec.Struct, frozen=True, array_like=True, tag=40):
    """Parent -> child after traffic stops, so that a lost tail is seen."""

    topic: str
    cursor: Cursor


# -- sessions -----------------------------------------------------------------


class SessionOpen(msgspec.Struct, frozen=True, array_like=True, tag=41):
    """Edge -> home: a new session (generation 1)."""

    request: int
    address: str
    extra: bytes


class SessionUpdate(msgspec.Struct, frozen=True, array_like=True, tag=42):
    """Edge -> home: subscriptions added at a cursor, or dropped."""

    request: int
    address: str
    generation: int
    subscribe: tuple[tuple[str, Cursor], ...]
    unsubscribe: tuple[str, ...]


class SessionAttach(msgspec.Struct, frozen=True, array_like=True, tag=43):
    """New edge -> home: make me the edge. Commits generation + 1."""

    request: int
    address: str


class SessionClose(msgspec.Struct, frozen=True, array_like=True, tag=44):
    """Edge -> home: the session is over."""

    address: str
    generation: int


class SessionDone(msgspec.Struct, frozen=True, array_like=True, tag=45):
    """Home -> edge: the record after an open, update or attach was committed."""

    request: int
    record: Record


class Release(msgspec.Struct, frozen=True, array_like=True, tag=46):
    """Home -> old edge: let go of the session, it moves; answer with its cursors."""

    address: str
    generation: int


class Released(msgspec.Struct, frozen=True, array_like=True, tag=47):
    """Old edge -> home: final cursors. Writes of this generation end here."""

    address: str
    generation: int
    cursors: tuple[tuple[str, Cursor], ...]


class Consumed(msgspec.Struct, frozen=True, array_like=True, tag=48):
    """Edge -> home, lazily: the client has been served up to these cursors."""

    address: str
    generation: int
    cursors: tuple[tuple[str, Cursor], ...]


class SessionPut(msgspec.Struct, frozen=True, array_like=True, tag=49):
    """Edge -> new home after a home died: the edge's own copy of the record."""

    record: Record


# -- hand-off -----------------------------------------------------------------


class TopicState(msgspec.Struct, frozen=True, array_like=True):
    """A topic's log as it moves between homes. `cursor` is the last position assigned."""

    topic: str
    cursor: Cursor
    entries: tuple[Entry, ...]
    seen: tuple[tuple[str, Cursor], ...]  # application-chosen message ids, oldest first


class SlotState(msgspec.Struct, frozen=True, array_like=True):
    """What a home holds for one slot."""

    slot: int
    epoch: int
    topics: tuple[TopicState, ...]
    records: tuple[Record, ...]


class Handoff(msgspec.Struct, frozen=True, array_like=True, tag=50):
    """Old home -> new home after view `view`: slots that moved. `last` ends the series."""

    view: int
    slots: tuple[SlotState, ...]
    last: bool


PubSubMessage = (
    Append
    | Appended
    | Failed
    | Join
    | Joined
    | JoinRefused
    | Leave
    | Entries
    | HighWater
    | SessionOpen
    | SessionUpdate
    | SessionAttach
    | SessionClose
    | SessionDone
    | Release
    | Released
    | Consumed
    | SessionPut
    | Handoff
)
