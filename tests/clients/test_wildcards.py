"""Stock clients with `/a/*`, `/a/**` and exact names on different nodes of a ring of three."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster_process import wait_until
from stock_client import StockClient

if TYPE_CHECKING:
    from cluster_process import ClusterProcess, NodeProcess

TRANSPORTS = ["long-polling", "websocket"]


def publish(ring: ClusterProcess, number: int, channel: str) -> None:
    """The application publishes, on one node after the other."""
    body = {"channel": channel, "data": [channel, number]}
    assert ring.nodes[number % 3].api("/api/publish", body)[0] == 200


def arrived(client: StockClient, under: str, count: int) -> list[list[object]]:
    """Wait for `count` messages under a name; returns the data of all."""

    def have() -> list[list[object]]:
        return [m["data"] for m in client.messages if m["channel"].startswith(under)]

    wait_until(lambda: len(have()) >= count, 15, f"{count} messages, there are {len(have())}")
    return have()


def lag(node: NodeProcess) -> float:
    return node.metrics()["cometring_forward_lag"]


def in_order(got: list[list[object]], sent: list[list[object]]) -> None:
    """Each message once, and those of one channel in its order."""
    assert sorted(map(str, got)) == sorted(map(str, sent))
    for channel in {str(item[0]) for item in sent}:
        assert [x for x in got if x[0] == channel] == [x for x in sent if x[0] == channel]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_patterns_and_names_on_three_nodes(ring: ClusterProcess, transport: str) -> None:
    top = f"/w-{transport}"
    subscriptions = [[f"{top}/*"], [f"{top}/**"], [f"{top}/**", f"{top}/*", f"{top}/a"]]
    clients = [StockClient(node.url, transport) for node in ring.nodes]
    try:
        for client, names in zip(clients, subscriptions, strict=True):
            client.handshake()
            client.must("countCopies")  # (a subscriber is called for each that it has)
            for name in names:
                client.must("subscribe", channel=name)
        channels = [f"{top}/a", f"{top}/b", f"{top}/a/deep", f"{top}-not/a"]
        sent = []
        for number in range(60):
            channel = channels[number % len(channels)]
            publish(ring, number, channel)
            sent.append([channel, number])
        below = [item for item in sent if str(item[0]).startswith(f"{top}/")]
        flat = [item for item in below if not str(item[0]).endswith("deep")]
        # One more, which comes last: nothing may come twice behind it.
        for client, expected in zip(clients, [flat, below, below], strict=True):
            in_order(arrived(client, f"{top}/", len(expected)), expected)
        publish(ring, 60, f"{top}/a")
        for client, expected in zip(clients, [flat, below, below], strict=True):
            got = arrived(client, f"{top}/", len(expected) + 1)
            assert len(got) == len(expected) + 1
            assert got[-1] == [f"{top}/a", 60]
        for node in ring.nodes:
            assert node.metrics()["cometring_patterns"] >= 2
        wait_until(lambda: all(not lag(node) for node in ring.nodes), 5, "all is forwarded")
    finally:
        for client in clients:
            client.__exit__()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_overlapping_subscriptions_that_come_and_go(ring: ClusterProcess, transport: str) -> None:
    top = f"/v-{transport}"
    with StockClient(ring.nodes[1].url, transport) as client:
        client.handshake()
        client.must("countCopies")
        client.must("subscribe", channel=f"{top}/**")
        sent: list[list[object]] = []
        steps = ["subscribe /a", "subscribe /*", "unsubscribe /a", "unsubscribe /*"]
        for step in [*steps, *steps]:
            for _ in range(5):
                publish(ring, len(sent), f"{top}/a")
                sent.append([f"{top}/a", len(sent)])
            verb, name = step.split()
            client.must(verb, channel=top + name)
        in_order(arrived(client, top, len(sent)), sent)


def test_wildcards_that_are_closed(ring: ClusterProcess) -> None:
    with StockClient(ring.nodes[0].url, "websocket") as client:
        client.handshake()
        for name in ("/service/*", "/meta/**"):
            reply = client.call("subscribe", channel=name)
            assert (reply["successful"], reply["error"][:4]) == (False, "403:")
