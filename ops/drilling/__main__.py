"""The command line of ``ops/drill``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ops.drilling import compose
from ops.drilling.network import isolate
from ops.drilling.prometheus import DrillFailed
from ops.drilling.ring import Ring
from ops.drilling.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ops.drilling.steps import Step

EPILOG = "steps:\n" + "\n".join(f"  {step.name:<12}{step.does}" for step in STEPS)


def parser() -> argparse.ArgumentParser:
    """All options."""
    made = argparse.ArgumentParser(
        prog="ops/drill",
        description="Break a test ring on purpose, and see over Prometheus that the alarms work."
        " Without --compose it starts a ring of its own; never point it at one that matters.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("steps", nargs="*", metavar="STEP", help="what to do [everything, in order]")
    made.add_argument("--nodes", type=int, default=5, help="of a ring of its own [5]")
    made.add_argument("--port", type=int, default=27_100, help="the first of 100 ports [27100]")
    made.add_argument("--folder", type=Path, help="for logs and states [a new one, removed]")
    made.add_argument("--compose", metavar="FILE", help="use the ring that this file has started")
    made.add_argument(
        "--prometheus", default="http://127.0.0.1:9090", help="with --compose [%(default)s]"
    )
    made.add_argument(
        "--door", default="127.0.0.1:8080", help="with --compose: clients' [%(default)s]"
    )
    return made


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 where everything was seen that had to be."""
    asked = parser().parse_args(arguments)
    known = {step.name: step for step in STEPS}
    if unknown := [name for name in asked.steps if name not in known]:
        print(
            f"ops/drill: no step {', '.join(unknown)}; there are {', '.join(known)}",
            file=sys.stderr,
        )
        return 2
    chosen = [known[name] for name in asked.steps] or list(STEPS)
    try:
        if asked.compose:
            host, _, port = asked.door.rpartition(":")
            ring = compose.ComposeRing(asked.compose, asked.prometheus, (host, int(port)))
            usable = [step for step in chosen if step.name in compose.STEPS]
            return perform(cast("Ring", ring), usable, chosen)
        isolate()
        with tempfile.TemporaryDirectory(prefix="drill-") as folder:
            own = asked.folder or Path(folder)
            own.mkdir(parents=True, exist_ok=True)
            usable = [step for step in chosen if step.possible()]
            return perform(Ring(own.resolve(), asked.port, asked.nodes), usable, chosen)
    except DrillFailed as failure:
        print(f"ops/drill: {failure}", file=sys.stderr)
        return 1


def perform(ring: Ring, usable: Sequence[Step], chosen: Sequence[Step]) -> int:
    """The steps, one after the other; one that fails does not stop the others."""
    began = time.monotonic()
    failed = []
    for step in chosen:
        if step not in usable:
            print(f"\n{step.name}: left out, it is not possible here")
    try:
        ring.start()
        for step in usable:
            print(f"\n{step.name}: {step.does}\n  look: {step.look}", flush=True)
            if step.alerts:
                print(f"  due: {', '.join(sorted(step.alerts))}", flush=True)
            try:
                step.run(ring, lambda line: print(f"  {line}", flush=True))
            except DrillFailed as failure:
                print(f"  FAILED: {failure}", flush=True)
                failed.append(step.name)
                ring.mend()
    finally:
        ring.close()
    passed = time.monotonic() - began
    print(f"\n{len(usable) - len(failed)} of {len(usable)} steps as they should be, {passed:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
