"""SIGTERM: out of service without one failed request. Each test here sends away another node."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

from cluster_process import ClusterProcess, request, wait_until
from raw_client import Connection, Session, Socket, locate

if TYPE_CHECKING:
    from collections.abc import Iterator

DELAY = 1.5  # seconds in which the node is not ready, and serves as ever
ROOM = "/drain/room"


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcess]:
    options = ["--drain-delay", str(DELAY)]
    with ClusterProcess(5, tmp_path_factory.mktemp("drain"), options) as cluster:
        yield cluster
    assert not cluster.complaints(), cluster.logs()


def deliveries(messages: list[dict[str, object]]) -> list[object]:
    return [m["data"] for m in messages if m["channel"] == ROOM and "data" in m]


def test_not_ready_first_and_serving_meanwhile(ring: ClusterProcess) -> None:
    node = ring.nodes[0]
    began = time.monotonic()
    node.terminate()
    wait_until(lambda: not node.ready(), 1.0, "it to be not ready")
    assert request(node.ops_port, "GET", "/healthz")[0] == 200
    while time.monotonic() < began + DELAY * 0.6:
        assert node.api("/api/publish", {"channel": ROOM, "data": 1})[0] == 200
    assert node.wait() == 0


def test_clients_take_their_sessions_along(ring: ClusterProcess) -> None:
    """One that polls the leaver, one whose poll is held elsewhere, and one on a WebSocket."""
    _, leaver, other, publisher, _ = ring.nodes
    here, elsewhere, streaming = Session(leaver, ROOM), Session(other, ROOM), Session(leaver, ROOM)
    with (
        Connection(leaver.client_port) as polling,
        Connection(leaver.client_port) as relayed,
        Socket(leaver.client_port) as socket,
    ):
        for http, session in ((polling, here), (relayed, elsewhere)):
            assert http.ask(session.connect(timeout=0))[0]["successful"]
            http.send(session.connect())  # held, one here and one on `other`
        assert socket.ask(streaming.connect("websocket", timeout=0))["successful"]
        socket.send(streaming.connect("websocket"))
        leaver.terminate()
        for http in (polling, relayed):
            status, messages, last = http.receive()
            assert status == 200
            assert messages[-1]["successful"]
            assert last, "the next request is to go elsewhere"
        answer = socket.receive()
        assert isinstance(answer, list), f"closed with {answer} before its connect was answered"
        assert answer[0]["successful"]
        assert answer[0]["advice"]["interval"] > 0, "the next connect is to find it closed"
        assert socket.receive() == 1012
    assert publisher.api("/api/publish", {"channel": ROOM, "data": "between"})[0] == 200
    with Socket(other.client_port) as socket:
        replies = read_until_connected(socket, streaming)
    assert deliveries(replies) == ["between"]
    connect = next(m for m in replies if m["channel"] == "/meta/connect")
    assert '"interval": 0' in json.dumps(connect["advice"]), "what the leaver advised is taken back"
    with Connection(other.client_port) as http:
        got = deliveries(http.ask(here.connect(timeout=0)))
        leaver.wait()
        assert publisher.api("/api/publish", {"channel": ROOM, "data": "after"})[0] == 200
        while len(got) < 2:
            messages = http.ask(here.connect(timeout=2000))
            assert messages[-1]["successful"], messages
            got += deliveries(messages)
    assert got == ["between", "after"]
    assert leaver.wait() == 0


def read_until_connected(socket: Socket, session: Session) -> list[dict[str, object]]:
    """What comes on a new WebSocket, until the connect is answered and a message has come."""
    socket.send(session.connect("websocket", timeout=0))
    replies: list[dict[str, object]] = []
    while not deliveries(replies) or "/meta/connect" not in {m["channel"] for m in replies}:
        received = socket.receive()
        assert isinstance(received, list), received
        replies += received
    return replies


def test_what_is_on_its_way_is_answered_first(ring: ClusterProcess) -> None:
    *_, home, leaver = ring.nodes
    ring.wait_formed()
    channel = locate(leaver, home)
    session = Session(leaver)
    with (
        Connection(leaver.client_port) as http,
        Connection(leaver.client_port) as idle,
        Socket(leaver.client_port) as socket,
    ):
        assert socket.ask(session.connect("websocket", timeout=0))["successful"]
        assert idle.ask(session.publish("/elsewhere", "idle"))[-1]["successful"]
        home.pause()  # (not so long that it is taken for dead)
        http.send(session.publish(channel, "http"))
        socket.send(session.publish(channel, "socket"))
        leaver.signal(signal.SIGINT)  # without delay
        time.sleep(0.3)
        idle.send(session.subscribe("/meta/no"))
        status, _, last = idle.receive()
        assert (status, last) == (200, True), "a kept connection is served once more"
        home.resume()
        status, (reply,), _ = http.receive()
        assert (status, reply["successful"]) == (200, True)
        answer = socket.receive()
        assert isinstance(answer, list), f"closed with {answer} before the publish was answered"
        assert answer[-1]["successful"]
        assert socket.receive() == 1012
    assert leaver.wait() == 0


@pytest.mark.parametrize("leaves", [False, True])
def test_what_a_client_has_got_does_not_come_again(ring: ClusterProcess, leaves: bool) -> None:
    """Though it publishes first on its new node, before its connect there says what it has."""
    former, other = ring.nodes[2:4]
    session = Session(former, ROOM, acks=True)
    with Socket(former.client_port) as socket:
        ack = socket.ask(session.connect("websocket", timeout=0, ack=0))["ext"]["ack"]
        socket.send(session.connect("websocket", ack=ack))
        assert other.api("/api/publish", {"channel": ROOM, "data": "one"})[0] == 200
        messages = socket.receive()
        assert isinstance(messages, list)
        assert deliveries(messages) == ["one"]
        ack = messages[-1]["ext"]["ack"]
        if leaves:
            former.signal(signal.SIGINT)
            assert socket.receive() == 1012
    with Socket(other.client_port) as socket:
        assert socket.ask(session.publish("/elsewhere", 1))["successful"]
        assert other.api("/api/publish", {"channel": ROOM, "data": "two"})[0] == 200
        got: list[object] = []
        while not got:
            socket.send(session.connect("websocket", ack=ack))
            messages = socket.receive()
            assert isinstance(messages, list)
            assert messages[-1]["successful"]
            got, ack = deliveries(messages), messages[-1]["ext"]["ack"]
    assert got == ["two"]
    assert former.wait() == 0 if leaves else former.alive
