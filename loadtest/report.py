"""What a scenario found: figures with their spread and bounds, as a table and as JSON."""

from __future__ import annotations

import os
from statistics import median
from typing import TYPE_CHECKING

import msgspec
from rich.table import Table

from loadtest.accounting import machine

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console


class Figure(msgspec.Struct):
    """One measured quantity: a value a round, and the machine's load average beside each.

    `at_most` or `at_least` is the bound that the median must keep; without one
    the figure is only stated. `aim` is what it should come to, in the same direction.
    `paced`: it is nothing but work, so it goes with the machine's pace (`loadtest.pace`).
    """

    name: str
    unit: str
    rounds: list[float]
    at_most: float | None = None
    at_least: float | None = None
    aim: float | None = None
    loads: list[float] = msgspec.field(default_factory=list)
    paced: bool = False

    @property
    def median(self) -> float:
        return median(self.rounds)

    @property
    def load(self) -> float:
        """The machine's load average, as it was in the middle of the rounds."""
        return median(self.loads) if self.loads else 0.0

    @property
    def met(self) -> bool | None:
        """Whether the bound is kept; None where there is none."""
        if self.at_most is not None:
            return self.median <= self.at_most
        if self.at_least is not None:
            return self.median >= self.at_least
        return None

    @property
    def aimed(self) -> bool | None:
        """Whether the aim is reached; None where there is none."""
        if self.aim is None:
            return None
        return self.median >= self.aim if self.at_least is not None else self.median <= self.aim

    @property
    def verdict(self) -> str:
        """In a word: missed, met, or aim met; empty without a bound."""
        if self.met is None:
            return ""
        return "missed" if not self.met else "aim met" if self.aimed else "met"

    def bound_text(self) -> str:
        """The bound as people write it."""
        if self.at_most is not None:
            return f"≤ {self.at_most:,g}"
        if self.at_least is not None:
            return f"≥ {self.at_least:,g}"
        return ""

    def aim_text(self) -> str:
        """The aim as people write it."""
        return "" if self.aim is None else f"{self.aim:,g}"


class Plot(msgspec.Struct):
    """Something to be drawn: points a series, or for bars one value a label."""

    title: str
    x: str
    y: str
    series: dict[str, list[tuple[float, float]]] = msgspec.field(default_factory=dict)
    bars: dict[str, float] = msgspec.field(default_factory=dict)
    log_x: bool = False
    log_y: bool = False


class Report(msgspec.Struct):
    """All figures of one scenario, and what they were measured with."""

    scenario: str
    settings: dict[str, str | int | float]
    figures: list[Figure] = msgspec.field(default_factory=list)
    remarks: list[str] = msgspec.field(default_factory=list)
    plots: list[Plot] = msgspec.field(default_factory=list)
    failure: str = ""  # why there are no figures
    seconds: float = 0.0  # that the run took

    @property
    def met(self) -> bool:
        """Whether no stated bound is broken."""
        return not self.failure and all(figure.met is not False for figure in self.figures)

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
        aim: float | None = None,
        paced: bool = False,
    ) -> None:
        """Add one round's `value` to the figure `name`."""
        load = round(os.getloadavg()[0], 1)
        try:
            figure = self.find(name)
        except KeyError:
            bounds = (at_most, at_least, aim)
            self.figures.append(Figure(name, unit, [value], *bounds, loads=[load], paced=paced))
        else:
            figure.rounds.append(value)
            figure.loads.append(load)

    def draw(self, title: str, x: str, y: str, *, log_x: bool = False, log_y: bool = False) -> Plot:
        """The plot called `title`, made by the first call."""
        for plot in self.plots:
            if plot.title == title:
                return plot
        plot = Plot(title, x, y, log_x=log_x, log_y=log_y)
        self.plots.append(plot)
        return plot

    def draw_latency(self, title: str, name: str, curve: list[tuple[float, float]]) -> None:
        """Add a curve of a `Latency` to the plot called `title`."""
        plot = self.draw(title, "1 / (1 - quantile): 100 is p99", "ms", log_x=True)
        plot.series[name] = curve


def table_of(report: Report) -> Table:
    """The report as a table: median, lowest and highest round, bound."""
    settings = ", ".join(f"{key} {value}" for key, value in report.settings.items())
    table = Table(title=f"{report.scenario} · {settings}", title_justify="left")
    table.add_column("figure")
    for column in ("median", "lowest", "highest", "rounds", "load", "must", "aim"):
        table.add_column(column, justify="right")
    for figure in report.figures:
        bound = figure.bound_text()
        if figure.met is not None:
            bound += " [green]met[/]" if figure.met else " [red]not met[/]"
        aim = figure.aim_text()
        if figure.aimed:
            aim += " [green]✓[/]"
        table.add_row(
            figure.name,
            f"[bold]{number_text(figure.median)}[/] {figure.unit}",
            number_text(min(figure.rounds)),
            number_text(max(figure.rounds)),
            str(len(figure.rounds)),
            f"{figure.load:.1f}",
            bound,
            aim,
        )
    return table


def number_text(value: float) -> str:
    """A value with three or so significant digits."""
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
                "failure": report.failure,
                "seconds": round(report.seconds, 1),
                "figures": [
                    {
                        "name": figure.name,
                        "unit": figure.unit,
                        "median": figure.median,
                        "rounds": figure.rounds,
                        "at_most": figure.at_most,
                        "at_least": figure.at_least,
                        "aim": figure.aim,
                        "met": figure.met,
                        "loads": figure.loads,
                        "paced": figure.paced,
                    }
                    for figure in report.figures
                ],
                "remarks": report.remarks,
                "plots": report.plots,
            }
            for report in reports
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def write_json(path: Path, reports: list[Report]) -> None:
    """Write `as_json` to `path`."""
    path.write_bytes(as_json(reports))
