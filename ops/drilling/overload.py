"""Steps that ask too much of nodes, or whose clients do."""

from __future__ import annotations

import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from ops.drilling.confine import confined, resident
from ops.drilling.load import NotReading, Publisher, Readers, publish
from ops.drilling.prometheus import DrillFailed, wait_for
from ops.drilling.ring import LATE
from ops.drilling.watching import expect, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from ops.drilling.ring import Ring

MANY: Final = 60
FULL: Final = tuple(f"/drill/full/{i}" for i in range(60))
ROOM: Final = 1.25  # times what a node holds when it is confined: it is at 80 %
ENOUGH: Final = 0.9  # of that: then no more is asked of it


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


def memory(ring: Ring, say: Callable[[str], None]) -> None:
    """A control group with little room for one node, and messages until it is nearly full."""
    victim = ring.nodes[0]
    if victim.process is None:
        raise DrillFailed(f"{victim.name} does not run")
    limit = int(resident(victim.process.pid) * ROOM)
    share = f'cometring:memory_used:ratio{{instance="{victim.host}:{victim.ops}"}}'
    with confined(victim.process.pid, limit), Readers([victim.door], FULL):
        say(f"{victim.name} may hold {limit >> 20} MiB, a quarter more than it does")
        told: Counter[str] = Counter()
        for number in range(10 * len(FULL)):
            told[publish(victim.door, FULL[number % len(FULL)], ring.key, 100_000)] += 1
            time.sleep(0.1)  # so that what is asked of Prometheus is not long past
            if number % 10 == 9 and (ring.prometheus.value(share) or 0) > ENOUGH:
                break
        say(f"publishers were told: {', '.join(f'{n} of {what}' for what, n in told.items())}")
        expect(ring, say, "Memory")
        say(f"it holds {resident(victim.process.pid) >> 20} MiB")
    settle(ring, say)


def crowded(ring: Ring, say: Callable[[str], None]) -> None:
    """A ring of seven whose first node is home to half of all slots, with little room for logs."""
    ring.others = ring.plan_lopsided("--max-log-bytes", "1MiB")
    ring.tell_targets()
    try:
        for node in ring.others:
            node.start()
        wait_for(lambda: all(n.ready() for n in ring.others), 60.0, lambda: "they do not form")
        scraped = 'sum(cometring_ready{cluster="lopsided"})'
        ring.prometheus.wait_for_value(scraped, len(ring.others), 30.0)
        balance = ring.prometheus.value('max(cometring_slot_balance{cluster="lopsided"})')
        say(f"seven nodes, of which one is home to {balance or 0:.1f} times the mean")
        door = ring.others[0].door
        with Readers([door], FULL):
            told = Counter(
                publish(door, channel, ring.key, 60_000) for _ in range(3) for channel in FULL
            )
        say(f"publishers were told: {', '.join(f'{n} of {what}' for what, n in told.items())}")
        expect(ring, say, "AppendsRefused", "SharesUneven", within=420.0)
    finally:
        for node in ring.others:
            node.end()
        ring.others = []
        ring.tell_targets()
    settle(ring, say)
