"""Local readers of topics: their requests to join, answered now or later.

A reader is answered with the position from which the feed's log serves it.
While the feed has not joined, or its log has to be deepened first, the request
waits in `Feed.waiting`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from pubsub.effects import Answer
from pubsub.errors import Code
from pubsub.feed import resume
from pubsub.messages import Cursor, Failed, Joined

if TYPE_CHECKING:
    from dht.effects import Effect
    from pubsub.core import Core
    from pubsub.feed import Feed
    from pubsub.repair import Repair
    from pubsub.tree import Tree


class Readers:
    """The join requests of this node's own readers."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.tree: Tree
        self.repair: Repair
        self._joins: dict[int, tuple[str, float]] = {}  # request: topic, deadline; oldest first

    def __len__(self) -> int:
        return len(self._joins)

    def join(
        self, request: int, topic: str, cursor: Cursor | None, now: float, out: list[Effect]
    ) -> None:
        """A local reader comes. Answered at once where the feed's log will do."""
        feed = None
        if len(self._joins) < self._core.limits.pending:
            feed = self._core.feeds.get(topic) or self.tree.begin(topic, cursor, now, out)
        if feed is None:
            out.append(Answer(request, Failed(request, Code.OVERLOADED)))
            return
        self._joins[request] = (topic, now + self._core.limits.request_seconds)
        if feed.lineage:
            self.answer(feed, request, cursor, now, out)
        else:
            self.tree.wait(feed, request, cursor)

    def leave(self, topic: str, out: list[Effect]) -> None:
        """The last local reader has gone. Requests that still wait are not affected."""
        feed = self._core.feeds.get(topic)
        if feed is not None:
            feed.readers = False
            self.tree.prune(feed, out)

    def answer(
        self, feed: Feed, request: int, cursor: Cursor | None, now: float, out: list[Effect]
    ) -> None:
        """Answer from the feed's log, or ask the home for what it lacks."""
        if cursor is None:
            self._admit(feed, request, feed.last, out, gap=False)
            return
        start = resume(feed.log, feed.last, feed.lineage, cursor)
        is_root = feed.parent is None and feed.joined
        if start is cursor or is_root or cursor.epoch < feed.lineage:
            self._admit(feed, request, start, out, gap=start is not cursor)
        elif feed.parent is None:
            self.tree.wait(feed, request, cursor)  # the slot's own log is on its way here
        elif cursor.offset >= feed.log.first - 1:
            # Ahead of this node, if only by its epoch: what follows it will come.
            self._admit(feed, request, cursor, out, gap=False)
        else:
            self.tree.wait(feed, request, cursor)
            self.repair.deepen(feed, cursor, now, out)

    def deepened(
        self, feed: Feed, lost_before: Cursor | None, now: float, out: list[Effect]
    ) -> None:
        """The log goes as far back as the home's now, or as far as was asked."""
        waiting, feed.waiting = feed.waiting, None
        for who, cursor in waiting or ():
            if not isinstance(who, int):
                self.tree.wait(feed, who, cursor)
            elif (
                cursor is not None
                and lost_before is not None
                # (one of an epoch that nobody knows is of no ring's making)
                and (cursor < lost_before or cursor.epoch > feed.last.epoch)
            ):
                start = resume(feed.log, feed.last, feed.lineage, cursor)
                self._admit(feed, who, start, out, gap=start is not cursor)
            else:
                self.answer(feed, who, cursor, now, out)

    def _admit(
        self, feed: Feed, request: int, start: Cursor, out: list[Effect], *, gap: bool
    ) -> None:
        feed.readers = True
        self._joins.pop(request, None)
        out.append(Answer(request, Joined(feed.topic, start, gap, feed.lineage, feed.depth)))

    def next_deadline(self) -> float:
        first = next(iter(self._joins.values()), None)
        return inf if first is None else first[1]

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        """Requests that have waited too long fail; a feed that only they wanted goes."""
        while self._joins:
            request, (topic, deadline) = next(iter(self._joins.items()))
            if deadline > now:
                return
            del self._joins[request]
            out.append(Answer(request, Failed(request, Code.UNAVAILABLE)))
            feed = self._core.feeds.get(topic)
            if feed is not None:
                self.tree.stop_waiting(feed, request)
                self.tree.prune(feed, out)
