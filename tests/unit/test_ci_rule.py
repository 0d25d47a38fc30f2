"""The rule of `tests/conftest.py`: where CI is set, a skip is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

SKIPPED = """
import pytest
from programs import require_program

def test_needs_a_program():
    require_program("no-such-program")

@pytest.mark.skip(reason="not today")
def test_marked():
    pass

@pytest.mark.xfail(reason="known", strict=True)
def test_expected_to_fail():
    assert False

def test_fine():
    pass
"""
MODULE_SKIPPED = "import pytest\npytest.importorskip('no_such_module')\n"


def run(tmp_path: Path, text: str, ci: str) -> tuple[int, str]:
    (tmp_path / "test_it.py").write_text(text)
    environ = dict(
        os.environ, CI=ci, PYTHONPATH=os.pathsep.join([str(TESTS), str(TESTS / "support")])
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-rs", "."],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def test_at_home_a_missing_program_is_a_skip_with_its_reason(tmp_path: Path) -> None:
    status, out = run(tmp_path, SKIPPED, ci="")
    assert status == 0
    assert "1 passed, 2 skipped, 1 xfailed" in out
    assert "needs no-such-program, which is not installed" in out


def test_in_ci_it_is_a_failure(tmp_path: Path) -> None:
    status, out = run(tmp_path, SKIPPED, ci="true")
    assert status == 1
    assert "1 failed, 1 passed, 1 xfailed, 1 error" in out  # the mark is heeded in set-up
    assert "skipped in CI, where nothing may be" in out


@pytest.mark.parametrize(("ci", "status"), [("", 5), ("true", 2)])
def test_the_same_for_modules(tmp_path: Path, ci: str, status: int) -> None:
    assert run(tmp_path, MODULE_SKIPPED, ci)[0] == status
