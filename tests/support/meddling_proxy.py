"""A proxy that meddles: it loses answers, cuts connections, and will have no WebSockets.

It runs in a thread of the test, one selector, and passes bytes on to one node at
a time, whichever it is told.
"""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress
from threading import Thread
from typing import Literal, Self

HOST = "127.0.0.1"
_CHUNK = 65_536
_REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_UPGRADE = b"\r\nupgrade: websocket\r\n"

Upgrades = Literal["pass", "refuse", "swallow", "strip"]


class Pair:
    """A client's connection and the one to the node that was asked for it."""

    def __init__(self, client: socket.socket, node: socket.socket) -> None:
        self.client = client
        self.node = node
        self.fresh = True  # the client has sent nothing yet
        self.silent = False  # it never gets an answer


class MeddlingProxy:
    """For a `with` block. `url` is where it listens, `port` the node that it passes bytes to.

    `upgrades`: what becomes of WebSockets. They may pass, be refused with 403, be
    swallowed (taken, and never answered), or lose the header that asks for them.
    """

    def __init__(self, port: int, upgrades: Upgrades = "pass") -> None:
        self.port = port
        self.upgrades: Upgrades = upgrades
        self.losing = 0  # answers still to be lost, each with its connection
        self.lost = 0
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server((HOST, 0), backlog=64)
        self._bell, self._rope = socket.socketpair()
        self._pairs: list[Pair] = []
        self._cutting = False
        self._over = False
        self._thread = Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._rope.send(b".")
        self._thread.join(5)
        for sock in (self._listener, self._bell, self._rope):
            sock.close()
        self._selector.close()

    def cut(self) -> None:
        """Close every connection."""
        self._cutting = True
        self._rope.send(b".")

    # -- the thread ------------------------------------------------------------------

    def _run(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._bell, selectors.EVENT_READ)
        while not self._over:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._bell:
                    self._bell.recv(_CHUNK)
                elif key.data in self._pairs:
                    self._pass_on(key.data, from_client=key.fileobj is key.data.client)
            if self._cutting or self._over:
                self._cutting = False
                for pair in list(self._pairs):
                    self._close(pair)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            node = socket.create_connection((HOST, self.port), 2.0)
        except OSError:
            client.close()
            return
        pair = Pair(client, node)
        self._pairs.append(pair)
        for sock in (client, node):
            self._selector.register(sock, selectors.EVENT_READ, pair)

    def _pass_on(self, pair: Pair, *, from_client: bool) -> None:
        source, sink = (pair.client, pair.node) if from_client else (pair.node, pair.client)
        data = b""
        with suppress(OSError):
            data = source.recv(_CHUNK)
        if from_client and pair.fresh and self.upgrades != "pass":
            pair.fresh = False
            data = self._meddle(pair, data)
        elif not from_client and data and self.losing and b'"/meta/connect"' in data:
            self.losing -= 1
            self.lost += 1
            data = b""
        if pair.silent and pair in self._pairs and from_client and data:
            return
        if not data:
            self._close(pair)
            return
        try:
            sink.sendall(data)
        except OSError:
            self._close(pair)

    def _meddle(self, pair: Pair, data: bytes) -> bytes:
        """What becomes of the first bytes of a connection."""
        at = data.lower().find(_UPGRADE)
        if at < 0:
            return data
        if self.upgrades == "strip":
            return data[:at] + data[at + len(_UPGRADE) - 2 :]
        if self.upgrades == "swallow":
            pair.silent = True
            return data
        with suppress(OSError):
            pair.client.sendall(_REFUSAL)
        return b""

    def _close(self, pair: Pair) -> None:
        if pair not in self._pairs:
            return
        self._pairs.remove(pair)
        for sock in (pair.client, pair.node):
            self._selector.unregister(sock)
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
