"""Multicast trees: who joins whom, who is whose child, who is the root.

A node joins a topic at its parent (a pure function of the view), with the
cursor of the last entry it has; the parent, once joined itself, sends what is
missing and then everything new. Children are leases on links: a lost link
drops them, and they join again.

Source: Scribe (Castro et al., 2002), with routes computed instead of sent.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dht.effects import Send
from dht.ids import slot_of
from pubsub.core import batches
from pubsub.effects import Reset
from pubsub.feed import NOWHERE, Feed, resume
from pubsub.messages import Cursor, Entries, Join, Joined, JoinRefused, Leave
from pubsub.wildcards import is_pattern

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.flow import Flow
    from pubsub.homes import Homes
    from pubsub.patterns_home import PatternHome
    from pubsub.readers import Readers
    from pubsub.repair import Repair
    from pubsub.slot import Slot, Topic


class Tree:
    """A node's place in the trees of all channels that it reads or forwards."""

    def __init__(self, core: Core, homes: Homes, flow: Flow) -> None:
        self._core = core
        self._homes = homes
        self._flow = flow
        self.repair: Repair
        self.readers: Readers
        self.pattern_home: PatternHome
        self.gaps_reported = 0
        self._joining: dict[str, Feed] = {}  # wait for their parent, or for my slot to open
        self._retry_at = inf

    # -- joining ------------------------------------------------------------------

    def begin(
        self, topic: str, cursor: Cursor | None, now: float, out: list[Effect]
    ) -> Feed | None:
        """A new feed, which joins at its parent, or at once where this node is the home.

        None, and nothing begun, if there are too many feeds or topics.
        """
        core = self._core
        if len(core.feeds) >= core.limits.feeds:
            return None
        feed = Feed(topic, core.new_log(0))
        core.feeds[topic] = feed
        self._joining[topic] = feed
        is_root = self._place(feed)
        slot = core.slots.get(slot_of(topic)) if is_root else None
        if slot is not None and not self._take_root(feed, slot, now, out):
            del core.feeds[topic], self._joining[topic]
            return None
        if feed.parent is not None:
            self._ask(feed, cursor, now, out)
        return feed

    def _place(self, feed: Feed) -> bool:
        """Set the feed's parent by the present view; True if this node is the root."""
        core = self._core
        feed.parent = None
        root = core.home_of(feed.topic)
        if root is not None and root != core.me and core.placement is not None:
            feed.parent = core.placement.parent(core.me, root)
        return root == core.me

    def rejoin(self, feed: Feed, now: float, out: list[Effect]) -> None:
        """Join again at the parent, from the last entry held (or what is waited for)."""
        cursor: Cursor | None = feed.last
        if not feed.lineage:
            cursor = min((c for _, c in feed.waiting or () if c is not None), default=None)
        self._ask(feed, cursor, now, out)

    def _ask(self, feed: Feed, cursor: Cursor | None, now: float, out: list[Effect]) -> None:
        """Send a Join to the parent, and again later if nothing comes of it."""
        self._unsettle(feed)
        if feed.parent is not None:
            self._retry(feed, now + self._core.limits.join_retry_seconds)
            out.append(Send(feed.parent, Join(feed.topic, cursor)))

    def _unsettle(self, feed: Feed) -> None:
        feed.joined = False
        self._joining[feed.topic] = feed

    def _retry(self, feed: Feed, at: float) -> None:
        feed.retry_at, self._retry_at = at, min(self._retry_at, at)

    def _set_joined(self, feed: Feed, now: float, out: list[Effect]) -> None:
        """Entries flow: answer everybody who waits."""
        feed.joined = True
        self._joining.pop(feed.topic, None)
        waiting, feed.waiting = feed.waiting, None
        for who, cursor in waiting or ():
            if isinstance(who, int):
                self.readers.answer(feed, who, cursor, now, out)
            else:
                self._admit(feed, who, cursor, now, out)

    def wait(self, feed: Feed, who: NodeId | int, cursor: Cursor | None) -> None:
        """A child or a local request waits for this feed."""
        self.stop_waiting(feed, who)
        feed.waiting = [*(feed.waiting or ()), (who, cursor)]

    def stop_waiting(self, feed: Feed, who: NodeId | int) -> None:
        if feed.waiting:
            feed.waiting = [item for item in feed.waiting if item[0] != who] or None

    # -- children -----------------------------------------------------------------

    def receive_join(self, sender: NodeId, message: Join, now: float, out: list[Effect]) -> None:
        """A child asks. Refused unless I am its parent in my view: that keeps trees loop-free."""
        feed, topic = None, message.topic
        if self._is_parent_of(sender, topic):
            feed = self._core.feeds.get(topic) or self.begin(topic, message.cursor, now, out)
        if feed is None:
            out.append(Send(sender, JoinRefused(topic, self._core.view_number)))
        elif feed.joined:
            self._admit(feed, sender, message.cursor, now, out)
        else:
            self.wait(feed, sender, message.cursor)

    def _is_parent_of(self, node: NodeId, topic: str) -> bool:
        core = self._core
        root = core.home_of(topic)
        if root is None or root == node or core.placement is None or node not in core.members:
            return False
        return core.placement.parent(node, root) == core.me

    def _admit(
        self, feed: Feed, child: NodeId, cursor: Cursor | None, now: float, out: list[Effect]
    ) -> None:
        """Make `child` a child, and send it what it lacks of what is here."""
        if child not in feed.children:
            feed.children = (*feed.children, child)
        if cursor is None or (feed.parent is not None and cursor > feed.last):
            # From now on; or the child is ahead of this node, and will trim what it has.
            out.append(Send(child, self._joined(feed, feed.last, gap=False)))
            return
        start = resume(feed.log, feed.last, feed.lineage, cursor)
        gap = start is not cursor
        if not gap:  # a mere position may be of a later epoch than what follows it
            start = feed.at(start.offset)
        out.append(Send(child, self._joined(feed, start, gap=gap)))
        entries = feed.log.after(start.offset, feed.log.last)
        if entries:
            self._flow.touch(feed, now)
        runs = batches(entries, self._core.limits.batch_bytes)
        out.extend([Send(child, Entries(feed.topic, feed.depth + 1, run)) for run in runs])

    def _joined(self, feed: Feed, cursor: Cursor, *, gap: bool) -> Joined:
        return Joined(feed.topic, cursor, gap, feed.lineage, feed.depth + 1)

    def receive_leave(self, sender: NodeId, message: Leave, now: float, out: list[Effect]) -> None:
        del now
        feed = self._core.feeds.get(message.topic)
        if feed is not None:
            self._drop_child(feed, sender)
            self.prune(feed, out)

    def _drop_child(self, feed: Feed, child: NodeId) -> None:
        feed.children = tuple(other for other in feed.children if other != child)
        self.stop_waiting(feed, child)

    def prune(self, feed: Feed, out: list[Effect]) -> None:
        """A feed that nobody reads or waits for leaves its parent and is gone at once."""
        core = self._core
        if feed.readers or feed.children or feed.waiting or feed.topic not in core.feeds:
            return
        del core.feeds[feed.topic]
        self._joining.pop(feed.topic, None)
        self.repair.abandon(feed.topic)
        topic = core.topics.get(feed.topic)
        if topic is not None and topic.feed is feed:
            topic.feed = None
            self._homes.drop_if_untouched(topic)
            return
        feed.log.clear(feed.log.last)
        if feed.parent is not None:
            out.append(Send(feed.parent, Leave(feed.topic)))

    # -- the parent's word ----------------------------------------------------------

    def from_parent(self, sender: NodeId, topic: str, out: list[Effect]) -> Feed | None:
        """The feed, if `sender` is its parent; anybody else has a child too many and is told."""
        feed = self._core.feeds.get(topic)
        if feed is not None and feed.parent == sender:
            return feed
        out.append(Send(sender, Leave(topic)))
        return None

    def receive_joined(
        self, sender: NodeId, message: Joined, now: float, out: list[Effect]
    ) -> None:
        """The parent has accepted, or tells of a reset. Entries after its cursor will follow."""
        feed = self.from_parent(sender, message.topic, out)
        if feed is None:
            return
        cursor, last = message.cursor, feed.last
        feed.depth = message.depth
        if not feed.lineage:
            self._start_at(feed, cursor, message.lineage)
        elif message.lineage > last.epoch:
            self.reset(feed, cursor, message.lineage, out)
        elif cursor.offset > last.offset and cursor.epoch >= last.epoch:
            if not message.gap:  # to a join "from now on", repeated before its answer came
                self.rejoin(feed, now, out)
                return
            if sender != self._core.home_of(feed.topic):
                self._unsettle(feed)
                self._retry(feed, now + self._core.limits.join_retry_seconds)
                self.repair.fill(feed, now, out)  # the home may hold what lies between
                return
            self.reset(feed, cursor, message.lineage, out)
        self._set_joined(feed, now, out)

    def receive_refused(
        self, sender: NodeId, message: JoinRefused, now: float, out: list[Effect]
    ) -> None:
        """Our views differ, or the parent is full: ask again soon, or when the view moves.

        Or it was a parent, and has taken this node for gone: nothing comes from it any more.
        """
        del out
        feed = self._core.feeds.get(message.topic)
        if feed is not None and feed.parent == sender:
            self._unsettle(feed)
            self._retry(feed, now + self._core.limits.refused_retry_seconds)

    def _start_at(self, feed: Feed, cursor: Cursor, lineage: int) -> None:
        feed.log.clear(cursor.offset)
        feed.last = feed.origin = cursor
        feed.lineage = lineage

    def reset(self, feed: Feed, cursor: Cursor, lineage: int, out: list[Effect]) -> None:
        """What lies between the feed's last entry and `cursor` is lost: everybody is told."""
        self._start_at(feed, cursor, lineage)
        self._tell_reset(feed, out)

    def _tell_reset(self, feed: Feed, out: list[Effect]) -> None:
        self.gaps_reported += 1
        if feed.readers:
            out.append(Reset(feed))
        joined = self._joined(feed, feed.origin, gap=True)
        out.extend([Send(child, joined) for child in feed.children])

    # -- the root -------------------------------------------------------------------

    def _take_root(self, feed: Feed, slot: Slot, now: float, out: list[Effect]) -> bool:
        """The slot is open here: the feed shares the topic's log from here on.

        False, and nothing done, if there are too many topics.
        """
        topic = self._homes.open_topic(feed.topic, slot, now)
        if topic is None:
            return False
        if is_pattern(feed.topic):
            self.pattern_home.touch(feed.topic, now, out)
        before = feed.last
        start = topic.last
        if feed.lineage:
            start = resume(topic.log, topic.last, topic.lineage, before)
        feed.log.clear(feed.log.last)
        feed.log, feed.last, topic.feed = topic.log, topic.last, feed
        known, feed.lineage, feed.depth = feed.lineage, topic.lineage, 0
        if start is not before:
            feed.origin = start
            if known:
                self._tell_reset(feed, out)
        entries = topic.log.after(start.offset, topic.log.last)
        for batch in batches(entries, self._core.limits.batch_bytes):
            self._flow.spread(feed, batch, 0, now, out)
        self._set_joined(feed, now, out)
        return True

    def slots_opened(self, slots: Collection[int], now: float, out: list[Effect]) -> None:
        """Feeds that wait for these slots of mine become roots."""
        core = self._core
        for feed in [feed for feed in self._joining.values() if feed.parent is None]:
            number = slot_of(feed.topic)
            if number in slots:
                self._take_root(feed, core.slots[number], now, out)

    def topics_parted(self, topics: Iterable[Topic]) -> None:
        """Somebody else is home to these now: their feeds go on with logs of their own."""
        for topic in topics:
            if topic.feed is not None and topic.record is None:
                topic.feed.log = topic.log.copy()
                self._unsettle(topic.feed)
                topic.feed = None

    # -- views and links ---------------------------------------------------------------

    def install_view(self, now: float, out: list[Effect]) -> None:
        """Everybody finds its parent anew; who has another one moves there with its cursor."""
        core = self._core
        for feed in list(core.feeds.values()):
            before = feed.parent
            for child in feed.children:
                if child not in core.members:
                    # One that was taken for dead may be back before it knows that it was away.
                    self._drop_child(feed, child)
                    out.append(Send(child, JoinRefused(feed.topic, core.view_number)))
            for who, _ in feed.waiting or ():
                if isinstance(who, bytes) and who not in core.members:
                    self.stop_waiting(feed, who)
            is_root = self._place(feed)
            if feed.parent != before or core.renewed or not (feed.parent or is_root):
                if before not in {None, feed.parent} and before in core.members:
                    out.append(Send(before, Leave(feed.topic)))
                self.repair.abandon(feed.topic)
                self.rejoin(feed, now, out)
            self.prune(feed, out)

    def change_ring(self) -> None:
        """Positions of another ring mean nothing here: the next join is a reset."""
        for feed in self._core.feeds.values():
            feed.last = NOWHERE
            feed.children = ()
            feed.parent = None
            self._unsettle(feed)

    def link_opened(self, node: NodeId, now: float, out: list[Effect]) -> None:
        for feed in list(self._joining.values()):
            if feed.parent == node:
                self.rejoin(feed, now, out)

    def link_closed(self, node: NodeId, now: float, out: list[Effect]) -> None:
        for feed in list(self._core.feeds.values()):
            if feed.parent == node:
                self._unsettle(feed)
                self._retry(feed, now + self._core.limits.refused_retry_seconds)
            if node in feed.children or feed.waiting:
                self._drop_child(feed, node)
                self.prune(feed, out)

    # -- time ---------------------------------------------------------------------------

    def next_deadline(self) -> float:
        return self._retry_at

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        """Ask again where no answer has come."""
        if now < self._retry_at:
            return
        self._retry_at = inf
        for feed in list(self._joining.values()):
            if feed.parent is not None and feed.retry_at <= now:
                self.rejoin(feed, now, out)
            elif feed.parent is not None:
                self._retry_at = min(self._retry_at, feed.retry_at)
