"""What a scenario found: figures with their spread and bounds, as a table and as JSON."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import msgspec
from rich.table import Table

from loadtest.accounting import machine

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console


class Figure(msgspec.Struct):
    """One measured quantity: a value a round.

    `at_most` or `at_least` is the bound that the median must keep; without one
    the figure is only stated.
    """

    name: str
    unit: str
    rounds: list[float]
    at_most: float | None = None
    at_least: float | None = None

    @property
    def median(self) -> float:
        return median(self.rounds)

    @property
    def met(self) -> bool | None:
        """Whether the bound is kept; None where there is none."""
        if self.at_most is not None:
            return self.median <= self.at_most
        if self.at_least is not None:
            return self.median >= self.at_least
        return None

    def bound_text(self) -> str:
        """The bound as people write it."""
        if self.at_most is not None:
            return f"≤ {self.at_most:,g}"
        if self.at_least is not None:
            return f"≥ {self.at_least:,g}"
        return ""


class Report(msgspec.Struct):
    """All figures of one scenario, and what they were measured with."""

    scenario: str
    settings: dict[str, str | int | float]
    figures: list[Figure] = msgspec.field(default_factory=list)
    remarks: list[str] = msgspec.field(default_factory=list)

    @property
    def met(self) -> bool:
        """Whether no stated bound is broken."""
        return all(figure.met is not False for figure in self.figures)

    def find(self, name: str) -> Figure:
        """The figure called `name`, made by the first call of `add`. Raises `KeyError`."""
        for figure in self.figures:
            if figure.name == name:
                return figure
        raise KeyError(name)

    def add(
        self,
        name: str,
        unit: str,
        value: float,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> None:
        """Add one round's `value` to the figure `name`."""
        try:
            self.find(name).rounds.append(value)
        except KeyError:
            self.figures.append(Figure(name, unit, [value], at_most, at_least))


def table_of(report: Report) -> Table:
    """The report as a table: median, lowest and highest round, bound."""
    settings = ", ".join(f"{key} {value}" for key, value in report.settings.items())
    table = Table(title=f"{report.scenario} · {settings}", title_justify="left")
    table.add_column("figure")
    for column in ("median", "lowest", "highest", "rounds", "bound"):
        table.add_column(column, justify="right")
    for figure in report.figures:
        bound = figure.bound_text()
        if figure.met is not None:
            bound += " [green]met[/]" if figure.met else " [red]not met[/]"
        table.add_row(
            figure.name,
            f"[bold]{_number(figure.median)}[/] {figure.unit}",
            _number(min(figure.rounds)),
            _number(max(figure.rounds)),
            str(len(figure.rounds)),
            bound,
        )
    return table


def _number(value: float) -> str:
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"


def show(console: Console, report: Report) -> None:
    """Print the table and the remarks."""
    console.print(table_of(report))
    for remark in report.remarks:
        console.print(f"  {remark}", highlight=False)


def as_json(reports: list[Report]) -> bytes:
    """Reports with every round's value, and the machine they ran on."""
    document = {
        "machine": machine(),
        "scenarios": [
            {
                "scenario": report.scenario,
                "settings": report.settings,
                "met": report.met,
                "figures": [
                    {
                        "name": figure.name,
                        "unit": figure.unit,
                        "median": figure.median,
                        "rounds": figure.rounds,
                        "at_most": figure.at_most,
                        "at_least": figure.at_least,
                        "met": figure.met,
                    }
                    for figure in report.figures
                ],
                "remarks": report.remarks,
            }
            for report in reports
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def write_json(path: Path, reports: list[Report]) -> None:
    """Write `as_json` to `path`."""
    path.write_bytes(as_json(reports))
