"""A node and its clients second by second: what a load test saw, and its picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_PREFIX: Final = "cometring_"
_COLOURS: Final = ("#1b6ca8", "#d1495b", "#2e8b57", "#edae49")
_WIDTH: Final = 8.0  # inches
_PANEL_HEIGHT: Final = 1.45
_LEAST: Final = 1e-3  # of an axis with a logarithmic scale


@dataclass(slots=True)
class Moment:
    """What was seen at `at`, seconds since the beginning, or since the moment before.

    `node`: metrics without labels, named without their prefix. `clients`: by transport,
    its figures. `door`: the status that somebody new was answered with.
    """

    at: float
    phase: str
    node: dict[str, float]
    clients: dict[str, dict[str, float]] = field(default_factory=dict)
    door: int = 0


def metrics_of(text: str) -> dict[str, float]:
    """The values in a Prometheus exposition that have no labels, without our prefix."""
    values = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name.startswith(_PREFIX) and "{" not in name:
            values[name.removeprefix(_PREFIX)] = float(value)
    return values


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the picture's rows: `lines` maps a name to what is read from each moment.

    A line that reads None has a hole there.
    """

    title: str
    lines: Mapping[str, Callable[[Moment], float | None]]
    log: bool = False
    steps: bool = False
    marks: bool = False  # points rather than lines


def draw(path: Path, title: str, moments: Sequence[Moment], panels: Sequence[Panel]) -> None:
    """Write the panels, one under the other over one axis of time, as SVG to `path`."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to load, and only pictures need it

    mpl.use("svg")
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cometring", "font.size": 9}):
        figure = Figure(figsize=(_WIDTH, _PANEL_HEIGHT * len(panels) + 0.8), layout="constrained")
        rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(rows, panels, strict=True):
            _draw_panel(axes, panel, moments)
            _shade(axes, moments)
        rows[-1].set_xlabel("seconds")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw_panel(axes: Any, panel: Panel, moments: Sequence[Moment]) -> None:  # noqa: ANN401
    for number, (name, read) in enumerate(panel.lines.items()):
        points = [(moment.at, value) for moment in moments if (value := read(moment)) is not None]
        if not points:
            continue
        if panel.log:
            points = [(at, max(_LEAST, value)) for at, value in points]
        axes.plot(
            *zip(*points, strict=True),
            color=_COLOURS[number % len(_COLOURS)],
            label=name,
            linewidth=1.2,
            drawstyle="steps-post" if panel.steps else "default",
            linestyle="none" if panel.marks else "-",
            marker="." if panel.marks else None,
        )
    if panel.log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_title(panel.title, loc="left", fontsize=9)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if len(panel.lines) > 1:
        beside = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.96)}  # the title
        axes.legend(frameon=False, fontsize=8, ncols=len(panel.lines), **beside)


def _shade(axes: Any, moments: Sequence[Moment]) -> None:  # noqa: ANN401
    """Every second phase on grey."""
    begins: dict[str, float] = {}
    for moment in moments:
        begins.setdefault(moment.phase, moment.at)
    bounds = [*begins.values(), moments[-1].at]
    for number in range(1, len(bounds) - 1, 2):
        axes.axvspan(bounds[number], bounds[number + 1], color="#000000", alpha=0.06, linewidth=0)
