"""The client side of a real node with an echo behind its WebSockets, as Autobahn's cases want.

The same reactor, HTTP service, acceptor and WebSocket as in `node.app`; no ring
and no Bayeux. Run as a program: `python echo_server.py PORT [deflate]`; it says
`ready` when it listens, and ends with its standard input.
"""

from __future__ import annotations

import sys

import trio

from node.acceptor import Acceptor, open_listeners
from node.http import Head, HttpConnection, HttpService, HttpSettings
from node.reactor import Reactor
from node.stats import Stats
from node.websocket import WebSocketConnection, WebSocketSettings
from node.websocket.deflate import deflate
from node.websocket.frames import framed

FIN, RSV1, TEXT, BINARY = 0x80, 0x40, 0x1, 0x2
MAX_MESSAGE = 16 * 1024 * 1024  # bytes; Autobahn's largest


class Echo:
    """Sends every message back as it came."""

    def handle_request(self, conn: HttpConnection, head: Head, body: bytes) -> None:
        conn.upgrade(head, self)

    def handle_text(self, ws: WebSocketConnection, text: bytes) -> None:
        self._send(ws, TEXT, text)

    def handle_binary(self, ws: WebSocketConnection, data: bytes) -> None:
        self._send(ws, BINARY, data)

    @staticmethod
    def _send(ws: WebSocketConnection, opcode: int, data: bytes) -> None:
        if ws._window:  # always, as the cases count on it
            ws.send_frame(framed(FIN | RSV1 | opcode, deflate(data, ws._window)))
        else:
            ws.send_frame(framed(FIN | opcode, data))

    def connection_lost(self, conn: object) -> None:
        pass

    def handle_writable(self, conn: object) -> None:
        pass


async def main(port: int, *, deflates: bool) -> None:
    stats = Stats()
    reactor = Reactor(stats, lambda: False)
    websocket = WebSocketSettings(max_message=MAX_MESSAGE, deflate=deflates)
    service = HttpService(reactor, Echo(), stats, HttpSettings(websocket=websocket))
    listeners = await open_listeners("127.0.0.1", port)
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        await nursery.start(Acceptor(listeners, service.accept).run)
        print("ready", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(lambda: main(int(sys.argv[1]), deflates=sys.argv[2:] == ["deflate"]))
