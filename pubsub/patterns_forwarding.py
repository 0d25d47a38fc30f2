"""Home of a channel: what it commits goes to the homes of the patterns that cover it.

One flow a channel and pattern, in order, repeated until acknowledged. How far
a flow has been acknowledged is a *mark* of the channel's topic, and with it
part of the slot's state: the next home goes on from there, and what it repeats
the pattern's home drops. A flow that lags too far refuses publishers, so that
the log still holds whatever is to be forwarded.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dht.effects import Send
from pubsub.core import batches
from pubsub.messages import Cursor, Forward

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.messages import Entry, Forwarded
    from pubsub.patterns import Patterns
    from pubsub.slot import Topic


_RESTART_SECONDS = 0.05  # several messages under way may be told to miss the same entry


class _Flow:
    """Entries of one channel on their way to one pattern; gone when all are acknowledged."""

    __slots__ = ("acked", "pattern", "restarted_at", "retry_at", "sent", "size", "topic")

    def __init__(self, topic: Topic, pattern: str, acked: int) -> None:
        self.topic = topic
        self.pattern = pattern
        self.acked = acked  # offset up to which the pattern's home has them
        self.sent = acked
        self.size = 0  # payload bytes that are not acknowledged
        self.retry_at = inf
        self.restarted_at = -inf


class Forwarding:
    """The flows out of this node's open slots.

    `serve` takes what this node forwards to itself, `mark` notes how far a flow has got.
    """

    serve: Callable[[NodeId, Forward, float, list[Effect]], None]
    mark: Callable[[Topic, str, Cursor, float], None]

    def __init__(self, core: Core, patterns: Patterns) -> None:
        self._core = core
        self._patterns = patterns
        self._flows: dict[tuple[str, str], _Flow] = {}
        self._retry_at = inf
        self.forwarded = 0  # entries acknowledged
        self.repeated = 0  # times that a flow went back to what was acknowledged

    @property
    def lag(self) -> int:
        """Entries that are committed and not acknowledged by their pattern's home."""
        return sum(max(0, f.topic.last.offset - f.acked) for f in self._flows.values())

    # -- as the home appends --------------------------------------------------------------

    def may_append(self, topic: Topic, size: int) -> bool:
        """Whether the log will still hold what is to be forwarded, with `size` bytes more."""
        limits = self._core.limits
        for pattern in self._patterns.covering(topic):
            flow = self._flows.get((topic.name, pattern))
            if flow is not None and (
                topic.assigned - flow.acked >= limits.forward_lag
                or flow.size + size > limits.forward_lag_bytes
            ):
                return False
        return True

    def holds(self, topic: Topic) -> bool:
        """Whether the log of `topic` must not be cut: it is being forwarded."""
        return any((topic.name, p) in self._flows for p in self._patterns.covering(topic))

    def expect(self, topic: Topic, offset: int, now: float) -> None:
        """An entry is about to be replicated: that it is to be forwarded goes ahead of it."""
        for pattern in self._patterns.covering(topic):
            if (topic.name, pattern) not in self._flows:
                self._open(topic, pattern, offset - 1, now)

    def committed(self, topic: Topic, entry: Entry, now: float, out: list[Effect]) -> None:
        """An entry that readers may see: the patterns' homes get it too."""
        for pattern in self._patterns.covering(topic):
            flow = self._flows.get((topic.name, pattern))
            if flow is None:
                flow = self._open(topic, pattern, entry.offset - 1, now)
            if entry.offset <= flow.acked:
                continue  # it was on its way before the pattern was
            flow.size += len(entry.payload)
            self._push(flow, now, out)

    def _open(self, topic: Topic, pattern: str, acked: int, now: float) -> _Flow:
        flow = self._flows[topic.name, pattern] = _Flow(topic, pattern, acked)
        self.mark(topic, pattern, Cursor(topic.slot.epoch, acked), now)
        return flow

    # -- on its way ------------------------------------------------------------------------

    def _push(self, flow: _Flow, now: float, out: list[Effect]) -> None:
        """Send what has not been sent, as far as the window allows."""
        core, topic = self._core, flow.topic
        home = core.home_of(flow.pattern)
        room = flow.acked + core.limits.forward_window - flow.sent
        if home is None or room <= 0:
            return
        entries = topic.log.after(flow.sent, room)
        flow.retry_at = now + core.limits.pattern_retry_seconds
        self._retry_at = min(self._retry_at, flow.retry_at)
        for run in batches(entries, core.limits.batch_bytes):
            after = run[0].offset - 1
            if after < flow.sent:
                return  # answered at once, here, and gone on from there
            message = Forward(flow.pattern, topic.name, topic.lineage, flow.acked, after, run)
            flow.sent = run[-1].offset
            if home == core.me:
                self.serve(home, message, now, out)
            else:
                out.append(Send(home, message))

    def receive_forwarded(
        self, sender: NodeId, message: Forwarded, now: float, out: list[Effect]
    ) -> None:
        """The pattern's home has taken entries, or misses some."""
        if sender != self._core.home_of(message.pattern):
            return
        if not message.active:
            self._patterns.drop(message.pattern)
            self._end([flow for flow in self._flows.values() if flow.pattern == message.pattern])
            return
        self._patterns.add(message.pattern, sender)
        flow = self._flows.get((message.topic, message.pattern))
        if flow is None:
            return
        if message.offset > flow.acked:
            self._acknowledge(flow, min(message.offset, flow.topic.last.offset), now)
            if flow.acked >= flow.topic.assigned:
                self._end([flow])
                return
        if message.missing and now - flow.restarted_at >= _RESTART_SECONDS:
            flow.restarted_at = now
            self._restart(flow)
        self._push(flow, now, out)

    def _acknowledge(self, flow: _Flow, offset: int, now: float) -> None:
        topic = flow.topic
        gone = topic.log.after(flow.acked, offset - flow.acked)
        flow.size -= sum(len(entry.payload) for entry in gone)
        self.forwarded += offset - flow.acked
        flow.acked = offset
        flow.sent = max(flow.sent, offset)
        self.mark(topic, flow.pattern, Cursor(topic.slot.epoch, offset), now)

    def _restart(self, flow: _Flow) -> None:
        self.repeated += 1
        flow.sent = flow.acked

    def _end(self, flows: Iterable[_Flow]) -> None:
        for flow in list(flows):
            self._flows.pop((flow.topic.name, flow.pattern), None)

    # -- slots, views, links, time ------------------------------------------------------------

    def topics_parted(self, topics: Iterable[Topic]) -> None:
        """Somebody else is home to these now, and has their marks."""
        names = {topic.name for topic in topics}
        self._end([flow for flow in self._flows.values() if flow.topic.name in names])

    def topics_opened(self, topics: Iterable[Topic], now: float, out: list[Effect]) -> None:
        """I am home to these now: what an earlier home did not get through goes on."""
        for topic in topics:
            for pattern, mark in list((topic.marks or {}).items()):
                if pattern not in self._patterns.covering(topic):
                    continue
                acked = mark.offset if mark.epoch >= topic.lineage else topic.log.first - 1
                acked = max(acked, topic.log.first - 1)
                if acked < topic.last.offset:
                    flow = self._open(topic, pattern, acked, now)
                    flow.size = sum(
                        len(entry.payload) for entry in topic.log.after(acked, len(topic.log))
                    )
                    self._push(flow, now, out)

    def resume(self, node: NodeId | None, now: float, out: list[Effect]) -> None:
        """There is a new link to `node`, or (None) another view: say again what it may lack."""
        for flow in list(self._flows.values()):
            if node is None or self._core.home_of(flow.pattern) == node:
                self._restart(flow)
                self._push(flow, now, out)

    def next_deadline(self) -> float:
        return self._retry_at

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        """Say again what nobody has answered for."""
        if now < self._retry_at:
            return
        for flow in list(self._flows.values()):
            if flow.retry_at <= now:
                self._restart(flow)
                self._push(flow, now, out)
        self._retry_at = min((flow.retry_at for flow in self._flows.values()), default=inf)
