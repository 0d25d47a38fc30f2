"""Links that were refused: all are counted, few are logged.

Anyone who can reach the peer port can be refused as often as they like; that
must fill neither the disk nor the operator's attention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
import trio

if TYPE_CHECKING:
    from node.stats import Stats

log = structlog.get_logger()

LOG_EVERY: Final = 5.0
"""Seconds between two log lines with the same reason."""
_EVERYDAY: Final = frozenset({"closed", "duplicate", "self"})
"""Port checks and crossing dials: counted, and logged for the curious only."""


class Refusals:
    """Counts in `Stats.link_refused`, by reason; logs at a limited rate."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._logged: dict[str, float] = {}
        self._silent: dict[str, int] = {}

    def note(self, reason: str, where: str, text: str) -> None:
        """A link with `where` (an address) was refused, by us or by the peer.

        `reason` is one word out of a few; `text` is a sentence of ours, without
        a byte of the peer's.
        """
        self._stats.link_refused[reason] += 1
        if reason in _EVERYDAY:
            log.debug("link_refused", reason=reason, peer=where, detail=text)
            return
        now = trio.current_time()
        if now - self._logged.get(reason, -LOG_EVERY) < LOG_EVERY:
            self._silent[reason] = self._silent.get(reason, 0) + 1
            return
        self._logged[reason] = now
        silent = self._silent.pop(reason, 0)
        log.warning("link_refused", reason=reason, peer=where, detail=text, unlogged=silent)
