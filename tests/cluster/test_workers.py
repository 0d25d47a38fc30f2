"""`cometring serve --workers N`: several members of the ring behind one client port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from cluster_process import API_KEY, free_port, free_ports, request, wait_until

if TYPE_CHECKING:
    from pathlib import Path

HANDSHAKE = [
    {
        "channel": "/meta/handshake",
        "version": "1.0",
        "supportedConnectionTypes": ["long-polling"],
        "id": "1",
    }
]


def test_two_workers_are_one_ring_behind_one_port(tmp_path: Path) -> None:
    client, peer, ops = free_port(), free_ports(2), free_ports(2)
    words = ["--workers", "2", "--client", str(client), "--peer", str(peer), "--ops", str(ops)]

    def members(index: int) -> int:
        with suppress(OSError):
            status, ring = request(ops + index, "GET", "/ring")
            if status == 200 and request(ops + index, "GET", "/readyz")[0] == 200:
                return len(ring["members"])
        return 0

    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "node.cli", "serve", *words, "--api-key", API_KEY],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={k: v for k, v in os.environ.items() if not k.startswith("COMETRING_")},
        )
    try:
        wait_until(lambda: members(0) == members(1) == 2, 20, (tmp_path / "log").read_text())
        met = set()
        for _ in range(64):  # one worker alone would take a chance of 2 in 2**64
            status, replies = request(client, "POST", "/bayeux", HANDSHAKE)
            assert status == 200
            met.add(replies[0]["ext"]["node"])
        assert len(met) == 2
        headers = {"Authorization": f"Bearer {API_KEY}"}
        body = {"channel": "/chat/room", "data": 1}
        assert request(client, "POST", "/api/publish", body, headers)[0] == 200
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert status == 0
    assert members(0) == members(1) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
