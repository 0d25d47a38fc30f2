"""Autobahn's WebSocket cases, driven by kosoku against a server that echoes.

kosoku runs in a process of its own: its native runner may abort when its
interpreter ends, which must not take the tests with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PASSED = frozenset({"OK", "NON-STRICT", "INFORMATIONAL"})
CLOSED = frozenset({"OK", "INFORMATIONAL"})

Verdicts = dict[str, tuple[str, str]]


def run_cases(address: str, cases: Sequence[str], parallel: int, timeout: float) -> Verdicts:
    """The verdicts on behaviour and on closing, by case; `cases` are ids or globs."""
    words = [sys.executable, str(Path(__file__)), address, str(parallel), *cases]
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.stdout, done.stderr
    return {case: (told, closed) for case, told, closed in json.loads(done.stdout)}


def failures(verdicts: Verdicts) -> Verdicts:
    """Those that are neither passed nor "non-strict"."""
    return {
        case: (told, closed)
        for case, (told, closed) in verdicts.items()
        if told not in PASSED or closed not in CLOSED
    }


async def _main(address: str, parallel: int, cases: list[str]) -> None:
    from kosoku import FailureError, run_fuzzingclient  # noqa: PLC0415 - only in the program

    try:
        results = await run_fuzzingclient(address, cases, [], concurrency=parallel)
    except FailureError as error:
        results = error.results
    print(json.dumps([(r.case_id, r.behavior.value, r.behavior_close.value) for r in results]))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
    sys.stdout.flush()
    os._exit(0)
