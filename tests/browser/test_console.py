"""The console in a real headless Chromium: on rings that are imagined, and on three real nodes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from cluster_process import API_KEY, ClusterProcess, request
from npm_packages import require_packages
from programs import require_program

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
LIMIT = 110.0  # seconds for one run of scenarios
PULSES = int(os.environ.get("COMETRING_CONSOLE_PULSES", "180"))  # an hour has 3,600
LOOKS = ("desk-light", "desk-dark", "phone-light", "phone-dark")
PACE = 0.02  # seconds between pulses of a ring in a hurry


class Imagined(NamedTuple):
    """A console of `console_sim`, running."""

    url: str
    address: str  # of a session there
    members: int
    pid: int


@contextmanager
def imagined(members: int, every: float = 0.25) -> Iterator[Imagined]:
    """A ring that is made up; `every`: seconds between pulses."""
    words = [sys.executable, "tests/support/console_sim.py"]
    words += ["--nodes", str(members), "--every", str(every)]
    places = os.pathsep.join([str(ROOT), str(ROOT / "tests/support")])
    with subprocess.Popen(
        words, cwd=ROOT, env={**os.environ, "PYTHONPATH": places}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url, address = process.stdout.readline().split()
            yield Imagined(url, address, members, process.pid)
        finally:
            process.terminate()


def play(scenarios: str, url: str, shots: Path, limit: float = LIMIT, **more: Any) -> str:
    """Run scenarios of `console_page.mjs`; they say what was wrong."""
    node = require_packages(FOLDER)
    words = {"urls": [url], "chromium": require_program("chromium"), "shots": str(shots), **more}
    with subprocess.Popen(
        [node, "console_page.mjs", scenarios, json.dumps(words)],
        cwd=FOLDER,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # the browser goes with it
    ) as process:
        try:
            told, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            told = f"not done within {limit:g} s\n{process.communicate()[0]}"
    assert process.returncode == 0, f"screenshots are in {shots}\n{told}"
    return told


def test_fifty_members(tmp_path: Path) -> None:
    with imagined(50) as ring:
        scenarios = "picture,keyboard,accessible,calm"
        play(scenarios, ring.url, tmp_path, members=50, address=ring.address, looks=LOOKS[::3])


def test_nine_members(tmp_path: Path) -> None:
    with imagined(9) as ring:
        scenarios = "picture,accessible,crowd,lost"
        play(scenarios, ring.url, tmp_path, members=9, address=ring.address, looks=LOOKS)
    for look in LOOKS:
        assert (tmp_path / f"{look}.png").stat().st_size > 10_000


@pytest.mark.timeout(LIMIT + PULSES)
def test_neither_the_page_nor_the_node_grows(tmp_path: Path) -> None:
    """COMETRING_CONSOLE_PULSES=3600 is an hour's worth."""
    with imagined(50, PACE) as ring:
        play("calm", ring.url, tmp_path)
        before = resident(ring.pid)
        told = play("hour", ring.url, tmp_path, LIMIT + PULSES, pulses=PULSES)
        grown = resident(ring.pid) - before
        print(told, f"the node: {before >> 10} KiB, then {grown >> 10} KiB more")
        assert grown < 6 << 20


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_real_nodes(tmp_path: Path) -> None:
    """A publish is seen, a session found by its id; the id is in no page, address or log."""
    with ClusterProcess(3, tmp_path) as ring:
        watched, other = ring.nodes[0], ring.nodes[1]
        session, address = _handshake(other.client_port)
        with subprocess.Popen(_poll(other.client_port, session), stdout=subprocess.DEVNULL) as poll:
            play(
                "real",
                f"http://{watched.ops}/console",
                tmp_path,
                session=session,
                address=address,
                channel="/chat/console",
                client=ring.nodes[2].url,
                key=API_KEY,
                edge=request(other.ops_port, "GET", "/ring")[1]["node"],
                looks=LOOKS[1:3],
            )
            poll.terminate()
        for node in ring.nodes:
            assert session not in node.log.read_text()


def _handshake(port: int) -> tuple[str, str]:
    """Id and address of a new session that reads a channel."""
    hello = {
        "channel": "/meta/handshake",
        "version": "1.0",
        "supportedConnectionTypes": ["long-polling"],
    }
    _, (reply,) = request(port, "POST", "/bayeux", [hello])
    session = reply["clientId"]
    wanted = {
        "channel": "/meta/subscribe",
        "clientId": session,
        "subscription": "/chat/console",
    }
    _, (answer,) = request(port, "POST", "/bayeux", [wanted])
    assert answer["successful"]
    return session, reply["ext"]["address"]


def _poll(port: int, session: str) -> list[str]:
    """A command that polls for the session until it is ended."""
    connect = {"channel": "/meta/connect", "clientId": session, "connectionType": "long-polling"}
    program = (
        "import http.client, sys\n"
        "while True:\n"
        "    conn = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]), timeout=60)\n"
        "    conn.request('POST', '/bayeux', sys.argv[2], {'Content-Type': 'application/json'})\n"
        "    conn.getresponse().read()\n"
        "    conn.close()\n"
    )
    return [sys.executable, "-c", program, str(port), json.dumps([connect])]
