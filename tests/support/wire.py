"""A reactor under test, and clients of it on socket pairs."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h11
import trio

from node.http import Head, HttpConnection, HttpService, HttpSettings
from node.reactor import Reactor
from node.stats import Stats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from node.http.connection import HttpHandler


@dataclass
class Recorder:
    """An HTTP handler that notes everything and answers with `answer`."""

    answer: Callable[[HttpConnection, Head, bytes], None] | None = None
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    conns: list[HttpConnection] = field(default_factory=list)
    lost: list[HttpConnection] = field(default_factory=list)

    def handle_request(self, conn: HttpConnection, head: Head, body: bytes) -> None:
        self.requests.append((head.method, head.path, body))
        self.heads.append(head)
        self.conns.append(conn)
        if self.answer is None:
            conn.respond_json(b"[]")
        else:
            self.answer(conn, head, body)

    def connection_lost(self, conn: HttpConnection) -> None:
        self.lost.append(conn)


def hold(conn: HttpConnection, head: Head, body: bytes) -> None:
    """An answer for later."""


@dataclass
class Client:
    """The other end of a connection: bytes in, bytes out."""

    sock: trio.socket.SocketType
    buffer: bytes = b""

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""
        await trio.SocketStream(self.sock).send_all(data)

    async def receive(self) -> bytes:
        """What comes next; empty at the end, or after a reset."""
        try:
            return await self.sock.recv(65536)
        except ConnectionResetError:
            return b""

    async def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        while mark not in self.buffer:
            data = await self.receive()
            assert data, f"ended before {mark!r}: {self.buffer!r}"
            self.buffer += data
        end = self.buffer.index(mark) + len(mark)
        out, self.buffer = self.buffer[:end], self.buffer[end:]
        return out

    async def exactly(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self.buffer) < size:
            data = await self.receive()
            assert data, f"ended after {self.buffer!r}"
            self.buffer += data
        out, self.buffer = self.buffer[:size], self.buffer[size:]
        return out

    async def rest(self) -> bytes:
        """Everything until the other side closes."""
        while data := await self.receive():
            self.buffer += data
        out, self.buffer = self.buffer, b""
        return out

    async def response(self, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """One response, read by h11: status, headers, body."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        parser.send(h11.EndOfMessage())
        head: h11.Response | None = None
        body = b""
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                data, self.buffer = self.buffer, b""
                parser.receive_data(data or await self.receive())
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.ConnectionClosed):
                raise AssertionError("closed without a response")
        self.buffer = parser.trailing_data[0]
        assert head is not None
        headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
        return head.status_code, headers, body

    def close(self) -> None:
        self.sock.close()


@dataclass
class Served:
    """A running reactor with one HTTP service."""

    reactor: Reactor
    service: HttpService
    stats: Stats
    clients: list[Client] = field(default_factory=list)

    def pair(self) -> tuple[Client, socket.socket]:
        """A client, and the server's end of its connection (non-blocking)."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        client = Client(trio.socket.from_stdlib_socket(ours))
        self.clients.append(client)
        return client, theirs

    def connect(self) -> Client:
        """A new client of the service."""
        client, theirs = self.pair()
        self.service.accept(theirs)
        return client

    async def settle(self, turns: int = 30) -> None:
        """Let the reactor come to rest."""
        for _ in range(turns):
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def serving(
    handler: HttpHandler,
    settings: HttpSettings | None = None,
    end_of_turn: Callable[[], bool] = lambda: False,
) -> AsyncIterator[Served]:
    """Run a reactor and a service for `handler` while the block runs."""
    stats = Stats()
    reactor = Reactor(stats, end_of_turn)
    served = Served(reactor, HttpService(reactor, handler, stats, settings), stats)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(reactor.run)
            yield served
            nursery.cancel_scope.cancel()
    finally:
        for client in served.clients:
            client.close()
