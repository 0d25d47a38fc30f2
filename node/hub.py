"""The hub: dirty topics in, flushed connections out.

Nothing is queued per reader. A committed entry marks its topic dirty; at the
end of the reactor's turn each dirty topic is walked once and every level
reader gets the same prebuilt bytes. A reader that cannot take them now (no
poll held, or its socket is full) keeps only an offset, and reads the log from
there when it can.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from node.bayeux.channels import SERVICE_INBOX
from node.bayeux.messages import connect_reply, quote
from node.topic import Topic, Wire
from pubsub.messages import Cursor, Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.cluster.driver import Cluster
    from node.session import Session
    from node.stats import Stats
    from pubsub.feed import Feed
    from pubsub.messages import Entry, Joined

log = structlog.get_logger()

SLICE = 0.005  # seconds of flushing before others get a turn
CLOCK_EVERY = 64  # readers served between looks at the clock
BATCH_ENTRIES = 1_000  # entries in one response or frame
BATCH_BYTES = 256 * 1024


class _Walk:
    """One topic's flush in progress, so that a long one can be put aside."""

    __slots__ = ("index", "members", "topic", "wire")

    def __init__(self, topic: Topic, wire: Wire) -> None:
        self.topic = topic
        self.wire = wire
        self.members = list(topic.members)
        self.index = 0


