"""Bayeux on one edge: every message answered, every rule of a session's life."""

from __future__ import annotations

import pytest
import trio

from local_edge import Edge, FakeSocket

HANDSHAKE = {
    "channel": "/meta/handshake",
    "version": "1.0",
    "supportedConnectionTypes": ["long-polling"],
    "id": "1",
}


@pytest.fixture
async def edge() -> Edge:
    return Edge()


# -- handshake ---------------------------------------------------------------------


async def test_handshake_tells_all_that_a_client_needs(edge: Edge) -> None:
    (reply,) = edge.request(HANDSHAKE)
    assert reply["channel"] == "/meta/handshake"
    assert reply["successful"] is True
    assert reply["id"] == "1"
    assert reply["version"] == "1.0"
    assert "long-polling" in reply["supportedConnectionTypes"]
    assert reply["advice"]["reconnect"] == "retry"
    assert reply["advice"]["timeout"] == 30_000
    assert reply["clientId"] != reply["ext"]["address"]


async def test_no_common_connection_type_is_refused_for_good(edge: Edge) -> None:
    (reply,) = edge.request({**HANDSHAKE, "supportedConnectionTypes": ["iframe"]})
    assert reply["successful"] is False
    assert reply["error"].startswith("301:")
    assert reply["advice"] == {"reconnect": "none"}
    assert len(edge.sessions) == 0


async def test_what_follows_a_handshake_in_its_batch_is_ignored(edge: Edge) -> None:
    replies = edge.request(HANDSHAKE, {"channel": "/meta/subscribe", "subscription": "/a"})
    assert [reply["channel"] for reply in replies] == ["/meta/handshake"]


async def test_a_full_node_asks_to_retry(edge: Edge) -> None:
    small = Edge(max_sessions=1)
    small.client()
    (reply,) = small.request(HANDSHAKE)
    assert reply["error"].startswith("503:")
    assert reply["advice"]["reconnect"] == "retry"


# -- whose session -------------------------------------------------------------------


@pytest.mark.parametrize(
    "channel", ["/meta/connect", "/meta/subscribe", "/meta/unsubscribe", "/meta/disconnect", "/a"]
)
@pytest.mark.parametrize("client_id", [None, "", "x", "abcde." + "A" * 22])
async def test_an_unknown_session_is_told_to_handshake(
    edge: Edge, channel: str, client_id: str | None
) -> None:
    message = {
        "channel": channel,
        "subscription": "/a",
        "data": 1,
        "connectionType": "long-polling",
    }
    if client_id is not None:
        message["clientId"] = client_id
    (reply,) = edge.request(message)
    assert reply["successful"] is False
    assert reply["error"].startswith("402:")
    assert reply["advice"]["reconnect"] == "handshake"


async def test_an_address_is_no_credential(edge: Edge) -> None:
    client = edge.client()
    (reply,) = edge.request(
        {"channel": "/meta/subscribe", "clientId": client.address, "subscription": "/a"}
    )
    assert reply["error"].startswith("402:")


async def test_another_session_cannot_ride_in_second_place(edge: Edge) -> None:
    victim, thief = edge.client(), edge.client()
    first, second = edge.request(
        {"channel": "/meta/subscribe", "clientId": thief.id, "subscription": "/a"},
        {"channel": "/meta/disconnect", "clientId": victim.id},
    )
    assert first["successful"] is True
    assert second["error"].startswith("402:")
    assert edge.sessions.get(victim.address) is not None


async def test_disconnect_ends_the_session_and_its_poll(edge: Edge) -> None:
    client = edge.client()
    poll = client.poll()
    assert client.ask("/meta/disconnect")["successful"]
    assert poll.status == 200
    assert client.ask("/meta/disconnect")["error"].startswith("402:")
    assert len(edge.sessions) == 0


