"""Five nodes, a crowd of stock clients behind HAProxy, and no end of harm: nothing is lost.

`make soak` runs it for five minutes with 600 clients; every day's run is short.
COMETRING_SOAK_SEED repeats a run.
"""

from __future__ import annotations

import os
import time
from random import SystemRandom
from typing import TYPE_CHECKING

import pytest

from api_publisher import ApiPublisher
from chaos import Chaos, durable, end_paused, wait_healed
from cluster_process import ClusterProcess
from crowd import Crowd
from haproxy import HAProxy
from ledger import audit

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = float(os.environ.get("COMETRING_SOAK_SECONDS", "20"))
CLIENTS = int(os.environ.get("COMETRING_SOAK_CLIENTS", "60"))
RATE = float(os.environ.get("COMETRING_SOAK_RATE", "60"))  # publishes a second
ROOMS = max(2, CLIENTS // 10)
SEED = int(os.environ.get("COMETRING_SOAK_SEED", "0")) or SystemRandom().getrandbits(32)
NODES = 5
BY_CLIENTS = 0.4  # of all publishes; the rest come over the application interface
CONNECTIONS = 300  # of the application: more than ever wait for a takeover at once
QUIET = 5.0  # seconds at the end for what was acknowledged to arrive


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    rooms = [f"/room/{i}" for i in range(ROOMS)]
    options = ["--drain-delay", "1"]
    with durable(ClusterProcess(NODES, tmp_path / "nodes", options), tmp_path) as cluster:
        chaos = Chaos(cluster, SEED)
        try:
            with (
                HAProxy(cluster.nodes, tmp_path / "haproxy") as proxy,
                Crowd(proxy.url, CLIENTS, ROOMS) as crowd,
            ):
                wait_healed(cluster)
                crowd.publish(RATE * BY_CLIENTS)
                began = time.monotonic()
                with ApiPublisher(
                    proxy.port, rooms, RATE * (1 - BY_CLIENTS), connections=CONNECTIONS
                ) as api:
                    while time.monotonic() < began + SECONDS:
                        chaos.strike()
                crowd.stop()
                took = time.monotonic() - began
                time.sleep(QUIET)
                books = crowd.books(tmp_path)
        finally:
            end_paused(cluster)
            print("\n".join([f"seed {SEED}", *chaos.log]))
        verdict = audit(books, api.acknowledged)
        retried = sum(book["retried"] for book in books)
        reasons = [book["failures"] for book in books]
        offered = api.offered + sum(book["published"] for book in books)
        print(
            f"{took:.0f} s, {dict(chaos.counts)}, slowest to heal {max(chaos.heal_times):.2f} s",
            f"{offered} publishes offered, {verdict.acknowledged} acknowledged,"
            f" {verdict.acknowledged / took:.0f} a second; tried again: {retried} by clients"
            f" {reasons}, {dict(api.failures)} by the application",
            f"slowest acknowledgement to the application {api.slowest:.2f} s",
            *verdict.lines(),
            sep="\n",
        )
        assert not verdict.faults, f"seed {SEED}: {len(verdict.faults)} faults, see above"
        assert not cluster.complaints()