class Hub:
    """Topics with local readers. `poll_answered(session)` runs after a held poll is spent."""

    def __init__(
        self,
        cluster: Cluster,
        stats: Stats,
        poll_answered: Callable[[Session], None],
        find_session: Callable[[str], Session | None],
    ) -> None:
        self._cluster = cluster
        self._stats = stats
        self._poll_answered = poll_answered
        self._find_session = find_session
        self.topics: dict[str, Topic] = {}
        self._dirty: dict[Topic, None] = {}
        self._lagging: dict[Session, None] = {}
        self._walk: _Walk | None = None
        self._consumed: dict[Session, Topic] = {}

    # -- membership -----------------------------------------------------------

    def join(
        self,
        session: Session,
        channel: str,
        cursor: Cursor | None,
        on_done: Callable[[Cursor | Failed], None],
    ) -> None:
        """Make `session` a reader of `channel` after `cursor` (None: from now on).

        `on_done` gets the position from which it reads, or the failure.
        """
        topic = self.topics.get(channel)
        if topic is None:
            topic = self.topics[channel] = Topic(channel)

        def joined(result: Joined | Failed) -> None:
            topic.waiting.remove(joined)
            if isinstance(result, Failed):
                self._leave_if_empty(topic)
                on_done(result)
                return
            if topic.feed is None:
                topic.feed = self._cluster.feed(channel)
                topic.flushed = result.cursor.offset
            self._add(session, topic, result)
            on_done(result.cursor)

        topic.waiting.append(joined)
        self._cluster.join(channel, cursor, joined)

    def _add(self, session: Session, topic: Topic, result: Joined) -> None:
        if topic not in session.topics:
            session.topics = (*session.topics, topic) if session.topics else topic.alone
            topic.members[session] = None
        if result.gap:
            self._report_gap(session, topic)
        feed = topic.feed
        offset = result.cursor.offset
        if offset != topic.flushed:
            session.fall_behind(topic, offset)
            self._lagging[session] = None
        elif feed is not None and feed.last.offset > offset:
            self._dirty[topic] = None

    def leave(self, session: Session, topic: Topic) -> None:
        """`session` reads `topic` no more."""
        topic.members.pop(session, None)
        session.topics = tuple(t for t in session.topics if t is not topic)
        session.level_with(topic)
        self._leave_if_empty(topic)

    def forget(self, session: Session) -> None:
        """The session is over, or has moved away."""
        for topic in session.topics:
            topic.members.pop(session, None)
            self._leave_if_empty(topic)
        session.topics = ()
        session.behind = None
        self._lagging.pop(session, None)
        self._consumed.pop(session, None)
        self.topics.pop(session.address, None)

    def _leave_if_empty(self, topic: Topic) -> None:
        if not topic.members and not topic.waiting and self.topics.get(topic.name) is topic:
            del self.topics[topic.name]
            self._dirty.pop(topic, None)
            self._cluster.leave(topic.name)

    def cursors(self, session: Session) -> tuple[tuple[str, Cursor], ...]:
        """How far `session` has been served, in every topic, right now."""
        if self._walk is not None:
            self._advance(self._walk, float("inf"))
            self._walk = None
        behind = session.behind or {}
        inbox = self.topics.get(session.address)
        topics = session.topics if inbox is None else (*session.topics, inbox)
        return tuple(
            (topic.name, Cursor(topic.feed.last.epoch, behind.get(topic, topic.flushed)))
            for topic in topics
            if topic.feed is not None
        )

    # -- what the cluster tells -------------------------------------------------

    def mark(self, feed: Feed, depth: int) -> None:
        """`feed` has new entries: flush its readers at the end of the turn."""
        topic = self.topics.get(feed.topic)
        if topic is None or topic.feed is not feed:
            topic = self._adopt(feed, topic)
            if topic is None:
                return
        self._dirty[topic] = None
        newest = feed.log.after(feed.last.offset - 1, 1)
        if newest:
            hops = newest[0].hops + depth
            is_group = feed.topic.startswith("/")
            (self._stats.group_hops if is_group else self._stats.direct_hops).observe(hops)

    def _adopt(self, feed: Feed, topic: Topic | None) -> Topic | None:
        """Bind a feed to its topic: an inbox is made when its first message comes."""
        if topic is None:
            session = self._find_session(feed.topic)
            if session is None:
                return None
            topic = self.topics[feed.topic] = Topic(feed.topic)
            topic.members[session] = None
            topic.flushed = feed.origin.offset
        elif topic.feed is None:
            return None  # still joining: `joined` binds it and looks again
        else:
            topic.flushed = max(topic.flushed, feed.origin.offset)
        topic.feed = feed
        return topic

    def reset(self, feed: Feed) -> None:
        """Entries between the old and the new `last` of `feed` are lost: report it."""
        topic = self.topics.get(feed.topic)
        if topic is None:
            topic = self._adopt(feed, None)
            if topic is None:
                return
        topic.feed = feed
        topic.flushed = feed.origin.offset
        for session in topic.members:
            session.level_with(topic)
            self._report_gap(session, topic)

    def _report_gap(self, session: Session, topic: Topic) -> None:
        channel = topic.name if topic.name.startswith("/") else SERVICE_INBOX
        if channel not in session.gaps:
            session.gaps = (*session.gaps, channel)
        self._stats.gaps_reported += 1
        self._lagging[session] = None

    # -- flushing ---------------------------------------------------------------

    def end_of_turn(self) -> bool:
        """Flush for at most one slice. True: there is more to do."""
        if not (self._dirty or self._lagging or self._walk):
            return False
        stop = time.perf_counter() + SLICE
        while self._walk or self._dirty:
            walk = self._walk or self._begin(next(iter(self._dirty)))
            if walk is None:
                continue
            self._walk = walk
            if not self._advance(walk, stop):
                return True
            self._walk = None
        while self._lagging:
            session, _ = self._lagging.popitem()
            self.catch_up(session)
            if time.perf_counter() > stop:
                break
        return bool(self._lagging or self._dirty)

    def _begin(self, topic: Topic) -> _Walk | None:
        """Start a flush of `topic`; None once nothing in it is new."""
        feed = topic.feed
        if feed is None or not topic.members:
            del self._dirty[topic]
            return None
        entries = self._read(feed, topic.flushed)
        if not entries:
            del self._dirty[topic]
            return None
        if entries[0].offset > topic.flushed + 1:
            for session in topic.members:
                self._report_gap(session, topic)
        wire = Wire(topic.flushed, entries)
        topic.flushed = wire.upto
        self._observe(entries, len(topic.members))
        if wire.upto >= feed.last.offset:
            del self._dirty[topic]
        return _Walk(topic, wire)

    @staticmethod
    def _read(feed: Feed, after: int) -> list[Entry]:
        entries = feed.log.after(after, BATCH_ENTRIES)
        size = 0
        for index, entry in enumerate(entries):
            size += len(entry.payload)
            if size > BATCH_BYTES and index:
                return entries[:index]
        return entries

    def _observe(self, entries: list[Entry], readers: int) -> None:
        now = time.time()
        for entry in entries:
            self._stats.delivery_seconds.observe(max(0.0, now - entry.at), readers)

    def _advance(self, walk: _Walk, stop: float) -> bool:
        """Serve the walk's readers until done (True) or `stop` (perf_counter seconds)."""
        topic, wire, members = walk.topic, walk.wire, walk.members
        delivered = self._stats.delivered
        present = topic.members
        is_inbox = not topic.name.startswith("/")
        clock = time.perf_counter
        index = walk.index
        end = len(members)
        while index < end:
            session = members[index]
            index += 1
            if session not in present or (session.behind is not None and topic in session.behind):
                continue
            stream = session.stream
            if stream is not None:
                if not stream.writable:
                    session.fall_behind(topic, wire.after)
                    continue
                stream.send_wire(wire)
                delivered["websocket"] += wire.count
            elif session.poll is not None:
                self._answer_poll(session, wire.joined)
                delivered["long-polling"] += wire.count
            else:
                session.fall_behind(topic, wire.after)
                continue
            if is_inbox:
                self._consumed[session] = topic
            if not index % CLOCK_EVERY and clock() > stop:
                walk.index = index
                return False
        return True

    def _answer_poll(self, session: Session, joined: bytes, fields: bytes = b"") -> None:
        """Spend the held poll on `joined` (JSON objects, comma-separated; may be empty)."""
        poll = session.poll
        if poll is None:
            return
        session.poll = None
        reply = connect_reply(session.connect_id or b"", self.gap_notice(session) + fields)
        session.connect_id = None
        poll.respond_json(b"[%b,%b]" % (joined, reply) if joined else b"[%b]" % reply)
        self._poll_answered(session)

    def release_poll(self, session: Session, fields: bytes = b"") -> None:
        """Answer the held poll, if any, with nothing but its reply and extra JSON `fields`."""
        self._answer_poll(session, b"", fields)

    @staticmethod
    def gap_notice(session: Session) -> bytes:
        """JSON fields that tell the client of gaps; empty where there are none."""
        if not session.gaps:
            return b""
        names = b",".join(quote(channel) for channel in session.gaps)
        session.gaps = ()
        return b',"ext":{"gaps":[%b]}' % names

    # -- readers that lag ---------------------------------------------------------

    def pending(self, session: Session) -> bytes:
        """Entries that `session` has not been served, up to a batch; it counts as served.

        Comma-separated JSON objects; empty where it is level.
        """
        if session.behind is None:
            return b""
        parts: list[bytes] = []
        size = 0
        for topic, offset in list(session.behind.items()):
            feed = topic.feed
            if feed is None or offset > topic.flushed:
                continue  # it joined ahead of the flush; the flush will pass it
            if not feed.log.covers(offset):
                self._report_gap(session, topic)
                offset = max(offset, feed.log.first - 1)  # noqa: PLW2901
            entries = [e for e in self._read(feed, offset) if e.offset <= topic.flushed]
            upto = entries[-1].offset if entries else offset
            if upto >= topic.flushed:
                session.level_with(topic)
            else:
                session.behind[topic] = upto
            if entries:
                parts.extend(entry.payload for entry in entries)
                size += sum(len(entry.payload) for entry in entries)
                if not topic.name.startswith("/"):
                    self._consumed[session] = topic
            if size > BATCH_BYTES:
                break
        if parts:
            self._stats.delivered["websocket" if session.stream else "long-polling"] += len(parts)
        return b",".join(parts)

    def catch_up(self, session: Session) -> None:
        """Serve a lagging session as much as its connection takes now."""
        stream = session.stream
        if stream is None:
            if session.poll is not None and (session.behind or session.gaps):
                joined = self.pending(session)
                if joined or session.gaps:
                    self._answer_poll(session, joined)
            return
        while session.behind is not None and stream.writable and session.stream is stream:
            joined = self.pending(session)
            if not joined:
                break
            stream.send_text(b"[%b]" % joined)
        if session.gaps and session.connect_id is not None and stream.writable:
            reply = connect_reply(session.connect_id, self.gap_notice(session))
            session.connect_id = None
            stream.send_text(b"[%b]" % reply)
            self._poll_answered(session)

    # -- what has been read ---------------------------------------------------------

    def tell_consumed(self) -> None:
        """Tell homes how far inboxes have been read, so that their logs can be dropped."""
        consumed, self._consumed = self._consumed, {}
        for session, topic in consumed.items():
            feed = topic.feed
            if feed is None or self._find_session(session.address) is not session:
                continue
            served = (session.behind or {}).get(topic, topic.flushed)
            if served >= feed.last.offset:
                self.topics.pop(topic.name, None)
            cursor = Cursor(feed.last.epoch, served)
            self._cluster.consumed(session.address, session.generation, ((topic.name, cursor),))
