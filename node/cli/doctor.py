"""`cometring doctor`: whether a node would run well here, and what stands open."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import trio
import typer
from rich.console import Console
from rich.markup import escape

from node.cli.errors import OperationFailed
from node.cli.ports import require_bindable
from node.config import load_config
from node.doctor import Finding, Level, worst
from node.doctor.exposure import check_exposure
from node.doctor.host import check_host
from node.doctor.network import check_peers, check_ports, check_state

if TYPE_CHECKING:
    from node.config import Config
    from node.endpoint import Endpoint

PIPE_WIDTH = 400
_STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


def doctor(
    config: Annotated[
        Path | None,
        typer.Option("--config", envvar="COMETRING_CONFIG", help="A TOML file of settings."),
    ] = None,
    join: Annotated[
        str | None, typer.Option("--join", help="HOST:PORT,… of nodes to ask; else the settings'.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> int:
    """Check this machine, the settings and the nodes to join; say what to change.

    Reads what `cometring serve` would: COMETRING_… variables and the TOML file.
    Exit status 1 where a node would not run.
    """
    settings = load_config({"join": join}, config)
    findings = [
        *check_host(settings),
        *check_ports(settings, _why_not),
        check_state(settings),
        *check_exposure(settings),
        *trio.run(_peers, settings),
    ]
    if as_json:
        told = [finding._asdict() for finding in findings]
        print(msgspec.json.format(msgspec.json.encode(told)).decode())
    else:
        _show(findings)
    return 1 if worst(findings) is Level.FAIL else 0


async def _peers(config: Config) -> list[Finding]:
    return [finding async for finding in check_peers(config)]


def _why_not(endpoint: Endpoint, option: str) -> str | None:
    try:
        require_bindable(endpoint, option)
    except OperationFailed as error:
        return str(error)
    return None


def _show(findings: list[Finding]) -> None:
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    width = max(len(finding.subject) for finding in findings)
    for level, subject, found, advice in findings:
        told = f"[{_STYLES[level]}]{level.value:<5}[/]{escape(subject):<{width + 2}}"
        console.print(f"{told}{escape(found)}", soft_wrap=True)
        if level is not Level.OK and advice:
            console.print(f"{'':<{width + 7}}→ {escape(advice)}", soft_wrap=True)
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    console.print(
        f"{counts[Level.OK]} fine, {counts[Level.WARN]} to look at, {counts[Level.FAIL]} to mend"
    )
