"""Slots that this node was home to, kept until their new homes have them.

A home stops serving a slot the moment its view names another. The state stays
frozen here until the new home has asked for it and said that it is installed:
a lost link or a lost answer costs a repetition, never the slot.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dht.effects import Send
from pubsub.messages import Handoff, HandoffDone, HandoffNone, HandoffOffer, HandoffQuery, SlotState
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
        self._left: dict[int, tuple[NodeId, int, float]] = {}  # who has it, my epoch, since when
        self._asked: dict[NodeId, HandoffQuery] = {}  # by nodes whose view is ahead of mine
        self._forget_at = inf
        self.abandoned = 0  # slots that nobody asked for in time

    def __len__(self) -> int:
        return len(self._parted)

    def keep(self, slots: Iterable[Slot], topics: Iterable[Topic], now: float) -> None:
        """These slots have another home now."""
        by_slot: dict[int, list[Topic]] = {}
        for topic in topics:
            by_slot.setdefault(topic.slot.number, []).append(topic)
        for slot in slots:
            heir = self._core.home(slot.number)
            parted = Parted(slot, by_slot.get(slot.number, []), heir or b"", now)
            self._left[slot.number] = (b"", slot.epoch, now)
            if heir is None:
                parted.release()  # there is nobody to give it to
            else:
                self._parted[slot.number] = parted
        self._remind(now)

    def point(self, number: int, holder: NodeId, now: float) -> None:
        """A slot moved on before its state came here; `holder` was asked for it."""
        self._elsewhere[number] = (holder, now)
        self._remind(now)

    def reclaim(self, number: int, heard: dict[NodeId, int], now: float) -> Parted | None:
        """The state of a slot that has come back to this node, if it is the last one.

        `heard`: the epochs in which other nodes say they last served it.
        """
        parted = self._parted.get(number)
        if parted is None or not self._is_last(parted, self._core.me, heard, now):
            return None
        return self._parted.pop(number)

    def _is_last(self, parted: Parted, asker: NodeId, heard: dict[NodeId, int], now: float) -> bool:
        """Whether no other home can have served the slot since.

        The next home's own word settles it. If that one is gone without having
        asked, it had no time yet to begin without this state.
        """
        successor = parted.given_to or parted.heir
        if successor == asker or heard.get(successor, parted.slot.epoch) < parted.slot.epoch:
            return True
        if parted.given_to is not None or successor in self._core.members:
            return False
        return now - parted.parted_at < self._core.limits.handoff_seconds * 2 / 3

    def discard(self, number: int) -> None:
        """The slot is open here again: what was kept of an earlier reign is void."""
        self._elsewhere.pop(number, None)
        self._drop(number)

    def last_epoch(self, number: int) -> int:
        """The epoch in which the slot was last served here; 0 if not of late."""
        return self._left.get(number, (b"", 0, 0.0))[1]

    def epoch_of(self, number: int) -> int:
        """The epoch of the state that is kept here; 0 if none is."""
        parted = self._parted.get(number)
        return 0 if parted is None else parted.slot.epoch

    def passed_by(self, number: int) -> bool:
        """Whether the slot moved on before its state came here."""
        return number in self._elsewhere

    def receive_query(
        self, sender: NodeId, message: HandoffQuery, now: float, out: list[Effect]
    ) -> None:
        """The new home asks: answered up to a window's worth of bytes, then it asks again."""
        if self._core.view_number < message.view:
            self._asked[sender] = message
            return
        self._answer(sender, message, now, out)

    def _answer(self, sender: NodeId, message: HandoffQuery, now: float, out: list[Effect]) -> None:
        core, limits = self._core, self._core.limits
        states: list[SlotState] = []
        missing: dict[tuple[NodeId, int, bool], list[int]] = {}
        heard = dict(message.heard)
        size = sent = 0
        for number in message.slots:
            parted = self._parted.get(number)
            if core.home(number) != sender:
                continue  # its view is behind mine: it will not want the slot
            if parted is None or not self._is_last(parted, sender, heard, now):
                missing.setdefault(self._pointer(number, parted), []).append(number)
                if parted and (parted.given_to or parted.heir) not in core.members:
                    self._drop(number)  # nobody is left who could say that it is the last
                continue
            if sent > limits.handoff_window:
                break
            parted.given_to = sender
            for state, state_size in pack(parted, limits.handoff_bytes):
                if states and size + state_size > limits.handoff_bytes:
                    out.append(
                        Send(sender, Handoff(message.query, core.view_number, tuple(states), False))
                    )
                    states, size = [], 0
                states.append(state)
                size += state_size
                sent += state_size
        for (holder, served, holds), numbers in missing.items():
            told = (message.query, core.view_number, tuple(numbers))
            none = HandoffNone(*told, holder, served, holds)
            out.append(Send(sender, none))
        out.append(Send(sender, Handoff(message.query, core.view_number, tuple(states), True)))

    def _pointer(self, number: int, parted: Parted | None) -> tuple[NodeId, int, bool]:
        """What `HandoffNone` says of a slot: its holder, when it was served here, `holds`."""
        holder, served, _ = self._left.get(number, (b"", 0, 0.0))
        if parted is not None:
            holder = parted.given_to or parted.heir
        elif number in self._elsewhere:
            holder = self._elsewhere[number][0]
        if holder not in self._core.members:
            holder = b""
        return holder, served, parted is not None

    def receive_done(
        self, sender: NodeId, message: HandoffDone, now: float, out: list[Effect]
    ) -> None:
        """The new home serves these slots."""
        del out
        for number in message.slots:
            parted = self._parted.get(number)
            if parted is not None and sender in (parted.given_to, self._core.home(number)):
                self._drop(number)
                self._left[number] = (sender, parted.slot.epoch, now)

    def _drop(self, number: int) -> None:
        parted = self._parted.pop(number, None)
        if parted is not None:
            parted.release()

    def link_opened(self, node: NodeId, out: list[Effect]) -> None:
        """Its confirmation may have been lost with the old link."""
        given = tuple(n for n, parted in self._parted.items() if parted.given_to == node)
        if given:
            out.append(Send(node, HandoffOffer(given)))

    def install_view(self, now: float, out: list[Effect]) -> None:
        """Who has asked from a newer view gets its answer.

        Who was given a slot and has left since cannot confirm: its heir can.
        """
        number = self._core.view_number
        heirs: dict[NodeId, list[int]] = {}
        for slot, parted in self._parted.items():
            if parted.given_to is not None and parted.given_to not in self._core.members:
                heir = self._core.home(slot)
                if heir is not None and heir != self._core.me:
                    heirs.setdefault(heir, []).append(slot)
        for heir, slots in heirs.items():
            out.append(Send(heir, HandoffOffer(tuple(slots))))
        for sender, message in list(self._asked.items()):
            if message.view <= number:
                del self._asked[sender]
                self._answer(sender, message, now, out)

    def next_deadline(self) -> float:
        return min(self._expiry(), self._forget_at)

    def _expiry(self) -> float:
        oldest = next(iter(self._parted.values()), None)
        return inf if oldest is None else oldest.parted_at + self._core.limits.parted_seconds

    def _remind(self, now: float) -> None:
        """Look through what is remembered of slots that went, now and then."""
        if self._left or self._elsewhere:
            self._forget_at = min(self._forget_at, now + 2 * self._core.limits.parted_seconds)

    def handle_timer(self, now: float) -> None:
        """Nobody keeps forever what nobody wants."""
        while self._expiry() <= now:
            self.abandoned += 1
            self._drop(next(iter(self._parted)))
        if now >= self._forget_at:
            since = now - 2 * self._core.limits.parted_seconds
            self._left = {n: e for n, e in self._left.items() if e[2] > since}
            self._elsewhere = {n: e for n, e in self._elsewhere.items() if e[1] > since}
            self._forget_at = inf
            self._remind(now)
