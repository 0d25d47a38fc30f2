"""Plots as SVG text, to stand inside a page."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from loadtest.floor import C_FLOOR

if TYPE_CHECKING:
    from loadtest.report import Plot

_WIDTH: Final = 6.4  # inches
_HEIGHT: Final = 3.6
_BAR_HEIGHT: Final = 0.32
_COLOURS: Final = ("#1b6ca8", "#d1495b", "#2e8b57", "#edae49", "#6a4c93", "#555555", "#00798c")
_OURS: Final = "cometring"
_PALE: Final = "#b5b5b5"  # of the floor, which is no server


def svg_of(plot: Plot) -> str:
    """The plot as one `<svg>` element."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to load, and only reports draw

    mpl.use("svg")
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cometring", "font.size": 9}):
        height = _BAR_HEIGHT * len(plot.bars) + 1.0 if plot.bars else _HEIGHT
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        if plot.bars:
            _draw_bars(axes, plot)
        else:
            _draw_lines(axes, plot)
        axes.set_title(plot.title, loc="left", fontsize=10, fontweight="bold")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _draw_lines(axes: Any, plot: Plot) -> None:  # noqa: ANN401 - matplotlib is loaded late
    for number, (name, points) in enumerate(plot.series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, color=colour, label=name)
    if plot.log_x:
        axes.set_xscale("log")
    if plot.log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    if len(plot.series) > 1:
        axes.legend(frameon=False)


def _draw_bars(axes: Any, plot: Plot) -> None:  # noqa: ANN401
    ordered = sorted(plot.bars.items(), key=lambda pair: pair[1], reverse=True)
    names = [name for name, _ in ordered]
    values = [value for _, value in ordered]
    colours = [_colour(name) for name in names]
    drawn = axes.barh(names, values, color=colours)
    axes.bar_label(drawn, fmt="%.3g", padding=3)
    axes.set_xlabel(plot.y)
    axes.margins(x=0.12)


def _colour(name: str) -> str:
    if name == C_FLOOR:
        return _PALE
    return _COLOURS[1] if name == _OURS else _COLOURS[0]
