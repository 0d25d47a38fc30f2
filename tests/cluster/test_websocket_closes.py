"""Why a real node closes a client's WebSocket: the codes of protocol and node, and their order."""

from __future__ import annotations

import json
import socket
import struct
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from cluster_process import HOST, ClusterProcess, NodeProcess, wait_until
from ws_bytes import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close, frame, handshake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 2048  # bytes of a message
OPTIONS = ["--max-message-size", str(LIMIT), "--max-interval", "2"]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with ClusterProcess(1, tmp_path_factory.mktemp("lone"), OPTIONS) as cluster:
        yield cluster.nodes[0]


class Wire:
    """An open WebSocket, bytes in and frames out."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""

    def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            data = self.sock.recv(65536)
            assert data, "ended without a close frame"
            self.buffer += data
        out, self.buffer = self.buffer[:size], self.buffer[size:]
        return out

    def frame(self) -> tuple[int, bytes]:
        first, size = self.exactly(2)
        if size == 126:
            (size,) = struct.unpack("!H", self.exactly(2))
        return first & 0x0F, self.exactly(size)

    def ask(self, **message: Any) -> dict[str, Any]:
        self.sock.sendall(frame(TEXT, json.dumps([message]).encode()))
        opcode, payload = self.frame()
        assert opcode == TEXT, payload
        (reply,) = json.loads(payload)
        assert reply["successful"], reply
        return dict(reply)

    def handshake(self) -> str:
        return str(
            self.ask(
                channel="/meta/handshake", version="1.0", supportedConnectionTypes=["websocket"]
            )["clientId"]
        )

    def closed_with(self) -> tuple[int, str]:
        """The close frame's code and reason; it is answered, and then the connection ends."""
        opcode, payload = self.frame()
        assert opcode == CLOSE, (opcode, payload)
        code = int.from_bytes(payload[:2], "big")
        self.sock.sendall(close(code))
        assert self.sock.recv(1) == b""
        return code, payload[2:].decode()


@contextmanager
def opened(node: NodeProcess) -> Iterator[Wire]:
    with socket.create_connection((HOST, node.client_port), timeout=10) as sock:
        sock.sendall(handshake())
        wire = Wire(sock)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += wire.exactly(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        yield wire


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (close(1000), 1000),
        (frame(TEXT, b"x", masked=False), 1002),
        (frame(CONTINUATION, b"x"), 1002),
        (frame(BINARY, b"[]"), 1003),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"this is no JSON"), 1007),
        (frame(TEXT, b'"nor is this Bayeux"'), 1007),
        (frame(TEXT, b"x" * (LIMIT + 1)), 1009),
        (frame(TEXT, b"x" * LIMIT, fin=False) + frame(CONTINUATION, b"x"), 1009),
    ],
)
def test_a_clients_mistakes(node: NodeProcess, data: bytes, code: int) -> None:
    with opened(node) as wire:
        wire.sock.sendall(data)
        assert wire.closed_with()[0] == code


def test_pings_are_answered_at_any_time(node: NodeProcess) -> None:
    with opened(node) as wire:
        wire.sock.sendall(frame(PING, b"1") + frame(TEXT, b"[", fin=False) + frame(PING, b"2"))
        assert wire.frame() == (PONG, b"1")
        assert wire.frame() == (PONG, b"2")


def test_a_session_that_falls_silent(node: NodeProcess) -> None:
    with opened(node) as wire:
        wire.handshake()  # and no connect
        assert wire.closed_with() == (4001, "session over")


def test_a_session_that_moves_to_another_websocket(node: NodeProcess) -> None:
    with opened(node) as older, opened(node) as newer:
        session = older.handshake()
        connect = {
            "channel": "/meta/connect",
            "clientId": session,
            "connectionType": "websocket",
            "advice": {"timeout": 0},
        }
        older.ask(**connect)
        newer.ask(**connect)
        assert older.closed_with()[0] == 1001


def test_a_client_that_does_not_read_costs_little_and_is_told_why(node: NodeProcess) -> None:
    """It asks and asks: it is not read from, and when it reads again all is well."""
    with opened(node) as wire:
        question = frame(TEXT, b'[{"channel":"/meta/nothing","id":"%s"}]' % (b"x" * 100))
        wire.sock.settimeout(1)
        sent = 0
        with suppress(TimeoutError):
            while sent < 16_000_000:
                sent += wire.sock.send(question * 100)
        assert sent < 16_000_000
        answered = 0
        wire.sock.settimeout(10)
        while answered < sent // len(question):
            assert wire.frame()[0] == TEXT
            answered += 1


def test_a_node_that_leaves(make_cluster: Callable[..., ClusterProcess]) -> None:
    node = make_cluster(1).nodes[0]
    with opened(node) as attached, opened(node) as fresh:
        attached.handshake()
        began = time.monotonic()
        node.terminate()
        for wire in (attached, fresh):
            assert wire.closed_with() == (1012, "this node is leaving")
        assert time.monotonic() - began < 5
    wait_until(lambda: not node.alive, 10, "the node's end")
