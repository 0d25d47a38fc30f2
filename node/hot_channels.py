"""Which channels are the busiest, in bounded memory: for metrics, not for decisions.

A label a channel would make as many series as there are channels. So a count
is kept for at most `KEPT` of them, those with most traffic of late, and fewer
still are shown.
"""

from __future__ import annotations

from heapq import nlargest
from typing import Final

KEPT: Final = 1_000
"""Channels that have a count; the least busy half of more is forgotten."""
FADE: Final = 0.5
"""Of its weight, what a channel keeps from one look to the next."""


class HotChannels:
    """Counts by channel. A channel that was forgotten begins at 0 again, as after a restart."""

    __slots__ = ("_fresh", "_totals", "_weights")

    def __init__(self) -> None:
        self._fresh: dict[str, int] = {}  # since the last look
        self._totals: dict[str, int] = {}
        self._weights: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._fresh.keys() | self._totals.keys())

    def note(self, channel: str, times: int = 1) -> None:
        """`times` more messages."""
        fresh = self._fresh
        fresh[channel] = fresh.get(channel, 0) + times
        if len(fresh) > KEPT:
            self._fold()

    def totals(self) -> dict[str, int]:
        """The count of every channel that has one; nothing fades for it."""
        self._fold()
        return self._totals.copy()

    def hottest(self, count: int) -> list[tuple[str, int]]:
        """The `count` busiest channels of late and their totals; a look, so that weights fade."""
        for channel in self._weights:
            self._weights[channel] *= FADE
        self._fold()
        found = nlargest(count, self._weights.items(), key=lambda item: item[1])
        return [(channel, self._totals[channel]) for channel, _ in found]

    def _fold(self) -> None:
        """Add what is fresh to the totals, and forget the idle where that makes too many."""
        for channel, times in self._fresh.items():
            self._totals[channel] = self._totals.get(channel, 0) + times
            self._weights[channel] = self._weights.get(channel, 0.0) + times
        self._fresh.clear()
        if len(self._totals) > KEPT:
            stay = nlargest(KEPT // 2, self._weights.items(), key=lambda item: item[1])
            self._weights = dict(stay)
            self._totals = {channel: self._totals[channel] for channel in self._weights}
