"""Thousands of histories in which everything breaks, on all cores: `make soak-sim`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from traceback import extract_tb

from fault_histories import faulty

RUN = 50  # histories that a process takes at a time


@dataclass
class Tally:
    """What some histories came to."""

    histories: int = 0
    steps: int = 0
    acknowledged: int = 0
    takeovers: int = 0
    lossy: int = 0


def play(first: int, count: int) -> tuple[Tally, list[str]]:
    """Play histories; what failed, with its seed."""
    tally, failed = Tally(), []
    for seed in range(first, first + count):
        tally.histories += 1
        try:
            account = faulty(seed)
        except (AssertionError, LookupError, ValueError, AttributeError) as error:
            where = extract_tb(error.__traceback__)[-1]
            failed.append(f"history {seed}: {type(error).__name__} in {where.name}: {error}")
            continue
        tally.steps += account.steps
        tally.acknowledged += account.acknowledged
        tally.takeovers += account.takeovers
        tally.lossy += account.lossy
    return tally, failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the first one's seed")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args()
    end = args.first + args.histories
    firsts = range(args.first, end, RUN)
    total, failures = Tally(), 0
    began = time.monotonic()
    with ProcessPoolExecutor(args.processes) as pool:
        counts = [min(RUN, end - first) for first in firsts]
        for tally, failed in pool.map(play, firsts, counts):
            for line in failed:
                print(line, flush=True)
            failures += len(failed)
            for name, value in vars(tally).items():
                setattr(total, name, getattr(total, name) + value)
    minutes = (time.monotonic() - began) / 60.0
    print(
        f"{total.histories:,} histories from {args.first} on, {failures} failed; {total.steps:,} "
        f"steps, {total.steps / minutes:,.0f} a minute; {total.acknowledged:,} acknowledged, "
        f"{total.takeovers:,} slots taken over, {total.lossy:,} lost with all copies and told so"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
