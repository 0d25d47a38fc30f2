"""A batched channel's flush waits for more, and no longer than its rule says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from local_edge import Client, Edge, FakeSocket
from node.batching import BatchedTopics
from node.topic import Topic

if TYPE_CHECKING:
    from trio.testing import MockClock

RULES = "[[channel]]\nmatch = '/prices/**'\nbatch = 0.05"


@pytest.fixture
async def edge() -> Edge:
    return Edge(RULES)


def reader(edge: Edge, *channels: str) -> FakeSocket:
    socket = FakeSocket()
    client = Client(edge).handshake(socket)
    for channel in channels:
        assert client.ask("/meta/subscribe", socket, subscription=channel)["successful"]
    edge.post([client.connect_message("websocket")], socket)
    socket.messages.clear()
    return socket


def publish(edge: Edge, *channels: str) -> None:
    for number, channel in enumerate(channels):
        edge.publish(channel, number)
        edge.flush()


def got(messages: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    return [(message["channel"], message["data"]) for message in messages]


async def test_what_comes_in_time_goes_out_together(edge: Edge) -> None:
    socket = reader(edge, "/prices/a")
    publish(edge, "/prices/a", "/prices/a", "/prices/a")
    now = trio.current_time()
    assert socket.messages == []
    assert not edge.sessions.hub.flush_batched(now + 0.03)
    assert edge.sessions.hub.flush_batched(now + 0.06)
    edge.flush()
    assert got(socket.messages) == [("/prices/a", number) for number in range(3)]
    assert not edge.sessions.hub.flush_batched(now + 60)


async def test_the_next_entry_waits_anew(edge: Edge) -> None:
    socket = reader(edge, "/prices/a")
    for _ in range(2):
        publish(edge, "/prices/a")
        assert socket.messages == []
        edge.sessions.hub.flush_batched(trio.current_time() + 0.06)
        edge.flush()
        assert len(socket.messages) == 1
        socket.messages.clear()


async def test_other_channels_do_not_wait(edge: Edge) -> None:
    socket = reader(edge, "/prices/a", "/b")
    publish(edge, "/prices/a", "/b")
    assert got(socket.messages) == [("/b", 1)]


async def test_a_channel_that_is_batched_no_more_does_not_wait(edge: Edge) -> None:
    socket = reader(edge, "/prices/a")
    publish(edge, "/prices/a")
    edge.rules.replace([])
    edge.sessions.hub.rules_changed()
    edge.flush()
    assert got(socket.messages) == [("/prices/a", 0)]
    publish(edge, "/prices/a")
    assert len(socket.messages) == 2


async def test_nothing_is_kept_of_a_channel_that_nobody_reads(edge: Edge) -> None:
    client = edge.client()
    client.subscribe("/prices/a")
    publish(edge, "/prices/a")
    client.ask("/meta/disconnect")
    assert edge.sessions.hub.batched.until == {}


async def test_it_wakes_for_whichever_is_due_first(mock_clock: MockClock) -> None:
    mock_clock.autojump_threshold = 0.01
    topics = BatchedTopics()
    slow, quick = Topic("/slow", batch=5.0), Topic("/quick", batch=0.5)
    flushed: list[tuple[str, float]] = []

    async def flush() -> None:
        while True:
            await topics.wait_due()
            now = trio.current_time()
            flushed.extend((topic.name, now - began) for topic in topics.due(now))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flush)
        await trio.sleep(1)
        began = trio.current_time()
        topics.put_off(slow)
        await trio.sleep(1)
        topics.put_off(quick)
        topics.put_off(quick)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert [name for name, _ in flushed] == ["/quick", "/slow"]
    assert flushed[0][1] == pytest.approx(1.5, abs=0.1)
    assert flushed[1][1] == pytest.approx(5.0, abs=0.1)
