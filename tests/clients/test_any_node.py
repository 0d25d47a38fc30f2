"""Any request may hit any node: the stock client behind a balancer without stickiness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy import RoundRobinProxy
from stock_client import StockClient

if TYPE_CHECKING:
    from cluster_process import ClusterProcess

MANY = 200
INBOX = "/service/inbox"
ROOM = "/chat/any-node"


def test_long_polls_that_each_go_to_another_node(ring: ClusterProcess) -> None:
    with (
        RoundRobinProxy([node.client_port for node in ring.nodes]) as proxy,
        StockClient(proxy.url, "long-polling") as client,
    ):
        address = client.handshake()["address"]
        client.must("listen", channel=INBOX)
        client.must("subscribe", channel=ROOM)
        for i in range(MANY):
            node = ring.nodes[i % 3]
            assert node.api("/api/publish", {"channel": ROOM, "data": i})[0] == 200
            if i % 10 == 0:
                assert node.api("/api/send", {"session": address, "data": i})[0] == 200
        assert client.wait_for(ROOM, MANY, timeout=30.0) == list(range(MANY))
        assert client.wait_for(INBOX, MANY // 10) == list(range(0, MANY, 10))
        client.must("publishMany", channel=ROOM, count=MANY, timeout=60.0)
        arrived = client.wait_for(ROOM, 2 * MANY, timeout=30.0)
        # They come with the answers to publishes, too: without `ack` the client may read two
        # answers at once, and take them in either order (docs/promises.md).
        assert sorted(each["i"] for each in arrived[MANY:]) == list(range(MANY))
        assert all(reply["successful"] for reply in client.connects), client.connects
        client.must("disconnect")
    assert min(proxy.requests) > MANY // 10, "the proxy was to use all nodes"


@pytest.mark.parametrize("transport", ["long-polling", "websocket"])
def test_clients_that_share_the_balancer(ring: ClusterProcess, transport: str) -> None:
    room = f"{ROOM}/{transport}"
    with (
        RoundRobinProxy([node.client_port for node in ring.nodes]) as proxy,
        StockClient(proxy.url, transport) as one,
        StockClient(proxy.url, transport) as two,
    ):
        for client in (one, two):
            client.handshake()
            client.must("subscribe", channel=room)
        for i in range(20):
            (one, two)[i % 2].must("publish", channel=room, data=i)
        for client in (one, two):
            assert client.wait_for(room, 20) == list(range(20))
