"""Who has read further elsewhere than this edge has got is served once the edge has caught up."""

from __future__ import annotations

from typing import Any

import pytest

from local_edge import Client, Edge, FakePoll, FakeSocket

ROOM = "/a"


@pytest.fixture
async def edge() -> Edge:
    return Edge()


def moved_here(edge: Edge, client: Client, offset: int) -> None:
    """The session comes from an edge that had sent it all up to `offset`."""
    session = edge.sessions.get(client.address)
    assert session is not None
    (topic,) = session.topics
    session.fall_behind(topic, offset)


def publish(edge: Edge, *numbers: int) -> None:
    for number in numbers:
        edge.publish(ROOM, number)
    edge.flush()


def data(messages: list[dict[str, Any]]) -> list[int]:
    return [message["data"] for message in messages if message["channel"] == ROOM]


@pytest.mark.parametrize("at_once", [[1, 2], [1, 2, 3]])
async def test_a_held_poll_is_answered_with_what_is_new(edge: Edge, at_once: list[int]) -> None:
    client = edge.client()
    client.subscribe(ROOM)
    edge.post([client.connect_message("long-polling", 0)])
    moved_here(edge, client, 2)
    poll: FakePoll = edge.post([client.connect_message("long-polling")])
    edge.flush()
    assert poll.status is None
    publish(edge, *at_once)
    publish(edge, *range(len(at_once) + 1, 4))
    assert poll.status == 200
    assert data(poll.body) == [3]


@pytest.mark.parametrize("at_once", [[1, 2], [1, 2, 3]])
async def test_a_socket_is_sent_what_is_new(edge: Edge, at_once: list[int]) -> None:
    client, socket = edge.client(), FakeSocket()
    client.subscribe(ROOM)
    client.ask("/meta/connect", socket, connectionType="websocket", advice={"timeout": 0})
    moved_here(edge, client, 2)
    edge.flush()
    publish(edge, *at_once)
    publish(edge, *range(len(at_once) + 1, 4))
    publish(edge, 4)
    assert data(socket.messages) == [3, 4]


async def test_in_pieces(edge: Edge) -> None:
    """The flush passes it in the middle of what it brings, or just where it stands."""
    client = edge.client()
    client.subscribe(ROOM)
    edge.post([client.connect_message("long-polling", 0)])
    moved_here(edge, client, 4)
    poll: FakePoll = edge.post([client.connect_message("long-polling")])
    for number in range(1, 5):
        publish(edge, number)
        assert poll.status is None
    publish(edge, 5)
    assert data(poll.body) == [5]
