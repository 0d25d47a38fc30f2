"""Slots that this node was home to, kept until their new homes have them.

A home stops serving a slot the moment its view names another. The state stays
frozen here until the new home has asked for it and said that it is installed:
a lost link or a lost answer costs a repetition, never the slot.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dht.effects import Send
from pubsub.messages import Handoff, HandoffDone, HandoffNone, HandoffQuery, SlotState
from pubsub.transfer import Parted, pack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.slot import Slot, Topic


class Giving:
    """The old home's half of a hand-off."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._parted: dict[int, Parted] = {}
        self._elsewhere: dict[int, tuple[NodeId, float]] = {}  # never got here: who may hold it
        self._asked: dict[NodeId, HandoffQuery] = {}  # by nodes whose view is ahead of mine
        self.abandoned = 0  # slots that nobody asked for in time

    def __len__(self) -> int:
        return len(self._parted)

    def keep(self, slots: Iterable[Slot], topics: Iterable[Topic], now: float) -> None:
        """These slots have another home now."""
        by_slot: dict[int, list[Topic]] = {}
        for topic in topics:
            by_slot.setdefault(topic.slot.number, []).append(topic)
        for slot in slots:
            parted = Parted(slot, by_slot.get(slot.number, []), now)
            self._drop(slot.number)
            if self._core.home(slot.number) is None:
                parted.release()  # there is nobody to give it to
            else:
                self._parted[slot.number] = parted

    def point(self, number: int, holder: NodeId, now: float) -> None:
        """A slot moved on before its state came here; `holder` was asked for it."""
        self._elsewhere[number] = (holder, now)

    def reclaim(self, number: int, now: float, *, never_opened: bool) -> Parted | None:
        """The state of a slot that has come back to this node, if nothing newer can exist.

        `never_opened`: the home in between says that it never served the slot.
        Without its word only a state that it cannot have had will do, and only
        while it would still have waited for it.
        """
        parted = self._parted.get(number)
        if parted is None:
            return None
        recent = now - parted.parted_at < self._core.limits.handoff_seconds / 2
        if not never_opened and (parted.given_to is not None or not recent):
            return None
        return self._parted.pop(number)

    def was_given(self, number: int) -> bool:
        parted = self._parted.get(number)
        return parted is None or parted.given_to is not None

    def receive_query(
        self, sender: NodeId, message: HandoffQuery, now: float, out: list[Effect]
    ) -> None:
        """The new home asks: answered up to a window's worth of bytes, then it asks again."""
        del now
        if self._core.view_number < message.view:
            self._asked[sender] = message
            return
        self._answer(sender, message, out)

    def _answer(self, sender: NodeId, message: HandoffQuery, out: list[Effect]) -> None:
        core, limits = self._core, self._core.limits
        states: list[SlotState] = []
        missing: dict[NodeId, list[int]] = {}
        size = sent = 0
        for number in message.slots:
            parted = self._parted.get(number)
            if core.home(number) != sender:
                continue  # its view is behind mine: it will not want the slot
            if parted is None:
                holder = self._elsewhere.get(number, (b"", 0.0))[0]
                missing.setdefault(holder, []).append(number)
                continue
            if sent > limits.handoff_window:
                break
            parted.given_to = sender
            for state, state_size in pack(parted, limits.handoff_bytes):
                if states and size + state_size > limits.handoff_bytes:
                    out.append(Send(sender, Handoff(core.view_number, tuple(states), False)))
                    states, size = [], 0
                states.append(state)
                size += state_size
                sent += state_size
        for holder, numbers in missing.items():
            out.append(Send(sender, HandoffNone(core.view_number, tuple(numbers), holder)))
        out.append(Send(sender, Handoff(core.view_number, tuple(states), True)))

    def receive_done(
        self, sender: NodeId, message: HandoffDone, now: float, out: list[Effect]
    ) -> None:
        """The new home serves these slots."""
        del now, out
        for number in message.slots:
            parted = self._parted.get(number)
            if parted is not None and parted.given_to == sender:
                self._drop(number)

    def _drop(self, number: int) -> None:
        parted = self._parted.pop(number, None)
        if parted is not None:
            parted.release()

    def install_view(self, out: list[Effect]) -> None:
        """Who has asked from a newer view gets its answer."""
        number = self._core.view_number
        for sender, message in list(self._asked.items()):
            if message.view <= number:
                del self._asked[sender]
                self._answer(sender, message, out)

    def next_deadline(self) -> float:
        oldest = next(iter(self._parted.values()), None)
        return inf if oldest is None else oldest.parted_at + self._core.limits.parted_seconds

    def handle_timer(self, now: float) -> None:
        """Nobody keeps forever what nobody wants."""
        while self._parted and self.next_deadline() <= now:
            self.abandoned += 1
            self._drop(next(iter(self._parted)))
        seconds = self._core.limits.parted_seconds
        if self._elsewhere and now - next(iter(self._elsewhere.values()))[1] > seconds:
            self._elsewhere.clear()
