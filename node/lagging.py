"""Readers that are not level with everyone else: what they are owed, and how they get it.

No poll held, a full socket, a start in the past: such a reader keeps only an
offset a topic, and reads the log from there when its connection takes more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.bayeux.channels import SERVICE_INBOX
from node.http.responses import stream_chunk
from node.sse import events
from node.topic import ARRAYS, BATCH_BYTES, MESSAGES, NUMBERED, Topic, Wire, read, stands
from pubsub.slot import is_inbox
from pubsub.wildcards import rank

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from node.http import EventStream
    from node.session import Session
    from node.stats import Stats
    from node.websocket.connection import WebSocketConnection
    from pubsub.messages import Cursor, Entry


def inbox_form(form: int) -> int:
    """The form in which a stream carries direct messages: their positions are not its ids."""
    return MESSAGES if form == NUMBERED else form


class Lagging:
    """Sessions that are to be looked at again, and what they have read since they were told of."""

    def __init__(self, stats: Stats, answer_poll: Callable[[Session, bytes], None]) -> None:
        self._stats = stats
        self._answer_poll = answer_poll
        self.waiting: dict[Session, None] = {}
        self._consumed: dict[Session, Topic] = {}
        self._moved: dict[Session, None] = {}  # whose client is to be told where it stands
        self.telling: dict[Session, None] = {}  # the same, now
        self.moved: dict[Topic, None] = {}  # groups, whose readers' homes are to be told
        self.strays: dict[Session, None] = {}  # readers of groups who have moved on their own

    def forget(self, session: Session) -> None:
        """The session is over, or has moved away."""
        self.waiting.pop(session, None)
        self._consumed.pop(session, None)
        self._moved.pop(session, None)
        self.strays.pop(session, None)
        self.telling.pop(session, None)

    def report_gap(self, session: Session, topic: Topic) -> None:
        """Tell the session's client, when it can be told, that messages are missing."""
        channel = gap_name(topic.name)
        if channel not in session.gaps:
            session.gaps = (*session.gaps, channel)
        self._stats.gaps_reported += 1
        self.waiting[session] = None

    # -- what they are owed -----------------------------------------------------

    def _take(self, session: Session, *, ahead: bool = False) -> list[tuple[Topic, Wire]]:
        """Entries that `session` has not been served, up to a batch; they count as served.

        `ahead`: also those that the next flush will bring to everyone else.
        """
        taken: list[tuple[Topic, Wire]] = []
        size = 0
        for topic, offset in _owed(session):
            feed = topic.feed
            if feed is None or (offset > topic.flushed and not ahead):
                continue  # it is ahead of the flush; the flush will pass it
            if not feed.log.covers(offset):
                self.report_gap(session, topic)
                offset = max(offset, feed.log.first - 1)  # noqa: PLW2901
            entries: Sequence[Entry] = read(feed, offset)
            if not ahead:
                entries = [entry for entry in entries if entry.offset <= topic.flushed]
            upto = entries[-1].offset if entries else offset
            if upto == topic.flushed and not (topic.walk and topic.walk.awaits(session)):
                session.level_with(topic)
            else:
                session.fall_behind(topic, upto)
            if upto >= topic.flushed:
                self.waiting[session] = None  # to be level once the flush has passed it
            if entries and topic.is_pattern and session.overlaps is not None:
                entries = session.overlaps.filter(topic.name, entries)
            if entries:
                taken.append((topic, Wire(offset, entries)))
                self._note_taken(session, topic)
            size += sum(len(entry.payload) for entry in entries)
            if size > BATCH_BYTES:
                break
        return taken

    def pending(self, session: Session, transport: str, *, ahead: bool = False) -> bytes:
        """What `_take` takes, as comma-separated JSON objects; empty where it is level."""
        if session.behind is None:
            return b""
        taken = self._take(session, ahead=ahead)
        if session.acks is not None:
            for topic, wire in taken:
                session.acks.sent(topic, wire.after, wire.upto)
        self._stats.delivered[transport] += sum(wire.count for _, wire in taken)
        return b",".join([wire.joined for _, wire in taken])

    def catch_up(self, session: Session, *, ahead: bool = False) -> None:
        """Serve a lagging session as much as its connection takes now. `ahead` as in `_take`."""
        stream = session.stream
        if stream is None:
            self._catch_up_poll(session)
        elif stream.transport == "sse":
            self._catch_up_events(session, stream, ahead=ahead)
        else:
            self._catch_up_socket(session, stream, ahead=ahead)

    def _catch_up_poll(self, session: Session) -> None:
        poll = session.poll
        if poll is not None and (session.behind or session.gaps):
            joined = self.pending(session, poll.transport)
            if joined or session.gaps:
                self._answer_poll(session, joined)

    def _catch_up_socket(
        self, session: Session, stream: WebSocketConnection, *, ahead: bool
    ) -> None:
        while session.behind is not None and stream.writable and session.stream is stream:
            joined = self.pending(session, stream.transport, ahead=ahead)
            if not joined:
                break
            stream.send_text(b"[%b]" % joined)
        if session.gaps and session.connect_id is not None and stream.writable:
            self._answer_poll(session, b"")

    def _catch_up_events(self, session: Session, stream: EventStream, *, ahead: bool) -> None:
        while session.behind is not None and stream.writable and session.stream is stream:
            taken = self._take(session, ahead=ahead)
            told = self._gap_events(session, stream)
            if not taken and not told:
                break
            parts = [
                wire.events(inbox_form(stream.form) if topic.is_inbox else stream.form)
                for topic, wire in taken
            ]
            stream.send_chunk(stream_chunk(told + b"".join(parts)))
            self._stats.delivered[stream.transport] += sum(wire.count for _, wire in taken)
        told = self._gap_events(session, stream)
        if told and stream.writable:
            stream.send_chunk(stream_chunk(told))
        elif session.gaps and session.poll is not None:
            self._answer_poll(session, b"")  # Bayeux tells of gaps in connect replies

    @staticmethod
    def _gap_events(session: Session, stream: EventStream) -> bytes:
        if stream.form == ARRAYS or not session.gaps or not stream.writable:
            return b""
        told = b"".join([events.gap(channel) for channel in session.gaps])
        session.gaps = ()
        return told

    # -- what has been read ---------------------------------------------------------

    def _note_taken(self, session: Session, topic: Topic) -> None:
        self.note(session, topic)
        if session.acks is None and not topic.is_inbox:
            self.strays[session] = None

    def note(self, session: Session, topic: Topic) -> None:
        """`session` has been served entries of `topic`: who is owed word of that gets it."""
        stream = session.stream
        if topic.is_inbox and (session.acks is None or stream is not None):
            self._consumed[session] = topic
        if stream is not None and stream.transport == "sse":
            form = stream.form
            if form == MESSAGES or (form == NUMBERED and topic.is_inbox):
                self._moved[session] = None

    def consumed(self) -> dict[Session, Topic]:
        """The inboxes that have been read since the last call."""
        consumed, self._consumed = self._consumed, {}
        return consumed

    def tell_positions(self) -> bool:
        """Readers of events that have moved are to be told where they stand. False: none have."""
        if not self.telling:
            self.telling, self._moved = self._moved, {}
        return bool(self.telling)


def _owed(session: Session) -> list[tuple[Topic, int]]:
    """Where `session` is behind. What a wider name brought before a narrower one came is older."""
    owed = list((session.behind or {}).items())
    if session.overlaps is not None:
        owed.sort(key=lambda each: rank(each[0].name))
    return owed


def gap_name(topic: str) -> str:
    """What clients call a topic that has a gap: the addresses of inboxes are not shown."""
    return SERVICE_INBOX if is_inbox(topic) else topic


def position_of(session: Session, topic: Topic) -> Cursor | None:
    """How far `session` has been served in `topic`; None while it joins."""
    feed = topic.feed
    if feed is None:
        return None
    served = stands(session, topic)
    if session.acks is not None:
        served = session.acks.position(topic, served)
    return feed.at(served)
