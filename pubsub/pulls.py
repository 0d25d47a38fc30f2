"""Copies of slots fetched from who has them, window by window.

A new home that lacks a slot pulls it from a holder; a new holder pulls it from
the home. Both sides are frozen meanwhile, so that it may be asked for again
after a lost link without harm.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dht.effects import Send
from pubsub.slot_messages import Pull, Pulled
from pubsub.transfer import Unpacker, pack

if TYPE_CHECKING:
    from collections.abc import Callable

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.slot_messages import SlotState


class _Source:
    """Somebody who is asked, and for which slots."""

    __slots__ = ("query", "retry_at", "slots")

    def __init__(self) -> None:
        self.slots: dict[int, Unpacker] = {}
        self.query = 0  # under way; 0 for none
        self.retry_at = inf


class Pulls:
    """What this node fetches, and what it gives.

    `on_pulled` gets what has come whole, `on_missing` what a source turned out
    not to have; then nothing more is expected of that source for it.
    """

    on_pulled: Callable[[NodeId, list[Unpacker], float, list[Effect]], None]
    on_missing: Callable[[NodeId, list[int], float, list[Effect]], None]

    def __init__(self, core: Core) -> None:
        self._core = core
        self._sources: dict[NodeId, _Source] = {}
        self._source_of: dict[int, NodeId] = {}
        self._queries = 0

    def __len__(self) -> int:
        return len(self._source_of)

    # -- asking -------------------------------------------------------------------

    def want(self, number: int, node: NodeId, now: float) -> None:
        """Fetch a slot from `node`; `post` sends the question."""
        if self._source_of.get(number) == node:
            return
        self.drop(number)
        source = self._sources.setdefault(node, _Source())
        if not source.query:
            source.retry_at = now
        source.slots[number] = Unpacker(self._core, number)
        self._source_of[number] = node

    def drop(self, number: int) -> None:
        """It is not wanted any more."""
        node = self._source_of.pop(number, None)
        if node is not None:
            source = self._sources[node]
            source.slots.pop(number).clear()
            if not source.slots:
                del self._sources[node]

    def post(self, now: float, out: list[Effect]) -> None:
        """Ask whoever is to be asked now."""
        for node, source in self._sources.items():
            if source.retry_at <= now:
                self._queries += 1
                source.query = self._queries
                source.retry_at = now + self._core.limits.pull_retry_seconds
                out.append(Send(node, Pull(source.query, tuple(source.slots))))

    def receive_pulled(
        self, sender: NodeId, message: Pulled, now: float, out: list[Effect]
    ) -> None:
        """Parts of slots."""
        source = self._sources.get(sender)
        if source is None or message.query != source.query:
            return
        source.retry_at = now + self._core.limits.pull_retry_seconds
        if message.last:
            source.query = 0
            source.retry_at = now
        whole: list[Unpacker] = []
        for state in message.states:
            unpacker = source.slots.get(state.slot)
            if unpacker is not None and unpacker.take(state) and state.final:
                del source.slots[state.slot], self._source_of[state.slot]
                whole.append(unpacker)
        missing = [number for number in message.missing if number in source.slots]
        for number in missing:
            self.drop(number)
        if not source.slots:
            self._sources.pop(sender, None)
        if missing:
            self.on_missing(sender, missing, now, out)
        if whole:
            self.on_pulled(sender, whole, now, out)
        self.post(now, out)

    # -- giving -------------------------------------------------------------------

    def receive_pull(self, sender: NodeId, message: Pull, now: float, out: list[Effect]) -> None:
        """Give copies of what is not open here, up to a window's worth of bytes."""
        del now
        limits = self._core.limits
        states: list[SlotState] = []
        missing: list[int] = []
        size = sent = 0
        for number in message.slots:
            slot = self._core.copies.get(number)
            if slot is None or number in self._core.slots:
                missing.append(number)
                continue
            if sent > limits.pull_window:
                break
            for state, state_size in pack(slot, limits.pull_bytes):
                if states and size + state_size > limits.pull_bytes:
                    out.append(Send(sender, Pulled(message.query, tuple(states), (), last=False)))
                    states, size = [], 0
                states.append(state)
                size += state_size
                sent += state_size
        out.append(Send(sender, Pulled(message.query, tuple(states), tuple(missing), last=True)))

    # -- links and time -----------------------------------------------------------

    def link_opened(self, node: NodeId, now: float) -> None:
        """What was under way is lost."""
        source = self._sources.get(node)
        if source is not None:
            source.query, source.retry_at = 0, now

    def install_view(self) -> None:
        """Nobody is asked who is not there any more."""
        for number, node in list(self._source_of.items()):
            if node not in self._core.members:
                self.drop(number)

    def next_deadline(self) -> float:
        return min((source.retry_at for source in self._sources.values()), default=inf)
