"""Home of a pattern: entries of the channels that it covers, each taken once.

Entries of one channel come in its order; what has been taken already is
dropped by its source position, and what does not follow is asked for again.
What was taken last of each channel is known from the log itself when the slot
moves, because entries keep their source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.effects import Send
from pubsub.dedupe import Window
from pubsub.messages import Cursor, Forwarded, Source
from pubsub.wildcards import is_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.homes import Homes
    from pubsub.messages import Entry, Forward
    from pubsub.patterns import Patterns
    from pubsub.slot import Slot, Topic


class Receiving:
    """What this node's patterns have been given. `answer` takes what it answers to itself."""

    answer: Callable[[NodeId, Forwarded, float, list[Effect]], None]

    def __init__(self, core: Core, homes: Homes, patterns: Patterns) -> None:
        self._core = core
        self._homes = homes
        self._patterns = patterns
        self._taken: dict[str, Window[str]] = {}  # by pattern: the last position of each channel
        self._senders: dict[tuple[str, str], NodeId] = {}  # who waits to hear of a commit
        self.repeats = 0  # entries dropped because they had been taken

    def receive_forward(
        self, sender: NodeId, message: Forward, slot: Slot, now: float, out: list[Effect]
    ) -> None:
        """Entries of a channel, or (without any) a question."""
        pattern = message.pattern
        if pattern not in self._patterns:
            self._respond(sender, Forwarded(pattern, message.topic, 0, False), now, out)
            return
        if not message.entries:
            self._respond(sender, Forwarded(pattern, message.topic, 0), now, out)
            return
        topic = self._homes.open_topic(pattern, slot, now)
        if topic is None:
            return  # no room: it comes again
        taken = self._last(topic, message, now)
        if message.after > taken:
            # What is not committed yet must not be acknowledged by the way.
            known = taken if topic.staged is None else 0
            missing = Forwarded(pattern, message.topic, known, missing=True)
            self._respond(sender, missing, now, out)
            return
        fresh = tuple(entry for entry in message.entries if entry.offset > taken)
        self.repeats += len(message.entries) - len(fresh)
        if fresh:
            self._take(topic, message, fresh, sender, now, out)
        elif topic.staged is not None:
            self._senders[pattern, message.topic] = sender  # the commit answers
        else:
            self._respond(sender, Forwarded(pattern, message.topic, taken), now, out)

    def _last(self, topic: Topic, message: Forward, now: float) -> int:
        """The offset up to which entries of a channel have been taken, here or earlier."""
        window = self._window(topic, now)
        if window.due(now, self._core.limits.source_seconds):
            window.turn(now)
        cursor = window.get(message.topic)
        if cursor is None or cursor.epoch < message.lineage:
            return message.acked
        return max(cursor.offset, message.acked)

    def _window(self, topic: Topic, now: float) -> Window[str]:
        window = self._taken.get(topic.name)
        if window is None:
            window = self._taken[topic.name] = Window(now)
            for entry in topic.log.after(0, len(topic.log)):
                if entry.source is not None:
                    source = entry.source
                    window.put(source.topic, Cursor(source.epoch, source.offset))
        return window

    def _take(
        self,
        topic: Topic,
        message: Forward,
        fresh: tuple[Entry, ...],
        sender: NodeId,
        now: float,
        out: list[Effect],
    ) -> None:
        """Append entries, as many as there is room for; the last one's commit is answered."""
        channel, window = message.topic, self._taken[topic.name]
        if window.fresh >= self._core.limits.sources:
            window.turn(now)
        self._senders[topic.name, channel] = sender
        window.put(channel, Cursor(fresh[-1].epoch, fresh[-1].offset))
        for entry in fresh:
            source = Source(channel, entry.epoch, entry.offset)
            hops = entry.hops + (sender != self._core.me)
            if not self._homes.append_forwarded(topic, entry, source, hops, now, out):
                window.put(channel, Cursor(entry.epoch, entry.offset - 1))
                return

    def committed(
        self, topic: Topic, entries: tuple[Entry, ...], now: float, out: list[Effect]
    ) -> None:
        """Entries of a pattern are on every copy: their channels' homes need not keep them."""
        latest = {entry.source.topic: entry.source for entry in entries if entry.source is not None}
        window = self._taken.get(topic.name)
        for channel, source in latest.items():
            last = None if window is None else window.get(channel)
            if last is None or last.offset <= source.offset:  # the end of a run
                sender = self._senders.pop((topic.name, channel), None)
                if sender is not None:
                    message = Forwarded(topic.name, channel, source.offset)
                    self._respond(sender, message, now, out)

    def _respond(self, to: NodeId, message: Forwarded, now: float, out: list[Effect]) -> None:
        if to == self._core.me:
            self.answer(to, message, now, out)
        else:
            out.append(Send(to, message))

    def topics_parted(self, topics: Iterable[Topic]) -> None:
        """Somebody else is home to these patterns now."""
        for topic in topics:
            if is_pattern(topic.name) and self._taken.pop(topic.name, None) is not None:
                self._senders = {k: v for k, v in self._senders.items() if k[0] != topic.name}
