"""Lazy channels wait for other traffic, but not for ever."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from local_edge import Client, Edge, FakePoll, FakeSocket

RULES = "[[channel]]\nmatch = '/lazy/**'\nlazy = true"


@pytest.fixture
async def edge() -> Edge:
    return Edge(RULES)


def reader(edge: Edge, *channels: str) -> Client:
    client = edge.client()
    for channel in channels:
        client.subscribe(channel)
    return client


def publish(edge: Edge, *channels: str) -> None:
    for number, channel in enumerate(channels):
        edge.publish(channel, number)
    edge.flush()


def got(messages: list[dict[str, Any]]) -> list[str]:
    return [m["channel"] for m in messages if not m["channel"].startswith("/meta/")]


def held(client: Client) -> FakePoll:
    poll = client.poll()
    assert poll.status is None
    return poll


async def test_a_lazy_message_does_not_wake_a_poll(edge: Edge) -> None:
    poll = held(reader(edge, "/lazy/a"))
    publish(edge, "/lazy/a")
    assert poll.status is None


async def test_it_goes_with_the_next_that_is_not_lazy(edge: Edge) -> None:
    client = reader(edge, "/lazy/a", "/b")
    poll = held(client)
    publish(edge, "/lazy/a", "/lazy/a")
    publish(edge, "/b")
    assert got(poll.body) == ["/b", "/lazy/a", "/lazy/a"]
    assert client.fetch() == []


async def test_it_goes_with_a_direct_message(edge: Edge) -> None:
    client = reader(edge, "/lazy/a")
    poll = held(client)
    publish(edge, "/lazy/a")
    edge.client().ask("/service/send", data={"to": client.address, "data": 1})
    edge.flush()
    assert got(poll.body) == ["/service/inbox", "/lazy/a"]


async def test_it_goes_with_the_reply_of_a_poll_whose_time_is_up(edge: Edge) -> None:
    client = reader(edge, "/lazy/a")
    poll = held(client)
    publish(edge, "/lazy/a")
    session = edge.sessions.get(client.address)
    assert session is not None
    edge.sessions.hub.release_poll(session)
    assert got(poll.body) == ["/lazy/a"]


async def test_it_goes_with_a_connect_that_is_not_held(edge: Edge) -> None:
    client = reader(edge, "/lazy/a")
    publish(edge, "/lazy/a")
    assert got(client.fetch()) == ["/lazy/a"]
    assert client.fetch() == []


async def test_it_does_not_wait_for_ever(edge: Edge) -> None:
    client = reader(edge, "/lazy/a")
    poll = held(client)
    publish(edge, "/lazy/a")
    now = trio.current_time()
    assert not edge.sessions.hub.flush_lazy(now + 4.5)
    assert edge.sessions.hub.flush_lazy(now + 5.1)
    edge.flush()
    assert got(poll.body) == ["/lazy/a"]
    assert not edge.sessions.hub.flush_lazy(trio.current_time() + 60)


async def test_who_had_it_early_does_not_get_it_again(edge: Edge) -> None:
    early, late = reader(edge, "/lazy/a", "/b"), reader(edge, "/lazy/a")
    polls = held(early), held(late)
    publish(edge, "/lazy/a")
    publish(edge, "/b")
    assert got(polls[0].body) == ["/b", "/lazy/a"]
    again = held(early)
    edge.sessions.hub.flush_lazy(trio.current_time() + 5)
    edge.flush()
    assert again.status is None
    assert got(polls[1].body) == ["/lazy/a"]
    for client in (early, late):
        session = edge.sessions.get(client.address)
        assert session is not None
        assert session.behind is None, "level again"
    publish(edge, "/b")
    assert got(again.body) == ["/b"]


async def test_on_a_websocket(edge: Edge) -> None:
    socket = FakeSocket()
    client = Client(edge).handshake(socket)
    for channel in ("/lazy/a", "/b"):
        assert client.ask("/meta/subscribe", socket, subscription=channel)["successful"]
    edge.post([client.connect_message("websocket")], socket)
    before = len(socket.messages)
    publish(edge, "/lazy/a")
    assert socket.messages[before:] == []
    publish(edge, "/b")
    assert got(socket.messages[before:]) == ["/b", "/lazy/a"]
    publish(edge, "/b")
    edge.sessions.hub.flush_lazy(trio.current_time() + 5)
    edge.flush()
    assert got(socket.messages[before:]) == ["/b", "/lazy/a", "/b"]


async def test_a_channel_that_is_lazy_no_more_does_not_wait(edge: Edge) -> None:
    poll = held(reader(edge, "/lazy/a"))
    publish(edge, "/lazy/a")
    edge.rules.replace([])
    edge.sessions.hub.rules_changed()
    edge.flush()
    assert got(poll.body) == ["/lazy/a"]


async def test_nothing_is_kept_of_a_reader_that_has_gone(edge: Edge) -> None:
    client = reader(edge, "/lazy/a")
    publish(edge, "/lazy/a")
    client.ask("/meta/disconnect")
    assert edge.sessions.hub.lazy.until == {}
