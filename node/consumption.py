"""What clients have read, told to the homes of their sessions: logs can be dropped, others go on.

Of most sessions only the inbox is told of, for nobody else reads it, as far as
it has been written to the client; of those that acknowledge every topic, as far
as the client says that it has got.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.session import DIRECT
from pubsub.messages import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from node.cluster.driver import Cluster
    from node.lagging import Lagging
    from node.session import Session
    from node.topic import Topic


class Consumption:
    """What is still to be told."""

    def __init__(
        self,
        cluster: Cluster,
        topics: dict[str, Topic],
        lagging: Lagging,
        find_session: Callable[[str], Session | None],
    ) -> None:
        """`topics`: those of the hub; an inbox that has been read leaves it."""
        self._cluster = cluster
        self._topics = topics
        self._lagging = lagging
        self._find_session = find_session
        self.confirmed: dict[Session, None] = {}  # whose clients have acknowledged

    def tell(self) -> None:
        """Tell homes how far sessions have read since the last call."""
        for session, topic in self._lagging.consumed().items():
            self._tell_home(session, {topic: (session.behind or {}).get(topic, topic.flushed)})
        confirmed = list(self.confirmed)
        self.confirmed.clear()
        for session in confirmed:
            if session.acks is not None:
                self._tell_home(session, session.acks.take_confirmed())

    def _tell_home(self, session: Session, read_upto: Mapping[Topic, int]) -> None:
        if self._find_session(session.address) is not session:
            return
        cursors = []
        for topic, offset in read_upto.items():
            feed = topic.feed
            if feed is None:
                continue
            if topic.is_inbox:
                if offset >= feed.last.offset:
                    self._topics.pop(topic.name, None)
                if session.notes is not None:
                    session.notes[DIRECT] = offset
            cursors.append((topic.name, Cursor(feed.last.epoch, offset)))
        if cursors:
            self._cluster.consumed(session.address, session.generation, tuple(cursors))
