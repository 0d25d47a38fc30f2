"""Steps that ask too much of nodes, or whose clients do."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Final

from ops.drilling.load import NotReading, Publisher, Readers
from ops.drilling.prometheus import DrillFailed
from ops.drilling.ring import LATE
from ops.drilling.watching import expect, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from ops.drilling.ring import Ring

MANY: Final = 60


def stutter(ring: Ring, say: Callable[[str], None]) -> None:
    """One node that runs by fits and starts, as on a host with too little CPU."""
    victim = ring.nodes[0]
    say(f"{victim.name} is stopped for a third of a second, twice a second")
    began = time.monotonic()
    missing = {"CometringLoopLag", "CometringCommitSlow", "CometringSheddingLoad"}
    with Publisher([node.door for node in ring.nodes], ring.key) as publisher:
        while missing and time.monotonic() - began < 150.0:
            for _ in range(10):
                victim.send(signal.SIGSTOP)
                time.sleep(0.33)
                victim.send(signal.SIGCONT)
                time.sleep(0.17)
            for name in sorted(missing & ring.prometheus.alerts("firing")):
                say(f"{name} fires after {time.monotonic() - began:.0f} s")
                missing.discard(name)
    if missing:
        raise DrillFailed(f"not firing: {sorted(missing)}")
    slowest = ring.prometheus.value("cometring:append_commit_seconds:p99")
    say(f"99 of 100 publishes were committed within {slowest or 0:.2f} s: {publisher}")
    settle(ring, say)


def clients(ring: Ring, say: Callable[[str], None]) -> None:
    """Clients that do not read, and a channel whose messages come late."""
    doors = [node.door for node in ring.nodes[:2]]
    say(f"{MANY} clients at one node do not read; {LATE} gathers messages for three seconds")
    with (
        Readers(doors, [LATE]),
        Publisher(doors, ring.key, [LATE]) as publisher,
        NotReading(doors[0], MANY, ring.key),
    ):
        expect(ring, say, "SlowConsumers", "DeliverySlow", within=240.0)
    say(f"publishers were told: {publisher}")
    settle(ring, say)
