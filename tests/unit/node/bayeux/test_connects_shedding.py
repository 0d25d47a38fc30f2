"""Connects under load: answered at once, told to come later, and told when it is over."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from front_door import HANDSHAKE
from local_edge import Client, Edge, FakePoll, FakeSocket
from node.shedding import ENOUGH, FIRST, PERIOD


@pytest.fixture
async def edge() -> Edge:
    return Edge(shed_lag=1, refuse_lag=5)


def lag(edge: Edge, seconds: float, times: int = ENOUGH, start: float = 0.0) -> None:
    for index in range(times):
        edge.sessions.shedding.observe(seconds, start + index * PERIOD)


def reply_of(poll: FakePoll) -> dict[str, Any]:
    (reply,) = [message for message in poll.body if message["channel"] == "/meta/connect"]
    assert reply["successful"]
    return dict(reply)


async def test_a_poll_is_answered_at_once_with_a_raised_interval(edge: Edge) -> None:
    client = edge.client()
    lag(edge, 2)
    advice = reply_of(client.poll())["advice"]
    assert FIRST * 500 <= advice["interval"] <= FIRST * 1500
    assert advice["reconnect"] == "retry"
    assert edge.stats.put_off == 1
    assert edge.stats.held_polls == 0


async def test_the_poll_that_a_message_ends_is_told_to_wait_too(edge: Edge) -> None:
    client = edge.client()
    client.subscribe("/a")
    held = client.poll()
    lag(edge, 2)
    edge.publish("/a", 1)
    edge.flush()
    assert held.body[0]["data"] == 1
    assert reply_of(held)["advice"]["interval"] >= FIRST * 500


async def test_nothing_is_lost_between_spread_out_polls(edge: Edge) -> None:
    client = edge.client()
    client.subscribe("/a")
    lag(edge, 2)
    got = []
    for number in range(10):
        edge.publish("/a", number)
        edge.flush()
        if number % 3 == 2:
            got += [m["data"] for m in client.poll().body if "data" in m]
    got += [message["data"] for message in client.fetch()]
    assert got == list(range(10))


async def test_once_the_load_is_gone_polls_are_held_and_clients_told_so(edge: Edge) -> None:
    client = edge.client()
    client.subscribe("/a")
    lag(edge, 2)
    client.poll()
    lag(edge, 0, times=40, start=10)
    held = client.poll()
    assert held.status is None
    edge.publish("/a", 1)
    edge.flush()
    assert reply_of(held)["advice"]["interval"] == 0
    again = client.poll()
    edge.publish("/a", 2)
    edge.flush()
    assert "advice" not in reply_of(again)


async def test_who_waits_as_told_is_not_swept(edge: Edge) -> None:
    client = edge.client()
    client.subscribe("/a")
    held = client.poll()
    lag(edge, 2, times=200)
    edge.publish("/a", 1)
    edge.flush()
    pause = reply_of(held)["advice"]["interval"] / 1000
    assert pause >= edge.config.shed_interval / 2
    silence = pause + edge.config.max_interval
    lag(edge, 0, times=200, start=200)
    edge.sessions.wheel.advance(trio.current_time() + silence - 1)
    assert edge.sessions.get(client.address) is not None
    edge.sessions.wheel.advance(trio.current_time() + silence + 1)
    assert edge.sessions.get(client.address) is None


async def test_nobody_is_called_silent_by_a_node_that_does_not_listen(edge: Edge) -> None:
    """Its poll may be among the requests that are not read yet."""
    client = edge.client()
    edge.sessions.wheel.advance(trio.current_time())
    late = trio.current_time() + edge.config.max_interval + 1
    edge.stats.note_wait(3)
    edge.sessions.wheel.advance(late)
    assert edge.sessions.get(client.address) is not None
    edge.stats.recent_lag = 0.0
    lag(edge, 3)
    edge.sessions.wheel.advance(late + 2)
    assert edge.sessions.get(client.address) is not None
    lag(edge, 0)
    assert edge.sessions.shedding.interval
    later = late + 2 + 2 * edge.config.max_interval
    edge.sessions.wheel.advance(later)
    assert edge.sessions.get(client.address) is not None
    lag(edge, 0, times=40, start=100)
    edge.sessions.wheel.advance(later + 2 * edge.config.max_interval)
    assert edge.sessions.get(client.address) is None


async def test_surplus_polls_are_put_off_and_the_others_stay_held() -> None:
    edge = Edge(shed_polls=3)
    clients = [edge.client() for _ in range(5)]
    polls = [client.poll() for client in clients]
    assert [poll.status for poll in polls] == [None] * 3 + [200] * 2
    assert reply_of(polls[3])["advice"]["interval"] >= FIRST * 500
    assert edge.stats.held_polls == 3
    clients[0].ask("/meta/disconnect")
    assert edge.stats.held_polls == 2
    assert clients[4].poll().status is None


async def test_a_held_poll_within_the_limit_is_not_told_to_wait() -> None:
    edge = Edge(shed_polls=1)
    client = edge.client()
    client.subscribe("/a")
    held = client.poll()
    edge.publish("/a", 1)
    edge.flush()
    assert "interval" not in reply_of(held).get("advice", {})


async def test_polls_that_end_in_any_way_are_counted_out(edge: Edge) -> None:
    clients = [edge.client() for _ in range(4)]
    polls = [client.poll() for client in clients]
    assert edge.stats.held_polls == 4
    clients[0].poll()  # a newer one
    assert edge.stats.held_polls == 4
    session = edge.sessions.get(clients[1].address)
    assert session is not None
    edge.sessions.connection_lost(session, polls[1])
    assert edge.stats.held_polls == 3
    clients[2].ask("/meta/disconnect")
    assert edge.stats.held_polls == 2
    edge.sessions.lost(clients[3].address)
    assert edge.stats.held_polls == 1
    edge.sessions.wheel.advance(trio.current_time() + edge.config.timeout + 1)
    assert edge.stats.held_polls == 0


async def test_a_websocket_is_left_alone(edge: Edge) -> None:
    socket = FakeSocket()
    client = Client(edge).handshake(socket)
    lag(edge, 2)
    edge.post([client.connect_message("websocket", timeout=0)], socket)
    assert socket.messages[-1]["advice"]["interval"] == 0


async def test_past_the_hard_limit_new_sessions_are_refused_and_old_ones_served(
    edge: Edge,
) -> None:
    client = edge.client()
    client.subscribe("/a")
    lag(edge, 6)
    refused = edge.post([HANDSHAKE])
    assert refused.status == 503
    (reply,) = refused.body
    assert reply["error"].startswith("503:")
    assert reply["advice"]["reconnect"] == "retry"
    edge.publish("/a", 1)
    assert [message["data"] for message in client.fetch()] == [1]
    lag(edge, 0, start=10)
    assert edge.request(HANDSHAKE)[0]["successful"]
