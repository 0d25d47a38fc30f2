"""Connects: two tabs, advice, silence, and the newer that ends the older."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from front_door import HANDSHAKE
from local_edge import Client, Edge, FakePoll, FakeSocket
from node.bayeux.binding import cookie_mark, origin_mark

BROWSER = cookie_mark("one browser")


@pytest.fixture
async def edge() -> Edge:
    return Edge()


def tab(edge: Edge, binding: bytes = BROWSER) -> Client:
    """A client of the browser with this binding."""
    edge.binding = binding
    client = edge.client()
    edge.binding = b""
    return client


def connect_of(poll: FakePoll) -> dict[str, Any]:
    (reply,) = [message for message in poll.body if message["channel"] == "/meta/connect"]
    return dict(reply)


# -- two tabs ----------------------------------------------------------------------


async def test_a_second_tab_is_not_held_but_told_to_poll(edge: Edge) -> None:
    first, second = tab(edge), tab(edge)
    held = first.poll()
    assert held.status is None
    reply = connect_of(second.poll())
    assert reply["successful"]
    assert reply["advice"]["multiple-clients"] is True
    assert reply["advice"]["interval"] == 2_000
    assert reply["advice"]["reconnect"] == "retry"
    assert held.status is None


async def test_the_surplus_tab_gets_its_messages_all_the_same(edge: Edge) -> None:
    first, second = tab(edge), tab(edge)
    second.subscribe("/a")
    first.poll()
    connect_of(second.poll())
    edge.publish("/a", 1)
    edge.flush()
    message, reply = second.poll().body
    assert message["data"] == 1
    assert reply["advice"]["multiple-clients"] is True


async def test_between_two_polls_the_first_tab_stays_the_first(edge: Edge) -> None:
    first, second = tab(edge), tab(edge)
    first.subscribe("/a")
    held = first.poll()
    edge.publish("/a", 1)
    edge.flush()
    assert held.status == 200
    assert connect_of(second.poll())["advice"]["multiple-clients"] is True
    assert first.poll().status is None


async def test_the_second_tab_is_held_once_it_is_alone_and_is_told_so(
    edge: Edge, autojump_clock: None
) -> None:
    first, second = tab(edge), tab(edge)
    first.poll()
    connect_of(second.poll())
    first.ask("/meta/disconnect")
    held = second.poll(timeout=1_000)
    assert held.status is None
    edge.sessions.wheel.advance(trio.current_time() + 1.5)
    reply = connect_of(held)
    assert reply["advice"]["interval"] == 0
    assert "multiple-clients" not in reply["advice"]


async def test_a_tab_that_was_swept_holds_nobody_back(edge: Edge) -> None:
    first, second = tab(edge), tab(edge)
    held = first.poll()
    session = edge.sessions.get(first.address)
    assert session is not None
    edge.sessions.connection_lost(session, held)  # closed without a word
    connect_of(second.poll())
    edge.sessions.wheel.advance(trio.current_time() + 10.5)
    assert edge.sessions.get(first.address) is None
    assert second.poll().status is None


async def test_the_surplus_tab_is_given_its_interval_before_it_is_silent(edge: Edge) -> None:
    first, second = tab(edge), tab(edge)
    first.poll()
    second.poll()
    limit = edge.config.max_interval + edge.config.multi_session_interval
    edge.sessions.wheel.advance(trio.current_time() + limit - 0.5)
    assert edge.sessions.get(second.address) is not None
    edge.sessions.wheel.advance(trio.current_time() + limit + 0.5)
    assert edge.sessions.get(second.address) is None


@pytest.mark.parametrize("binding", [b"", origin_mark("https://elsewhere.example")])
async def test_sessions_that_share_no_browser_are_all_held(edge: Edge, binding: bytes) -> None:
    assert [tab(edge, binding).poll().status for _ in range(3)] == [None] * 3


async def test_a_tab_on_a_websocket_takes_nothing_from_the_other(edge: Edge) -> None:
    first, second = tab(edge), tab(edge)
    socket = FakeSocket()
    edge.post([first.connect_message("websocket")], socket)
    assert second.poll().status is None
    third = FakeSocket()
    edge.post([tab(edge).connect_message("websocket")], third)
    assert third.messages == []


async def test_a_first_tab_that_moves_to_a_websocket_makes_room(edge: Edge) -> None:
    first, second = tab(edge), tab(edge)
    first.poll()
    connect_of(second.poll())
    edge.post([first.connect_message("websocket")], FakeSocket())
    assert second.poll().status is None


async def test_all_tabs_are_held_where_that_is_wished() -> None:
    edge = Edge(multi_session_interval=0)
    assert [tab(edge).poll().status for _ in range(3)] == [None] * 3


# -- advice -------------------------------------------------------------------------


async def test_a_client_that_gives_advice_gets_ours(edge: Edge) -> None:
    client = edge.client()
    reply = connect_of(client.poll(timeout=0))
    assert reply["advice"] == {
        "reconnect": "retry",
        "interval": 0,
        "timeout": 30_000,
        "maxInterval": 10_000,
    }


async def test_also_once_its_held_poll_is_answered(edge: Edge) -> None:
    client = edge.client()
    client.subscribe("/a")
    held = client.poll(timeout=20_000)
    edge.publish("/a", 1)
    edge.flush()
    assert connect_of(held)["advice"]["reconnect"] == "retry"
    held = client.poll()
    edge.publish("/a", 2)
    edge.flush()
    assert "advice" not in connect_of(held)


async def test_hosts_are_told_where_they_are_configured() -> None:
    edge = Edge(hosts="a.example:80,b.example")
    (reply,) = edge.request(HANDSHAKE)
    assert reply["advice"]["hosts"] == ["a.example:80", "b.example"]
    (reply,) = Edge().request(HANDSHAKE)
    assert "hosts" not in reply["advice"]


async def test_a_client_may_ask_to_be_held_for_less_never_for_more(edge: Edge) -> None:
    client = edge.client()
    held = client.poll(timeout=90_000)
    edge.sessions.wheel.advance(trio.current_time() + edge.config.timeout + 0.5)
    assert held.status == 200
    assert client.poll(timeout=-5).status == 200


async def test_a_client_that_says_how_long_it_will_be_silent_is_waited_for(edge: Edge) -> None:
    client = edge.client()
    message = client.connect_message("long-polling", timeout=0)
    message["advice"]["interval"] = 60_000
    edge.request(message)
    edge.sessions.wheel.advance(trio.current_time() + 60)
    assert len(edge.sessions) == 1
    edge.sessions.wheel.advance(trio.current_time() + 60 + edge.config.max_interval + 0.5)
    assert len(edge.sessions) == 0


async def test_but_not_for_ever(edge: Edge) -> None:
    client = edge.client()
    message = client.connect_message("long-polling", timeout=0)
    message["advice"]["interval"] = 10**15
    edge.request(message)
    edge.sessions.wheel.advance(trio.current_time() + 320)
    assert len(edge.sessions) == 0


async def test_the_configured_interval_is_added_to_the_silence_allowed() -> None:
    edge = Edge(interval=5)
    client = edge.client()
    assert connect_of(client.poll(timeout=0))["advice"]["interval"] == 5_000
    edge.sessions.wheel.advance(trio.current_time() + 14)
    assert len(edge.sessions) == 1
    edge.sessions.wheel.advance(trio.current_time() + 15.5)
    assert len(edge.sessions) == 0


# -- one connect a session -------------------------------------------------------------


async def test_a_newer_connect_on_the_same_socket_ends_the_older_with_a_mark(edge: Edge) -> None:
    client, socket = edge.client(), FakeSocket()
    edge.post([client.connect_message("websocket")], socket)
    edge.post([client.connect_message("websocket")], socket)
    (marked,) = socket.messages
    assert marked["channel"] == "/meta/connect"
    assert marked["successful"] is False
    assert marked["error"].startswith("500:")


async def test_and_one_on_another_socket(edge: Edge) -> None:
    client, older, newer = edge.client(), FakeSocket(), FakeSocket()
    client.subscribe("/a")
    edge.post([client.connect_message("websocket")], older)
    edge.post([client.connect_message("websocket")], newer)
    assert [message["successful"] for message in older.messages] == [False]
    edge.publish("/a", 1)
    edge.flush()
    assert [message["data"] for message in newer.messages] == [1]
    assert len(older.messages) == 1


async def test_a_poll_ends_the_connect_of_a_websocket(edge: Edge) -> None:
    client, socket = edge.client(), FakeSocket()
    client.subscribe("/a")
    edge.post([client.connect_message("websocket")], socket)
    held = client.poll()
    assert [message["successful"] for message in socket.messages] == [False]
    edge.publish("/a", 1)
    edge.flush()
    assert held.body[0]["data"] == 1


# -- handshakes ---------------------------------------------------------------------------


async def test_a_second_handshake_makes_a_second_session_and_keeps_what_is_in_ext(
    edge: Edge,
) -> None:
    ext = {"mine": {"deep": [1, 2]}, "ack": True}
    socket = FakeSocket()
    for _ in range(2):
        edge.request({**HANDSHAKE, "ext": ext, "id": "7"}, socket=socket)
    first, second = socket.messages
    assert first["successful"]
    assert second["successful"]
    assert first["clientId"] != second["clientId"]
    assert first["ext"]["address"] != second["ext"]["address"]
    assert first["id"] == second["id"] == "7"


async def test_after_402_a_client_handshakes_and_goes_on(edge: Edge) -> None:
    client = edge.client()
    session = edge.sessions.get(client.address)
    assert session is not None
    edge.sessions.close(session)
    assert connect_of(client.poll())["error"].startswith("402:")
    client.handshake()
    client.subscribe("/a")
    edge.publish("/a", 1)
    assert [message["data"] for message in client.fetch()] == [1]


async def test_a_full_node_has_room_again_when_one_goes() -> None:
    edge = Edge(max_sessions=2)
    clients = [edge.client(), edge.client()]
    (reply,) = edge.request(HANDSHAKE)
    assert reply["error"].startswith("503:")
    clients[0].ask("/meta/disconnect")
    assert edge.request(HANDSHAKE)[0]["successful"]


# -- the first connect -------------------------------------------------------------


@pytest.mark.parametrize("hold", [None, 0, 10_000])
async def test_the_first_connect_of_a_session_is_answered_at_once(
    edge: Edge, hold: int | None
) -> None:
    client = edge.client()
    session = edge.sessions.get(client.address)
    assert session is not None
    session.met = False
    assert connect_of(client.poll(timeout=hold))["successful"]
    assert client.poll().status is None


async def test_also_on_a_websocket(edge: Edge) -> None:
    client, socket = edge.client(), FakeSocket()
    session = edge.sessions.get(client.address)
    assert session is not None
    session.met = False
    message = client.connect_message("websocket")
    (reply,) = edge.request(message, socket=socket)
    assert reply["successful"]
    assert edge.request(message, socket=socket) == []


async def test_a_session_that_moves_has_connected_before(edge: Edge) -> None:
    client = edge.client()
    edge.move(client)
    assert client.poll().status is None


async def test_two_requests_that_bring_a_session_here_move_it_once(edge: Edge) -> None:
    """The slower one finds it: moving it again would end the connect that it holds."""
    client = edge.client()
    poll = client.poll()
    session = edge.sessions.get(client.address)
    assert session is not None
    found: list[object] = []
    edge.sessions.resume(client.address, found.append)
    assert found == [session]
    assert session.generation == 1
    assert poll.status is None, "still held"
