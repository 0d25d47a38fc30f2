"""What clients have read, told to the homes of their sessions: logs can be dropped, others go on.

A session that acknowledges is told of as far as its client says that it has got,
another as far as has been written to the client. Inboxes and acknowledgements
are told of at once; where the readers of a group stand, a bounded number at a time:
the home needs it only if this node dies, and then the client is told what lies
between once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from node.session import DIRECT
from node.topic import ARRAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from node.cluster.driver import Cluster
    from node.lagging import Lagging
    from node.session import Session
    from node.topic import Topic

READERS: Final = 200  # of groups, told of in one call: they cost a node 1 % of a core, at most


class Consumption:
    """What is still to be told."""

    def __init__(
        self,
        cluster: Cluster,
        topics: dict[str, Topic],
        lagging: Lagging,
        find_session: Callable[[str], Session | None],
        level: Callable[[Topic], int],
    ) -> None:
        """`topics`: those of the hub; an inbox that has been read leaves it.

        `level(topic)`: how far all have been served who are not behind.
        """
        self._level = level
        self._cluster = cluster
        self._topics = topics
        self._lagging = lagging
        self._find_session = find_session
        self.confirmed: dict[Session, None] = {}  # whose clients have acknowledged
        self._topic: Topic | None = None  # whose readers are being told of
        self._readers: list[Session] = []  # those that are left

    def tell(self) -> None:
        """Tell homes how far sessions have read since the last call."""
        for session, topic in self._lagging.consumed().items():
            self._tell_home(session, {topic: (session.behind or {}).get(topic, topic.flushed)})
        confirmed = list(self.confirmed)
        self.confirmed.clear()
        for session in confirmed:
            if session.acks is not None:
                self._tell_home(session, session.acks.take_confirmed())
        self._tell_of_groups()

    def _tell_of_groups(self) -> None:
        """Where readers of groups stand that have moved; `READERS` of them at most."""
        left = READERS
        moved, strays = self._lagging.moved, self._lagging.strays
        while left > 0 and strays:
            session = strays.popitem()[0]
            left -= 1
            self._tell_home(
                session, {topic: self._stand(session, topic) for topic in session.topics}
            )
        while left > 0 and (self._readers or moved):
            if not self._readers:
                self._topic = next(iter(moved))
                del moved[self._topic]
                self._readers = [session for session in self._topic.members if _is_told_of(session)]
            topic, told = self._topic, self._readers[-left:]
            del self._readers[-left:]
            left -= len(told)
            if topic is None:
                continue
            self._tell_of_readers(topic, [each for each in told if each in topic.members])
            if self._level(topic) != topic.flushed:  # in the middle of a flush
                moved[topic] = None
                break

    def _tell_of_readers(self, topic: Topic, readers: list[Session]) -> None:
        """All who are level in one go, because most are."""
        level = []
        for session in readers:
            if topic in (session.behind or ()):
                self._tell_home(session, {topic: self._stand(session, topic)})
            elif self._find_session(session.address) is session:
                level.append((session.address, session.generation))
        if level and topic.feed is not None:
            cursor = topic.feed.at(self._level(topic))
            self._cluster.consumed_alike(level, ((topic.name, cursor),))

    def _stand(self, session: Session, topic: Topic) -> int:
        return (session.behind or {}).get(topic, self._level(topic))

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
            cursors.append((topic.name, feed.at(offset)))
        if cursors:
            self._cluster.consumed(session.address, session.generation, tuple(cursors))


def _is_told_of(session: Session) -> bool:
    """Not who acknowledges, nor who reads events and keeps account of its place itself."""
    stream = session.stream
    if session.acks is not None:
        return False
    return stream is None or stream.transport != "sse" or stream.form == ARRAYS
