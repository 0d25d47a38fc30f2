"""What nodes say to each other about topics and sessions.

Every message is a frozen array-like struct whose first element is its tag
(dht has 1-31, pubsub 32-95, node 96-127). The node's codec decodes them; a
malformed one never gets here.
"""

from __future__ import annotations

import msgspec

from pubsub.slot_messages import SlotMessage
from pubsub.values import Cursor, Entry, Record, Source

__all__ = [
    "Append",
    "Appended",
    "Consumed",
    "Cursor",
    "Entries",
    "Entry",
    "Failed",
    "Fetch",
    "Fetched",
    "Forward",
    "Forwarded",
    "HighWater",
    "Join",
    "JoinRefused",
    "Joined",
    "Leave",
    "PatternAll",
    "PatternAsk",
    "PatternHeld",
    "PatternNews",
    "PatternOpen",
    "PatternOpened",
    "PubSubMessage",
    "Record",
    "Release",
    "Released",
    "SessionAttach",
    "SessionClose",
    "SessionClosed",
    "SessionDone",
    "SessionMoved",
    "SessionOpen",
    "SessionPut",
    "SessionUpdate",
    "Source",
    "Vacated",
]


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

    `gap`: the sender does not hold what lies between the child's cursor and
    this one. From the home that is final, and the child tells its readers;
    after a forwarder's word it asks the home first (`Fetch`). `lineage` is the
    oldest epoch whose offsets this log continues: a cursor of an older epoch
    means nothing in it. `depth` is the child's: tree links from the root.
    """

    topic: str
    cursor: Cursor
    gap: bool
    lineage: int = 0
    depth: int = 0


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


class Fetch(msgspec.Struct, frozen=True, array_like=True, tag=54):
    """Edge or forwarder -> home: entries after `cursor` that the asker's parent does not hold."""

    request: int
    topic: str
    cursor: Cursor


class Fetched(msgspec.Struct, frozen=True, array_like=True, tag=55):
    """Home -> asker: held entries after `cursor`; not always all of them, ask again for more.

    `cursor` is later than the one asked for where nobody holds what lies between.
    """

    request: int
    topic: str
    cursor: Cursor
    lineage: int
    entries: tuple[Entry, ...]


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
    """New edge -> home: make me the edge. Commits generation + 1.

    `edge`: who has let go of the session; empty: whoever has it. Another that has it by
    now keeps it.
    """

    request: int
    address: str
    edge: bytes = b""


class SessionClose(msgspec.Struct, frozen=True, array_like=True, tag=44):
    """Edge -> home: the session is over. Retried until answered with `SessionClosed`."""

    address: str
    generation: int
    request: int = 0


class SessionClosed(msgspec.Struct, frozen=True, array_like=True, tag=51):
    """Home -> edge: there is no such session (any more)."""

    request: int


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
    request: int = 0


class SessionMoved(msgspec.Struct, frozen=True, array_like=True, tag=52):
    """Home -> stale edge: another edge has the session, writes of this generation are refused.

    The edge lets go and answers with Released; one that was not asked before is told until then.
    """

    address: str
    generation: int


class Vacated(msgspec.Struct, frozen=True, array_like=True, tag=53):
    """Edge -> home: I am named as the edge of this session but do not hold it."""

    address: str
    generation: int


# -- patterns -----------------------------------------------------------------


class PatternOpen(msgspec.Struct, frozen=True, array_like=True, tag=86):
    """Edge -> home of a pattern: somebody wants to read it. Answered once every member has it."""

    request: int
    pattern: str


class PatternOpened(msgspec.Struct, frozen=True, array_like=True, tag=87):
    """Home -> edge: from now on every home forwards to it."""

    request: int


class PatternNews(msgspec.Struct, frozen=True, array_like=True, tag=88):
    """Home -> every member: patterns of mine that are active, or are no more.

    `whole`: `added` are all that are mine in that view; 0 for a mere change.
    `serial` grows with each change.
    """

    serial: int
    whole: int
    added: tuple[str, ...]
    dropped: tuple[str, ...] = ()


class PatternHeld(msgspec.Struct, frozen=True, array_like=True, tag=89):
    """Member -> home: all of your news up to `serial` is known here."""

    serial: int


class PatternAsk(msgspec.Struct, frozen=True, array_like=True, tag=90):
    """New member -> every other: which patterns are active? Answered from view `view` on."""

    view: int


class PatternAll(msgspec.Struct, frozen=True, array_like=True, tag=91):
    """Member -> new member: all patterns that are known here."""

    view: int
    patterns: tuple[str, ...]


class Forward(msgspec.Struct, frozen=True, array_like=True, tag=92):
    """Home of a channel -> home of a pattern: committed entries, until they are acknowledged.

    `acked` is how far the pattern's home has acknowledged, `after` the offset
    after which `entries` (contiguous) begin. `lineage` is the oldest epoch
    whose offsets the channel's log continues. Without entries: is it active?
    """

    pattern: str
    topic: str
    lineage: int
    acked: int
    after: int
    entries: tuple[Entry, ...]


class Forwarded(msgspec.Struct, frozen=True, array_like=True, tag=93):
    """Home of a pattern -> home of a channel: entries up to `offset` are committed here.

    `active` False: the pattern has no readers any more, forget it. `missing`:
    what follows `offset` has not come, though something later has.
    """

    pattern: str
    topic: str
    offset: int
    active: bool = True
    missing: bool = False


TreeMessage = Join | Joined | JoinRefused | Leave | Entries | HighWater | Fetch | Fetched
EdgeMessage = SessionOpen | SessionUpdate | SessionAttach | SessionClose | SessionPut | Consumed
MoveMessage = Release | Released | Vacated | SessionMoved | SessionClosed | SessionDone
PatternMessage = (
    PatternOpen
    | PatternOpened
    | PatternNews
    | PatternHeld
    | PatternAsk
    | PatternAll
    | Forward
    | Forwarded
)
PubSubMessage = (
    Append
    | Appended
    | Failed
    | TreeMessage
    | EdgeMessage
    | MoveMessage
    | SlotMessage
    | PatternMessage
)
