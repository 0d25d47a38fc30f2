"""The stock client on a node that sheds load: it waits as it is told, and misses nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest

from cluster_process import HOST, ClusterProcess, NodeProcess, wait_until
from stock_client import StockClient

if TYPE_CHECKING:
    from collections.abc import Iterator

OPTIONS = ["--shed-lag", "0.4", "--refuse-lag", "0.5", "--max-interval", "4"]
STALL = 0.9  # seconds at a time for which the node gets no CPU
ROOM = "/shedding/room"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with ClusterProcess(1, tmp_path_factory.mktemp("ring"), OPTIONS) as cluster:
        yield cluster.nodes[0]


def stall(node: NodeProcess) -> None:
    for _ in range(3):
        os.kill(node.pid, signal.SIGSTOP)
        time.sleep(STALL)
        os.kill(node.pid, signal.SIGCONT)
        time.sleep(0.1)


def knock(node: NodeProcess) -> tuple[int, str | None]:
    """Somebody new comes: the status, and when to come back."""
    shake = {"channel": "/meta/handshake", "version": "1.0"}
    body = json.dumps([shake | {"supportedConnectionTypes": ["long-polling"]}])
    with closing(HTTPConnection(HOST, node.client_port, timeout=10)) as door:
        door.request("POST", "/bayeux", body, {"Content-Type": "application/json"})
        response = door.getresponse()
        response.read()
        return response.status, response.headers["Retry-After"]


def test_it_waits_as_it_is_told_and_misses_nothing(node: NodeProcess) -> None:
    with StockClient(node.url, "long-polling") as client:
        client.handshake()
        client.must("subscribe", channel=ROOM)
        before = client.must("status")["clientId"]
        for number in range(20):
            if number % 10 == 0:
                stall(node)
                assert knock(node) == (503, "1")
            assert node.api("/api/publish", {"channel": ROOM, "data": number})[0] == 200
        assert client.wait_for(ROOM, 20, timeout=30) == list(range(20))
        metrics = node.metrics()
        assert 1 <= metrics["cometring_polls_put_off_total"] <= 20, "it waits between polls"
        wait_until(lambda: not node.metrics()["cometring_shed_interval_seconds"], 60, "recovery")
        assert node.api("/api/publish", {"channel": ROOM, "data": "last"})[0] == 200
        assert client.wait_for(ROOM, 21)[-1] == "last"
        assert client.must("status")["clientId"] == before
        assert all(connect["successful"] for connect in client.connects)
        assert knock(node)[0] == 200