# -- channels ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subscription", "code"),
    [
        (None, 400),
        ([], 400),
        ("", 405),
        ("chat", 405),
        ("/a b", 405),
        ("/meta/connect", 403),
        ("/meta/**", 403),
        ("/service/**", 403),
        (["/a", "/meta/x"], 403),
    ],
)
async def test_what_cannot_be_subscribed_to(edge: Edge, subscription: object, code: int) -> None:
    client = edge.client()
    reply = client.ask("/meta/subscribe", subscription=subscription)
    assert reply["successful"] is False
    assert reply["error"].startswith(f"{code}:")
    assert edge.sessions.hub.topics == {}


@pytest.mark.parametrize(
    ("channel", "code"),
    [("", 400), ("a", 405), ("/a/*", 405), ("/**", 405), ("/meta/x", 404), ("/service/*", 405)],
)
async def test_what_cannot_be_published_to(edge: Edge, channel: str, code: int) -> None:
    client = edge.client()
    assert client.ask(channel, data=1)["error"].startswith(f"{code}:")


async def test_a_publish_needs_data(edge: Edge) -> None:
    assert edge.client().ask("/a")["error"].startswith("400:")


async def test_empty_topics_are_deleted_at_once(edge: Edge) -> None:
    client = edge.client()
    client.subscribe("/a")
    client.subscribe("/b")
    assert client.ask("/meta/unsubscribe", subscription="/a")["successful"]
    assert set(edge.sessions.hub.topics) == {"/b"}
    assert client.ask("/meta/unsubscribe", subscription="/a")["error"].startswith("400:")
    client.ask("/meta/disconnect")
    assert edge.sessions.hub.topics == {}
    assert edge.cluster.feed("/b") is None


# -- delivery ------------------------------------------------------------------------------


async def test_a_publish_reaches_every_subscriber_once_and_nobody_else(edge: Edge) -> None:
    readers = [edge.client() for _ in range(3)]
    for reader in readers:
        reader.subscribe("/a")
    other = edge.client()
    other.subscribe("/b")
    polls = [reader.poll() for reader in readers]
    assert other.ask("/a", data={"x": 1})["successful"]
    edge.flush()
    for poll in polls:
        message, connect = poll.body
        assert message["channel"] == "/a"
        assert message["data"] == {"x": 1}
        assert "clientId" not in message
        assert connect["channel"] == "/meta/connect"
        assert connect["successful"]
    assert other.fetch() == []
    assert [reader.fetch() for reader in readers] == [[], [], []]


async def test_messages_between_polls_wait_in_the_log_in_order(edge: Edge) -> None:
    client = edge.client()
    client.subscribe("/a")
    for number in range(5):
        edge.publish("/a", number)
        edge.flush()
    assert [message["data"] for message in client.fetch()] == list(range(5))


async def test_a_subscriber_gets_nothing_from_before(edge: Edge) -> None:
    first, late = edge.client(), edge.client()
    first.subscribe("/a")
    edge.publish("/a", "before")  # committed, not flushed yet
    late.subscribe("/a")
    edge.publish("/a", "after")
    assert [message["data"] for message in first.fetch()] == ["before", "after"]
    assert [message["data"] for message in late.fetch()] == ["after"]


async def test_a_direct_message_reaches_one_session(edge: Edge) -> None:
    sender, receiver = edge.client(), edge.client()
    reply = sender.ask("/service/send", data={"to": receiver.address, "data": "psst"})
    assert reply["successful"]
    (message,) = receiver.fetch()
    assert message["channel"] == "/service/inbox"
    assert message["data"] == "psst"
    assert message["ext"] == {"from": sender.address}
    assert sender.fetch() == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (1, 400),
        ({"to": "x", "data": 1}, 404),
        ({"to": "abcde." + "A" * 20, "data": 1}, 404),
        ({"data": 1}, 400),
    ],
)
async def test_what_cannot_be_sent(edge: Edge, data: object, code: int) -> None:
    assert edge.client().ask("/service/send", data=data)["error"].startswith(f"{code}:")


