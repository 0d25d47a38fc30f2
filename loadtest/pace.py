"""What a figure would be at the pace of the machine for which the budget was written.

The same machine does the same work at half its pace an hour later, where others share it.
The C `send()` loop of `broadcast` is the yardstick: it knows nothing of this project, and
took 4.9 µs a message when the budget was set. What is nothing but work (`Figure.paced`) is
told at that pace, too; what is mostly waiting is not, nor are memory, ratios and counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from loadtest.floor import C_FLOOR
from loadtest.report import number_text

if TYPE_CHECKING:
    from loadtest.report import Figure, Report

BUDGET_FLOOR: Final = 4.9  # µs a message to each of 10,000 connections
YARDSTICK: Final = f"websocket: {C_FLOOR}"
PACE_HEADING: Final = "at the budget's pace"
_RATE: Final = "/s"


def slowness_of(reports: list[Report]) -> float | None:
    """How many times longer the yardstick took in this run than then; None without one."""
    for report in reports:
        for figure in report.figures:
            if report.scenario == "broadcast" and figure.name == YARDSTICK:
                return figure.median / BUDGET_FLOOR
    return None


def at_pace(figure: Figure, slowness: float | None) -> Figure | None:
    """The figure at the budget's pace; None where that says nothing."""
    if slowness is None or not figure.paced:
        return None
    factor = slowness if figure.unit == _RATE else 1 / slowness
    return msgspec.structs.replace(figure, rounds=[value * factor for value in figure.rounds])


def at_pace_text(figure: Figure, slowness: float | None) -> str:
    """The same in words, with what it comes to; empty where it says nothing."""
    scaled = at_pace(figure, slowness)
    return "" if scaled is None else f"{number_text(scaled.median)}: {scaled.verdict}"
