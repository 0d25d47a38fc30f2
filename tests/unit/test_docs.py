"""What the documentation says of tests is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
        if not re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE):
            missing.append(f"{file}::{name}")
    assert not missing