async def test_a_direct_message_stays_under_service(edge: Edge) -> None:
    client = edge.client()
    data = {"to": client.address, "data": 1, "channel": "/chat"}
    assert client.ask("/service/send", data=data)["error"].startswith("405:")


async def test_direct_messages_need_the_demo(edge: Edge) -> None:
    plain = Edge(demo=False)
    client = plain.client()
    reply = client.ask("/service/send", data={"to": client.address, "data": 1})
    assert reply["error"].startswith("403:")


async def test_an_inbox_is_dropped_once_read(edge: Edge) -> None:
    client, sender = edge.client(), edge.client()
    for round_ in range(3):
        sender.ask("/service/send", data={"to": client.address, "data": round_})
        assert [message["data"] for message in client.fetch()] == [round_]
        edge.sessions.hub.tell_consumed()
        assert edge.sessions.hub.topics == {}
        assert edge.cluster.feed(client.address) is None


async def test_an_immediate_response_brings_messages_and_the_poll_sleeps_on(edge: Edge) -> None:
    client, other = edge.client(), edge.client()
    for reader in (client, other):
        reader.subscribe("/a")
    held = [client.poll(), other.poll()]
    reply, message = edge.request({"channel": "/a", "data": 1, "clientId": client.id})
    assert reply["successful"]
    assert message["data"] == 1
    edge.flush()
    assert held[0].status is None
    assert held[1].body[0]["data"] == 1
    edge.publish("/a", 2)
    edge.flush()
    assert [message.get("data") for message in held[0].body] == [2, None]


async def test_an_immediate_response_brings_direct_messages_too(edge: Edge) -> None:
    client = edge.client()
    held = client.poll()
    data = {"to": client.address, "data": "myself"}
    replies = edge.request({"channel": "/service/send", "data": data, "clientId": client.id})
    assert [message.get("data") for message in replies] == [None, "myself"]
    edge.flush()
    edge.sessions.hub.tell_consumed()
    assert held.status is None
    assert edge.sessions.hub.topics == {}


async def test_an_immediate_response_brings_what_waited_for_a_poll(edge: Edge) -> None:
    client = edge.client()
    client.subscribe("/a")
    for number in range(3):
        edge.publish("/a", number)
    edge.flush()
    edge.publish("/a", 3)
    replies = edge.request({"channel": "/b", "data": 1, "clientId": client.id})
    assert [message.get("data") for message in replies] == [None, 0, 1, 2, 3]
    assert client.fetch() == []


# -- connects --------------------------------------------------------------------------------


async def test_a_newer_connect_ends_the_older_and_no_message_is_lost(edge: Edge) -> None:
    client = edge.client()
    client.subscribe("/a")
    older, newer = client.poll(), client.poll()
    assert older.status == 500
    edge.publish("/a", 1)
    edge.flush()
    assert newer.body[0]["data"] == 1


async def test_a_batched_connect_is_not_held_and_comes_after_the_rest(edge: Edge) -> None:
    client = edge.client()
    replies = edge.request(
        {"channel": "/meta/subscribe", "clientId": client.id, "subscription": "/a"},
        client.connect_message("long-polling"),
    )
    assert [reply["channel"] for reply in replies] == ["/meta/subscribe", "/meta/connect"]


async def test_an_unknown_connection_type_is_refused(edge: Edge) -> None:
    client = edge.client()
    reply = client.ask("/meta/connect", connectionType="iframe")
    assert reply["error"].startswith("400:")


async def test_a_held_poll_is_answered_when_its_time_is_up(
    edge: Edge, autojump_clock: None
) -> None:
    client = edge.client()
    poll = client.poll(timeout=2000)
    edge.sessions.wheel.advance(trio.current_time() + 1.5)
    assert poll.status is None
    edge.sessions.wheel.advance(trio.current_time() + 2.5)
    assert [message["channel"] for message in poll.body] == ["/meta/connect"]


