"""Other rings that this node has met: there should be none, and an operator is told.

Two rings arise where nodes found without knowing of each other (seed lists that
do not meet, `expect` below a majority), or where `ring recover` was used though
the majority was alive. They never merge: one of them has to be restarted.
"""

from __future__ import annotations

MOST = 8  # rings kept in mind
REMEMBER = 60.0  # seconds since it was last met


class ForeignRings:
    """Ring ids, and when each was last met (monotonic seconds)."""

    def __init__(self) -> None:
        self._met: dict[bytes, float] = {}

    def note(self, ring: bytes, now: float) -> None:
        """A node of `ring` has spoken."""
        if ring in self._met or len(self._met) < MOST:
            self._met[ring] = now

    def seen(self, now: float) -> tuple[bytes, ...]:
        """The rings met of late."""
        self._met = {ring: met for ring, met in self._met.items() if now < met + REMEMBER}
        return tuple(sorted(self._met))
