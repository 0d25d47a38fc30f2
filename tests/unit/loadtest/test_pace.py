"""Work is told at the pace of the budget's machine; waiting, memory and ratios are not."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from loadtest.budget import budget_table
from loadtest.pace import BUDGET_FLOOR, YARDSTICK, at_pace, at_pace_text, slowness_of
from loadtest.page import page_of
from loadtest.report import Report


@pytest.fixture
def reports() -> list[Report]:
    """A run on a machine that is half as fast."""
    broadcast = Report("broadcast", {})
    for value in (1.0, 2.0, 3.0):
        broadcast.add(YARDSTICK, "µs", value * BUDGET_FLOOR)
    other = Report("direct", {})
    other.add("cost", "µs", 44.0, at_most=30.0, aim=15.0, paced=True)
    other.add("rate", "/s", 14_000.0, at_least=25_000.0, paced=True)
    other.add("memory", "KB", 4.0, at_most=3.0)
    return [other, broadcast]


def test_times_are_shorter_and_rates_higher_there(reports: list[Report]) -> None:
    slowness = slowness_of(reports)
    assert slowness == pytest.approx(2.0)
    cost = at_pace(reports[0].find("cost"), slowness)
    rate = at_pace(reports[0].find("rate"), slowness)
    assert cost is not None
    assert rate is not None
    assert cost.median == pytest.approx(22.0)
    assert rate.median == pytest.approx(28_000.0)
    assert cost.verdict == rate.verdict == "met"
    assert reports[0].find("cost").verdict == "missed"  # as it was measured
    assert at_pace(reports[0].find("memory"), slowness) is None


def test_without_the_yardstick_nothing_is_said(reports: list[Report]) -> None:
    assert slowness_of(reports[:1]) is None
    assert at_pace_text(reports[0].find("cost"), None) == ""
    assert "at that pace" not in page_of(reports[:1])


def test_both_stand_in_the_budget(reports: list[Report]) -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(budget_table(reports))
    for text in (console.export_text(), page_of(reports)):
        assert "22.00: met" in text
        assert "28,000: met" in text
        assert "missed" in text
    assert "2.00 times the 4.9 µs" in page_of(reports)
