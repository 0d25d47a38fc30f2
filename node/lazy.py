"""Lazy channels: deliveries that wait for others to go with.

Entries of a lazy channel wake nobody. They go with the next message of another
channel, with any response that goes out anyhow, or after `max_lazy_timeout`
(CometD's semantics). There is no queue: the topic is merely not flushed yet,
and a reader that is served before is ahead of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from node.topic import stands

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.lagging import Lagging
    from node.session import Session
    from node.topic import Topic


def bring_forward(
    session: Session, topics: Mapping[str, Topic], marked: Mapping[Topic, object]
) -> None:
    """Owe `session` now what the `marked` among its `topics` would bring it later."""
    inbox = topics.get(session.address)
    mine = session.topics if inbox is None else (*session.topics, inbox)
    for topic in mine if len(mine) < len(marked) else marked:
        if topic in marked and session in topic.members and topic.feed is not None:
            session.fall_behind(topic, stands(session, topic))


class LazyTopics:
    """The lazy topics with entries that wait."""

    def __init__(self, topics: Mapping[str, Topic], lagging: Lagging, max_lazy: float) -> None:
        """`max_lazy`: seconds that entries may wait."""
        self._topics = topics
        self._lagging = lagging
        self._max_lazy = max_lazy
        self.until: dict[Topic, float] = {}
        self.forget = self.until.pop

    def put_off(self, topic: Topic) -> None:
        """`topic` has new entries: they may wait."""
        self.until.setdefault(topic, trio.current_time() + self._max_lazy)

    def join(self, session: Session, transport: str, joined: bytes) -> bytes:
        """`joined` (JSON objects, comma-separated) and what waited for a response to `session`."""
        if not self.until:
            return joined
        bring_forward(session, self._topics, self.until)
        more = self._lagging.pending(session, transport, ahead=True)
        return b"%b,%b" % (joined, more) if joined and more else joined or more

    def follow(self, session: Session) -> None:
        """Something has gone out on the stream of `session`: what waited for that follows."""
        if self.until:
            bring_forward(session, self._topics, self.until)
            self._lagging.catch_up(session, ahead=True)

    def due(self, now: float) -> list[Topic]:
        """Topics whose entries have waited long enough: they wait no more."""
        due = [topic for topic, until in self.until.items() if until <= now]
        for topic in due:
            del self.until[topic]
        return due
