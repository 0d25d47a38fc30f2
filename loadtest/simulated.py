"""Measurements that the project's own tests make, run as they run them.

Load tests speak only public protocols, so what needs the engines, or a ring to be
broken on purpose, stays with the tests: here they run in a process of their own,
and their printed line is read.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import re

_ROOT: Final = Path(__file__).parents[1]
_TOLD: Final = 400


def measured(
    test: str, line: re.Pattern[str], seconds: float, choice: str = "", **environ: str
) -> list[tuple[str, ...]]:
    """The groups of every `line` that the test file prints, though it may fail a bound.

    `choice` as pytest's ``-k``. Raises RuntimeError where the tests are not beside this
    package, or print no such line.
    """
    file = _ROOT / "tests" / test
    if not file.exists():
        raise RuntimeError("this is measured by the tests of the source tree, which are not here")
    command = [sys.executable, "-m", "pytest", "-s", "-q", "-m", "", "--timeout", str(int(seconds))]
    if choice:
        command += ["-k", choice]
    done = subprocess.run(
        [*command, str(file)],
        capture_output=True,
        text=True,
        cwd=_ROOT,
        env=os.environ | environ,
        check=False,
        timeout=seconds + 30,
    )
    found = [match.groups() for match in line.finditer(done.stdout)]
    if not found:
        raise RuntimeError(f"{test}: {(done.stdout + done.stderr)[-_TOLD:]}")
    return found
