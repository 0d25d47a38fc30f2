"""Hops of a group publish from 10 to 10,000 nodes: the tests' own simulation, reported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil, log
from typing import TYPE_CHECKING, Final

from loadtest.report import Report
from loadtest.settings import option
from loadtest.simulated import measured

if TYPE_CHECKING:
    from loadtest.settings import Progress

_LINE: Final = re.compile(r"(\d+) members: depth (\d+), mean ([\d.]+), fan-out (\d+)")
_FAN_OUT: Final = 8
_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Hops:
    """Depth of the multicast tree from 10 to 10,000 simulated nodes."""

    most: int = option(10_000, "Nodes of the largest ring that is reported.")


def run(settings: Hops, progress: Progress) -> Report:
    """Raises RuntimeError where the tests are not beside this package, or fail."""
    report = Report("hops", {"most nodes": settings.most})
    progress("hops: simulating placements")
    printed = measured("simulation/test_hops.py", _LINE, _SECONDS, "shallow")
    found = [tuple(map(float, groups)) for groups in printed]
    plot = report.draw("Links from the home of a channel", "nodes", "links", log_x=True)
    for nodes, depth, mean, fan_out in sorted(found):
        if nodes > settings.most:
            continue
        name = f"{nodes:,.0f} nodes"
        bound = ceil(log(nodes, _FAN_OUT)) + 1
        report.add(f"{name}: most hops", "hops", depth, at_most=bound)
        report.add(f"{name}: mean hops", "hops", mean)
        report.add(f"{name}: greatest fan-out", "children", fan_out)
        plot.series.setdefault("most", []).append((nodes, depth))
        plot.series.setdefault("mean", []).append((nodes, mean))
        plot.series.setdefault("bound", []).append((nodes, bound))
    return report
