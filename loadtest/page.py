"""Reports as one HTML file: tables and plots, nothing fetched from elsewhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from loadtest.accounting import machine
from loadtest.pace import BUDGET_FLOOR, PACE_HEADING, at_pace_text, slowness_of
from loadtest.plots import svg_of
from loadtest.report import number_text

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.report import Figure, Plot, Report

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em;
       color: #222; background: #fff }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2em; border-top: 1px solid #ddd; padding-top: 1em }
table { border-collapse: collapse; margin: 1em 0 } th { text-align: left; font-weight: 600 }
td, th { padding: .25em .8em .25em 0; border-bottom: 1px solid #eee; vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.good { color: #1b7a3d } .near { color: #9a6a00 } .bad { color: #b3261e; font-weight: 600 }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(30em, 1fr)); gap: 1em }
.plots svg { width: 100%; height: auto }
small, .settings { color: #666 }
"""
_METHOD: Final = (
    "<p><small>CPU and memory are those of the server processes alone, from the kernel's "
    "accounting. Latency counts from when a message was meant to be sent. Each figure is a "
    "median of its rounds; load is the machine's load average meanwhile.</small>"
)
_HEADINGS: Final = ("figure", "median", "lowest", "highest", "load", "must", "aim", "verdict")


def page_of(reports: list[Report]) -> str:
    """The whole page."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>cometring bench</title>",
        f"<style>{_STYLE}</style><h1>cometring bench</h1><p class=settings>{escape(_here())}.",
        _METHOD,
        _budget(reports),
        _beside(reports),
        *(_section(report) for report in reports),
    ]
    return "\n".join(parts) + "\n"


def _here() -> str:
    """What the figures were measured on."""
    told = machine()
    return (
        f"{told['processor']}, {told['cores']} cores, {told['memory_gib']} GiB, "
        f"Linux {told['kernel']}, Python {told['python']}"
    )


def _budget(reports: list[Report]) -> str:
    slowness = slowness_of(reports)
    rows = []
    for report in reports:
        if report.failure:
            rows.append(
                f"<tr><td>{escape(report.scenario)}<td colspan={len(_HEADINGS) - 1}>"
                f"{escape(report.failure)}<td class='n bad'>not measured<td></tr>"
            )
        rows += [
            _row(each, report.scenario, at_pace_text(each, slowness))
            for each in report.figures
            if each.met is not None
        ]
    if not rows:
        return ""
    table = _table(("scenario", *_HEADINGS, PACE_HEADING), rows)
    return f"<h2>Budget</h2>{_pace(slowness)}{table}"


def _pace(slowness: float | None) -> str:
    if slowness is None:
        return ""
    return (
        f"<p><small>A bare <code>send()</code> in C took {slowness:.2f} times the {BUDGET_FLOOR} "
        "µs of the machine for which the budget was written: what is nothing but work is told "
        "at that pace, too.</small>"
    )


def _beside(reports: list[Report]) -> str:
    """Other servers' bars and ours, next to the budget; nothing if none were measured."""
    bars = [plot for report in reports for plot in report.plots if plot.bars]
    return f"<h2>Beside others</h2>{_drawn(bars)}" if bars else ""


def _drawn(plots: list[Plot]) -> str:
    return f"<div class=plots>{''.join(f'<div>{svg_of(plot)}</div>' for plot in plots)}</div>"


def _section(report: Report) -> str:
    told = [f"{name} {value}" for name, value in report.settings.items()]
    if report.seconds:
        told.append(f"{report.seconds:.0f} s in all")
    settings = report.failure or ", ".join(told)
    plots = _drawn([plot for plot in report.plots if not plot.bars])
    remarks = "".join(f"<p><small>{escape(remark)}</small>" for remark in report.remarks)
    return (
        f"<h2>{escape(report.scenario)}</h2><p class=settings>{escape(settings)}</p>"
        + _table(_HEADINGS, [_row(figure) for figure in report.figures])
        + plots
        + remarks
    )


def _table(headings: tuple[str, ...], rows: list[str]) -> str:
    words = ("scenario", "figure")
    head = "".join(f"<th{'' if name in words else ' class=n'}>{name}</th>" for name in headings)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _row(figure: Figure, scenario: str | None = None, paced: str = "") -> str:
    kind = ""
    if figure.met is not None:
        kind = "bad" if not figure.met else "near" if figure.aimed is False else "good"
    unit = escape(figure.unit)
    cells = [
        *([] if scenario is None else [f"<td>{escape(scenario)}"]),
        f"<td>{escape(figure.name)}",
        f"<td class='n {kind}'>{number_text(figure.median)} {unit}",
        f"<td class=n>{number_text(min(figure.rounds))}",
        f"<td class=n>{number_text(max(figure.rounds))}",
        f"<td class=n>{figure.load:.1f}",
        f"<td class=n>{figure.bound_text()}",
        f"<td class=n>{figure.aim_text()}",
        f"<td class='n {kind}'>{figure.verdict}",
        *([] if scenario is None else [f"<td class=n>{paced}"]),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def write_page(path: Path, reports: list[Report]) -> None:
    """Write `page_of` to `path`."""
    path.write_text(page_of(reports), "utf-8")
