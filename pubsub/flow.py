"""Entries on their way down a tree: kept, passed on, trimmed, missed.

A node takes a topic's entries contiguously. What it has already is trimmed;
what does not follow its last entry makes it join again from there. After
traffic stops the parent says once how far it has come, or the loss of the very
last entry would go unseen.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dht.effects import Send
from pubsub.effects import Deliver
from pubsub.messages import Cursor, Entries, Entry, HighWater

if TYPE_CHECKING:
    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.feed import Feed
    from pubsub.tree import Tree


class Flow:
    """What this node passes on, in all topics."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.tree: Tree
        self.gap_repairs = 0
        self._warm: list[Feed] = []  # children are owed a high-water mark
        self._warm_at = inf

    def spread(
        self, feed: Feed, entries: tuple[Entry, ...], depth: int, now: float, out: list[Effect]
    ) -> None:
        """Entries that the feed's log has now: down the tree, and to local readers."""
        if feed.children:
            message = Entries(feed.topic, depth + 1, entries)
            out.extend([Send(child, message) for child in feed.children])
            self.touch(feed, now)
        if feed.readers:
            out.append(Deliver(feed, depth))

    def touch(self, feed: Feed, now: float) -> None:
        """Something was sent to children: a high-water mark will follow."""
        if feed.touched < 0.0:
            self._warm.append(feed)
            self._warm_at = min(self._warm_at, now + self._core.limits.high_water_seconds)
        feed.touched = now

    def take(self, feed: Feed, entries: tuple[Entry, ...], now: float, out: list[Effect]) -> None:
        """Entries that follow the feed's last one: keep them and pass them on."""
        log = feed.log
        for entry in entries:
            log.append(entry)
        feed.last = Cursor(entries[-1].epoch, entries[-1].offset)
        if self._core.crowded():
            self._core.shrink(log)
        self.spread(feed, entries, feed.depth, now, out)

    def receive_entries(
        self, sender: NodeId, message: Entries, now: float, out: list[Effect]
    ) -> None:
        """Entries from the parent."""
        feed = self.tree.from_parent(sender, message.topic, out)
        if feed is None or not message.entries or not feed.lineage:
            return
        feed.depth = message.depth
        entries = following(feed.last, message.entries)
        if entries:
            self.take(feed, entries, now, out)
        elif entries is None and feed.joined:
            self._repair(feed, now, out)

    def receive_high_water(
        self, sender: NodeId, message: HighWater, now: float, out: list[Effect]
    ) -> None:
        """Traffic has stopped: the last entry should be here."""
        feed = self.tree.from_parent(sender, message.topic, out)
        if feed is not None and feed.joined and message.cursor > feed.last:
            self._repair(feed, now, out)

    def _repair(self, feed: Feed, now: float, out: list[Effect]) -> None:
        """Something is missing after the feed's last entry: join again from there."""
        self.gap_repairs += 1
        self.tree.rejoin(feed, now, out)

    def next_deadline(self) -> float:
        return self._warm_at

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        """Tell the children of topics that have gone quiet how far these have come."""
        if now < self._warm_at:
            return
        quiet = self._core.limits.high_water_seconds
        warm, self._warm = self._warm, []
        self._warm_at = inf
        for feed in warm:
            if now < feed.touched + quiet:
                self._warm.append(feed)
                self._warm_at = min(self._warm_at, feed.touched + quiet)
                continue
            feed.touched = -1.0
            message = HighWater(feed.topic, feed.last)
            out.extend([Send(child, message) for child in feed.children])


def following(last: Cursor, entries: tuple[Entry, ...]) -> tuple[Entry, ...] | None:
    """The part of `entries` (contiguous, not empty) that follows `last`; None if there is a hole.

    Entries of an epoch older than the last one's come from a home that has
    been succeeded since: they are not news.
    """
    first = entries[0]
    if first.offset == last.offset + 1 and first.epoch >= last.epoch:
        return entries
    if first.epoch > last.epoch or (first.offset > last.offset and first.epoch == last.epoch):
        return None
    rest = entries[max(0, last.offset + 1 - first.offset) :]
    if rest and (rest[0].epoch < last.epoch or rest[0].offset != last.offset + 1):
        return ()
    return rest
