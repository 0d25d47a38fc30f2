"""The stock client with its own extensions, over connections that break and lose answers."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from cluster_process import wait_until
from meddling_proxy import MeddlingProxy, Upgrades
from stock_client import StockClient

if TYPE_CHECKING:
    from cluster_process import ClusterProcess, NodeProcess

ALL = ("ack", "timesync", "timestamp", "binary")
TRANSPORTS = ("long-polling", "websocket")
INBOX = "/service/inbox"
MANY = 60
# It comes back at once, and gives up on an answer soon.
EAGER: dict[str, Any] = {"backoffIncrement": 50, "maxBackoff": 100, "maxNetworkDelay": 2_000}


def publish(node: NodeProcess, channel: str, data: object) -> None:
    status, answer = node.api("/api/publish", {"channel": channel, "data": data})
    assert status == 200, answer


def send(node: NodeProcess, address: str, data: object) -> None:
    status, answer = node.api("/api/send", {"session": address, "data": data})
    assert status == 200, answer


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_all_of_them_together(ring: ClusterProcess, transport: str) -> None:
    room = f"/extensions/all-{transport}"
    with StockClient(ring.nodes[0].url, transport, extensions=ALL) as client:
        ext = client.handshake()
        assert ext["ack"] is True
        assert abs(ext["timesync"]["ts"] - time.time() * 1000) < 10_000
        client.must("subscribe", channel=room)
        for size in range(9):
            client.must("publishBytes", channel=room, hex=bytes(range(250, 250 - size, -1)).hex())
        client.must("publish", channel=room, data="text")
        publish(ring.nodes[1], room, "theirs")
        arrived = client.wait_for(room, 11)
        for size in range(9):
            expected = bytes(range(250, 250 - size, -1)).hex()
            assert arrived[size] == {"data": expected, "last": True, "meta": {"kind": "test"}}
        assert arrived[9:] == ["text", "theirs"]
        status = client.must("status")
        assert abs(status["offset"]) < 100  # both clocks are this machine's
        assert client.must("disconnect")["successful"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_lost_answers_lose_no_message_and_repeat_none(ring: ClusterProcess, transport: str) -> None:
    node, room = ring.nodes[0], f"/extensions/lost-{transport}"
    with (
        MeddlingProxy(node.client_port) as proxy,
        StockClient(proxy.url, transport, extensions=["ack"], **EAGER) as client,
    ):
        address = client.handshake()["address"]
        client.must("listen", channel=INBOX)
        client.must("subscribe", channel=room)
        for number in range(MANY):
            if number % 12 == 6:
                proxy.losing += 1
            publish(ring.nodes[number % 3], room, number)
            if number % 10 == 0:
                send(node, address, number)
        assert client.wait_for(room, MANY, timeout=30) == list(range(MANY))
        assert client.wait_for(INBOX, MANY // 10) == list(range(0, MANY, 10))
        publish(node, room, "last")
        assert client.wait_for(room, MANY + 1)[MANY:] == ["last"]
        assert proxy.lost >= 2
        assert client.must("status")["transport"] == transport


def test_without_acknowledgements_a_lost_answer_is_lost(ring: ClusterProcess) -> None:
    """What the test above would show if the extension did nothing."""
    node, room = ring.nodes[0], "/extensions/no-ack"
    with (
        MeddlingProxy(node.client_port) as proxy,
        StockClient(proxy.url, "long-polling", **EAGER) as client,
    ):
        client.handshake()
        client.must("subscribe", channel=room)
        proxy.losing = 1
        publish(node, room, "lost")
        deadline = time.monotonic() + 10
        while not proxy.lost and time.monotonic() < deadline:
            time.sleep(0.02)
        publish(node, room, "kept")
        assert client.wait_for(room, 1) == ["kept"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_that_changes_its_node_goes_on_where_it_was(
    ring: ClusterProcess, transport: str
) -> None:
    room = f"/extensions/moved-{transport}"
    with (
        MeddlingProxy(ring.nodes[0].client_port) as proxy,
        StockClient(proxy.url, transport, extensions=["ack"], **EAGER) as client,
    ):
        address = client.handshake()["address"]
        client.must("listen", channel=INBOX)
        client.must("subscribe", channel=room)
        before = client.must("status")["clientId"]
        for number in range(MANY):
            if number % 20 == 10:
                proxy.port = ring.nodes[number // 20 + 1 if number < 40 else 0].client_port
                proxy.cut()
            publish(ring.nodes[2], room, number)
            if number % 10 == 0:
                send(ring.nodes[1], address, number)
        assert client.wait_for(room, MANY, timeout=30) == list(range(MANY))
        assert client.wait_for(INBOX, MANY // 10) == list(range(0, MANY, 10))
        assert client.must("status")["clientId"] == before


@pytest.mark.parametrize("upgrades", ["refuse", "swallow", "strip"])
def test_where_a_proxy_has_no_websockets_it_falls_back(
    ring: ClusterProcess, upgrades: Upgrades
) -> None:
    room = f"/extensions/fallback-{upgrades}"
    with (
        MeddlingProxy(ring.nodes[0].client_port, upgrades) as proxy,
        StockClient(
            proxy.url, "websocket,long-polling", extensions=ALL, connectTimeout=500, **EAGER
        ) as client,
    ):
        client.handshake()
        client.must("subscribe", channel=room)
        assert client.must("status")["transport"] == "long-polling"
        publish(ring.nodes[1], room, 1)
        client.must("publish", channel=room, data=2)
        assert client.wait_for(room, 2) == [1, 2]


def test_a_node_that_leaves_takes_no_message_with_it(ring: ClusterProcess) -> None:
    """(The last of this module: it costs the ring a node.)"""
    with (
        MeddlingProxy(ring.nodes[0].client_port) as proxy,
        StockClient(proxy.url, "long-polling", extensions=["ack"], **EAGER) as polls,
        StockClient(proxy.url, "websocket", extensions=["ack"], **EAGER) as streams,
    ):
        room = "/extensions/leaving"
        sessions = []
        for client in (polls, streams):
            client.handshake()
            client.must("subscribe", channel=room)
            sessions.append(client.must("status")["clientId"])
        for number in range(MANY):
            if number == MANY // 2:
                proxy.port = ring.nodes[1].client_port
                ring.nodes[0].signal(signal.SIGTERM)
            publish(ring.nodes[2], room, number)
        for client, session in zip((polls, streams), sessions, strict=True):
            wait_until(lambda: len(set(client.on(room))) == MANY, 30, "all")  # noqa: B023
            arrived = client.on(room)
            assert list(dict.fromkeys(arrived)) == list(range(MANY))
            assert len(arrived) - MANY <= MANY // 2  # at most its last batch came twice
            assert client.must("status")["clientId"] == session
