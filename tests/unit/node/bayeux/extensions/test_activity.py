"""`activity`: who only keeps alive is disconnected, and told not to come back by itself."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from local_edge import Client, Edge, FakeSocket

PATIENCE = 60.0  # seconds


@pytest.fixture
async def edge() -> Edge:
    return Edge(extensions="activity", max_inactivity=PATIENCE)


@pytest.fixture
async def both() -> Edge:
    return Edge(extensions="activity", max_inactivity=PATIENCE, activity="client-server")


def connect(client: Client, socket: FakeSocket | None = None) -> dict[str, Any]:
    client.edge.flush()
    message = client.connect_message("long-polling" if socket is None else "websocket", 0)
    replies = client.edge.request(message, socket=socket)
    return dict(replies[-1])


def ended(reply: dict[str, Any]) -> bool:
    if reply["successful"]:
        return False
    assert reply["error"].startswith("402:"), reply
    assert reply["advice"] == {"reconnect": "none"}
    return True


async def test_connects_alone_keep_no_session(edge: Edge, autojump_clock: None) -> None:
    client = edge.client()
    for _ in range(4):
        assert not ended(connect(client))
        await trio.sleep(PATIENCE / 3)
    assert ended(connect(client))
    assert edge.sessions.get(client.address) is None
    assert edge.cluster.record(client.address) is None


@pytest.mark.parametrize("channel", ["/meta/subscribe", "/a", "/service/x"])
async def test_anything_else_that_the_client_sends_does(
    edge: Edge, channel: str, autojump_clock: None
) -> None:
    client = edge.client()
    for _ in range(4):
        assert not ended(connect(client))
        client.ask(channel, subscription="/a", data=1)
        await trio.sleep(PATIENCE)


async def test_messages_to_it_do_not_count_by_default(edge: Edge, autojump_clock: None) -> None:
    client = edge.client()
    client.subscribe("/a")
    connect(client)
    await trio.sleep(PATIENCE - 1)
    edge.publish("/a", 1)
    connect(client)
    await trio.sleep(2)
    assert ended(connect(client))


@pytest.mark.parametrize("direct", [True, False])
async def test_but_they_do_where_that_is_configured(
    both: Edge, direct: bool, autojump_clock: None
) -> None:
    client, sender = both.client(), both.client()
    client.subscribe("/a")
    for number in range(4):
        assert not ended(connect(client))
        await trio.sleep(PATIENCE - 1)
        if direct:
            sender.ask("/service/send", data={"to": client.address, "data": number})
        else:
            both.publish("/a", number)
        connect(client)
        both.sessions.hub.tell_consumed()
    assert not ended(connect(client))
    await trio.sleep(PATIENCE + 1)
    assert ended(connect(client))


async def test_on_a_websocket_the_connect_is_refused_and_the_socket_left_open(
    edge: Edge, autojump_clock: None
) -> None:
    client, socket = edge.client(), FakeSocket()
    assert not ended(connect(client, socket))
    await trio.sleep(PATIENCE + 1)
    assert ended(connect(client, socket))
    assert not socket.closed


async def test_no_patience_at_all_means_patience_without_end(autojump_clock: None) -> None:
    edge = Edge(extensions="activity", max_inactivity=0)
    client = edge.client()
    connect(client)
    await trio.sleep(86_400)
    assert not ended(connect(client))
