"""How fast somebody may go: a token bucket a name, kept as one number.

The generic cell rate algorithm (ITU-T I.371): remembered is when the bucket
will be full again. A bucket that is full is not remembered at all.
"""

from __future__ import annotations

from typing import Final

MOST: Final = 100_000  # names that are remembered
BURST: Final = 5.0  # seconds' worth that may come at once
LEAST_BURST: Final = 10.0  # messages that may, however low the rate


class Rates:
    """`rate` a second for each name, with bursts of some seconds' worth; 0: no limit."""

    def __init__(self, rate: float, most: int = MOST) -> None:
        self._gap = 1 / rate if rate else 0.0
        self._slack = max(BURST * rate, LEAST_BURST) * self._gap
        self._full: dict[str, float] = {}  # when the bucket of a name is full again
        self._most = most

    def __bool__(self) -> bool:
        return self._gap > 0

    def __len__(self) -> int:
        return len(self._full)

    def take(self, name: str, now: float) -> bool:
        """Whether one more of `name` is within its rate. `now`: seconds."""
        gap = self._gap
        if not gap:
            return True
        full = max(self._full.get(name, 0.0), now) + gap
        if full - now > self._slack + gap / 2:  # (half a gap: clocks round)
            return False
        if name not in self._full and len(self._full) >= self._most and not self._forget(now):
            return False  # so many at once are no users
        self._full[name] = full
        return True

    def _forget(self, now: float) -> bool:
        """Forget who has a full bucket. False: nobody has."""
        before = len(self._full)
        self._full = {name: full for name, full in self._full.items() if full > now}
        return len(self._full) < before
