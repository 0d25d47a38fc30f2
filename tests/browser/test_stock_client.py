"""The stock CometD client in Chromium: every transport, from our own pages and from others'."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster_process import API_KEY, HOST, ClusterProcess
from meddling_proxy import MeddlingProxy, Upgrades
from npm_packages import require_packages
from programs import require_program
from tls_rig import Issued

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent
CLIENT = FOLDER.parent / "clients"
LIMIT = 90.0  # seconds for one scenario


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcess]:
    with ClusterProcess(2, tmp_path_factory.mktemp("ring")) as cluster:
        yield cluster


def play(
    scenario: str,
    ring: ClusterProcess,
    *urls: str,
    direct: str | None = None,
    authority: Path | None = None,
) -> None:
    """Run one scenario of `stock_client.mjs`; it says what was wrong.

    `urls` stand for those of the ring, `direct` for where the application publishes;
    `authority` is a file that names whom to trust, for https.
    """
    node = require_packages(FOLDER)
    require_packages(CLIENT)
    words = {
        "urls": list(urls) or [f"{one.url}/" for one in ring.nodes],
        "direct": direct,
        "chromium": require_program("chromium"),
        "key": API_KEY,
        "client": str(CLIENT / "node_modules"),
        # Another site for the browser, which takes no address for one of it.
        "elsewhere": "http://elsewhere.localhost",
    }
    done = subprocess.run(
        [node, "stock_client.mjs", scenario, json.dumps(words)],
        cwd=FOLDER,
        env=os.environ | ({} if authority is None else {"NODE_EXTRA_CA_CERTS": str(authority)}),
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


def test_a_reload_goes_on_with_the_session(ring: ClusterProcess) -> None:
    play("reload", ring)


@pytest.mark.parametrize("upgrades", ["refuse", "swallow"])
def test_where_a_proxy_has_no_websockets_it_falls_back(
    upgrades: Upgrades, ring: ClusterProcess
) -> None:
    with MeddlingProxy(ring.nodes[0].client_port, upgrades) as proxy:
        play("fallback", ring, f"{proxy.url}/", direct=f"{ring.nodes[1].url}/")


def test_conversations_over_tls(tmp_path: Path) -> None:
    issued = Issued(tmp_path / "tls")
    with ClusterProcess(1, tmp_path / "ring", issued.options) as ring:
        url = f"https://{HOST}:{ring.nodes[0].client_port}/"
        play("conversations", ring, url, direct=url, authority=issued.authority_file)


@pytest.mark.parametrize("transport", ["long-polling", "callback-polling"])
def test_two_tabs_of_one_browser(transport: str, ring: ClusterProcess) -> None:
    play(f"twoTabs {transport}", ring)


@pytest.mark.parametrize("origin", ["own", "elsewhere"])
def test_events_without_bayeux(origin: str, ring: ClusterProcess) -> None:
    play(f"events {origin}", ring)
