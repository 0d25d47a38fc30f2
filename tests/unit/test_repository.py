"""What must hold of the repository itself."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()  # (without its extras)


def test_every_declared_dependency_is_locked_and_has_a_lower_bound() -> None:
    locked = {canonical(line.partition("==")[0]) for line in LOCK.splitlines() if "==" in line}
    declared = [*PROJECT["dependencies"]]
    for extra in PROJECT["optional-dependencies"].values():
        declared += extra
    for requirement in declared:
        name, bound, _ = requirement.partition(">=")
        assert bound, f"{requirement} has no lower bound"
        assert canonical(name) in locked, f"{name} is not in requirements.lock: make lock"


def test_the_lock_names_no_address() -> None:
    assert "://" not in LOCK
    assert not any(line.startswith(("-", "/")) for line in LOCK.splitlines())


@pytest.mark.parametrize("folder", ["clients", "browser"])
def test_npm_locks_name_no_address(folder: str) -> None:
    lock = ROOT / "tests" / folder / "package-lock.json"
    if lock.exists():
        assert '"resolved"' not in lock.read_text(), f"{lock}: omit-lockfile-registry-resolved"
