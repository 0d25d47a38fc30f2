"""A topic as the hub sees it: its readers here, and wire bytes they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from node.http.responses import stream_chunk
from node.sse import events
from node.websocket import deflated_frame, text_frame
from pubsub.wildcards import is_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from node.session import Session
    from pubsub.feed import Feed
    from pubsub.messages import Entry, Failed, Joined

BATCH_ENTRIES: Final = 1_000  # entries in one response or frame
BATCH_BYTES: Final = 256 * 1024

# What a stream of server-sent events carries (`EventStream.form`).
ARRAYS: Final = 0  # Bayeux messages, a batch an event
NUMBERED: Final = 1  # one channel: an event a message, with its position
MESSAGES: Final = 2  # several channels: an event a message; positions come apart


def read(feed: Feed, after: int) -> list[Entry]:
    """A batch of what follows offset `after`."""
    entries = feed.log.after(after, BATCH_ENTRIES)
    size = 0
    for index, entry in enumerate(entries):
        size += len(entry.payload)
        if size > BATCH_BYTES and index:
            return entries[:index]
    return entries


class Wire:
    """A run of entries as bytes: built once a form, shared by every reader."""

    __slots__ = (
        "_chunks",
        "_deflated",
        "_frame",
        "_joined",
        "after",
        "count",
        "entries",
        "upto",
    )

    def __init__(self, after: int, entries: Sequence[Entry]) -> None:
        self.after = after
        self.upto = entries[-1].offset
        self.count = len(entries)
        self.entries = entries
        self._joined: bytes | None = None
        self._frame: bytes | None = None
        self._deflated: bytes | None = None
        self._chunks: dict[int, bytes] = {}

    @property
    def joined(self) -> bytes:
        """JSON objects, comma-separated."""
        if self._joined is None:
            self._joined = b",".join([entry.payload for entry in self.entries])
        return self._joined

    @property
    def size(self) -> int:
        """Bytes of the array that a WebSocket gets."""
        return len(self.joined) + 2

    @property
    def frame(self) -> bytes:
        """One unmasked WebSocket text frame with all entries as a JSON array."""
        if self._frame is None:
            self._frame = text_frame(b"[%b]" % self.joined)
        return self._frame

    @property
    def deflated(self) -> bytes:
        """The same, compressed."""
        if self._deflated is None:
            self._deflated = deflated_frame(b"[%b]" % self.joined)
        return self._deflated

    def chunk(self, form: int) -> bytes:
        """A chunk of a stream of events, in one of the forms above."""
        chunk = self._chunks.get(form)
        if chunk is None:
            chunk = self._chunks[form] = stream_chunk(self.events(form))
        return chunk

    def events(self, form: int) -> bytes:
        """The same, not yet a chunk."""
        if form == ARRAYS:
            return events.array(self.joined)
        if form == NUMBERED:
            return events.numbered(self.entries)
        return events.messages(self.entries)


class Topic:
    """Local readers of one topic. All but those `behind` are level at `flushed`."""

    __slots__ = (
        "alone",
        "batch",
        "feed",
        "flushed",
        "is_pattern",
        "lazy",
        "members",
        "name",
        "partings",
        "waiting",
        "walk",
    )

    def __init__(self, name: str, *, lazy: bool = False, batch: float = 0.0) -> None:
        self.name = name
        self.is_pattern = is_pattern(name)
        self.lazy = lazy  # its entries wait for others
        self.batch = batch  # seconds that a flush waits for more
        self.feed: Feed | None = None  # None while joining
        self.flushed = 0  # offset up to which level members have been served
        self.walk: Walk | None = None  # put aside; its last readers are not level yet
        self.members: dict[Session, None] = {}
        self.partings = 0  # how many readers have left
        self.waiting: list[Callable[[Joined | Failed], None]] = []
        self.alone: tuple[Topic, ...] = (self,)  # shared by all sessions with this one topic

    def part(self, session: Session) -> None:
        """`session` reads this no more."""
        if session in self.members:
            del self.members[session]
            self.partings += 1

    @property
    def is_inbox(self) -> bool:
        """The direct messages of one session."""
        return not self.name.startswith("/")


class Walk:
    """One topic's flush in progress, so that a long one can be put aside."""

    __slots__ = ("_places", "index", "members", "partings", "topic", "wire")

    def __init__(self, topic: Topic, wire: Wire) -> None:
        self.topic = topic
        self.wire = wire
        self.members = list(topic.members)
        self.partings = topic.partings  # while that is so, all of them are still readers
        self.index = 0
        self._places: dict[Session, int] = {}

    def awaits(self, session: Session) -> bool:
        """Whether the walk, put aside, has still to come to `session`."""
        if not self._places:
            self._places = {member: place for place, member in enumerate(self.members)}
        return self._places.get(session, -1) >= self.index


def stands(session: Session, topic: Topic) -> int:
    """The offset up to which `session` has been served `topic`."""
    if session.behind is not None and topic in session.behind:
        return session.behind[topic]
    walk = topic.walk
    if walk is not None and walk.awaits(session):
        return walk.wire.after
    return topic.flushed
