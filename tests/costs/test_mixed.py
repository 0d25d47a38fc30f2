"""A small edition of the load test with mixed sessions: a real node, a spike, a recovery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.scenarios import mixed

if TYPE_CHECKING:
    from pathlib import Path


def test_nobody_is_lost_and_nothing_while_load_is_shed(tmp_path: Path) -> None:
    """300 sessions of three transports; the node gets hardly any CPU for some seconds."""
    picture = tmp_path / "mixed.svg"
    settings = mixed.Mixed(
        sessions=300,
        calm=2.0,
        calm_rate=1.0,
        spike=3.0,
        spike_rate=20.0,
        after=2.0,
        stall=0.9,
        shed_lag=0.4,
        refuse_lag=0.5,
        picture=str(picture),
    )
    report = mixed.run(settings, lambda _text: None)
    assert report.met, [figure for figure in report.figures if figure.met is False]
    assert report.find("messages delivered, each once and in order").median == (2 + 60 + 2) * 300
    assert "polls held" in picture.read_text()
