"""The stock CometD client works on a ring of three as it does on its own server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stock_client import StockClient

if TYPE_CHECKING:
    from cluster_process import ClusterProcess

MANY = 1000
INBOX = "/service/inbox"

pytestmark = pytest.mark.parametrize("transport", ["long-polling", "websocket"])


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    """A channel of its own for each test: the ring is shared."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return f"/chat/{name.strip('-')}"


def test_receives_what_the_application_publishes_on_another_node(
    ring: ClusterProcess, transport: str, room: str
) -> None:
    with StockClient(ring.nodes[0].url, transport) as client:
        client.handshake()
        client.must("subscribe", channel=room)
        status, answer = ring.nodes[2].api("/api/publish", {"channel": room, "data": {"n": 1}})
        assert status == 200, answer
        assert answer["channel"] == room
        assert client.wait_for(room, 1) == [{"n": 1}]


def test_receives_a_direct_message_sent_on_another_node(
    ring: ClusterProcess, transport: str, room: str
) -> None:
    with StockClient(ring.nodes[0].url, transport) as client:
        address = client.handshake()["address"]
        client.must("listen", channel=INBOX)
        body = {"session": address, "data": {"for": room}}
        status, answer = ring.nodes[1].api("/api/send", body)
        assert status == 200, answer
        assert answer["connected"] is True
        assert client.wait_for(INBOX, 1) == [{"for": room}]


def test_is_received_by_clients_on_every_node(
    ring: ClusterProcess, transport: str, room: str
) -> None:
    with (
        StockClient(ring.nodes[0].url, transport) as zero,
        StockClient(ring.nodes[1].url, transport) as one,
        StockClient(ring.nodes[2].url, transport) as two,
    ):
        clients = (zero, one, two)
        for client in clients:
            client.handshake()
            client.must("subscribe", channel=room)
        for i, client in enumerate(clients):
            client.must("publish", channel=room, data={"from": i})
        expected = [{"from": 0}, {"from": 1}, {"from": 2}]
        for client in clients:
            assert client.wait_for(room, 3) == expected


def test_sends_to_another_session_by_address(
    ring: ClusterProcess, transport: str, room: str
) -> None:
    with (
        StockClient(ring.nodes[0].url, transport) as sender,
        StockClient(ring.nodes[2].url, transport) as receiver,
    ):
        sender.handshake()
        address = receiver.handshake()["address"]
        receiver.must("listen", channel=INBOX)
        direct = {"to": address, "data": {"for": room}}
        sender.must("publish", channel="/service/send", data=direct)
        assert receiver.wait_for(INBOX, 1) == [{"for": room}]


def test_a_direct_message_to_nobody_is_refused(
    ring: ClusterProcess, transport: str, room: str
) -> None:
    with StockClient(ring.nodes[0].url, transport) as client:
        address = client.handshake()["address"]
        unknown = address[:-4] + "AAAA"
        reply = client.call("publish", channel="/service/send", data={"to": unknown, "data": room})
        assert reply["successful"] is False
        assert reply["error"].startswith("404:")


def test_a_thousand_messages_of_the_application_arrive_once_and_in_order(
    ring: ClusterProcess, transport: str, room: str
) -> None:
    with StockClient(ring.nodes[0].url, transport) as client:
        client.handshake()
        client.must("subscribe", channel=room)
        for i in range(MANY):
            status, answer = ring.nodes[2].api("/api/publish", {"channel": room, "data": {"i": i}})
            assert status == 200, answer
        client.wait_for(room, MANY, timeout=30.0)
        # One more, to see that nothing comes twice behind the last.
        ring.nodes[1].api("/api/publish", {"channel": room, "data": {"i": MANY}})
        arrived = client.wait_for(room, MANY + 1)
        assert [data["i"] for data in arrived] == list(range(MANY + 1))


def test_a_thousand_messages_of_a_client_arrive_once_and_in_order(
    ring: ClusterProcess, transport: str, room: str
) -> None:
    with (
        StockClient(ring.nodes[0].url, transport) as sender,
        StockClient(ring.nodes[1].url, transport) as receiver,
    ):
        for client in (sender, receiver):
            client.handshake()
        receiver.must("subscribe", channel=room)
        sender.must("publishMany", channel=room, count=MANY, timeout=60.0)
        arrived = receiver.wait_for(room, MANY, timeout=30.0)
        assert [data["i"] for data in arrived] == list(range(MANY))


def test_hears_nothing_more_after_unsubscribing(
    ring: ClusterProcess, transport: str, room: str
) -> None:
    with StockClient(ring.nodes[0].url, transport) as client:
        client.handshake()
        client.must("subscribe", channel=room)
        client.must("unsubscribe", channel=room)
        client.must("subscribe", channel=f"{room}/end")
        for channel in (room, f"{room}/end"):
            assert ring.nodes[1].api("/api/publish", {"channel": channel, "data": 1})[0] == 200
        client.wait_for(f"{room}/end", 1)
        assert client.on(room) == []


def test_says_goodbye(ring: ClusterProcess, transport: str, room: str) -> None:
    with StockClient(ring.nodes[0].url, transport) as client:
        address = client.handshake()["address"]
        client.must("disconnect")
        status, answer = ring.nodes[1].api("/api/send", {"session": address, "data": room})
        assert status == 404, answer
        assert answer["error"]["code"] == "unknown_session"
