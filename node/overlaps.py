"""One copy a message for a session whose subscriptions overlap.

The same message comes in the log of its channel and in that of every pattern
which covers it. A session is served by one of those that it reads: the exact
name, else the longest pattern. That rule needs no memory and holds on every
edge. For a while after a subscription has come or gone, what is under way in
the other logs is sorted out by its position in the channel.

Only sessions that read a pattern and something else have one of these.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from node.topic import stands
from pubsub.messages import Cursor
from pubsub.wildcards import covering, covers, is_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from node.session import Session
    from node.topic import Topic
    from pubsub.messages import Entry, Source

SEAM: Final = 30.0  # seconds; longer than anything is on its way to a pattern
_LOOK_BACK: Final = 1_000  # entries of a log that are looked through when subscriptions change
_CHANNELS: Final = 1_000  # channels whose seams one subscription remembers
_START: Final = Cursor(0, 0)


class _Seam:
    """Where a new subscription took over from those that it is preferred to, by channel."""

    __slots__ = ("lower", "taken", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.taken: dict[str, Cursor] = {}  # the first position that it serves
        self.lower: dict[str, Cursor] = {}  # the last one that another has served


class Overlaps:
    """The subscriptions of one session, and who of them serves a message."""

    __slots__ = ("_floors", "_floors_until", "_seams", "names")

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)
        self._seams: dict[str, _Seam] = {}
        self._floors: dict[str, Cursor] = {}  # by channel: what a subscription now gone has served
        self._floors_until = 0.0

    def add(self, name: str, start: Cursor | None) -> None:
        """A subscription. `start`: where a new one begins; None for one that goes on."""
        self.names.add(name)
        if start is None or self.names.isdisjoint(covering(name)):
            return
        seam = self._seams[name] = _Seam(time.perf_counter() + SEAM)
        if not is_pattern(name):
            seam.taken[name] = Cursor(start.epoch, start.offset + 1)

    def remove(self, name: str, floors: dict[str, Cursor]) -> None:
        """It is gone, and had served channels up to `floors`."""
        self.names.discard(name)
        self._seams.pop(name, None)
        if floors:
            self._floors.update(floors)
            self._floors_until = time.perf_counter() + SEAM

    def filter(self, pattern: str, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Those of `entries` that the session gets through `pattern`. They count as served."""
        if self._floors or self._seams:
            self._expire(time.perf_counter())
        return [e for e in entries if e.source is None or self._serves(pattern, e.source)]

    def _expire(self, now: float) -> None:
        if self._floors and self._floors_until <= now:
            self._floors = {}
        for name in [name for name, seam in self._seams.items() if seam.until <= now]:
            del self._seams[name]

    def _serves(self, pattern: str, source: Source) -> bool:
        channel = source.topic
        at = Cursor(source.epoch, source.offset)
        if self._floors and at <= self._floors.get(channel, _START):
            return False
        preferred = self._give_way(pattern, channel, at)
        if preferred is None:
            return False
        for seam in preferred:
            _note(seam.lower, channel, at)
        own = self._seams.get(pattern)
        if own is None:
            return True
        if at <= own.lower.get(channel, _START):
            return False
        if channel not in own.taken:
            _note(own.taken, channel, at)
        return True

    def _give_way(self, pattern: str, channel: str, at: Cursor) -> list[_Seam] | None:
        """None: a subscription that is preferred to `pattern` serves the message.

        Otherwise the seams of those that are, and have not taken over yet.
        """
        preferred = []
        for name in (channel, *covering(channel)):
            if name == pattern:
                break
            if name in self.names:
                seam = self._seams.get(name)
                if seam is None:
                    return None
                taken = seam.taken.get(channel)
                if taken is not None and at >= taken:
                    return None
                preferred.append(seam)
        return preferred


def _note(marks: dict[str, Cursor], channel: str, at: Cursor) -> None:
    if channel not in marks and len(marks) >= _CHANNELS:
        del marks[next(iter(marks))]
    marks[channel] = at


# -- as subscriptions come and go -----------------------------------------------------


def begin(session: Session, topic: Topic, start: Cursor | None) -> None:
    """`session` is about to read `topic` too; `start` as in `Overlaps.add`."""
    overlaps = session.overlaps
    if overlaps is None:
        held = session.topics
        if not held or topic in held:
            return
        if not (topic.is_pattern or (len(held) == 1 and held[0].is_pattern)):
            return
        overlaps = session.overlaps = Overlaps(other.name for other in held)
    overlaps.add(topic.name, start)


def end(session: Session, topic: Topic, stands: Cursor | None) -> None:
    """`session` reads `topic` no more, and had been served up to `stands`."""
    overlaps = session.overlaps
    if overlaps is None:
        return
    floors: dict[str, Cursor] = {}
    if stands is not None and topic.is_pattern:
        for entry in _before(topic, stands):
            if entry.source is not None:
                floors[entry.source.topic] = Cursor(entry.source.epoch, entry.source.offset)
    elif stands is not None:
        floors[topic.name] = stands
    overlaps.remove(topic.name, floors)


def standing(session: Session, channel: str) -> Cursor | None:
    """How far a pattern has brought `session` in `channel`, if that is known."""
    if is_pattern(channel):
        return None
    for topic in session.topics:
        if topic.is_pattern and covers(topic.name, channel) and topic.feed is not None:
            for entry in reversed(_before(topic, Cursor(0, stands(session, topic)))):
                source = entry.source
                if source is not None and source.topic == channel:
                    return Cursor(source.epoch, source.offset)
    return None


def _before(topic: Topic, stands: Cursor) -> list[Entry]:
    """The last entries of a topic up to a position."""
    if topic.feed is None:
        return []
    start = max(0, stands.offset - _LOOK_BACK)
    entries = topic.feed.log.after(start, _LOOK_BACK)
    return [entry for entry in entries if entry.offset <= stands.offset]
