"""From `kill -9` of a session's node to its first message on another one.

`make failover` kills a hundred times. The client is a raw one that comes back at
once: what is measured is the ring's time, not a client's own delay.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

from chaos import durable, wait_healed
from cluster_process import ClusterProcess, NodeProcess
from raw_client import Connection, Session, Socket

if TYPE_CHECKING:
    from pathlib import Path

KILLS = int(os.environ.get("COMETRING_FAILOVER_KILLS", "4"))
NODES = 5
EVERY = 0.02  # seconds between messages to the session
AGAIN = 0.02  # seconds before the client's next try
LIMIT = 10.0  # seconds; a session that is not back by then is lost
TARGET = 2.0  # seconds, for 99 of 100
INBOX = "/service/inbox"


class Sender(Thread):
    """Sends to a session, over whichever node is alive, until told to stop."""

    def __init__(self, nodes: list[NodeProcess], address: str) -> None:
        super().__init__(daemon=True)
        self._nodes = nodes
        self._address = address
        self._stop_now = Event()
        self.acknowledged: list[int] = []

    def run(self) -> None:
        number = 0
        while not self._stop_now.wait(EVERY):
            for node in self._nodes:
                body = {"session": self._address, "data": number, "id": str(number)}
                with suppress(OSError):
                    if node.api("/api/send", body, timeout=1.0)[0] == 200:
                        self.acknowledged.append(number)
                        break
            number += 1

    def stop(self) -> None:
        self._stop_now.set()
        self.join(30.0)
        assert not self.is_alive()


def messages(replies: object) -> list[int]:
    assert isinstance(replies, list), replies
    for reply in replies:
        if reply["channel"] == "/meta/connect":
            assert reply["successful"] or "402" not in reply["error"], f"session lost: {reply}"
    return [m["data"] for m in replies if m["channel"] == INBOX and "data" in m]


def come_back_polling(session: Session, node: NodeProcess, until: float) -> list[int]:
    """The first messages that a poll on `node` brings."""
    while time.monotonic() < until:
        with suppress(OSError), Connection(node.client_port, 5.0) as http:
            http.send(session.connect(timeout=2_000))
            status, replies, _ = http.receive()
            if status == 200 and (got := messages(replies)):
                return got
        time.sleep(AGAIN)
    raise AssertionError(f"the session was not back within {LIMIT:g} s")


def come_back_websocket(session: Session, node: NodeProcess, until: float) -> list[int]:
    """The same over a WebSocket."""
    while time.monotonic() < until:
        with suppress(OSError), Socket(node.client_port, 5.0) as socket:
            socket.send(session.connect("websocket"))
            while True:
                replies = socket.receive()
                if isinstance(replies, int):
                    break
                if got := messages(replies):
                    return got
        time.sleep(AGAIN)
    raise AssertionError(f"the session was not back within {LIMIT:g} s")


def fail_over(cluster: ClusterProcess, kill: int) -> float:
    """Kill the edge of a session; seconds until a message is read elsewhere."""
    edge = cluster.nodes[kill % NODES]
    other = cluster.nodes[(kill + 1 + kill // NODES % (NODES - 1)) % NODES]
    assert other is not edge
    session = Session(edge)
    sender = Sender([node for node in cluster.nodes if node is not edge], session.address)
    sender.start()
    try:
        with Connection(edge.client_port) as http:
            while not messages(http.ask(session.connect(timeout=2_000))):
                pass
            began = time.monotonic()
            edge.kill()
        back = come_back_polling if kill % 2 else come_back_websocket
        back(session, other, began + LIMIT)
        return time.monotonic() - began
    finally:
        sender.stop()
        if not edge.alive:
            cluster.start_node(edge)
        wait_healed(cluster)


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_a_session_is_back_soon_after_its_node_was_killed(tmp_path: Path) -> None:
    cluster = durable(ClusterProcess(NODES, tmp_path / "nodes"), tmp_path)
    with cluster:
        wait_healed(cluster)
        took = sorted(fail_over(cluster, kill) for kill in range(KILLS))
    half, most = took[len(took) // 2], took[min(len(took) - 1, int(len(took) * 0.99))]
    print(f"{KILLS} kills: p50 {half:.2f} s, p99 {most:.2f} s, worst {took[-1]:.2f} s")
    assert most <= TARGET
    assert not cluster.complaints()
