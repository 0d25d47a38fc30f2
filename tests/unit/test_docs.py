"""What the documentation says of tests is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from node.config.model import Config

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)?::(\w+)`")


@pytest.mark.parametrize(("page", "least"), [("bayeux.md", 50), ("ring.md", 10)])
def test_every_test_that_is_named_exists(page: str, least: int) -> None:
    file = ""
    missing = []
    named = NAMED.findall((ROOT / "docs" / page).read_text())
    assert len(named) > least
    for path, name in named:
        file = path or file  # the last file named is meant where none is
        if not re.search(rf"^\s*(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE):
            missing.append(f"{file}::{name}")
    assert not missing


def rows_of(section: str) -> list[list[str]]:
    """The cells of the table rows in a section of the page on Bayeux."""
    text = (ROOT / "docs" / "bayeux.md").read_text()
    found = re.search(rf"^#+ {section}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, section
    lines = [line for line in found[1].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


@pytest.mark.parametrize(
    ("section", "least"),
    [("Rules, and the tests that hold them", 60), ("Errors in use", 9), ("Attacks", 11)],
)
def test_every_rule_has_a_test(section: str, least: int) -> None:
    rows = rows_of(section)
    assert len(rows) >= least
    assert [row for row in rows if not NAMED.search(row[-1])] == []


def test_no_rule_is_left_out() -> None:
    """The twelve of the specification, the transports, the extensions, the errors."""
    rules = {row[0] for row in rows_of("Rules, and the tests that hold them")}
    assert rules >= {str(number) for number in range(1, 13)}
    assert rules >= {"long-polling", "callback-polling", "WebSocket", "events"}
    assert rules >= {"ack", "timesync", "timestamp", "activity", "binary", "reload", "extensions"}
    codes = {row[0] for row in rows_of("Errors in use")}
    assert codes == {"400", "401", "402", "403", "404", "405", "413", "429", "503"}


HANDED_DOWN = {"cluster_secret", "reuse_port"}
"""Told in the row of `cluster_secret_file`, and given to our own workers alone."""


def test_every_setting_is_in_the_reference_and_no_other() -> None:
    text = (ROOT / "docs" / "reference.md").read_text()
    found = re.search(r"^## Settings of `serve`\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert found
    rows = [line.split("|")[1] for line in found[1].splitlines() if line.startswith("| `")]
    told = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert len(told) == len(set(told))
    assert set(told) == set(Config.model_fields) - HANDED_DOWN
