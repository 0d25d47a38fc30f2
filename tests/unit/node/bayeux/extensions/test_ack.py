"""Acknowledgements: what has not come comes again, what has come does not, on any transport."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from local_edge import Client, Edge, FakePoll, FakeSocket
from node.bayeux.extensions.ack import acknowledged
from node.bayeux.messages import decode_batch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ACK = {"ack": True}
Reply = dict[str, Any]


@pytest.fixture
async def edge() -> Edge:
    return Edge()


def acking(edge: Edge, socket: FakeSocket | None = None) -> Client:
    return Client(edge).handshake(socket, ext=ACK)


def connect(
    client: Client, ack: int | None, *, timeout: int | None = 0, socket: FakeSocket | None = None
) -> FakePoll:
    kind = "long-polling" if socket is None else "websocket"
    ext = {} if ack is None else {"ext": {"ack": ack}}
    poll = client.edge.post([{**client.connect_message(kind, timeout), **ext}], socket)
    client.edge.flush()
    return poll


def split(messages: Iterable[Reply]) -> tuple[list[Any], int]:
    """The data of what was delivered, and the batch that the connect reply names."""
    data = [message["data"] for message in messages if message["channel"] != "/meta/connect"]
    (reply,) = [message for message in messages if message["channel"] == "/meta/connect"]
    assert reply["successful"], reply
    return data, reply["ext"]["ack"]


def fetch(client: Client, ack: int | None) -> tuple[list[Any], int]:
    client.edge.flush()
    return split(connect(client, ack).body)


def publish(edge: Edge, *data: Any) -> None:
    for one in data:
        edge.publish("/a", one)
    edge.flush()


# -- negotiating ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (True, True),
        ({"enabled": True}, {"enabled": True, "batch": 0}),
        ({"enabled": True, "batch": 7}, {"enabled": True, "batch": 0}),
    ],
)
async def test_both_forms_are_negotiated_each_in_its_own(
    edge: Edge, asked: object, told: object
) -> None:
    client = Client(edge).handshake(ext={"ack": asked})
    assert client.ext["ack"] == told
    assert client.ext["address"] == client.address
    assert "ack" in connect(client, 0).body[0]["ext"]


@pytest.mark.parametrize(
    "ext", [None, {}, {"ack": False}, {"ack": {"enabled": False}}, {"ack": 1}, {"ack": "true"}, []]
)
async def test_who_does_not_ask_is_not_made_to_acknowledge(edge: Edge, ext: Any) -> None:
    client = Client(edge).handshake(ext=ext)
    assert "ack" not in client.ext
    client.subscribe("/a")
    publish(edge, 1)
    (message, reply) = connect(client, 5).body
    assert message["data"] == 1
    assert "ext" not in reply


async def test_a_batch_is_named_by_generation_and_number(edge: Edge) -> None:
    client = acking(edge)
    batches = [fetch(client, 0)[1] for _ in range(3)]
    assert [batch >> 32 for batch in batches] == [1, 1, 1]
    assert [batch - batches[0] for batch in batches] == [0, 1, 2]
    assert max(batches) < 2**53  # what JavaScript counts exactly


# -- over HTTP -------------------------------------------------------------------------


async def test_what_is_acknowledged_does_not_come_again_and_what_is_not_does(edge: Edge) -> None:
    client = acking(edge)
    client.subscribe("/a")
    _, first = fetch(client, 0)
    publish(edge, 1, 2)
    data, second = fetch(client, first)
    assert data == [1, 2]
    publish(edge, 3)
    data, third = fetch(client, first)  # the answer before was lost
    assert data == [1, 2, 3]
    assert third > second
    assert fetch(client, third)[0] == []


@pytest.mark.parametrize("ack", [None, 0, -1, 7, 2**70, (9 << 32) + 1, "1", 1.5, True, {}])
async def test_an_unknown_batch_is_answered_from_the_last_cursor(edge: Edge, ack: Any) -> None:
    client = acking(edge)
    client.subscribe("/a")
    _, first = fetch(client, 0)
    publish(edge, 1)
    _, second = fetch(client, first)
    publish(edge, 2)
    assert fetch(client, second)[0] == [2]
    assert fetch(client, ack)[0] == [2]


async def test_a_held_poll_brings_messages_and_they_come_again_if_it_was_lost(edge: Edge) -> None:
    client = acking(edge)
    client.subscribe("/a")
    _, first = fetch(client, 0)
    poll = connect(client, first, timeout=None)
    assert poll.status is None
    publish(edge, 1)
    data, second = split(poll.body)
    assert data == [1]
    assert fetch(client, first)[0] == [1]
    assert second > first


async def test_nothing_comes_on_any_other_response(edge: Edge) -> None:
    client = acking(edge)
    client.subscribe("/a")
    _, first = fetch(client, 0)
    publish(edge, 1)
    reply = client.ask("/b", data=1)  # one reply, and not the message that waits
    assert reply["channel"] == "/b"
    assert fetch(client, first)[0] == [1]


async def test_direct_messages_come_again_too_and_stay_in_order(edge: Edge) -> None:
    client, sender = acking(edge), edge.client()
    _, first = fetch(client, 0)
    for number in range(3):
        sender.ask("/service/send", data={"to": client.address, "data": number})
    edge.flush()
    assert fetch(client, first)[0] == [0, 1, 2]
    edge.sessions.hub.tell_consumed()
    sender.ask("/service/send", data={"to": client.address, "data": 3})
    edge.flush()
    data, second = fetch(client, first)
    assert data == [0, 1, 2, 3]
    assert fetch(client, second)[0] == []


async def test_acknowledging_moves_the_record_s_cursors_sending_does_not(edge: Edge) -> None:
    client, sender = acking(edge), edge.client()
    client.subscribe("/a")
    _, first = fetch(client, 0)
    publish(edge, 1, 2)
    sender.ask("/service/send", data={"to": client.address, "data": "direct"})

    def kept() -> dict[str, int]:
        edge.sessions.hub.tell_consumed()
        record = edge.cluster.record(client.address)
        assert record is not None
        return {name: cursor.offset for name, cursor in record.cursors}

    before = kept()
    _, second = fetch(client, first)
    assert kept() == before
    fetch(client, second)
    after = kept()
    assert after["/a"] == before["/a"] + 2
    assert after[client.address] == before[client.address] + 1
    assert client.address not in edge.sessions.hub.topics  # nothing unread: nothing kept


# -- on another edge ------------------------------------------------------------------------


def move(edge: Edge, client: Client, *, politely: bool) -> None:
    """The session gets a new edge (this node again); `politely`: the old one says where it is."""
    if politely:
        session = edge.sessions.get(client.address)
        assert session is not None
        edge.cluster.consumed(
            client.address, session.generation, edge.sessions.hub.cursors(session)
        )
    edge.move(client)
    edge.flush()


@pytest.mark.parametrize("politely", [True, False])
async def test_a_new_edge_repeats_what_was_not_acknowledged(edge: Edge, politely: bool) -> None:
    client = acking(edge)
    client.subscribe("/a")
    _, first = fetch(client, 0)
    publish(edge, 1)
    _, second = fetch(client, first)
    publish(edge, 2)
    fetch(client, second)
    edge.sessions.hub.tell_consumed()
    move(edge, client, politely=politely)
    publish(edge, 3)
    data, batch = fetch(client, second)
    assert data == [2, 3]
    assert fetch(client, batch)[0] == []


async def test_a_batch_of_another_edge_is_none_of_ours(edge: Edge) -> None:
    client = acking(edge)
    client.subscribe("/a")
    _, first = fetch(client, 0)
    publish(edge, 1)
    move(edge, client, politely=False)
    assert fetch(client, first)[0] == [1]
    assert fetch(client, first)[0] == [1]  # (the first edge's first batch is not the second's)


# -- WebSocket ----------------------------------------------------------------------------------


async def test_on_a_websocket_too_messages_come_with_connects_only(edge: Edge) -> None:
    socket = FakeSocket()
    client = acking(edge, socket)
    client.ask("/meta/subscribe", socket, subscription="/a")
    connect(client, 0, socket=socket)
    _, first = split(socket.messages[-1:])
    publish(edge, 1)
    sent = len(socket.messages)
    connect(client, first, timeout=None, socket=socket)
    data, second = split(socket.messages[sent:])
    assert data == [1]
    sent = len(socket.messages)
    connect(client, second, timeout=None, socket=socket)
    assert len(socket.messages) == sent  # held
    publish(edge, 2)
    publish(edge, 3)
    data, third = split(socket.messages[sent:])
    assert data == [2]
    sent = len(socket.messages)
    connect(client, third, timeout=None, socket=socket)
    assert split(socket.messages[sent:])[0] == [3]


async def test_what_a_broken_websocket_did_not_bring_comes_on_the_next_one(edge: Edge) -> None:
    socket = FakeSocket()
    client = acking(edge, socket)
    client.ask("/meta/subscribe", socket, subscription="/a")
    connect(client, 0, socket=socket)
    _, first = split(socket.messages[-1:])
    connect(client, first, timeout=None, socket=socket)
    publish(edge, 1)  # written to the socket, and lost with it
    session = edge.sessions.get(client.address)
    assert session is not None
    edge.sessions.connection_lost(session, socket)
    publish(edge, 2)
    other = FakeSocket()
    connect(client, first, timeout=None, socket=other)
    assert split(other.messages)[0] == [1, 2]
    assert other.owner is session


async def test_a_connect_held_on_a_websocket_ends_in_time(edge: Edge, autojump_clock: None) -> None:
    socket = FakeSocket()
    client = acking(edge, socket)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(edge.sessions.wheel.run)
        connect(client, 0, timeout=2_000, socket=socket)
        sent = len(socket.messages)
        await trio.sleep(3)
        assert split(socket.messages[sent:])[0] == []
        await trio.sleep(11)  # max_interval: nothing was heard of the client since
        assert edge.sessions.get(client.address) is None
        nursery.cancel_scope.cancel()
    assert socket.close_code == 4001


async def test_a_newer_connect_ends_the_older_and_a_newer_socket_the_older(edge: Edge) -> None:
    one, two = FakeSocket(), FakeSocket()
    client = acking(edge, one)
    connect(client, 0, timeout=None, socket=one)
    connect(client, 0, timeout=None, socket=one)
    assert one.messages[-1]["error"].startswith("500:")
    connect(client, 0, timeout=None, socket=two)
    assert one.close_code == 1001
    assert one.owner is None
    goodbye = {"channel": "/meta/disconnect", "clientId": client.id}
    released, answer = edge.request(goodbye, socket=two)
    assert released["advice"] == {"reconnect": "none"}
    assert answer["channel"] == "/meta/disconnect"
    assert not two.closed


async def test_a_socket_falls_back_to_polls_and_loses_nothing(edge: Edge) -> None:
    socket = FakeSocket()
    client = acking(edge, socket)
    client.ask("/meta/subscribe", socket, subscription="/a")
    connect(client, 0, timeout=None, socket=socket)
    publish(edge, 1)
    data, batch = fetch(client, 0)
    assert data == [1]
    assert socket.owner is None
    session = edge.sessions.get(client.address)
    assert session is not None
    assert session.carrier is None
    publish(edge, 2)
    assert fetch(client, batch)[0] == [2]


async def test_a_session_that_is_over_closes_its_websocket(edge: Edge) -> None:
    socket = FakeSocket()
    client = acking(edge, socket)
    connect(client, 0, timeout=None, socket=socket)
    session = edge.sessions.get(client.address)
    assert session is not None
    edge.sessions.close(session)
    assert socket.close_code == 4001
    assert socket.messages[-1]["advice"] == {"reconnect": "none"}


async def test_a_session_that_is_lost_closes_its_websocket(edge: Edge) -> None:
    socket = FakeSocket()
    client = acking(edge, socket)
    connect(client, 0, timeout=None, socket=socket)
    edge.sessions.lost(client.address)
    assert socket.close_code == 1001


# -- gaps --------------------------------------------------------------------------------------


async def test_what_the_log_no_longer_has_is_reported_with_the_repeat(edge: Edge) -> None:
    client = acking(edge)
    client.subscribe("/a")
    _, first = fetch(client, 0)
    publish(edge, 0)
    fetch(client, first)
    feed = edge.cluster.feed("/a")
    assert feed is not None
    feed.log.trim_to(feed.last.offset)
    publish(edge, 1)
    (message, reply) = connect(client, first).body
    assert message["data"] == 1
    assert reply["ext"]["gaps"] == ["/a"]
    assert "ack" in reply["ext"]


async def test_offsets_that_begin_anew_are_not_mixed_with_the_old(edge: Edge) -> None:
    client = acking(edge)
    client.subscribe("/a")
    _, first = fetch(client, 0)
    publish(edge, 0)
    fetch(client, first)
    feed = edge.cluster.feed("/a")
    assert feed is not None
    feed.origin = feed.last
    edge.sessions.hub.reset(feed)
    publish(edge, 1)
    (message, reply) = connect(client, first).body
    assert message["data"] == 1
    assert reply["ext"]["gaps"] == ["/a"]


# -- whatever happens --------------------------------------------------------------------------


class Reader:
    """A client that acknowledges what it gets; answers to it may be lost."""

    def __init__(self, edge: Edge, channels: Sequence[str]) -> None:
        self.client = acking(edge)
        for channel in channels:
            self.client.subscribe(channel)
        self.got: list[int] = []
        self.batch = 0
        self.held: FakePoll | None = None
        self.moved = False  # since the last answer: the new edge knows no batch yet
        self.confirmed: set[int] = set()  # what the edge knows to have come

    def ask(self, *, hold: bool, lost: bool) -> None:
        self.confirmed = set() if self.moved else set(self.got)
        self.held = connect(self.client, self.batch, timeout=None if hold else 0)
        self.look(lost=lost)

    def look(self, *, lost: bool = False) -> None:
        poll, self.held = self.held, None
        if poll is None or poll.status is None:
            self.held = poll
        elif poll.status == 200 and not lost:
            data, self.batch = split(poll.body)
            assert not self.confirmed & set(data), "acknowledged, and sent again"
            self.got += data
            self.moved = False


ACTIONS = st.lists(
    st.one_of(
        st.sampled_from(["publish /a", "publish /b", "poll", "hold", "lost", "lost hold"]),
        st.sampled_from(["move", "tell", "direct"]),
    ),
    max_size=40,
)


@settings(max_examples=80, deadline=None)
@given(actions=ACTIONS, channels=st.sampled_from([["/a", "/b"], ["/a", "/**"], ["/*", "/b"]]))
def test_nothing_is_skipped_whatever_is_lost(actions: list[str], channels: list[str]) -> None:
    async def play() -> None:
        edge = Edge()
        reader, sender = Reader(edge, channels), edge.client()
        count = 0
        for action in [*actions, "poll", "poll", "poll"]:
            what, _, channel = action.partition(" ")
            if what == "publish":
                edge.publish(channel, count)
                count += 1
            elif what == "direct":
                sender.ask("/service/send", data={"to": reader.client.address, "data": count})
                count += 1
            elif what == "tell":
                edge.sessions.hub.tell_consumed()
            elif what == "move":
                reader.held, reader.moved = None, True
                move(edge, reader.client, politely=count % 2 == 0)
            else:
                reader.ask(hold="hold" in action, lost=what == "lost")
                if what == "lost":
                    reader.held = None
            edge.flush()
            reader.look()
        assert set(reader.got) == set(range(count))

    trio.run(play)


def test_the_batch_that_a_claim_names_is_the_first_connect_s() -> None:
    def of(text: str) -> int:
        return acknowledged(decode_batch(text.encode()))

    assert of('[{"channel":"/a"},{"channel":"/meta/connect","ext":{"ack":5}}]') == 5
    asked: list[Any] = [{"ack": -1}, {"ack": True}, {"ack": 1.5}, {"ack": 2**63}, []]
    for ext in asked:
        assert of(json.dumps({"channel": "/meta/connect", "ext": ext})) == 0
    assert of('{"channel":"/meta/connect"}') == 0
    assert of('{"channel":"/a","ext":{"ack":5}}') == 0
