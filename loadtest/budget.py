"""The budget as a table: every figure that has a bound, of all scenarios."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from loadtest.pace import PACE_HEADING, at_pace_text, slowness_of
from loadtest.report import number_text

if TYPE_CHECKING:
    from loadtest.report import Report


def budget_table(reports: list[Report]) -> Table:
    """Every figure that has a bound, of all scenarios: what must be, what should, what is."""
    table = Table(title="budget", title_justify="left")
    for column in ("scenario", "figure"):
        table.add_column(column)
    for column in ("measured", "must", "aim", "verdict", PACE_HEADING, "load"):
        table.add_column(column, justify="right")
    slowness = slowness_of(reports)
    for report in reports:
        if report.failure:
            table.add_row(
                report.scenario, report.failure, "", "", "", "[red]not measured[/]", "", ""
            )
        for figure in report.figures:
            if figure.met is None:
                continue
            colour = "red" if not figure.met else "yellow" if figure.aimed is False else "green"
            table.add_row(
                report.scenario,
                figure.name,
                f"[{colour}]{number_text(figure.median)}[/] {figure.unit}",
                figure.bound_text(),
                figure.aim_text(),
                figure.verdict,
                at_pace_text(figure, slowness),
                f"{figure.load:.1f}",
            )
    return table
