"""A Bayeux client of raw requests, for tests that must see every answer: it retries nothing itself.

`Connection` is one HTTP connection, `Socket` one WebSocket; a `Session` may use any of them.
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
from typing import TYPE_CHECKING, Any, Self

from cluster_process import HOST
from ws_bytes import CLOSE, TEXT, frame, handshake

if TYPE_CHECKING:
    from cluster_process import NodeProcess

HANDSHAKE = {
    "channel": "/meta/handshake",
    "version": "1.0",
    "supportedConnectionTypes": ["long-polling", "websocket"],
}


class Connection:
    """One HTTP connection, kept alive; `send` and `receive` apart, so that a poll may be held."""

    def __init__(self, port: int, timeout: float = 15.0) -> None:
        self._http = http.client.HTTPConnection(HOST, port, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def send(self, *messages: dict[str, Any]) -> None:
        body = json.dumps(messages)
        self._http.request("POST", "/bayeux", body, {"Content-Type": "application/json"})

    def receive(self) -> tuple[int, Any, bool]:
        """Status, body (JSON where it is), and whether the answer is the connection's last."""
        response = self._http.getresponse()
        text = response.read()
        last = response.getheader("Connection", "").lower() == "close"
        try:
            return response.status, json.loads(text), last
        except ValueError:
            return response.status, text, last

    def ask(self, *messages: dict[str, Any]) -> list[dict[str, Any]]:
        """The replies to a request that is answered 200."""
        self.send(*messages)
        status, replies, _ = self.receive()
        assert status == 200, replies
        assert isinstance(replies, list)
        return replies


class Socket:
    """One WebSocket."""

    def __init__(self, port: int, timeout: float = 15.0) -> None:
        self._sock = socket.create_connection((HOST, port), timeout)
        self._sock.sendall(handshake())
        self._buffer = b""
        while b"\r\n\r\n" not in self._buffer:
            data = self._sock.recv(65_536)
            assert data, "refused"
            self._buffer += data
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._sock.close()

    def send(self, *messages: dict[str, Any]) -> None:
        self._sock.sendall(frame(TEXT, json.dumps(messages).encode()))

    def receive(self) -> list[dict[str, Any]] | int:
        """The next messages, or the code with which the node closes. Raises OSError at the end."""
        first, size = self._exactly(2)
        if size == 126:
            (size,) = struct.unpack("!H", self._exactly(2))
        payload = self._exactly(size)
        if first & 0x0F == CLOSE:
            return int.from_bytes(payload[:2], "big")
        messages: list[dict[str, Any]] = json.loads(payload)
        return messages

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """The reply, where it comes next."""
        self.send(message)
        messages = self.receive()
        assert isinstance(messages, list), messages
        return messages[-1]

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = self._sock.recv(65_536)
            if not data:
                raise ConnectionError("the node ended the connection")
            self._buffer += data
        out, self._buffer = self._buffer[:size], self._buffer[size:]
        return out


class Session:
    """What a client keeps of its session."""

    def __init__(self, node: NodeProcess, *channels: str, acks: bool = False) -> None:
        """Begin on `node`, subscribed to `channels`. `acks`: the client acknowledges."""
        with Connection(node.client_port) as http:
            (reply,) = http.ask({**HANDSHAKE, "ext": {"ack": True}} if acks else HANDSHAKE)
            self.id: str = reply["clientId"]
            self.address: str = reply["ext"]["address"]
            for channel in channels:
                (reply,) = http.ask(self.subscribe(channel))
                assert reply["successful"], reply

    def subscribe(self, channel: str) -> dict[str, Any]:
        return {"channel": "/meta/subscribe", "subscription": channel, "clientId": self.id}

    def publish(self, channel: str, data: Any, message_id: str = "") -> dict[str, Any]:
        ext = {"ext": {"messageId": message_id}} if message_id else {}
        return {"channel": channel, "data": data, "clientId": self.id, "id": "p", **ext}

    def connect(
        self, kind: str = "long-polling", timeout: int | None = None, ack: int | None = None
    ) -> dict[str, Any]:
        """`ack`: the last batch that has come, of a client that acknowledges."""
        advice = {} if timeout is None else {"advice": {"timeout": timeout}}
        ext = {} if ack is None else {"ext": {"ack": ack}}
        message = {"channel": "/meta/connect", "connectionType": kind, "id": "c"}
        return {**message, "clientId": self.id, **advice, **ext}


def locate(node: NodeProcess, home: NodeProcess, form: str = "/room/{}") -> str:
    """A channel whose home is `home`, as `node` sees it."""
    ring = home.ring()
    assert ring is not None
    for i in range(500):
        name = form.format(i)
        if node.api(f"/api/locate?channel={name}")[1]["node"]["id"] == ring["node"]:
            return name
    raise AssertionError("no channel has its home there")
