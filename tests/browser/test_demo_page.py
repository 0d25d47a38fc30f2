"""The demo page in a real headless Chromium, on three nodes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster_process import API_KEY, ClusterProcess
from npm_packages import require_packages
from programs import require_program

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent
LIMIT = 90.0  # seconds for one scenario
PICTURES = ("light", "dark", "phone", "phone-direct", "phone-you", "empty")


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcess]:
    with ClusterProcess(3, tmp_path_factory.mktemp("ring")) as cluster:
        yield cluster


def play(scenario: str, ring: ClusterProcess, shots: Path) -> None:
    """Run one scenario of `demo_page.mjs`; it says what was wrong."""
    node = require_packages(FOLDER)
    words = {
        "urls": [f"{one.url}/" for one in ring.nodes],
        "chromium": require_program("chromium"),
        "shots": str(shots),
        "key": API_KEY,
    }
    done = subprocess.run(
        [node, "demo_page.mjs", scenario, json.dumps(words)],
        cwd=FOLDER,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, f"{scenario}: screenshots are in {shots}\n{done.stdout}"


@pytest.mark.parametrize(
    "scenario",
    [
        "group",
        "direct",
        "longPolling",
        "fallback",
        "reload",
        "offline",
        "renewal",
        "refusals",
        "rooms",
        "markup",
        "secrets",
    ],
)
def test_page(scenario: str, ring: ClusterProcess, tmp_path: Path) -> None:
    play(scenario, ring, tmp_path)


def test_pictures(ring: ClusterProcess, tmp_path: Path) -> None:
    play("screenshots", ring, tmp_path)
    for picture in PICTURES:
        assert (tmp_path / f"{picture}.png").stat().st_size > 10_000
