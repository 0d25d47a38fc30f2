"""All five nodes restarted, one after the other, under load and behind a proxy: nobody notices.

No request fails, no connect, nothing is lost, nothing comes twice. One thing no server can help:
what a client sends on its WebSocket while the close frame is on its way to it. It is told that
this has failed, and says it again under the same `ext.messageId`; it is then delivered once.

`make rolling` runs it at full load (600 clients, 500 publishes a second).
"""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from api_publisher import ApiPublisher
from chaos import durable, restart, wait_healed
from cluster_process import ClusterProcess
from crowd import Crowd
from haproxy import HAProxy
from ledger import audit

if TYPE_CHECKING:
    from pathlib import Path

CLIENTS = int(os.environ.get("COMETRING_ROLLING_CLIENTS", "40"))
RATE = float(os.environ.get("COMETRING_ROLLING_RATE", "60"))  # publishes a second
ROOMS = max(2, CLIENTS // 10)
NODES = 5
BY_CLIENTS = 0.4  # of all publishes; the rest come over the application interface
CROSSED = "this node is leaving"  # why a publish failed that its WebSocket's close crossed
MOST_CROSSED = max(2, CLIENTS // 10)
CROSSING = 1000  # milliseconds, at most, from such a publish to the close that it met
CONNECTIONS = 300  # of the application: more than ever wait for a takeover at once
QUIET = 3.0  # seconds at the end for what was acknowledged to arrive


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_a_rolling_restart_goes_unnoticed(tmp_path: Path) -> None:
    rooms = [f"/room/{i}" for i in range(ROOMS)]
    cluster = durable(ClusterProcess(NODES, tmp_path / "nodes", ["--drain-delay", "1"]), tmp_path)
    with (
        cluster,
        HAProxy(cluster.nodes, tmp_path / "haproxy") as proxy,
        Crowd(proxy.url, CLIENTS, ROOMS) as crowd,
        ApiPublisher(proxy.port, rooms, RATE * (1 - BY_CLIENTS), connections=CONNECTIONS) as api,
    ):
        crowd.publish(RATE * BY_CLIENTS)
        began = time.monotonic()
        for node in cluster.nodes:
            time.sleep(1.0)
            print(f"n{node.index} leaves at {time.time():.3f}")
            restart(cluster, node)
            wait_healed(cluster)
        api.stop()
        crowd.stop()
        took = time.monotonic() - began
        time.sleep(QUIET)
        books = crowd.books(tmp_path)
        errors = proxy.errors()
    verdict = audit(books, api.acknowledged)
    failures = Counter(reason for book in books for *_, reason in book["failed"])
    repeated = {(topic, name) for book in books for _, topic, name, *_ in book["failed"]}
    lost = sum(book["lost"] for book in books)
    print(
        f"{took:.0f} s, {verdict.acknowledged / took:.0f} publishes/s",
        f"failed: publishes of clients {dict(failures)}, of the application {dict(api.failures)},"
        f" connects {lost}; the proxy counts {errors}",
        *(
            f"{name} of {who}, sent at {sent / 1000:.3f}, failed {failed - sent} ms later: {reason}"
            for book in books
            for who, _, name, sent, failed, reason in book["failed"]
        ),
        *verdict.lines(),
        sep="\n",
    )
    assert not verdict.faults
    assert not verdict.duplicates
    assert failures.keys() <= {CROSSED}
    assert failures[CROSSED] <= MOST_CROSSED
    assert all(gone - sent <= CROSSING for book in books for *_, sent, gone, _ in book["failed"])
    # (What is acknowledged has reached everybody, by the audit, and once.)
    assert repeated <= {tuple(promise) for book in books for promise in book["acknowledged"]}
    assert not api.failures
    assert not lost
    assert not cluster.complaints()
