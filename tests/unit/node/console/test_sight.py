"""What a node sees of itself, with real sessions, hub and engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from local_edge import ME, Edge, FakeSocket
from node.console.messages import MAX_CHANNELS, MAX_NAME
from node.console.sight import BETWEEN_POLLS, FRESH, SAMPLE, Sight, _grown, resident
from status_examples import in_ring


@pytest.fixture
async def edge() -> Edge:
    edge = Edge()
    cluster: Any = edge.cluster
    cluster.status = lambda: replace(in_ring(), pubsub=cluster._pubsub.statistics())
    return edge


@pytest.fixture
async def sight(edge: Edge) -> Sight:
    return Sight(edge.cluster, edge.stats, edge.sessions.hub, edge.sessions.get)  # type: ignore[arg-type]


async def test_rates_are_differences_of_two_looks(edge: Edge, sight: Sight) -> None:
    first = sight.figures(10.0)
    assert (first.published, first.busiest, first.publishes) == (0.0, (), ())
    client = edge.client()
    client.subscribe("/a")
    socket = FakeSocket()
    edge.request(client.connect_message("websocket"), socket=socket)
    for _ in range(6):
        assert client.ask("/a", data=1)["successful"]
        edge.flush()
    second = sight.figures(12.0)
    assert second.look == first.look + 1
    assert second.published == 3.0
    assert second.delivered == 3.0
    assert second.sessions == 1
    (busy,) = second.busiest
    assert (busy.channel, busy.published, busy.due, busy.readers) == ("/a", 3.0, 3.0, 1)
    (publish,) = second.publishes
    assert (publish.topic, publish.times) == ("/a", 6)
    assert second.cpu >= 0
    assert second.memory > 1 << 20
    third = sight.figures(13.0)
    assert (third.published, third.busiest, third.publishes) == (0.0, (), ())


async def test_a_look_is_told_again_while_it_is_fresh(edge: Edge, sight: Sight) -> None:
    first = sight.figures(10.0)
    assert sight.figures(10.0 + FRESH / 2) is first
    assert sight.figures(10.0 + FRESH).look == first.look + 1


async def test_nothing_is_watched_before_a_look_or_after_the_end(edge: Edge, sight: Sight) -> None:
    client = edge.client()
    client.ask("/a", data=1)
    assert edge.stats.witness is None
    assert not sight._sample
    sight.figures(10.0)
    client.ask("/a", data=1)
    assert sight._sample == {"/a": 1}
    sight.close()
    assert edge.stats.witness is None
    assert not sight._sample
    assert sight._before is None
    client.ask("/a", data=1)
    assert not sight._sample


async def test_the_sample_is_bounded_and_names_no_secret(edge: Edge, sight: Sight) -> None:
    sight.figures(10.0)
    client = edge.client()
    edge.stats.note_published(client.id)
    edge.stats.note_published(client.address)
    edge.stats.note_published("/" + "x" * MAX_NAME)
    for number in range(SAMPLE * 2):
        edge.stats.note_published(f"/c/{number}")
    assert len(sight._sample) == SAMPLE
    told = [each.topic for each in sight.figures(11.0).publishes]
    assert told[:2] == [client.address, client.address]  # the id has become its address
    assert client.id not in told
    assert all(len(name) <= MAX_NAME for name in told)


async def test_the_busiest_are_few(edge: Edge, sight: Sight) -> None:
    sight.figures(10.0)
    for number in range(50):
        for _ in range(number + 1):
            edge.stats.note_published(f"/c/{number}")
    edge.stats.note_published("/" + "x" * MAX_NAME)
    busiest = sight.figures(11.0).busiest
    assert [each.channel for each in busiest] == [
        f"/c/{n}" for n in range(49, 49 - MAX_CHANNELS, -1)
    ]


async def test_a_channel_at_its_home(edge: Edge, sight: Sight) -> None:
    assert sight.branch("/a") is None
    edge.publish("/a", 1)
    edge.publish("/a", 2)
    branch = sight.branch("/a")
    assert branch is not None
    assert (branch.home, branch.offset, branch.entries, branch.readers) == (True, 2, 2, 0)
    assert branch.size > 20
    client = edge.client()
    client.subscribe("/a")
    branch = sight.branch("/a")
    assert branch is not None
    assert (branch.readers, branch.width, branch.parent) == (1, 0, b"")


async def test_a_session_at_its_home_and_edge(edge: Edge, sight: Sight) -> None:
    client = edge.client()
    client.subscribe("/a")
    branch = sight.branch(client.address)
    assert branch is not None
    assert (branch.edge, branch.subscriptions, branch.transport) == (ME, 1, BETWEEN_POLLS)
    assert branch.entries == 0
    edge.publish(client.address, "psst")
    branch = sight.branch(client.address)
    assert branch is not None
    assert branch.entries == 1
    edge.flush()
    held = client.poll(timeout=0)
    assert held.status == 200
    client.poll()
    branch = sight.branch(client.address)
    assert branch is not None
    assert branch.transport == "long-polling"
    assert sight.branch(client.id) is None  # a secret is no name


def test_what_has_grown() -> None:
    assert _grown({"a": 5, "b": 2, "c": 3}, {"a": 3, "b": 2, "c": 9}) == {"a": 2, "c": 3}
    assert resident() > 1 << 20
