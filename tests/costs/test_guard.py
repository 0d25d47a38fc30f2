"""Nothing has doubled: deliveries against a bare send() loop, memory against a bound.

Ratios of one run, so the machine's speed and most of its load cancel out; the
mutants show that the guard would notice.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loadtest.scenarios.guard import Guard, run

if TYPE_CHECKING:
    from loadtest.report import Report

COSTLY = Path(__file__).parents[1] / "support" / "costly_node.py"
TRIES = 3  # what is noise passes once, what is a cost never does


def silent(_text: str) -> None:
    pass


def figures(report: Report) -> str:
    return ", ".join(f"{figure.name}: {figure.median:.2f}" for figure in report.figures)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("transport", ["websocket", "sse", "long-polling"])
def test_no_delivery_costs_twice(transport: str) -> None:
    told = []
    for _ in range(TRIES):
        report = run(Guard(sessions=0, transports=(transport,)), silent)
        told.append(figures(report))
        if report.met:
            return
    pytest.fail("; ".join(told))


@pytest.mark.timeout(120)
def test_no_session_weighs_twice() -> None:
    report = run(Guard(transports=()), silent)
    assert report.met, figures(report)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "transport"), [("cpu", "websocket"), ("cpu", "long-polling")])
def test_a_costlier_delivery_is_noticed(kind: str, transport: str) -> None:
    asked = Guard(subscribers=800, rounds=2, sessions=0, transports=(transport,))
    report = run(asked, silent, (sys.executable, str(COSTLY), kind))
    assert not report.met, figures(report)


@pytest.mark.timeout(120)
def test_a_heavier_session_is_noticed() -> None:
    report = run(
        Guard(sessions=1_000, transports=()), silent, (sys.executable, str(COSTLY), "memory")
    )
    assert not report.met, figures(report)
