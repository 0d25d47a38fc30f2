"""How long something takes, as counts in fixed ranges: small, and never wrong by an average."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BOUNDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0)
"""Upper ends of the ranges, in seconds."""


class Timings:
    """Durations in seconds."""

    __slots__ = ("counts", "longest", "total")

    bounds = BOUNDS

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0
        self.longest = 0.0

    @property
    def count(self) -> int:
        return sum(self.counts)

    def note(self, seconds: float, times: int = 1) -> None:
        """It took so long, for `times` of them together."""
        self.counts[bisect_left(BOUNDS, seconds)] += times
        self.total += seconds * times
        self.longest = max(self.longest, seconds)

    def copy(self) -> Timings:
        """As it is now."""
        twin = Timings()
        twin.counts = self.counts.copy()
        twin.total, twin.longest = self.total, self.longest
        return twin
