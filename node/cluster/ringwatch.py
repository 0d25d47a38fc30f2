"""Telling the operator, in the log, when the ring is not well, and when it is again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from dht.engine import RingEngine

log = structlog.get_logger()

REMIND_EVERY: Final = 10.0
"""Seconds between two complaints about the same thing."""


class RingWatch:
    """Looks at one ring engine now and then; complains in words that say what to do."""

    def __init__(self, remembered: bytes = b"") -> None:
        """`remembered`: the ring that the state directory tells of; empty for none."""
        self._remembered = remembered
        self._frozen = False
        self._told: dict[str, float] = {}

    def look(self, ring: RingEngine, now: float) -> None:
        """Complain of what is wrong, and say when it is over."""
        status = ring.health(now)
        self._look_back(ring)
        if status.frozen:
            self._complain(
                "ring_frozen",
                now,
                reason="no majority of the ring's voters answers this node",
                advice="start the missing nodes or mend the network; if they are lost for good:"
                " cometring ring recover",
                missing=[node.hex()[:8] for node in status.missing],
            )
        elif self._frozen:
            log.warning("ring_thawed", view=ring.view.number if ring.view else 0)
            self._told.pop("ring_frozen", None)
        self._frozen = status.frozen
        for other in status.foreign:
            self._complain(
                f"another_ring {other.hex()[:8]}",
                now,
                advice="nodes of another ring answer here, and rings never merge: stop the"
                " nodes of one, remove their state directories, and start them again",
            )
        if status.waits_for:
            self._complain(
                "waiting_for_ring",
                now,
                ring=status.waits_for.hex()[:8],
                reason="this node remembers a ring of which it has not found enough voters",
                advice="start the other nodes; if they are lost for good: cometring ring recover",
            )

    def _look_back(self, ring: RingEngine) -> None:
        """Say once that this node has come to another ring than the one it remembers."""
        if ring.view is None or not self._remembered:
            return
        if ring.view.ring != self._remembered:
            log.warning(
                "joined_another_ring",
                ring=ring.view.ring.hex()[:8],
                remembered=self._remembered.hex()[:8],
                recovered=ring.view.former == self._remembered,
                advice="its votes in the ring that it remembers are gone: after `ring recover`"
                " that is as it should be, else look where its seeds lead",
            )
        self._remembered = b""

    def _complain(self, what: str, now: float, **words: object) -> None:
        if now - self._told.get(what, -REMIND_EVERY) >= REMIND_EVERY:
            self._told[what] = now
            log.error(what.partition(" ")[0], **words)
