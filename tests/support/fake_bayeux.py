"""A Bayeux server of a few lines, a thread a connection: something for the swarm to talk to."""

from __future__ import annotations

import json
import socket
import threading
from base64 import b64encode
from contextlib import suppress
from hashlib import sha1
from typing import Any, Self

from wsproto.connection import Connection, ConnectionType
from wsproto.events import Ping, Pong, TextMessage

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class FakeBayeux:
    """Listens on `port`; `deliver` sends one message to every client that waits.

    `refuse` names a meta channel to answer with ``successful: false``; so many handshakes
    as `busy` are answered 503, to come again in a second.
    """

    def __init__(self, refuse: str = "", busy: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.cookies: list[str] = []
        self.pongs = 0
        self.sends: list[Any] = []
        self._refuse = refuse
        self._busy = busy
        self._lock = threading.Lock()
        self._waiting: list[tuple[socket.socket, str, bool]] = []  # socket, connect id, framed
        self._sockets: list[socket.socket] = []
        self._sequence = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.drop_all()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def drop_all(self) -> None:
        """Close every connection."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for sock in sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def waiting(self) -> int:
        """How many clients have a connect outstanding."""
        with self._lock:
            return len(self._waiting)

    def deliver(self, *, skip: int = 0, ping: bool = False, interval: int | None = None) -> None:
        """One message to all (but `skip` sequence numbers first), with advice in milliseconds."""
        self._sequence += 1 + skip
        data = {"n": self._sequence, "sent_ns": 1, "text": "hello"}
        message = {"channel": "/bench/room", "data": data}
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for sock, turn, framed in waiting:
            reply: Any = {"channel": "/meta/connect", "successful": True, "id": turn}
            if interval is not None:
                reply["advice"] = {"reconnect": "retry", "interval": interval, "timeout": 30_000}
            with suppress(OSError):  # a client may hang up at what it gets
                if not framed:
                    self._respond(sock, [message, reply])
                    continue
                if ping:
                    sock.sendall(Connection(ConnectionType.SERVER).send(Ping(b"p")))
                self._frame(sock, [message])
                self._frame(sock, [reply])

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with self._lock:
                    self._sockets.append(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError), sock.makefile("rb") as reader:
            while (first := reader.readline()) != b"":
                headers = {}
                while (line := reader.readline()) not in {b"\r\n", b""}:
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                self.cookies.append(headers.get("cookie", ""))
                if "sec-websocket-key" in headers:
                    self._upgrade(sock, headers["sec-websocket-key"].encode())
                    return
                body = json.loads(reader.read(int(headers["content-length"])))
                self._answer(sock, first.split()[1], body)

    def _answer(self, sock: socket.socket, path: bytes, body: Any) -> None:
        if path == b"/api/send":
            self._took(sock, [body], {"offset": 1})
        elif path == b"/api/batch":
            sends = [command["send"] for command in body["commands"]]
            self._took(sock, sends, {"replies": [{"offset": 1} for _ in sends]})
        elif path.endswith(b"/handshake") and self._is_busy():
            sock.sendall(b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
        else:
            for message in body:
                reply = self._reply(message, sock, framed=False)
                if reply is not None:
                    self._respond(sock, [reply])

    def _is_busy(self) -> bool:
        with self._lock:
            self._busy -= 1
            return self._busy >= 0

    def _took(self, sock: socket.socket, sends: list[Any], reply: Any) -> None:
        with self._lock:
            self.sends += sends
        self._respond(sock, reply)

    def _reply(self, message: Any, sock: socket.socket, *, framed: bool) -> Any:
        channel = message["channel"]
        reply = {"channel": channel, "successful": True, "id": message["id"]}
        if channel == self._refuse:
            return reply | {"successful": False, "error": "402::session_unknown"}
        if channel == "/meta/handshake":
            return reply | {"clientId": "c1"}
        if channel == "/meta/connect" and message.get("advice", {}).get("timeout") != 0:
            with self._lock:
                self._waiting.append((sock, message["id"], framed))
            return None
        return reply

    def _upgrade(self, sock: socket.socket, key: bytes) -> None:
        accept = b64encode(sha1(key + _GUID).digest())  # noqa: S324 - RFC 6455 says SHA-1
        sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        frames = Connection(ConnectionType.SERVER)
        while data := sock.recv(65_536):
            frames.receive_data(data)
            for event in frames.events():
                if isinstance(event, Pong):
                    self.pongs += 1
                elif isinstance(event, TextMessage):
                    for message in json.loads(event.data):
                        reply = self._reply(message, sock, framed=True)
                        if reply is not None:
                            self._frame(sock, [reply])

    def _frame(self, sock: socket.socket, body: Any) -> None:
        text = json.dumps(body, separators=(",", ":"))
        sock.sendall(Connection(ConnectionType.SERVER).send(TextMessage(text)))

    def _respond(self, sock: socket.socket, body: Any) -> None:
        text = json.dumps(body, separators=(",", ":")).encode()
        cookie = b"Set-Cookie: BAYEUX_BROWSER=b1; HttpOnly\r\n" if b"clientId" in text else b""
        sock.sendall(
            b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (cookie, len(text), text)
        )
