"""Channels whose flush waits a moment for more (the rule `batch`).

What comes within that time goes out together: one frame, one response, one
system call a reader. There is no queue: the topic is merely not flushed yet.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from node.topic import Topic

GRAIN: Final = 0.002  # seconds: topics that are due so close together are flushed together


class BatchedTopics:
    """The topics whose flush waits, and until when."""

    def __init__(self) -> None:
        self.until: dict[Topic, float] = {}  # seconds on the trio clock
        self.forget = self.until.pop
        self._next = inf  # what `wait_due` waits for
        self._sooner = trio.Event()

    def put_off(self, topic: Topic) -> None:
        """`topic` has new entries: they wait for others, but no longer than the first may."""
        if topic not in self.until:
            until = self.until[topic] = trio.current_time() + topic.batch
            if until < self._next:
                self._sooner.set()

    def due(self, now: float) -> list[Topic]:
        """Topics that wait no more at `now` (seconds, trio clock)."""
        due = [topic for topic, until in self.until.items() if until <= now]
        for topic in due:
            del self.until[topic]
        return due

    async def wait_due(self) -> None:
        """Return when the first of them is due, or one comes that is due sooner."""
        self._next = min(self.until.values(), default=inf)
        self._sooner = trio.Event()
        with trio.move_on_at(self._next + GRAIN):
            await self._sooner.wait()
