"""A node as home of patterns: every member is told of them before a reader is answered.

A reader's node asks the pattern's home. The home tells all members, and
answers once each has said that it knows: from then on whatever is committed
anywhere is forwarded. News is cumulative, numbered, and repeated until it is
acknowledged; a member whose view names another home does not acknowledge it,
so that a deposed home cannot complete anything.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dht.effects import Send
from dht.ids import slot_of
from pubsub.errors import Code
from pubsub.messages import Failed, PatternNews, PatternOpened

if TYPE_CHECKING:
    from collections.abc import Collection

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.messages import PatternHeld, PatternOpen
    from pubsub.patterns import Patterns
    from pubsub.requests import Requests
    from pubsub.slot import Slot


class _Mine:
    """An active pattern whose home this node is."""

    __slots__ = ("idle_since", "serial", "waiting")

    def __init__(self, serial: int, now: float) -> None:
        self.serial = serial  # of the news that told of it
        self.idle_since = now  # when it was last seen to have a reader
        self.waiting: list[tuple[NodeId, int]] = []  # who asked, and under which number


class PatternHome:
    """The patterns in this node's slots."""

    def __init__(self, core: Core, patterns: Patterns, requests: Requests) -> None:
        self._core = core
        self._patterns = patterns
        self._requests = requests
        self._mine: dict[str, _Mine] = {}
        self._serial = 0
        self._held: dict[NodeId, tuple[int, int]] = {}  # by member: its incarnation, a serial
        self._retry_at = inf
        self._look_at = inf

    # -- readers ---------------------------------------------------------------------

    def receive_open(
        self, sender: NodeId, message: PatternOpen, slot: Slot, now: float, out: list[Effect]
    ) -> None:
        """Somebody wants to read a pattern of mine."""
        del slot
        if message.pattern not in self._mine:
            full = len(self._patterns) >= self._core.limits.patterns
            if not self._patterns.ready or (full and message.pattern not in self._patterns):
                code = Code.TOO_MANY if self._patterns.ready else Code.UNAVAILABLE
                self._requests.respond(sender, Failed(message.request, code), now, out)
                return
            self._begin([message.pattern], now, out)
        mine = self._mine[message.pattern]
        mine.idle_since = now
        mine.waiting = [item for item in mine.waiting if item != (sender, message.request)]
        mine.waiting.append((sender, message.request))
        self._answer(now, out)

    def touch(self, pattern: str, now: float, out: list[Effect]) -> None:
        """Somebody reads it here, or joins its tree: it is active, whatever was said before."""
        if pattern not in self._mine:
            self._begin([pattern], now, out)

    def _begin(self, patterns: list[str], now: float, out: list[Effect]) -> None:
        self._serial += 1
        for pattern in patterns:
            self._mine[pattern] = _Mine(self._serial, now)
            self._patterns.add(pattern, self._core.me)
        self._tell(PatternNews(self._serial, 0, tuple(patterns)), now, out)
        self._look_at = min(self._look_at, now + self._core.limits.pattern_linger_seconds)

    def _tell(self, news: PatternNews, now: float, out: list[Effect]) -> None:
        others = [node for node in self._core.members if node != self._core.me]
        out.extend([Send(node, news) for node in others])
        if others:
            self._retry_at = min(self._retry_at, now + self._core.limits.pattern_retry_seconds)

    def receive_held(
        self, sender: NodeId, message: PatternHeld, now: float, out: list[Effect]
    ) -> None:
        """A member knows."""
        member = self._core.members.get(sender)
        if member is not None:
            held = max(message.serial, self._held_by(sender))
            self._held[sender] = (member.incarnation, held)
            self._answer(now, out)

    def _held_by(self, node: NodeId) -> int:
        incarnation, serial = self._held.get(node, (0, 0))
        return serial if self._core.members[node].incarnation == incarnation else 0

    def _behind(self) -> list[NodeId]:
        """Members that have not acknowledged everything."""
        me, serial = self._core.me, self._serial
        return [n for n in self._core.members if n != me and self._held_by(n) < serial]

    def _answer(self, now: float, out: list[Effect]) -> None:
        """Answer whoever waits for news that every member has by now."""
        asked = [mine for mine in self._mine.values() if mine.waiting]
        if not asked:
            return
        told = min((self._held_by(node) for node in self._behind()), default=self._serial)
        for mine in asked:
            if mine.serial <= told:
                waiting, mine.waiting = mine.waiting, []
                for sender, request in waiting:
                    self._requests.respond(sender, PatternOpened(request), now, out)

    # -- views, slots, links -------------------------------------------------------------

    def install_view(self, now: float, out: list[Effect]) -> None:
        """Patterns come and go with their slots; new members are told of all of them."""
        core = self._core
        for pattern in [p for p in self._mine if core.home_of(p) != core.me]:
            for sender, request in self._mine.pop(pattern).waiting:
                failed = Failed(request, Code.UNAVAILABLE)
                self._requests.respond(sender, failed, now, out)
        self.adopt(now, out)
        self._held = {node: held for node, held in self._held.items() if node in core.members}
        if self._mine:
            for node in self._behind():
                self._tell_all(node, now, out)
        self._answer(now, out)

    def adopt(self, now: float, out: list[Effect]) -> None:
        """Patterns that another home has begun, and that are mine now."""
        me = self._core.me
        known = list(self._patterns) if self._patterns.ready else []
        gained = [p for p in known if p not in self._mine and self._core.home_of(p) == me]
        if gained:
            self._begin(gained, now, out)

    def change_ring(self) -> None:
        """Nothing that was promised means anything in another ring."""
        self._mine.clear()
        self._held.clear()

    def link_opened(self, node: NodeId, now: float, out: list[Effect]) -> None:
        """What was said on the old link may be lost."""
        if self._mine and node in self._core.members and self._held_by(node) < self._serial:
            self._tell_all(node, now, out)

    def _tell_all(self, node: NodeId, now: float, out: list[Effect]) -> None:
        whole = PatternNews(self._serial, self._core.view_number, tuple(self._mine))
        out.append(Send(node, whole))
        self._retry_at = min(self._retry_at, now + self._core.limits.pattern_retry_seconds)

    # -- time ---------------------------------------------------------------------------

    def next_deadline(self) -> float:
        return min(self._retry_at, self._look_at)

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        if now >= self._retry_at:
            self._retry_at = inf
            for node in self._behind():
                self._tell_all(node, now, out)
        if now >= self._look_at:
            self._expire(now, out)

    def _expire(self, now: float, out: list[Effect]) -> None:
        """Patterns that nobody has read for long are active no more."""
        linger = self._core.limits.pattern_linger_seconds
        gone = []
        for pattern, mine in self._mine.items():
            if mine.waiting or self._core.feeds.get(pattern) is not None:
                mine.idle_since = now
            elif mine.idle_since + linger <= now and slot_of(pattern) in self._core.slots:
                gone.append(pattern)
        self._forget(gone, now, out)
        self._look_at = inf
        if self._mine:
            self._look_at = now + linger / 2

    def _forget(self, gone: Collection[str], now: float, out: list[Effect]) -> None:
        if not gone:
            return
        for pattern in gone:
            del self._mine[pattern]
            self._patterns.drop(pattern)
        self._serial += 1
        self._tell(PatternNews(self._serial, 0, (), tuple(gone)), now, out)
