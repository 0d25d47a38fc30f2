"""How soon a ring of real processes agrees again, at every survivor.

``make ring-rounds`` runs thirty rounds of each fault on nine nodes and prints the
figures; a few rounds on five are part of every test run. COMETRING_RING_ROUNDS sets the number,
COMETRING_RING_SEED repeats one.
"""

from __future__ import annotations

import json
import os
from random import Random, SystemRandom
from typing import TYPE_CHECKING

from ring_rounds import RingRounds

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = int(os.environ.get("COMETRING_RING_ROUNDS", "0"))
NODES = 9 if ROUNDS else 5
SEED = int(os.environ.get("COMETRING_RING_SEED", "0")) or SystemRandom().getrandbits(32)
KILLS = ROUNDS or 2
HANGS = ROUNDS or 1
BLINKS = ROUNDS or 1
HANG = 10.0 if ROUNDS else 2.5
"""Seconds between SIGSTOP and SIGCONT."""

KILL_WITHIN = 1.0
"""Seconds until home is agreed by every survivor of a kill, and of a hang; the median must keep
these everywhere, the slowest in a run of its own (a test run shares its processors)."""
HANG_WITHIN = 2.0


def test_survivors_of_a_kill_or_a_hang_agree_soon(tmp_path: Path) -> None:
    print(f"seed {SEED}")
    rounds = RingRounds(NODES, tmp_path, Random(SEED))
    try:
        rounds.cluster.start(60.0)
        for number in range(KILLS):
            rounds.kill_and_restart(rounds.any_node(), with_state=number % 2 == 0)
        for _ in range(HANGS):
            rounds.hang(rounds.any_node(), HANG)
        assert not rounds.cluster.complaints(), rounds.cluster.logs()
    finally:
        rounds.cluster.stop()
    report(rounds)
    # A test run shares its processors: there a healthy node may have been kept from them, too.
    assert rounds.bystanders <= (0 if ROUNDS else 1)
    slowest = 1.0 if ROUNDS else 3.0
    for kind, bound in (("kill", KILL_WITHIN), ("hang", HANG_WITHIN)):
        measured = rounds.measured[kind]
        assert measured.quantile(0.5) <= bound, measured.summary()
        assert measured.quantile(0.99) <= bound * slowest, measured.summary()


def test_a_second_of_silence_costs_nothing_where_the_settings_say_so(tmp_path: Path) -> None:
    rounds = RingRounds(3, tmp_path, Random(SEED), ("--suspect-after", "2"))
    try:
        rounds.cluster.start(60.0)
        for _ in range(BLINKS):
            rounds.blink(rounds.any_node(), 1.0)
        if ROUNDS:
            rounds.hang(rounds.any_node(), 4.0)  # and yet the dead are buried
    finally:
        rounds.cluster.stop()


def report(rounds: RingRounds) -> None:
    """A table, and the same as one line of JSON."""
    summaries = {kind: samples.summary() for kind, samples in rounds.measured.items()}
    print(f"\n{'seconds until each node agreed':<32}{'samples':>8}{'p50':>8}{'p99':>8}{'max':>8}")
    for kind, each in summaries.items():
        figures = "".join(f"{each[name]:>8.3f}" for name in ("p50", "p99", "max"))
        print(f"{kind:<32}{each['samples']:>8}{figures}")
    print(f"healthy nodes that lost their place: {rounds.bystanders}")
    print(json.dumps({"nodes": NODES, "rounds": KILLS, "seed": SEED, "seconds": summaries}))
