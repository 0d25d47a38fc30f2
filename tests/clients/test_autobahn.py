"""Autobahn's cases against the node's own reactor, HTTP service and WebSocket, with an echo behind.

Cases 1 to 7 without and with permessage-deflate; 12 and 13 with it: those are
12 groups of 18 sizes, of which the small ones run here, and all of them nightly.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from autobahn import failures, run_cases
from cluster_process import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = Path(__file__).parent.parent / "support" / "echo_server.py"
BASIC = [f"{group}.*" for group in range(1, 8)]
DEFLATE = [f"12.{n}" for n in range(1, 6)] + [f"13.{n}" for n in range(1, 8)]
SIZES = range(1, 19)  # 16 bytes to 128 KiB a message, whole; then in fragments
SMALL = (1, 2, 3, 4, 5, 11)  # up to 4 KiB; and 8 KiB in fragments of 256 bytes


@pytest.fixture
def echo(request: pytest.FixtureRequest) -> Iterator[str]:
    """HOST:PORT of an echo server; the parameter is its words."""
    port = free_port()
    root = SERVER.parent.parent.parent
    with subprocess.Popen(
        [sys.executable, str(SERVER), str(port), *request.param],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=root,
        env={"PYTHONPATH": str(root)},
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield f"{HOST}:{port}"
        assert server.stdin is not None
        server.stdin.close()
        assert server.wait(10) == 0


@pytest.mark.parametrize("echo", [(), ("deflate",)], ids=["plain", "deflate"], indirect=True)
def test_cases_1_to_7(echo: str) -> None:
    verdicts = run_cases(echo, BASIC, parallel=8, timeout=90)
    assert len(verdicts) == 246
    assert failures(verdicts) == {}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("echo", [("deflate",)], ids=["deflate"], indirect=True)
def test_cases_12_and_13(echo: str) -> None:
    cases = [f"{group}.{size}" for group in DEFLATE for size in SMALL]
    verdicts = run_cases(echo, cases, parallel=2, timeout=280)
    assert sorted(verdicts) == sorted(cases)
    assert failures(verdicts) == {}


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("echo", [("deflate",)], ids=["deflate"], indirect=True)
def test_cases_12_and_13_of_every_size(echo: str) -> None:
    cases = [f"{group}.{size}" for group in DEFLATE for size in SIZES]
    verdicts = run_cases(echo, cases, parallel=2, timeout=3500)
    assert sorted(verdicts) == sorted(cases)
    assert failures(verdicts) == {}
