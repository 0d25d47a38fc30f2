"""What tests print is reported, also where a bound is missed; what is not printed is an error."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from loadtest import simulated
from loadtest.scenarios import failover

if TYPE_CHECKING:
    from pathlib import Path

LINE = re.compile(r"took (\d+) of (\d+)")


def put(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "_ROOT", folder)
    (folder / "tests").mkdir(exist_ok=True)
    (folder / "tests" / "test_it.py").write_text(text, "utf-8")


def test_lines_are_read_though_the_test_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "import os\ndef test_it():\n    print('took', os.environ['N'], 'of 9')\n    assert False\n"
    )
    put(tmp_path, text, monkeypatch)
    assert simulated.measured("test_it.py", LINE, 30, N="5") == [("5", "9")]


def test_no_line_is_an_error_with_what_was_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "def test_it():\n    raise OSError('no ring')\n", monkeypatch)
    with pytest.raises(RuntimeError, match="no ring"):
        simulated.measured("test_it.py", LINE, 30)
    with pytest.raises(RuntimeError, match="not here"):
        simulated.measured("test_other.py", LINE, 30)


def test_a_failover_is_held_against_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, str] = {}

    def pretended(_test: str, line: re.Pattern[str], _s: float, **more: str) -> list[object]:
        asked.update(more)
        found = line.search("7 kills: p50 0.61 s, p99 2.50 s, worst 2.60 s")
        assert found is not None
        return [found.groups()]

    monkeypatch.setattr(failover, "measured", pretended)
    report = failover.run(failover.Failover(kills=7), lambda _: None)
    assert asked == {"COMETRING_FAILOVER_KILLS": "7"}
    assert report.find("killed to resumed: p50").median == 0.61
    assert not report.met
