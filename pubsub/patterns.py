"""The patterns that are active in the cluster, as every node knows them.

A home looks here at each append; who adds to it and takes away is
`pubsub.patterns_home` (patterns of this node) and `pubsub.patterns_news`
(those of others).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pubsub.wildcards import covering, is_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.slot import Topic


class Patterns:
    """Active patterns, each with the home that has last vouched for it (b"" for none yet)."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.known: dict[str, NodeId] = {}
        """Hot paths look whether there is any; it is changed by the methods here alone."""
        self._changes = 1
        self.ready = False
        """Whether this node knows all that it has to know before it may be a home."""

    def __len__(self) -> int:
        return len(self.known)

    def __contains__(self, pattern: object) -> bool:
        return pattern in self.known

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def add(self, pattern: str, home: NodeId = b"") -> None:
        """`pattern` is active. `home`: who says so, if that is its home."""
        if pattern not in self.known:
            self._changes += 1
            self.known[pattern] = home
        elif home:
            self.known[pattern] = home

    def drop(self, pattern: str) -> None:
        """Nobody reads `pattern`: what has been forwarded to it need not be known any more."""
        if self.known.pop(pattern, None) is None:
            return
        self._changes += 1
        for slot in self._core.copies.values():
            for topic in (slot.topics or {}).values():
                if topic.marks is not None and topic.marks.pop(pattern, None) is not None:
                    topic.marks = topic.marks or None

    def clear(self) -> None:
        for pattern in list(self.known):
            self.drop(pattern)

    def vouched(self, pattern: str) -> NodeId:
        """The home that has last said that `pattern` is active."""
        return self.known.get(pattern, b"")

    def covering(self, topic: Topic) -> tuple[str, ...]:
        """The active patterns that cover a channel; remembered until the set changes."""
        if topic.patterns_at != self._changes:
            topic.patterns_at = self._changes
            topic.patterns = ()
            if topic.record is None and topic.name[0] == "/" and not is_pattern(topic.name):
                topic.patterns = tuple(p for p in covering(topic.name) if p in self.known)
        return topic.patterns
