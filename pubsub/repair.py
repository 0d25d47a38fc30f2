"""Entries that a node's parent does not hold are asked of the home.

Two needs: a hole after the feed's last entry is filled forward, and a log that
begins too late for a returning reader is deepened. The home answers in
batches, which end where it holds no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pubsub.flow import following
from pubsub.messages import Cursor, Entry, Fetch, Fetched

if TYPE_CHECKING:
    from dht.effects import Effect
    from pubsub.core import Core
    from pubsub.feed import Feed
    from pubsub.flow import Flow
    from pubsub.messages import Failed
    from pubsub.readers import Readers
    from pubsub.requests import Requests
    from pubsub.tree import Tree


class _Fetching:
    """One question to the home. `older` gathers what is to stand before the log, else None."""

    __slots__ = ("asked", "lost_before", "older", "request")

    def __init__(self, request: int, cursor: Cursor, older: list[Entry] | None) -> None:
        self.request = request
        self.asked = cursor
        self.lost_before: Cursor | None = None  # the home holds nothing that is older
        self.older = older


class Repair:
    """At most one question a topic is under way."""

    def __init__(self, core: Core, requests: Requests, flow: Flow) -> None:
        self._core = core
        self._requests = requests
        self._flow = flow
        self.tree: Tree
        self.readers: Readers
        self._fetching: dict[str, _Fetching] = {}

    def fill(self, feed: Feed, now: float, out: list[Effect]) -> None:
        """Ask for what follows the feed's last entry; then the feed joins again."""
        self._ask(feed.topic, _Fetching(self._requests.internal(), feed.last, None), now, out)

    def deepen(self, feed: Feed, cursor: Cursor, now: float, out: list[Effect]) -> None:
        """Ask for what lies between `cursor` and the feed's log; then waiting readers are told."""
        self._ask(feed.topic, _Fetching(self._requests.internal(), cursor, []), now, out)

    def abandon(self, topic: str) -> None:
        """The feed has gone, or gets its entries otherwise; an answer will be ignored."""
        self._fetching.pop(topic, None)

    def _ask(self, topic: str, fetching: _Fetching, now: float, out: list[Effect]) -> None:
        if topic in self._fetching:
            return  # who waits is looked at again after its answer
        self._fetching[topic] = fetching
        message = Fetch(fetching.request, topic, fetching.asked)
        if not self._requests.submit(fetching.request, topic, message, now, out):
            self._fetching.pop(topic, None)

    def answered(
        self, topic: str, message: Fetched | Failed, now: float, out: list[Effect]
    ) -> None:
        """The home has answered, or could not for as long as requests last."""
        fetching = self._fetching.get(topic)
        if fetching is None or fetching.request != message.request:
            return
        del self._fetching[topic]
        feed = self._core.feeds.get(topic)
        if feed is None:
            return
        if not isinstance(message, Fetched):
            self.tree.rejoin(feed, now, out)
        elif fetching.older is None:
            self._filled(feed, message, now, out)
        else:
            self._deepened(feed, fetching, fetching.older, message, (now, out))

    def _filled(self, feed: Feed, message: Fetched, now: float, out: list[Effect]) -> None:
        lost = message.cursor.offset > feed.last.offset and message.cursor > feed.last
        if message.lineage > feed.last.epoch or lost:
            self.tree.reset(feed, message.cursor, message.lineage, out)
        entries = following(feed.last, message.entries) if message.entries else ()
        if entries:
            self._flow.take(feed, entries, now, out)
        self.tree.rejoin(feed, now, out)

    def _deepened(
        self,
        feed: Feed,
        fetching: _Fetching,
        older: list[Entry],
        message: Fetched,
        then: tuple[float, list[Effect]],
    ) -> None:
        now, out = then
        if message.lineage > feed.last.epoch:
            return  # the feed itself is about to be reset, and then answers who waits
        if message.cursor != fetching.asked:
            older.clear()
            fetching.lost_before = message.cursor
        older.extend(entry for entry in message.entries if entry.offset < feed.log.first)
        if message.entries and message.entries[-1].offset + 1 < feed.log.first:
            last = message.entries[-1]
            fetching.request = self._requests.internal()
            fetching.asked = Cursor(last.epoch, last.offset)
            self._ask(feed.topic, fetching, now, out)
            return
        if older and older[-1].offset == feed.log.first - 1:
            feed.log.prepend(older)
        self.readers.deepened(feed, fetching.lost_before, now, out)
