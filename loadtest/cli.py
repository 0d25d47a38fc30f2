"""`cometring bench SCENARIO`: the scenarios as commands.

This module is imported only when somebody benches; the scenarios' own imports
wait for their command.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from loadtest.report import Report, show, write_json
from loadtest.server import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    name="bench",
    help="Load tests: each starts its own nodes and its own swarm, and measures the nodes alone.",
    no_args_is_help=True,
    add_completion=False,
)

JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Also write every round's figures.")
]
Check = Annotated[
    bool, typer.Option("--check", help="Exit with status 1 if a stated bound is not met.")
]
Transport = Annotated[
    list[str] | None,
    typer.Option("--transport", help="websocket, long-polling; repeat for several."),
]
Rounds = Annotated[int, typer.Option(min=1, help="Rounds; the table shows their median.")]

_TRANSPORTS = ("websocket", "long-polling")


def _transports(chosen: list[str] | None) -> tuple[str, ...]:
    for transport in chosen or ():
        if transport not in _TRANSPORTS:
            raise typer.BadParameter(f"{transport} is none of {', '.join(_TRANSPORTS)}")
    return tuple(chosen) if chosen else _TRANSPORTS


def _carry_out(
    scenarios: list[Callable[[Callable[[str], None]], Report]],
    json_file: Path | None,
    check: bool,
) -> None:
    """Run, show, write; exit 1 if a scenario failed or (with `check`) a bound was not met."""
    from loadtest.swarm.control import SwarmError

    console = Console()
    reports = []
    try:
        with Console(stderr=True).status("starting") as status:
            for scenario in scenarios:
                report = scenario(status.update)
                show(console, report)
                reports.append(report)
    except (ServerError, SwarmError, RuntimeError) as error:
        typer.echo(f"bench: {error}", err=True)
        raise typer.Exit(1) from error
    finally:
        if json_file is not None:
            write_json(json_file, reports)
    if check and not all(report.met for report in reports):
        typer.echo("bench: a bound is not met", err=True)
        raise typer.Exit(1)


@app.callback()
def _need_the_extra() -> None:
    if find_spec("hdrh") is None:
        typer.echo(
            "bench: install what the load tests need: pip install 'cometring[loadtest]'", err=True
        )
        raise typer.Exit(1)


@app.command()
def idle(
    sessions: int = 10_000,
    settle: Annotated[float, typer.Option(help="Seconds to idle; a held poll lasts 30.")] = 35.0,
    rounds: Rounds = 3,
    transport: Transport = None,
    json_file: JsonFile = None,
    check: Check = False,
) -> None:
    """Resident memory and CPU of sessions that wait."""
    from loadtest.scenarios.idle import Idle, run

    settings = Idle(
        sessions=sessions, settle=settle, rounds=rounds, transports=_transports(transport)
    )
    _carry_out([lambda progress: run(settings, progress)], json_file, check)


@app.command()
def broadcast(
    subscribers: int = 10_000,
    messages: Annotated[int, typer.Option(min=1, help="Messages a round.")] = 20,
    rounds: Rounds = 5,
    transport: Transport = None,
    json_file: JsonFile = None,
    check: Check = False,
) -> None:
    """Server CPU a delivery, beside a bare send() loop in C and in Python."""
    from loadtest.scenarios.broadcast import Broadcast, run

    settings = Broadcast(
        subscribers=subscribers,
        messages=messages,
        rounds=rounds,
        transports=_transports(transport),
    )
    _carry_out([lambda progress: run(settings, progress)], json_file, check)


@app.command()
def connect(
    clients: int = 200,
    seconds: Annotated[float, typer.Option(help="Length of a round.")] = 4.0,
    rounds: Rounds = 5,
    json_file: JsonFile = None,
    check: Check = False,
) -> None:
    """/meta/connect cycles a second on one core."""
    from loadtest.scenarios.connect import Connect, run

    settings = Connect(clients=clients, seconds=seconds, rounds=rounds)
    _carry_out([lambda progress: run(settings, progress)], json_file, check)


@app.command()
def direct(
    nodes: int = 3,
    sessions: int = 300,
    rate: Annotated[float, typer.Option(help="Messages a second while latency is taken.")] = 1000,
    batch: Annotated[int, typer.Option(min=1, help="Messages a call at full speed.")] = 100,
    seconds: Annotated[float, typer.Option(help="Length of a round.")] = 5.0,
    rounds: Rounds = 3,
    json_file: JsonFile = None,
    check: Check = False,
) -> None:
    """Direct messages from one node to sessions on another: latency and throughput."""
    from loadtest.scenarios.direct import Direct, run

    settings = Direct(
        nodes=nodes, sessions=sessions, rate=rate, batch=batch, seconds=seconds, rounds=rounds
    )
    _carry_out([lambda progress: run(settings, progress)], json_file, check)


@app.command("all")
def run_all(json_file: JsonFile = None, check: Check = False) -> None:
    """Every scenario with its defaults, one after the other."""
    from loadtest.scenarios import broadcast, connect, direct, idle

    _carry_out(
        [
            lambda progress: connect.run(connect.Connect(), progress),
            lambda progress: broadcast.run(broadcast.Broadcast(), progress),
            lambda progress: direct.run(direct.Direct(), progress),
            lambda progress: idle.run(idle.Idle(), progress),
        ],
        json_file,
        check,
    )


if __name__ == "__main__":
    app()
