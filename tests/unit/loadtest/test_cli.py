"""`cometring bench`: what options do, and what the exit status says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from loadtest import cli
from loadtest.report import Report
from loadtest.scenarios import broadcast, connect, direct, idle
from loadtest.suite import SCENARIOS
from loadtest.swarm.control import SwarmError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Progress = Callable[[str], None]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The settings that scenarios were run with; each finds one figure over its bound."""
    settings: list[object] = []

    def run(given: object, progress: Progress) -> Report:
        progress("running")
        settings.append(given)
        report = Report("pretended", {})
        report.add("cost", "µs", 3.0, at_most=2.0)
        return report

    for scenario in SCENARIOS:
        monkeypatch.setattr(scenario.module, "run", run)
    return settings


def bench(*arguments: str) -> int:
    return CliRunner().invoke(cli.app, arguments).exit_code


def test_a_missed_bound_fails_only_a_check(asked: list[object], tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    assert bench("connect", "--clients", "7", "--seconds", "2", "--rounds", "1") == 0
    assert bench("connect", "--check", "--json", str(path)) == 1
    assert asked == [connect.Connect(7, 2.0, 1), connect.Connect()]
    assert json.loads(path.read_text("utf-8"))["scenarios"][0]["met"] is False


def test_options_reach_their_scenario(asked: list[object]) -> None:
    assert bench("idle", "--sessions", "9", "--transport", "websocket", "--settle", "1") == 0
    assert bench("broadcast", "--subscribers", "5", "--messages", "2", "--rounds", "1") == 0
    assert bench("direct", "--nodes", "2", "--rate", "10", "--batch", "3") == 0
    assert asked == [
        idle.Idle(sessions=9, settle=1.0, transports=("websocket",)),
        broadcast.Broadcast(subscribers=5, messages=2, rounds=1),
        direct.Direct(nodes=2, rate=10.0, batch=3),
    ]


def test_all_runs_each_scenario_once(asked: list[object], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert bench("all", "--report", str(page)) == 0
    assert asked == [scenario.whole for scenario in SCENARIOS if scenario.whole is not None]
    assert page.read_text("utf-8").count("<h2>pretended</h2>") == len(asked)
    asked.clear()
    assert bench("all", "--quick", "--check") == 1
    assert asked == [scenario.quick for scenario in SCENARIOS if scenario.quick is not None]


def test_a_scenario_that_fails_does_not_end_the_others(
    asked: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object) -> Report:
        raise SwarmError("3 clients lost: why")

    monkeypatch.setattr(broadcast, "run", run)
    assert bench("all", "--quick") == 1
    assert len(asked) == sum(scenario.quick is not None for scenario in SCENARIOS) - 1


def test_wrong_usage(asked: list[object]) -> None:
    assert bench("idle", "--transport", "pigeon") == 2
    assert bench("nothing") == 2
    assert asked == []


def test_a_scenario_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> Report:
        raise SwarmError("3 clients lost: why")

    monkeypatch.setattr(connect, "run", run)
    result = CliRunner().invoke(cli.app, ["connect"])
    assert result.exit_code == 1
    assert "bench: connect: 3 clients lost: why" in result.output


def test_without_its_extra_it_says_what_to_install(
    asked: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda _: None)
    result = CliRunner().invoke(cli.app, ["connect"])
    assert result.exit_code == 1
    assert "cometring[loadtest]" in result.output
    assert asked == []
