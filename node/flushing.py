"""Dirty topics, flushed: the loop that every delivery to a level reader goes through.

A walk of one topic may be put aside between two readers, so that one flush of
many readers does not hold up everything else.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from node.lagging import inbox_form
from node.topic import MESSAGES, Topic, Walk, Wire, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.lagging import Lagging
    from node.lazy import LazyTopics
    from node.session import Session
    from node.stats import Stats
    from node.tracing import Tracer
    from pubsub.messages import Entry

SLICE: Final = 0.005  # seconds of flushing before others get a turn
CLOCK_EVERY: Final = 64  # readers served between looks at the clock


class Flushing:
    """Topics with entries that level readers have not been served."""

    def __init__(
        self,
        stats: Stats,
        lagging: Lagging,
        lazy: LazyTopics,
        answer_poll: Callable[[Session, bytes], None],
        tell_position: Callable[[Session], None],
        tracer: Tracer,
    ) -> None:
        self._tracer = tracer
        self._stats = stats
        self._lagging = lagging
        self._lazy = lazy
        self._answer_poll = answer_poll
        self._tell_position = tell_position
        self._walk: Walk | None = None
        self.dirty: dict[Topic, None] = {}

    def level(self, topic: Topic) -> int:
        """The offset up to which all have been served who are not behind."""
        walk = self._walk
        return walk.wire.after if walk is not None and walk.topic is topic else topic.flushed

    def finish_walk(self) -> None:
        """Serve the rest of a walk that was put aside, so that all its readers stand alike."""
        if self._walk is not None:
            self._walk.topic.walk = None
            self._advance(self._walk, float("inf"))
            self._walk = None

    def end_of_turn(self) -> bool:
        """Flush for at most one slice. True: there is more to do."""
        lagging, telling = self._lagging.waiting, self._lagging.telling
        if not (self.dirty or lagging or self._walk or telling):
            return False
        stop = time.perf_counter() + SLICE
        while self._walk or self.dirty:
            walk = self._walk or self._begin(next(iter(self.dirty)))
            if walk is None:
                continue
            self._walk = walk
            walk.topic.walk = None
            if not self._advance(walk, stop):
                walk.topic.walk = walk
                return True
            self._walk = None
        while lagging or telling:
            if lagging:
                self._lagging.catch_up(lagging.popitem()[0])
            else:
                self._tell_position(telling.popitem()[0])
            if time.perf_counter() > stop:
                break
        return bool(lagging or telling or self.dirty)

    def _begin(self, topic: Topic) -> Walk | None:
        """Start a flush of `topic`; None once nothing in it is new."""
        feed = topic.feed
        if feed is None or not topic.members:
            del self.dirty[topic]
            return None
        entries = read(feed, topic.flushed)
        if not entries:
            del self.dirty[topic]
            return None
        if entries[0].offset > topic.flushed + 1:
            for session in topic.members:
                if session.behind is None or topic not in session.behind:  # (they find out)
                    self._lagging.report_gap(session, topic)
        wire = Wire(topic.flushed, entries)
        topic.flushed = wire.upto
        self._observe(entries, topic)
        if not topic.is_inbox:
            self._lagging.moved[topic] = None
            self._stats.hot_delivered.note(topic.name, len(entries) * len(topic.members))
        if wire.upto >= feed.last.offset:
            del self.dirty[topic]
        return Walk(topic, wire)

    def _observe(self, entries: list[Entry], topic: Topic) -> None:
        readers = len(topic.members)
        if self._tracer:
            self._tracer.delivered(entries, topic.name, readers)
        now = time.time()
        for entry in entries:
            self._stats.delivery_seconds.observe(max(0.0, now - entry.at), readers)

    # The hot loop: a call for each reader is what it does without.
    def _advance(self, walk: Walk, stop: float) -> bool:  # noqa: C901, PLR0912, PLR0915
        """Serve the walk's readers until done (True) or `stop` (perf_counter seconds)."""
        topic, wire, members = walk.topic, walk.wire, walk.members
        delivered = self._stats.delivered
        present, partings = topic.members, walk.partings
        is_inbox = topic.is_inbox
        is_pattern = topic.is_pattern
        lazy = self._lazy.until
        clock = time.perf_counter
        index = walk.index
        end = len(members)
        frames = 0
        try:
            while index < end:
                session = members[index]
                index += 1
                if topic.partings != partings and session not in present:
                    continue
                if session.behind is not None and topic in session.behind:
                    # Another edge, or an answer that went out anyhow, may have brought it
                    # further than the flush was: then it is owed the rest, or level now.
                    ahead = session.behind[topic] >= wire.after
                    if ahead or topic.lazy or session.overlaps is not None:
                        self._lagging.waiting[session] = None
                    continue
                if is_pattern and session.overlaps is not None:
                    session.fall_behind(topic, wire.after)  # (what it gets is its own)
                    self._lagging.waiting[session] = None
                    continue
                stream = session.stream
                if stream is not None:
                    if stream.transport == "websocket":
                        if not stream.offer(wire):
                            session.fall_behind(topic, wire.after)
                            continue
                        frames += 1
                    else:
                        form = inbox_form(stream.form) if is_inbox else stream.form
                        if not stream.offer(wire.chunk(form)):
                            session.fall_behind(topic, wire.after)
                            continue
                        if form == MESSAGES and not is_inbox:
                            self._lagging.note(session, topic)
                        delivered["sse"] += wire.count
                    if lazy and session.topics is not topic.alone:
                        self._lazy.follow(session)
                elif session.poll is not None:
                    if session.acks is not None:
                        session.acks.sent(topic, wire.after, wire.upto)
                    delivered[session.poll.transport] += wire.count
                    self._answer_poll(session, wire.joined)
                else:
                    session.fall_behind(topic, wire.after)
                    continue
                if is_inbox:
                    self._lagging.note(session, topic)
                if not index % CLOCK_EVERY and clock() > stop:
                    walk.index = index
                    return False
            return True
        finally:
            if frames:
                delivered["websocket"] += frames * wire.count
