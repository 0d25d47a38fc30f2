"""A node as member: what other homes say of their patterns, and what a new member has to ask.

A process that is new in the ring asks every other member, and is no home of
channels before each has answered from a view that lists it: whatever became
active before is in an answer, whatever becomes active later waits for its
acknowledgement.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dht.effects import Send
from pubsub.messages import Forward, PatternAll, PatternAsk, PatternHeld

if TYPE_CHECKING:
    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.view import View
    from pubsub.core import Core
    from pubsub.messages import PatternNews
    from pubsub.patterns import Patterns
    from pubsub.patterns_home import PatternHome


class PatternNewsDesk:
    """What this node knows of others' patterns."""

    def __init__(self, core: Core, patterns: Patterns) -> None:
        self._core = core
        self._patterns = patterns
        self.home: PatternHome
        self._asked: dict[NodeId, None] = {}  # members that are still to answer
        self._askers: dict[NodeId, int] = {}  # new members whose view is ahead of mine
        self._heard: dict[NodeId, tuple[int, int]] = {}  # by home: its incarnation, a serial
        self._retry_at = inf
        self._check_at = inf

    # -- a new member ----------------------------------------------------------------------

    def install_view(self, old_view: View | None, now: float, out: list[Effect]) -> None:
        """The first view of this process is the one in which it asks."""
        core = self._core
        if old_view is None or (core.view is not None and old_view.ring != core.view.ring):
            self._patterns.clear()
            self._patterns.ready = False
            self._asked = {}
            if core.view_number > 1:
                self._asked = {node: None for node in core.members if node != core.me}
            self._ask(now, out)
        self._asked = {node: None for node in self._asked if node in core.members}
        self._heard = {node: heard for node, heard in self._heard.items() if node in core.members}
        for node, view in list(self._askers.items()):
            if view <= core.view_number:
                del self._askers[node]
                self._tell(node, view, out)
        self._settle(now)

    def _ask(self, now: float, out: list[Effect]) -> None:
        out.extend([Send(node, PatternAsk(self._core.view_number)) for node in self._asked])
        self._retry_at = now + self._core.limits.pattern_retry_seconds if self._asked else inf

    def _settle(self, now: float) -> None:
        if not self._asked:
            self._patterns.ready = True
            self._retry_at = inf
        if len(self._patterns):
            self._check_at = min(self._check_at, now + self._core.limits.pattern_check_seconds)

    def receive_ask(
        self, sender: NodeId, message: PatternAsk, now: float, out: list[Effect]
    ) -> None:
        """Somebody is new. Answered from a view that lists it, or news could pass it by."""
        del now
        if self._core.view_number < message.view:
            self._askers[sender] = message.view
        else:
            self._tell(sender, message.view, out)

    def _tell(self, node: NodeId, view: int, out: list[Effect]) -> None:
        out.append(Send(node, PatternAll(view, tuple(self._patterns))))

    def receive_all(
        self, sender: NodeId, message: PatternAll, now: float, out: list[Effect]
    ) -> None:
        """A member's answer."""
        if sender in self._asked:
            del self._asked[sender]
            for pattern in message.patterns:
                self._patterns.add(pattern)
            self._settle(now)
            self.home.adopt(now, out)

    # -- news ---------------------------------------------------------------------------------

    def receive_news(
        self, sender: NodeId, message: PatternNews, now: float, out: list[Effect]
    ) -> None:
        """A home tells of its patterns. Acknowledged only if my view has it as their home.

        Nor if something before it is missing: then all will be told.
        """
        core = self._core
        member = core.members.get(sender)
        if member is None or any(core.home_of(pattern) != sender for pattern in message.added):
            return  # our views differ: it will say it again, or not be believed
        if message.whole and message.whole != core.view_number:
            return  # what it leaves out may be another's by now
        incarnation, serial = self._heard.get(sender, (0, 0))
        last = serial if incarnation == member.incarnation else 0
        if not message.whole and message.serial != last + 1:
            return
        self._heard[sender] = (member.incarnation, message.serial)
        for pattern in message.added:
            self._patterns.add(pattern, sender)
        gone = list(message.dropped)
        if message.whole:
            gone = [p for p in self._patterns if p not in message.added]
        for pattern in gone:
            if core.home_of(pattern) == sender:
                self._patterns.drop(pattern)
        self._settle(now)
        out.append(Send(sender, PatternHeld(message.serial)))

    # -- links and time --------------------------------------------------------------------------

    def link_opened(self, node: NodeId, out: list[Effect]) -> None:
        if node in self._asked:
            out.append(Send(node, PatternAsk(self._core.view_number)))

    def next_deadline(self) -> float:
        return min(self._retry_at, self._check_at)

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        """Ask again; and ask new homes whether they know of what an old one vouched for."""
        if now >= self._retry_at:
            self._ask(now, out)
        if now < self._check_at:
            return
        self._check_at = inf
        for pattern in self._patterns:
            home = self._core.home_of(pattern)
            if home not in (None, self._core.me, self._patterns.vouched(pattern)):
                out.append(Send(home, Forward(pattern, "", 0, 0, 0, ())))
        if len(self._patterns):
            self._check_at = now + self._core.limits.pattern_check_seconds
