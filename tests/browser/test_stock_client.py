"""The stock CometD client in Chromium: every transport, from our own pages and from others'."""

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
CLIENT = FOLDER.parent / "clients"
LIMIT = 90.0  # seconds for one scenario


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcess]:
    with ClusterProcess(2, tmp_path_factory.mktemp("ring")) as cluster:
        yield cluster


def play(scenario: str, ring: ClusterProcess) -> None:
    """Run one scenario of `stock_client.mjs`; it says what was wrong."""
    node = require_packages(FOLDER)
    require_packages(CLIENT)
    words = {
        "urls": [f"{one.url}/" for one in ring.nodes],
        "chromium": require_program("chromium"),
        "key": API_KEY,
        "client": str(CLIENT / "node_modules"),
        # Another site for the browser, which takes no address for one of it.
        "elsewhere": "http://elsewhere.localhost",
    }
    done = subprocess.run(
        [node, "stock_client.mjs", scenario, json.dumps(words)],
        cwd=FOLDER,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, f"{scenario}\n{done.stdout}"


@pytest.mark.parametrize("transport", ["websocket", "long-polling", "callback-polling"])
@pytest.mark.parametrize("origin", ["own", "elsewhere"])
def test_a_conversation(origin: str, transport: str, ring: ClusterProcess) -> None:
    play(f"conversation {origin} {transport}", ring)


@pytest.mark.parametrize("transport", ["long-polling", "callback-polling"])
def test_two_tabs_of_one_browser(transport: str, ring: ClusterProcess) -> None:
    play(f"twoTabs {transport}", ring)


@pytest.mark.parametrize("origin", ["own", "elsewhere"])
def test_events_without_bayeux(origin: str, ring: ClusterProcess) -> None:
    play(f"events {origin}", ring)
