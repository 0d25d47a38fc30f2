"""What homes are told of readers: so much that a client is told little twice if its node dies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local_edge import Client, Edge, FakeSocket
from node import consumption

if TYPE_CHECKING:
    from pubsub.messages import Cursor

ROOM = "/a"


@pytest.fixture
async def edge() -> Edge:
    return Edge()


def stand(client: Client, channel: str = ROOM) -> int:
    """The offset that the session's record has."""
    record = client.edge.cluster.record(client.address)
    assert record is not None
    cursors: dict[str, Cursor] = dict(record.cursors)
    return cursors[channel].offset


def reader(edge: Edge) -> tuple[Client, FakeSocket]:
    """One that reads all over a WebSocket."""
    client, socket = edge.client(), FakeSocket()
    client.subscribe(ROOM)
    client.ask("/meta/connect", socket, connectionType="websocket", advice={"timeout": 0})
    return client, socket


def publish(edge: Edge, count: int) -> None:
    for i in range(count):
        edge.publish(ROOM, i)
    edge.flush()


async def test_a_reader_of_a_group_is_told_of(edge: Edge) -> None:
    client, _ = reader(edge)
    publish(edge, 3)
    assert stand(client) == 0
    edge.sessions.hub.tell_consumed()
    assert stand(client) == 3


async def test_readers_who_are_level_are_told_of_in_one_call(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = [reader(edge)[0] for _ in range(5)]
    calls: list[int] = []
    tell = edge.cluster.consumed_alike

    def count(readers: list[tuple[str, int]], cursors: Any) -> None:
        calls.append(len(readers))
        tell(readers, cursors)

    monkeypatch.setattr(edge.cluster, "consumed_alike", count)
    publish(edge, 3)
    edge.sessions.hub.tell_consumed()
    assert calls == [5]
    assert [stand(client) for client in clients] == [3] * 5


async def test_one_who_is_behind_is_told_of_as_far_as_it_was_served(edge: Edge) -> None:
    client, socket = reader(edge)
    publish(edge, 2)
    socket.writable = False
    publish(edge, 3)
    edge.sessions.hub.tell_consumed()
    assert stand(client) == 2
    socket.writable = True
    edge.sessions.hub.catch_up(edge.sessions.all()[0])
    edge.sessions.hub.tell_consumed()
    assert stand(client) == 5


async def test_one_between_two_polls_too(edge: Edge) -> None:
    client = edge.client()
    client.subscribe(ROOM)
    publish(edge, 2)
    edge.sessions.hub.tell_consumed()
    assert stand(client) == 0
    assert len(client.fetch()) == 2
    edge.sessions.hub.tell_consumed()
    assert stand(client) == 2


async def test_no_more_than_so_many_at_once_and_the_rest_next(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumption, "READERS", 2)
    clients = [reader(edge)[0] for _ in range(5)]
    publish(edge, 1)
    told = []
    for _ in range(4):
        edge.sessions.hub.tell_consumed()
        told.append(sum(stand(client) for client in clients))
    assert told == [2, 4, 5, 5]


async def test_what_comes_meanwhile_is_told_of_afterwards(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumption, "READERS", 1)
    clients = [reader(edge)[0] for _ in range(2)]
    publish(edge, 1)
    edge.sessions.hub.tell_consumed()
    publish(edge, 1)
    for _ in range(3):
        edge.sessions.hub.tell_consumed()
    assert [stand(client) for client in clients] == [2, 2]


async def test_in_the_middle_of_a_flush_nobody_is_taken_for_served(edge: Edge) -> None:
    client, _ = reader(edge)
    edge.publish(ROOM, 1)
    flushing = edge.sessions.hub._flushing
    walk = flushing._begin(next(iter(flushing.dirty)))
    flushing._walk = walk
    edge.sessions.hub.tell_consumed()
    assert stand(client) == 0
    edge.flush()
    edge.sessions.hub.tell_consumed()
    assert stand(client) == 1


async def test_who_has_gone_is_not_told_of(edge: Edge) -> None:
    client, _ = reader(edge)
    publish(edge, 1)
    assert client.ask("/meta/disconnect")["successful"]
    edge.sessions.hub.tell_consumed()
    assert edge.cluster.record(client.address) is None
