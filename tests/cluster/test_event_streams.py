"""Server-sent events from any node, and on from where they were read, on any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cluster_process import ClusterProcess, NodeProcess, request, wait_until
from sse_client import EventReader

if TYPE_CHECKING:
    from collections.abc import Callable


def publish(node: NodeProcess, channel: str, data: Any) -> None:
    status, answer = node.api("/api/publish", {"channel": channel, "data": data})
    assert status == 200, answer


def resume(node: NodeProcess, target: str, last_id: str) -> EventReader:
    return EventReader(node.client_port, target, {"Last-Event-ID": last_id})


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return f"/chat/{name.strip('-')}"


def test_readers_on_every_node_get_every_message(three_nodes: ClusterProcess, channel: str) -> None:
    nodes = three_nodes.nodes
    readers = [EventReader(node.client_port, f"/sse?channel={channel}") for node in nodes]
    for reader in readers:
        reader.session()
    for number, node in enumerate(nodes):
        publish(node, channel, number)
    for reader in readers:
        with reader:
            assert [reader.data()["data"] for _ in nodes] == [0, 1, 2]


def test_one_channel_is_resumed_on_another_node(three_nodes: ClusterProcess, channel: str) -> None:
    nodes, target = three_nodes.nodes, f"/sse?channel={channel}"
    with EventReader(nodes[0].client_port, target) as reader:
        reader.session()
        publish(nodes[2], channel, 0)
        assert reader.data()["data"] == 0
        left = reader.last_id
    for number in (1, 2):
        publish(nodes[0], channel, number)
    for node in nodes:  # wherever it goes, and however often
        with resume(node, target, left) as reader:
            reader.session()
            assert [reader.data()["data"] for _ in range(2)] == [1, 2]


def test_several_channels_move_with_their_session(
    three_nodes: ClusterProcess, channel: str
) -> None:
    nodes = three_nodes.nodes
    target = f"/sse?channel={channel}-1&channel={channel}-2"
    with EventReader(nodes[0].client_port, target) as reader:
        told = reader.session()
        publish(nodes[1], f"{channel}-1", 1)
        assert reader.data()["data"] == 1
        reader.next()  # an id alone, within a second
        assert reader.last_id.startswith(told["session"] + " ")
        publish(nodes[1], f"{channel}-2", 2)
        assert reader.data()["data"] == 2
        left = reader.last_id
    publish(nodes[1], f"{channel}-1", 3)
    with resume(nodes[1], target, left) as reader:
        assert reader.session() == told
        seen = [(m["channel"][-1], m["data"]) for m in (reader.data(), reader.data())]
        assert sorted(seen) == [("1", 3), ("2", 2)]  # the last second once more
        status, answer = nodes[2].api("/api/send", {"session": told["address"], "data": "moved"})
        assert status == 200
        assert answer["connected"] is True
        message = reader.data()
        assert (message["channel"], message["data"]) == ("/service/inbox", "moved")


def test_a_reader_of_a_killed_node_goes_on_elsewhere(
    make_cluster: Callable[..., ClusterProcess],
) -> None:
    cluster = make_cluster(3)
    nodes, target = cluster.nodes, "/sse?channel=/a"
    with EventReader(nodes[1].client_port, target) as reader:
        reader.session()
        publish(nodes[0], "/a", 0)
        assert reader.data()["data"] == 0
        left = reader.last_id
        nodes[1].kill()
        assert reader.ended()
    cluster.wait_formed(members=2)
    with resume(nodes[0], target, left) as reader:
        event = reader.next()
        assert event["event"] == "session"
        publish(nodes[2], "/a", 1)
        event = reader.next()
        if event.get("event") == "gap":  # (its home may have been the killed node)
            event = reader.next()
        assert '"data":1' in event["data"]


def test_bayeux_sessions_are_streamed_by_any_node(
    three_nodes: ClusterProcess, channel: str
) -> None:
    nodes = three_nodes.nodes
    handshake = {
        "channel": "/meta/handshake",
        "version": "1.0",
        "supportedConnectionTypes": ["eventsource"],
    }
    _, (reply,) = request(nodes[0].client_port, "POST", "/bayeux", handshake)
    session = reply["clientId"]
    subscribe = {"channel": "/meta/subscribe", "subscription": channel, "clientId": session}
    _, (answer,) = request(nodes[1].client_port, "POST", "/bayeux", subscribe)
    assert answer["successful"], answer
    for node in (nodes[0], nodes[2], nodes[1]):
        with EventReader(node.client_port, f"/bayeux/{session}") as reader:
            assert reader.status == 200
            reader.next()
            publish(nodes[1], channel, node.index)
            (message,) = reader.data()
            assert message["data"] == node.index


def test_readers_of_a_leaving_node_are_told_when_to_come_back(
    make_cluster: Callable[..., ClusterProcess],
) -> None:
    cluster = make_cluster(2)
    target = "/sse?channel=/a"
    with EventReader(cluster.nodes[1].client_port, target) as reader:
        reader.session()
        publish(cluster.nodes[0], "/a", 0)
        assert reader.data()["data"] == 0
        cluster.nodes[1].terminate()
        assert 0 < int(reader.next()["retry"]) < 5_000
        assert reader.ended()
        left = reader.last_id
    publish(cluster.nodes[0], "/a", 1)
    with resume(cluster.nodes[0], target, left) as reader:
        reader.session()
        assert reader.data()["data"] == 1


def test_streams_are_counted(three_nodes: ClusterProcess, channel: str) -> None:
    node = three_nodes.nodes[0]
    before = node.metrics()
    with EventReader(node.client_port, f"/sse?channel={channel}") as reader:
        reader.session()
        assert node.metrics()['cometring_connections{transport="sse"}'] >= 1
        publish(node, channel, 1)
        reader.data()
    name = 'cometring_delivered_total{transport="sse"}'
    assert node.metrics()[name] == before.get(name, 0.0) + 1
    wait_until(
        lambda: node.metrics()['cometring_connections{transport="sse"}'] == 0, 5, "no stream"
    )
