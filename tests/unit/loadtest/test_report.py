"""Figures keep every round, and know whether their bound is met."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from rich.console import Console

from loadtest.budget import budget_table
from loadtest.page import page_of
from loadtest.report import Report, show, write_json

if TYPE_CHECKING:
    from pathlib import Path


def sample() -> Report:
    report = Report("broadcast", {"subscribers": 10})
    for value in (3.0, 1.0, 2.0):
        report.add("cost", "µs", value, at_most=2.0)
        report.add("rate", "/s", value * 1_000, at_least=1_500)
        report.add("stated", "KB", value / 10)
    report.remarks.append("as it was")
    return report


def test_the_median_is_held_against_the_bound() -> None:
    report = sample()
    assert report.met
    assert report.find("cost").median == 2.0
    assert report.find("stated").met is None
    report.find("cost").at_most = 1.9
    assert report.find("cost").met is False
    assert not report.met
    report.find("rate").at_least = 2_001
    assert report.find("rate").met is False


def test_the_table_shows_median_spread_and_bound() -> None:
    out = io.StringIO()
    report = sample()
    report.find("rate").at_least = 9_000
    show(Console(file=out, width=120), report)
    text = out.getvalue()
    assert "2.00 µs" in text
    assert "≤ 2 met" in text
    assert "≥ 9,000 not met" in text
    assert "as it was" in text


def test_the_page_has_the_peers_bars_next_to_the_budget() -> None:
    peers = Report("peers", {}, seconds=61.0)
    peers.draw("memory", "", "KB").bars = {"cometring": 1.0, "another": 20.0}
    peers.draw("curve", "sessions", "KB").series = {"node": [(1.0, 2.0), (2.0, 3.0)]}
    page = page_of([sample(), peers])
    places = [page.index(text) for text in ("<h2>Budget", ">another<", "<h2>broadcast", ">curve<")]
    assert places == sorted(places)
    assert page.count(">another<") == 1
    assert "61 s in all" in page


def test_json_has_every_round(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    report = sample()
    write_json(path, [report])
    document = json.loads(path.read_text("utf-8"))
    (scenario,) = document["scenarios"]
    assert document["machine"]["cores"] >= 1
    assert scenario["met"] is True
    assert scenario["figures"][0] == {
        "name": "cost",
        "unit": "µs",
        "median": 2.0,
        "rounds": [3.0, 1.0, 2.0],
        "at_most": 2.0,
        "at_least": None,
        "aim": None,
        "met": True,
        "loads": report.figures[0].loads,
        "paced": False,
    }


def test_an_aim_lies_in_the_direction_of_its_bound() -> None:
    report = Report("aims", {})
    report.add("cost", "µs", 2.0, at_most=3.0, aim=2.0)
    report.add("rate", "/s", 2.0, at_least=1.0, aim=3.0)
    report.add("stated", "KB", 2.0)
    assert [figure.aimed for figure in report.figures] == [True, False, None]
    assert len(report.find("cost").loads) == 1


def test_the_budget_lists_what_has_a_bound() -> None:
    out = io.StringIO()
    report = sample()
    report.find("cost").aim = 1.5
    Console(file=out, width=160).print(budget_table([report, report]))
    text = out.getvalue()
    assert text.count("cost") == text.count("rate") == 2
    assert "stated" not in text
    assert "1.5" in text


def test_the_page_has_tables_and_drawings_and_fetches_nothing() -> None:
    report = sample()
    report.remarks.append("<b>5 > 4</b>")
    report.draw_latency("Delays", "one", [(1.0, 2.0), (100.0, 9.0)])
    report.draw_latency("Delays", "two", [(1.0, 3.0), (100.0, 8.0)])
    bars = report.draw("Peers", "", "µs")
    bars.bars.update({"cometring": 1.0, "another": 2.5})
    page = page_of([report])
    assert page.count("<svg") == len(report.plots) == 2
    for word in ("Delays", "one", "two", "Peers", "another", "&lt;b&gt;5 &gt; 4", "2.00 µs"):
        assert word in page
    assert "<script" not in page
    assert "src=" not in page


def test_what_could_not_be_measured_stands_in_the_budget() -> None:
    missed = Report("idle", {})
    missed.add("memory", "KB", 4.0, at_most=3.0, aim=2.0)
    lost = Report("direct", {}, failure="node 0 did not get ready")
    assert not lost.met
    page = page_of([missed, lost])
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(budget_table([missed, lost]))
    for text in (page, console.export_text()):
        assert "missed" in text
        assert "node 0 did not get ready" in text
        assert "not measured" in text
