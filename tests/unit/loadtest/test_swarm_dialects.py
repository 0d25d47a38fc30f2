"""Clients of other servers, and readers of events, against servers that follow a script."""

from __future__ import annotations

import socketserver
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from loadtest.swarm.control import SwarmError, swarm_for
from loadtest.swarm.frames import split_frame
from loadtest.swarm.orders import Open

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loadtest.swarm.orders import Counts

    Serve = Callable[["Peer"], None]

CLIENTS = 3


class Peer:
    """The server's end of one connection."""

    def __init__(self, handler: socketserver.StreamRequestHandler) -> None:
        self.reader, self._writer = handler.rfile, handler.wfile

    def head(self) -> str:
        """The next request head; its body, if any, is dropped."""
        lines = []
        while (line := self.reader.readline().decode()).strip():
            lines.append(line)
        head = "".join(lines)
        for line in lines:
            if line.lower().startswith("content-length:"):
                self.reader.read(int(line.partition(":")[2]))
        return head

    def say(self, data: bytes) -> None:
        self._writer.write(data)

    def answer(self, body: bytes, lines: str = "") -> None:
        self.say(f"HTTP/1.1 200 OK\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def frame(self, text: bytes) -> None:
        self.say(bytes((0x81, len(text))) + text)

    def heard(self) -> bytes:
        """The next masked text frame of the client."""
        first = self.reader.read(6)
        mask = first[2:]
        masked = self.reader.read(first[1] & 0x7F)
        return bytes(byte ^ mask[index % 4] for index, byte in enumerate(masked))

    def wait(self) -> None:
        self.reader.read(1)  # until the client goes


@contextmanager
def serving(serve: Serve) -> Iterator[int]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            serve(Peer(self))

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def message(number: int) -> bytes:
    return b'{"n":%d,"sent_ns":%d}' % (number, time.monotonic_ns())


def counted(serve: Serve, wanted: int, **fields: object) -> Counts:
    """What the swarm has counted once each client has had `wanted` messages."""
    with serving(serve) as port, swarm_for(CLIENTS) as swarm:
        order = Open(host="127.0.0.1", port=port, count=CLIENTS, seed=1, sampled=1, **fields)  # type: ignore[arg-type]
        swarm.open(order, timeout=10)
        swarm.expect(wanted)
        swarm.wait_reached(10)
        return swarm.tell()


def check(counts: Counts, wanted: int) -> None:
    assert counts.faults == []
    assert (counts.fewest, counts.most, counts.checked) == (wanted, wanted, wanted)


@pytest.mark.parametrize("chunked", [True, False])
def test_events_are_counted_though_they_come_in_pieces(chunked: bool) -> None:
    def serve(peer: Peer) -> None:
        assert "GET /sse?channel=/a HTTP/1.1" in peer.head()
        encoding = b"Transfer-Encoding: chunked\r\n" if chunked else b""
        peer.say(b"HTTP/1.1 200 OK\r\n" + encoding + b"\r\n: hello\n\n")
        events = b"".join(b"data: %b\n\n" % message(number) for number in (1, 2, 3))
        if chunked:
            events = b"%x\r\n%b\r\n" % (len(events), events)
        for start in range(0, len(events), 11):
            peer.say(events[start : start + 11])
            time.sleep(0.002)
        peer.wait()

    check(counted(serve, 3, transport="sse", path="/sse?channel=/a"), 3)


def test_a_refused_stream_is_told() -> None:
    def serve(peer: Peer) -> None:
        peer.head()
        peer.say(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        peer.wait()

    with pytest.raises(SwarmError, match="403 No"):
        counted(serve, 1, transport="sse")


def test_polls_name_the_last_answer_where_they_must() -> None:
    def serve(peer: Peer) -> None:
        assert "If-None-Match" not in peer.head()
        for number in (1, 2):
            peer.answer(message(number), f"Last-Modified: day {number}\r\nEtag: e{number}\r\n")
            head = peer.head()
            assert f"If-Modified-Since: day {number}\r\nIf-None-Match: e{number}\r\n" in head
        peer.wait()

    check(counted(serve, 2, transport="poll", path="/poll", conditional=True), 2)


def test_a_dialogue_is_said_step_by_step_and_heartbeats_are_answered() -> None:
    def serve(peer: Peer) -> None:
        assert "GET /socket" in peer.head()
        peer.say(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        assert peer.heard() == b"hello"
        peer.frame(b"welcome")
        assert peer.heard() == b"join"
        peer.frame(b"joined")
        for number in (1, 2):
            peer.frame(b"2")
            assert peer.heard() == b"3"
            peer.frame(b"42" + message(number))
        peer.wait()

    fields = {"path": "/socket", "dialogue": ["hello", "join"], "heartbeat": ("2", "3")}
    check(counted(serve, 2, transport="frames", **fields), 2)


def test_socket_io_without_websocket() -> None:
    def serve(peer: Peer) -> None:
        assert "GET /socket.io/?EIO=4" in peer.head()
        peer.answer(b'0{"sid":"abc","pingInterval":25000}')
        assert peer.head().startswith("POST /socket.io/?EIO=4&sid=abc")
        peer.answer(b"ok")
        assert peer.head().startswith("GET /socket.io/?EIO=4&sid=abc")
        peer.answer(b'40{"sid":"def"}')
        peer.head()
        peer.answer(b"2")
        assert peer.head().startswith("POST")  # the pong
        peer.answer(b"ok")
        peer.head()
        peer.answer(b"42%b\x1e42%b" % (message(1), message(2)))
        peer.head()
        peer.wait()

    check(counted(serve, 2, transport="engine-polling", path="/socket.io/?EIO=4"), 2)


def test_a_client_that_is_asked_to_wait_waits() -> None:
    def serve(peer: Peer) -> None:
        reply = b'[{"channel":"/meta/%b","successful":true,"id":"1","clientId":"c"%b}]'
        peer.head()
        peer.answer(reply % (b"handshake", b',"advice":{"reconnect":"retry","interval":0}'))
        peer.head()
        peer.answer(reply % (b"connect", b',"advice":{"reconnect":"retry","interval":300}'))
        answered = time.monotonic()
        peer.head()
        waited = time.monotonic() - answered
        data = message(1) if waited > 0.25 else b"{}"
        peer.answer(b'[{"channel":"/a","data":%b},' % data + (reply % (b"connect", b""))[1:])
        peer.head()
        peer.wait()

    check(counted(serve, 1, transport="long-polling"), 1)


def test_the_frames_of_this_server_are_frames() -> None:
    assert split_frame(b"\x81\x012") == (1, b"2", 3)
