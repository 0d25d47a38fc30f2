"""SIGTERM: out of service without one failed request."""

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


@pytest.fixture
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcess]:
    options = ["--drain-delay", str(DELAY)]
    with ClusterProcess(3, tmp_path_factory.mktemp("drain"), options) as cluster:
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


def test_a_client_takes_its_session_along_and_misses_nothing(ring: ClusterProcess) -> None:
    leaver, other, publisher = ring.nodes
    session = Session(leaver, ROOM)
    with Connection(leaver.client_port) as http:
        assert http.ask(session.connect(timeout=0))[0]["successful"]
        http.send(session.connect())  # held
        leaver.terminate()
        status, messages, last = http.receive()
    assert status == 200
    assert messages[0]["successful"]
    assert last, "the next request is to go elsewhere"
    assert publisher.api("/api/publish", {"channel": ROOM, "data": "between"})[0] == 200
    with Connection(other.client_port) as http:
        got = deliveries(http.ask(session.connect(timeout=0)))
        leaver.wait()
        assert publisher.api("/api/publish", {"channel": ROOM, "data": "after"})[0] == 200
        while len(got) < 2:
            replies = http.ask(session.connect(timeout=2000))
            assert replies[-1]["successful"], replies
            got += deliveries(replies)
    assert got == ["between", "after"]


def test_polls_that_are_held_elsewhere_for_its_clients_are_answered(ring: ClusterProcess) -> None:
    leaver, edge, _ = ring.nodes
    session = Session(edge, ROOM)
    with Connection(leaver.client_port) as http:
        assert http.ask(session.connect(timeout=0))[0]["successful"]
        http.send(session.connect())  # held on `edge`
        leaver.terminate()
        status, messages, last = http.receive()
    assert (status, last) == (200, True)
    assert messages[-1]["successful"]
    assert leaver.wait() == 0


def test_a_websocket_has_its_connect_answered_before_it_is_closed(ring: ClusterProcess) -> None:
    leaver, other, publisher = ring.nodes
    session = Session(leaver, ROOM)
    with Socket(leaver.client_port) as socket:
        assert socket.ask(session.connect("websocket", timeout=0))["successful"]
        socket.send(session.connect("websocket"))  # held
        leaver.terminate()
        messages = socket.receive()
        assert isinstance(messages, list)
        assert messages[0]["successful"]
        assert messages[0]["advice"]["interval"] > 0, "the next connect is to find it closed"
        assert socket.receive() == 1012
    with Socket(other.client_port) as socket:
        assert publisher.api("/api/publish", {"channel": ROOM, "data": "x"})[0] == 200
        socket.send(session.connect("websocket", timeout=0))
        replies: list[dict[str, object]] = []
        while not deliveries(replies) or "/meta/connect" not in {m["channel"] for m in replies}:
            received = socket.receive()
            assert isinstance(received, list), received
            replies += received
    connect = next(m for m in replies if m["channel"] == "/meta/connect")
    assert connect["successful"]
    assert '"interval": 0' in json.dumps(connect["advice"]), "what the leaver advised is taken back"


def test_what_is_on_its_way_is_answered_first(ring: ClusterProcess) -> None:
    leaver, home, _ = ring.nodes
    channel = locate(leaver, home)
    session = Session(leaver)
    home.pause()  # (not so long that it is taken for dead)
    with Connection(leaver.client_port) as http, Socket(leaver.client_port) as socket:
        assert socket.ask(session.connect("websocket", timeout=0))["successful"]
        http.send(session.publish(channel, "http"))
        socket.send(session.publish(channel, "socket"))
        leaver.signal(signal.SIGINT)  # without delay
        time.sleep(0.3)
        home.resume()
        status, (reply,), _ = http.receive()
        assert (status, reply["successful"]) == (200, True)
        answer = socket.receive()
        assert isinstance(answer, list), f"closed with {answer} before the publish was answered"
        assert answer[-1]["successful"]
        assert socket.receive() == 1012
    assert leaver.wait() == 0


def test_a_kept_connection_is_served_once_more_and_then_closed(ring: ClusterProcess) -> None:
    leaver = ring.nodes[0]
    session = Session(leaver, ROOM)
    slow = ring.nodes[1]
    channel = locate(leaver, slow)
    with Connection(leaver.client_port) as idle:
        assert idle.ask(session.connect(timeout=0))[0]["successful"]
        slow.pause()
        with Connection(leaver.client_port) as http:
            # A request in flight keeps the node where it is.
            http.send(session.publish(channel, 1))
            leaver.signal(signal.SIGINT)
            time.sleep(0.3)
            idle.send(session.connect())
            status, messages, last = idle.receive()
            slow.resume()
            assert (status, last) == (200, True)
            assert messages[-1]["successful"], "answered, not held"
            assert http.receive()[0] == 200
