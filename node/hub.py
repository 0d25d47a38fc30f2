"""The hub: dirty topics in, flushed connections out.

Nothing is queued per reader. A committed entry marks its topic dirty; at the
end of the reactor's turn each dirty topic is walked once and every level
reader gets the same prebuilt bytes. A reader that cannot take them now (no
poll held, or its socket is full) keeps only an offset, and reads the log from
there when it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from node import overlaps
from node.batching import BatchedTopics
from node.bayeux.messages import connect_reply
from node.consumption import Consumption
from node.flushing import Flushing
from node.http.responses import stream_chunk
from node.lagging import Lagging, gap_name, position_of
from node.lazy import LazyTopics, bring_forward
from node.sse import cursors as event_ids
from node.sse import events
from node.topic import ARRAYS, Topic, stands
from pubsub.messages import Cursor, Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.cluster.driver import Cluster
    from node.http import EventStream
    from node.rules import Rules
    from node.session import Session
    from node.stats import Stats
    from pubsub.feed import Feed
    from pubsub.messages import Joined

log = structlog.get_logger()


class Hub:
    """Topics with local readers.

    `connect_fields(session)` gives the JSON fields (each after a comma) that its
    connect reply carries; `poll_answered(session)` runs after a held one is spent.
    """

    def __init__(
        self,
        cluster: Cluster,
        stats: Stats,
        connect_fields: Callable[[Session], bytes],
        poll_answered: Callable[[Session], None],
        find_session: Callable[[str], Session | None],
        rules: Rules,
        max_lazy: float,
    ) -> None:
        """`max_lazy`: seconds that entries of a lazy channel may wait for others."""
        self._cluster = cluster
        self._stats = stats
        self._connect_fields = connect_fields
        self._poll_answered = poll_answered
        self._find_session = find_session
        self._rules = rules
        self.topics: dict[str, Topic] = {}
        self._lagging = Lagging(stats, self._answer_poll)
        self.lazy = LazyTopics(self.topics, self._lagging, max_lazy)
        self.batched = BatchedTopics()
        self._flushing = Flushing(
            stats,
            self._lagging,
            self.lazy,
            self._answer_poll,
            self._tell_position,
            cluster.tracer,
        )
        self._dirty = self._flushing.dirty
        self.end_of_turn = self._flushing.end_of_turn
        self._consumption = Consumption(
            cluster, self.topics, self._lagging, find_session, self._flushing.level
        )
        self.confirmed = self._consumption.confirmed
        self.tell_consumed = self._consumption.tell
        self.pending = self._lagging.pending
        self.catch_up = self._lagging.catch_up
        self.tell_positions = self._lagging.tell_positions

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
            rule = self._rules.of(channel)
            topic = self.topics[channel] = Topic(channel, lazy=rule.lazy, batch=rule.batch)

        is_new = cursor is None
        if is_new:
            cursor = overlaps.standing(session, channel)

        def joined(result: Joined | Failed) -> None:
            topic.waiting.remove(joined)
            if isinstance(result, Failed):
                self._leave_if_empty(topic)
                on_done(result)
                return
            if topic.feed is None:
                topic.feed = self._cluster.feed(channel)
                topic.flushed = result.cursor.offset
            start = result.cursor
            if is_new:  # meanwhile a pattern may have brought more
                start = max(start, overlaps.standing(session, channel) or start)
            overlaps.begin(session, topic, start if is_new else None)
            self._add(session, topic, start, gap=result.gap)
            on_done(start)

        topic.waiting.append(joined)
        self._cluster.join(channel, cursor, joined)

    def _add(self, session: Session, topic: Topic, start: Cursor, *, gap: bool) -> None:
        if topic not in session.topics:
            session.topics = (*session.topics, topic) if session.topics else topic.alone
            topic.members[session] = None
        if gap:
            self._lagging.report_gap(session, topic)
        feed = topic.feed
        offset = start.offset
        session.level_with(topic)
        if offset != stands(session, topic):
            session.fall_behind(topic, offset)
            self._lagging.waiting[session] = None
        elif feed is not None and feed.last.offset > offset:
            self._dirty[topic] = None

    def leave(self, session: Session, topic: Topic) -> None:
        """`session` reads `topic` no more."""
        overlaps.end(session, topic, position_of(session, topic))
        topic.part(session)
        session.topics = tuple(t for t in session.topics if t is not topic)
        session.level_with(topic)
        self._leave_if_empty(topic)

    def forget(self, session: Session) -> None:
        """The session is over, or has moved away."""
        for topic in session.topics:
            topic.part(session)
            self._leave_if_empty(topic)
        session.topics = ()
        session.behind = None
        self._lagging.forget(session)
        self.confirmed.pop(session, None)
        inbox = self.topics.get(session.address)
        if inbox is not None and session in inbox.members:  # (not another's of this address)
            del self.topics[session.address]

    def _leave_if_empty(self, topic: Topic) -> None:
        if not topic.members and not topic.waiting and self.topics.get(topic.name) is topic:
            del self.topics[topic.name]
            self._dirty.pop(topic, None)
            self.lazy.forget(topic, None)
            self.batched.forget(topic, None)
            self._cluster.leave(topic.name)

    def cursors(self, session: Session) -> tuple[tuple[str, Cursor], ...]:
        """How far `session` has been served, in every topic, right now."""
        self._flushing.finish_walk()
        inbox = self.topics.get(session.address)
        topics = session.topics if inbox is None else (*session.topics, inbox)
        stands = [(topic.name, position_of(session, topic)) for topic in topics]
        return tuple([(name, cursor) for name, cursor in stands if cursor is not None])

    def told(self, session: Session) -> tuple[tuple[str, Cursor], ...]:
        """The same, without topics with a gap that its client has not been told of.

        What a home hears of them would make the gap one that nobody tells of.
        """
        cursors = self.cursors(session)
        if not session.gaps:
            return cursors
        return tuple([(name, at) for name, at in cursors if gap_name(name) not in session.gaps])

    # -- what the cluster tells -------------------------------------------------

    def mark(self, feed: Feed, depth: int) -> None:
        """`feed` has new entries: flush its readers at the end of the turn."""
        topic = self.topics.get(feed.topic)
        if topic is None or topic.feed is not feed:
            topic = self._adopt(feed, topic)
            if topic is None:
                return
        if topic.lazy and topic not in self._dirty:
            self.lazy.put_off(topic)
        elif topic.batch and topic not in self._dirty:
            self.batched.put_off(topic)
        else:
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
        topic.walk = None  # (it goes on, in offsets of the old feed)
        for session in topic.members:
            session.level_with(topic)
            if session.acks is not None:
                session.acks.forget(topic)
            self._lagging.report_gap(session, topic)

    def at_once(self, session: Session, transport: str) -> bytes:
        """What `session` is owed, with what the next flush would bring it.

        For a response that goes out anyhow, so that its held poll need not be
        woken. Comma-separated JSON objects.
        """
        if not (self._dirty or session.behind is not None or self.lazy.until):
            return b""  # the common case
        bring_forward(session, self.topics, self._dirty)
        owed = self.pending(session, transport, ahead=True)
        return self.lazy.join(session, transport, owed)

    # -- lazy channels ------------------------------------------------------------

    def flush_lazy(self, now: float) -> bool:
        """What has waited long enough is flushed at the end of the turn. False: nothing has."""
        due = self.lazy.due(now)
        self._dirty.update(dict.fromkeys(due))
        return bool(due)

    def flush_batched(self, now: float) -> bool:
        """The same for what waited for more."""
        due = self.batched.due(now)
        self._dirty.update(dict.fromkeys(due))
        return bool(due)

    def rules_changed(self) -> None:
        """Channels may be lazy or batched that were not, and the other way round."""
        for topic in self.topics.values():
            if topic.is_inbox:
                continue
            rule = self._rules.of(topic.name)
            topic.lazy, topic.batch = rule.lazy, rule.batch
            if not topic.lazy and self.lazy.forget(topic, None) is not None:
                self._dirty[topic] = None
            if not topic.batch and self.batched.forget(topic, None) is not None:
                self._dirty[topic] = None

    # -- polls ------------------------------------------------------------------

    def _answer_poll(self, session: Session, joined: bytes, fields: bytes | None = None) -> None:
        """Answer the held connect with `joined` (JSON objects, comma-separated; may be empty)."""
        if self.lazy.until:
            sink = session.poll or session.stream
            if sink is not None:
                joined = self.lazy.join(session, sink.transport, joined)
        if fields is None:
            fields = self._connect_fields(session)
        reply = connect_reply(session.connect_id or b"", fields)
        body = b"[%b,%b]" % (joined, reply) if joined else b"[%b]" % reply
        poll, session.poll, session.connect_id = session.poll, None, None
        if poll is not None:
            self._stats.held_polls -= poll.transport != "websocket"
            poll.respond_json(body)
        elif session.stream is not None and session.stream.transport == "websocket":
            session.stream.send_text(body)
        self._poll_answered(session)

    def release_poll(self, session: Session, fields: bytes | None = None) -> None:
        """Answer the held poll, if any, with nothing but its reply.

        `fields`: JSON that it carries instead of what is due (each after a comma).
        """
        if session.poll is not None:
            self._answer_poll(session, b"", fields)

    # -- where readers of events stand ------------------------------------------------

    def _tell_position(self, session: Session) -> None:
        stream = session.stream
        if stream is None or stream.transport != "sse" or not stream.writable:
            return  # (a full one has lost nothing: it is behind, and will move)
        if stream.form != ARRAYS:
            stream.send_chunk(stream_chunk(events.position(self.position_id(session, stream))))

    def position_id(self, session: Session, stream: EventStream) -> bytes:
        """Where the reader of `stream` stands, as an event id."""
        reader = stream.reader
        return event_ids.position_id(reader.session, reader.channels, dict(self.cursors(session)))
