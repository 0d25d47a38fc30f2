"""Which messages a slot has had: their ids, with the positions that they were given.

Part of the replicated state: a publisher that asks again, at the next home
perhaps, is told the first position.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from pubsub.dedupe import Window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pubsub.core import Core
    from pubsub.messages import Append, Cursor
    from pubsub.slot import Slot

TURN_SECONDS: Final = 5.0  # how often windows are looked at
# How an entry's message id is remembered.
NOT: Final = 0
MINTED: Final = 1  # a node's: unique by itself
CHOSEN: Final = 2  # the application's: unique in its topic


class MessageIds:
    """The windows of all copies of one node."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._remembered = 0
        self._windows: dict[int, Slot] = {}
        self._turn_at = inf

    def known(self, slot: Slot, message: Append) -> Cursor | None:
        """The position of an earlier append with the same message id, if remembered."""
        if message.client_id:
            if slot.client_ids is not None:
                return slot.client_ids.get((message.topic, message.message_id))
        elif slot.recent_ids is not None:
            return slot.recent_ids.get(message.message_id)
        return None

    def remember(
        self, slot: Slot, how: int, topic: str, item: tuple[str, Cursor], now: float
    ) -> None:
        """Remember a message id with its position, at the home or in a replica's copy."""
        if how == CHOSEN:
            self.remember_chosen(slot, ((topic, item[0]), item[1]), now)
        else:
            self.remember_minted(slot, item, now)

    def remember_chosen(self, slot: Slot, item: tuple[tuple[str, str], Cursor], now: float) -> None:
        """Remember an id that the application chose (it is unique within its topic only)."""
        window = slot.client_ids
        if window is None:
            window = slot.client_ids = Window(now)
            self._watch(slot, now)
        self._make_room(window.fresh, self._core.limits.client_ids, window, now)
        window.put(*item)

    def remember_minted(self, slot: Slot, item: tuple[str, Cursor], now: float) -> None:
        """Remember an id that a node minted (unique by itself), for as long as it may retry."""
        window = slot.recent_ids
        if window is None:
            window = slot.recent_ids = Window(now)
            self._watch(slot, now)
        self._make_room(window.fresh, self._core.limits.recent_ids, window, now)
        window.put(*item)

    def _make_room(
        self,
        fresh: int,
        limit: int,
        window: Window[str] | Window[tuple[str, str]],
        now: float,
    ) -> None:
        """Make room in a window: its own bound, or where the node's is met a sixteenth of it."""
        if fresh >= limit or (
            self._remembered >= self._core.limits.remembered and fresh >= limit >> 4
        ):
            self._remembered -= window.turn(now)
        self._remembered += 1

    def _watch(self, slot: Slot, now: float) -> None:
        self._windows[slot.number] = slot
        self._turn_at = min(self._turn_at, now + TURN_SECONDS)

    def forget(self, slots: Iterable[Slot]) -> None:
        """These copies are given up."""
        for slot in slots:
            if self._windows.get(slot.number) is slot:
                del self._windows[slot.number]
            for window in (slot.client_ids, slot.recent_ids):
                self._remembered -= 0 if window is None else len(window)
            slot.client_ids = slot.recent_ids = None

    def next_deadline(self) -> float:
        return self._turn_at

    def handle_timer(self, now: float) -> None:
        """Forget message ids that nobody can be retrying any more."""
        if now < self._turn_at:
            return
        limits = self._core.limits
        for slot in list(self._windows.values()):
            if slot.client_ids and slot.client_ids.due(now, limits.client_id_seconds):
                self._remembered -= slot.client_ids.turn(now)
            if slot.recent_ids and slot.recent_ids.due(now, limits.recent_id_seconds):
                self._remembered -= slot.recent_ids.turn(now)
            slot.client_ids = slot.client_ids or None  # an empty window goes
            slot.recent_ids = slot.recent_ids or None
            if slot.client_ids is None and slot.recent_ids is None:
                del self._windows[slot.number]
        self._turn_at = now + TURN_SECONDS if self._windows else inf
