"""`make sim-ring`: the ring's figures at 10 to 10,000 nodes, as a table and as JSON.

    python tests/support/sim_ring.py [--out FILE] [--least N] [--most N] [--part NAME]

Virtual seconds of real engines.
All of it takes about an hour of one core, most of it at 10,000 nodes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ring_scale import agreement, calm, join_storm, load, mass_crash, table

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (10, 100, 1_000, 10_000)
ROUNDS = {10: 200, 100: 100, 1_000: 10, 10_000: 3}
CALM = {10: 86_400.0, 100: 3_600.0, 1_000: 120.0, 10_000: 60.0}  # seconds
PARTS = ("load", "agreement", "mass", "storm", "calm")


def jobs(least: int, most: int, parts: list[str]) -> list[Callable[[], msgspec.Struct]]:
    """What is to be measured."""
    sizes = [size for size in SIZES if least <= size <= most]
    every: dict[str, list[Callable[[], msgspec.Struct]]] = {
        "load": [partial(load, size) for size in sizes],
        "agreement": [
            partial(agreement, size, fault, ROUNDS[size])
            for fault in ("kill", "hang", "cut")
            for size in sizes
        ],
        "mass": [partial(mass_crash, size) for size in sizes],
        "storm": [
            partial(join_storm, 3, joining) for joining in (100, 997) if least <= joining <= most
        ],
        "calm": [partial(calm, size, CALM[size]) for size in sizes],
    }
    return [job for part in parts for job in every[part]]


def main() -> int:
    """Measure, print as it goes, and write everything at the end; 1 if a figure misses."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, help="where to write JSON")
    parser.add_argument("--least", type=int, default=SIZES[0], help="smallest ring")
    parser.add_argument("--most", type=int, default=SIZES[-1], help="largest ring")
    parser.add_argument("--part", action="append", choices=PARTS, help="only these")
    options = parser.parse_args()
    rows: list[msgspec.Struct] = []
    for job in jobs(options.least, options.most, options.part or list(PARTS)):
        began = time.process_time()
        row = job()
        lines = list(table([row]))
        repeated = rows and type(rows[-1]) is type(row)
        print("\n".join(lines[-1:] if repeated else lines), end="")
        print(f"    # {time.process_time() - began:.0f} s of a core", flush=True)
        rows.append(row)
    if options.out:
        told = [{"of": type(row).__name__, **msgspec.structs.asdict(row)} for row in rows]
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(told, indent=1) + "\n")
    missed = [row for row in rows if not is_met(row)]
    for row in missed:
        print(f"MISSED: {row}", file=sys.stderr)
    return 1 if missed else 0


def is_met(row: msgspec.Struct) -> bool:
    """Whether a figure is what the ring promises."""
    fields = msgspec.structs.asdict(row)
    match type(row).__name__:
        case "Agreement":
            return bool(fields["p99"] <= (1.0 if fields["fault"] == "kill" else 2.0))
        case "Load":
            return bool(fields["most_received"] <= 500 and fields["leased"] == 1.0)
        case "Calm":
            return bool(fields["evictions"] == 0 and fields["views"] == 0)
        case "Mass":
            return bool(fields["views"] <= 2)
        case _:
            return bool(fields["share"] <= 2.0)


if __name__ == "__main__":
    sys.exit(main())
