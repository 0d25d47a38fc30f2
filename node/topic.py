"""A topic as the hub sees it: its readers here, and wire bytes they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.websocket import deflated_frame, text_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from node.session import Session
    from pubsub.feed import Feed
    from pubsub.messages import Entry, Failed, Joined


class Wire:
    """A run of entries as bytes: built once a form, shared by every reader."""

    __slots__ = ("_deflated", "_frame", "after", "count", "joined", "size", "upto")

    def __init__(self, after: int, entries: Sequence[Entry]) -> None:
        self.after = after
        self.upto = entries[-1].offset
        self.count = len(entries)
        self.joined = b",".join([entry.payload for entry in entries])
        self.size = len(self.joined) + 2  # bytes of the array that a WebSocket gets
        self._frame: bytes | None = None
        self._deflated: bytes | None = None

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


class Topic:
    """Local readers of one topic. All but those `behind` are level at `flushed`."""

    __slots__ = ("alone", "feed", "flushed", "members", "name", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.feed: Feed | None = None  # None while joining
        self.flushed = 0  # offset up to which level members have been served
        self.members: dict[Session, None] = {}
        self.waiting: list[Callable[[Joined | Failed], None]] = []
        self.alone: tuple[Topic, ...] = (self,)  # shared by all sessions with this one topic