async def test_a_silent_session_is_swept(edge: Edge) -> None:
    client = edge.client()
    client.subscribe("/a")
    edge.sessions.wheel.advance(trio.current_time() + edge.config.max_interval - 0.5)
    assert len(edge.sessions) == 1
    edge.sessions.wheel.advance(trio.current_time() + edge.config.max_interval + 0.5)
    assert len(edge.sessions) == 0
    assert edge.sessions.hub.topics == {}
    assert edge.cluster.record(client.address) is None
    assert client.ask("/meta/subscribe", subscription="/a")["error"].startswith("402:")


# -- WebSocket ----------------------------------------------------------------------------------


async def test_a_stream_gets_messages_without_spending_its_connect(edge: Edge) -> None:
    socket = FakeSocket()
    client = edge.client()
    edge.post([client.connect_message("websocket")], socket)
    assert socket.messages == []
    client.subscribe("/a")
    for number in range(3):
        edge.publish("/a", number)
        edge.flush()
    assert [message["data"] for message in socket.messages] == [0, 1, 2]


async def test_a_full_socket_is_served_from_the_log_when_it_drains(edge: Edge) -> None:
    socket = FakeSocket()
    client = edge.client()
    client.subscribe("/a")
    edge.post([client.connect_message("websocket")], socket)
    socket.writable = False
    for number in range(4):
        edge.publish("/a", number)
        edge.flush()
    assert socket.messages == []
    socket.writable = True
    session = edge.sessions.get(client.address)
    assert session is not None
    edge.sessions.hub.catch_up(session)
    assert [message["data"] for message in socket.messages] == [0, 1, 2, 3]
    edge.publish("/a", 4)
    edge.flush()
    assert socket.messages[-1]["data"] == 4


async def test_a_lost_socket_leaves_the_session_to_a_poll(edge: Edge) -> None:
    socket = FakeSocket()
    client = edge.client()
    client.subscribe("/a")
    edge.post([client.connect_message("websocket")], socket)
    session = edge.sessions.get(client.address)
    assert session is not None
    edge.sessions.connection_lost(session, socket)
    edge.publish("/a", 1)
    assert [message["data"] for message in client.fetch()] == [1]


async def test_a_zero_timeout_connect_is_answered_at_once_on_a_stream(edge: Edge) -> None:
    socket = FakeSocket()
    client = edge.client()
    edge.post([client.connect_message("websocket", timeout=0)], socket)
    assert [message["channel"] for message in socket.messages] == ["/meta/connect"]


async def test_a_session_ended_elsewhere_lets_its_stream_go(edge: Edge) -> None:
    socket = FakeSocket()
    client = edge.client()
    edge.post([client.connect_message("websocket")], socket)
    client.ask("/meta/disconnect")
    (connect,) = socket.messages
    assert connect["channel"] == "/meta/connect"
    assert connect["advice"] == {"reconnect": "none"}
    assert socket.close_code == 4001


async def test_a_disconnect_on_the_stream_itself_leaves_it_open(edge: Edge) -> None:
    socket = FakeSocket()
    client = edge.client()
    edge.post([client.connect_message("websocket")], socket)
    edge.post([{"channel": "/meta/disconnect", "clientId": client.id}], socket)
    assert [message["channel"] for message in socket.messages] == [
        "/meta/connect",
        "/meta/disconnect",
    ]
    assert not socket.closed


async def test_a_newer_stream_closes_the_older(edge: Edge) -> None:
    older, newer = FakeSocket(), FakeSocket()
    client = edge.client()
    client.subscribe("/a")
    edge.post([client.connect_message("websocket")], older)
    edge.post([client.connect_message("websocket")], newer)
    assert older.close_code == 1001
    edge.publish("/a", 1)
    edge.flush()
    assert [message["data"] for message in newer.messages] == [1]


async def test_errors_do_not_repeat_the_secret(edge: Edge) -> None:
    client = edge.client()
    client.ask("/meta/disconnect")
    assert client.id not in client.ask("/meta/subscribe", subscription="/a")["error"]
