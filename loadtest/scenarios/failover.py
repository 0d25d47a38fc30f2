"""From `kill -9` of a session's node to its first message on another one.

The kills are the test suite's (`make failover`): a raw client comes back at once,
over WebSocket and by polls in turn, so the client's own delay is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.report import Report
from loadtest.settings import option
from loadtest.simulated import measured

if TYPE_CHECKING:
    from loadtest.settings import Progress

MUST_SECONDS: Final = 2.0
AIM_SECONDS: Final = 1.0
_LINE: Final = re.compile(r"(\d+) kills: p50 ([\d.]+) s, p99 ([\d.]+) s, worst ([\d.]+) s")
_START: Final = 90.0  # seconds for the ring to form, and to end
_A_KILL: Final = 20.0  # seconds, with the node's return


@dataclass(frozen=True, slots=True)
class Failover:
    """Seconds from a node's kill -9 to its session's first message elsewhere."""

    kills: int = option(10, "Nodes killed, one after the other, of five.")


def run(settings: Failover, progress: Progress) -> Report:
    """Raises RuntimeError where the tests are not beside this package, or a session is lost."""
    report = Report("failover", {"kills": settings.kills, "nodes": 5})
    progress(f"failover: {settings.kills} kills")
    kills = str(settings.kills)
    seconds = _START + settings.kills * _A_KILL
    found = measured("soak/test_failover.py", _LINE, seconds, COMETRING_FAILOVER_KILLS=kills)
    _, half, most, worst = map(float, found[0])
    report.add("killed to resumed: p50", "s", half)
    report.add("killed to resumed: p99", "s", most, at_most=MUST_SECONDS, aim=AIM_SECONDS)
    report.add("killed to resumed: worst", "s", worst)
    return report
