"""A round-robin proxy without stickiness: every HTTP request goes to the next node.

It knows no HTTP. Bytes from a client that follow bytes from a node begin a new
request (clients here do not pipeline), and that goes to the next node in turn,
over another connection if need be; a client's own connection stays open. A
WebSocket stays on the node that its upgrade was sent to. A node that refuses is
passed over.

One process, one selector, no thread: ``python proxy.py PORT NODE_PORT…``. When its
standard input closes it prints how many requests each node got, as JSON, and ends.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HOST = "127.0.0.1"
CHUNK = 65_536  # bytes read at once
FULL = 1 << 20  # bytes that wait for one side before the other is no longer read
CONNECT_LIMIT = 1.0  # seconds


class Side:
    """One socket of a conversation, with the bytes that it has not taken yet."""

    def __init__(
        self, proxy: Proxy, sock: socket.socket, on_bytes: Callable[[bytes], None]
    ) -> None:
        self._proxy = proxy
        self._on_bytes = on_bytes
        self._waiting = bytearray()
        self.sock = sock
        self.paused = False
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        proxy.selector.register(sock, selectors.EVENT_READ, self.on_event)

    @property
    def full(self) -> bool:
        return len(self._waiting) > FULL

    def on_event(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._drain()
        if events & selectors.EVENT_READ and self.sock.fileno() >= 0:
            try:
                data = self.sock.recv(CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self._on_bytes(data)

    def send(self, data: bytes) -> None:
        self._waiting += data
        self._drain()

    def watch(self) -> None:
        """Tell the selector what this side is waiting for."""
        events = 0 if self.paused else selectors.EVENT_READ
        if self._waiting:
            events |= selectors.EVENT_WRITE
        with suppress(KeyError, ValueError):
            self._proxy.selector.unregister(self.sock)
        if events and self.sock.fileno() >= 0:
            self._proxy.selector.register(self.sock, events, self.on_event)

    def close(self) -> None:
        with suppress(KeyError, ValueError):
            self._proxy.selector.unregister(self.sock)
        self.sock.close()

    def _drain(self) -> None:
        with suppress(BlockingIOError, OSError):  # a broken one shows when it is read
            sent = self.sock.send(self._waiting)
            del self._waiting[:sent]
        self.watch()


class Conversation:
    """One client connection, and a connection to each node that it has met."""

    def __init__(self, proxy: Proxy, sock: socket.socket) -> None:
        self._proxy = proxy
        self._client = Side(proxy, sock, self._from_client)
        self._nodes: dict[int, Side] = {}
        self._current: int | None = None
        self._answered = True  # the next bytes of the client begin a request
        self._tunnel = False

    def _from_client(self, data: bytes) -> None:
        if not data:
            self._close()
            return
        if self._answered and not self._tunnel:
            self._current = self._next_node()
            self._answered = False
            self._tunnel = b"\r\nupgrade: websocket\r\n" in data.lower()
        if self._current is None:
            self._close()
            return
        node = self._nodes[self._current]
        node.send(data)
        self._client.paused = node.full
        self._client.watch()

    def _from_node(self, index: int, data: bytes) -> None:
        if index == self._current and data:
            self._answered = True
            self._client.send(data)
        elif index == self._current and not self._answered:
            self._close()  # it died while it owed an answer: the client must see that
        elif not data:
            self._nodes.pop(index).close()
            if self._tunnel:
                self._close()
        else:
            raise AssertionError("a node spoke out of turn")

    def _next_node(self) -> int | None:
        for _ in self._proxy.ports:
            index = self._proxy.next_index()
            if index in self._nodes:
                return index
            with suppress(OSError):
                sock = socket.create_connection((HOST, self._proxy.ports[index]), CONNECT_LIMIT)
                self._nodes[index] = Side(self._proxy, sock, partial(self._from_node, index))
                return index
        return None

    def _close(self) -> None:
        for side in (self._client, *self._nodes.values()):
            side.close()


class Proxy:
    """The listener and its selector."""

    def __init__(self, port: int, ports: Sequence[int]) -> None:
        self.ports = ports
        self.requests = [0] * len(ports)
        self.selector = selectors.DefaultSelector()
        self._turn = count()
        self._listener = socket.create_server((HOST, port), backlog=1024)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]

    def next_index(self) -> int:
        index = next(self._turn) % len(self.ports)
        self.requests[index] += 1
        return index

    def run(self) -> None:
        """Serve until standard input closes."""
        self.selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self.selector.register(sys.stdin, selectors.EVENT_READ, None)
        while True:
            for key, events in self.selector.select():
                if key.data is None:
                    return
                key.data(events)

    def _accept(self, _events: int) -> None:
        with suppress(BlockingIOError, ConnectionError):
            Conversation(self, self._listener.accept()[0])


class RoundRobinProxy:
    """The proxy in a process of its own, for a `with` block; `url` is where it listens."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self.url = ""
        self.requests: list[int] = []  # by node, known after the block

    def __enter__(self) -> Self:
        words = [sys.executable, __file__, "0", *map(str, self._ports)]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = f"http://{HOST}:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        try:
            output, _errors = self._process.communicate(timeout=5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        self.requests = json.loads(output)


def main() -> None:
    port, *ports = map(int, sys.argv[1:])
    proxy = Proxy(port, ports)
    print(proxy.port, flush=True)
    proxy.run()
    print(json.dumps(proxy.requests), flush=True)


if __name__ == "__main__":
    main()
