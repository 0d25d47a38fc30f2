"""`cometring bench SCENARIO`: the scenarios as commands.

This module is imported only when somebody benches.
"""

from __future__ import annotations

import signal
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

from loadtest.budget import budget_table
from loadtest.commands import settings_command
from loadtest.report import Report, show, write_json
from loadtest.server import ServerError
from loadtest.suite import SCENARIOS
from loadtest.swarm.control import SwarmError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loadtest.settings import Progress
    from loadtest.suite import Scenario

app = typer.Typer(
    name="bench",
    help="Load tests: each starts its own nodes and its own swarm, and measures the nodes alone.",
    no_args_is_help=True,
    add_completion=False,
)

JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Also write every round's figures.")
]
PageFile = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Also write an HTML page with plots."),
]
Check = Annotated[
    bool, typer.Option("--check", help="Exit with status 1 if a stated bound is not met.")
]
_WIDTH: Final = 120  # columns of a file or pipe
_COMMON: Final = {
    "json_file": (JsonFile, None),
    "page_file": (PageFile, None),
    "check": (Check, False),
}


def _carry_out(
    runs: Sequence[tuple[str, Callable[[Progress], Report]]],
    *,
    json_file: Path | None,
    page_file: Path | None,
    check: bool,
) -> None:
    """Run, show, write. A run that fails does not keep the others from theirs.

    Exit status 1 if one failed, or (with `check`) a bound was not met.
    """
    signal.signal(signal.SIGTERM, _end)  # so that nodes and swarms are ended, too
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    reports: list[Report] = []
    failed = False
    began = monotonic()
    with Console(stderr=True).status("starting") as status:
        for number, (name, run) in enumerate(runs, start=1):
            place = f"[{number}/{len(runs)}] " if len(runs) > 1 else ""

            def progress(text: str, place: str = place) -> None:
                status.update(f"{place}{text} ({monotonic() - began:.0f} s)", spinner="dots")

            started = monotonic()
            try:
                report = run(progress)
            except (ServerError, SwarmError, RuntimeError, OSError) as error:
                typer.echo(f"bench: {name}: {error}", err=True)
                failed = True
                report = Report(name, {}, failure=str(error).partition("\n")[0])
            else:
                show(console, report)
            report.seconds = monotonic() - started
            reports.append(report)
            _write(json_file, page_file, reports)
    if len(runs) > 1:
        console.print(budget_table(reports))
        console.print(f"{monotonic() - began:.0f} seconds in all", highlight=False)
    if check and not all(report.met for report in reports):
        typer.echo("bench: a bound is not met", err=True)
        failed = True
    if failed:
        raise typer.Exit(1)


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _write(json_file: Path | None, page_file: Path | None, reports: list[Report]) -> None:
    if json_file is not None:
        write_json(json_file, reports)
    if page_file is not None:
        from loadtest.page import write_page  # noqa: PLC0415 - draws, which is slow to load

        write_page(page_file, reports)


@app.callback()
def _need_the_extra() -> None:
    if find_spec("hdrh") is None or find_spec("matplotlib") is None:
        typer.echo(
            "bench: install what the load tests need: pip install 'cometring[loadtest]'", err=True
        )
        raise typer.Exit(1)


def _run_one(scenario: Scenario, settings: Any, **common: Any) -> None:  # noqa: ANN401
    _carry_out([(scenario.name, partial(scenario.run, settings))], **common)


for _scenario in SCENARIOS:
    app.command(_scenario.name)(
        settings_command(_scenario.settings, partial(_run_one, _scenario), _COMMON)
    )


@app.command("all")
def run_all(
    quick: Annotated[
        bool, typer.Option("--quick", help="Smaller and shorter: minutes, and coarser figures.")
    ] = False,
    json_file: JsonFile = None,
    page_file: PageFile = None,
    check: Check = False,
) -> None:
    """Every line of the budget, one scenario after the other."""
    runs = []
    for scenario in SCENARIOS:
        settings = scenario.quick if quick else scenario.whole
        if settings is not None:
            runs.append((scenario.name, partial(scenario.run, settings)))
    _carry_out(runs, json_file=json_file, page_file=page_file, check=check)


if __name__ == "__main__":
    app()
