"""A response without end: shared chunks, slow readers, comments, the end."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import trio

from node.connection import MAX_TAIL
from node.errors import SlowConsumerError
from node.http import EventStream, Head, HttpConnection, HttpSettings, stream_chunk
from wire import Recorder, Served, serving

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Receiver:
    """Opens a stream for every request, and notes what it is told."""

    streams: list[EventStream] = field(default_factory=list)
    lost: list[EventStream] = field(default_factory=list)
    drained: int = 0

    def open(self, conn: HttpConnection, head: Head, body: bytes) -> None:
        conn.add_headers(b"X-More: 1\r\n")
        self.streams.append(conn.start_events(self, b"data: 0\n\n"))

    def connection_lost(self, stream: EventStream) -> None:
        self.lost.append(stream)

    def handle_writable(self, stream: EventStream) -> None:
        self.drained += 1


async def opened(served: Served, receiver: Receiver) -> EventStream:
    await served.settle()
    return receiver.streams[0]


async def test_events_until_the_end() -> None:
    receiver = Receiver()
    async with serving(Recorder(receiver.open)) as served:
        client = served.connect()
        await client.send(GET + GET)  # pipelined: nothing is answered on a stream
        stream = await opened(served, receiver)
        assert served.stats.connections == {"http": 0, "sse": 1}
        assert stream.send_chunk(stream_chunk(b"data: 1\n\n"))
        stream.close_with(0, "")
        assert stream.closed
        stream.close_with(0, "")
        status, headers, body = await client.response()
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        assert (headers["cache-control"], headers["x-more"]) == ("no-store", "1")
        assert body == b"data: 0\n\ndata: 1\n\n"
        await served.settle()
        assert receiver.lost == [stream]
        assert served.stats.connections["sse"] == 0


async def test_to_a_client_of_http_1_0() -> None:
    receiver = Receiver()
    async with serving(Recorder(receiver.open)) as served:
        client = served.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        stream = await opened(served, receiver)
        stream.send_chunk(stream_chunk(b"data: 1\n\n"))
        stream.close_with(0, "")
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert b"Connection: close" in head
        assert body == b"data: 0\n\ndata: 1\n\n"


async def test_a_slow_reader() -> None:
    receiver = Receiver()
    async with serving(Recorder(receiver.open)) as served:
        client = served.connect()
        await client.send(GET)
        stream = await opened(served, receiver)
        chunk = stream_chunk(b"x" * 100_000)
        sent = 1
        while stream.send_chunk(chunk):
            sent += 1
        assert not stream.writable
        with pytest.raises(SlowConsumerError):  # noqa: PT012
            for _ in range(MAX_TAIL // 100_000 + 1):
                stream.send_chunk(chunk)
                sent += 1
        while receiver.drained == 0:
            client.buffer += await client.receive()
            await served.settle(3)
        assert stream.writable
        stream.close_with(0, "")
        assert (await client.response())[2] == b"data: 0\n\n" + b"x" * 100_000 * sent


async def test_a_reader_that_takes_nothing_is_given_up() -> None:
    receiver = Receiver()
    async with serving(Recorder(receiver.open), HttpSettings(idle_timeout=0.0)) as served:
        client = served.connect()
        await client.send(GET)
        stream = await opened(served, receiver)
        while stream.send_chunk(stream_chunk(b"x" * 100_000)):
            pass
        stream.on_sweep(stream.seen + 1)
        assert receiver.lost == [stream]
        assert served.stats.slow_consumers["close"] == 1


async def test_a_client_that_leaves() -> None:
    receiver = Receiver()
    async with serving(Recorder(receiver.open)) as served:
        client = served.connect()
        await client.send(GET)
        stream = await opened(served, receiver)
        client.close()
        await served.settle()
        assert receiver.lost == [stream]
        assert served.reactor.connections == 0
        assert not stream.send_chunk(stream_chunk(b"too late"))


async def test_what_a_client_sends_is_dropped() -> None:
    receiver = Receiver()
    async with serving(Recorder(receiver.open)) as served:
        client = served.connect()
        await client.send(GET)
        stream = await opened(served, receiver)
        await client.send(b"x" * 50_000)
        await served.settle()
        assert stream.send_chunk(stream_chunk(b"data: 1\n\n"))
        assert receiver.lost == []


async def test_comments_while_there_is_nothing_to_say() -> None:
    receiver = Receiver()
    async with serving(Recorder(receiver.open), HttpSettings(keep_alive=25.0)) as served:
        client = served.connect()
        await client.send(GET)
        stream = await opened(served, receiver)
        await client.until(b"data: 0\n\n\r\n")
        began = stream.seen
        stream.on_sweep(began + 15)
        stream.on_sweep(began + 21)  # the next look would be too late
        stream.on_sweep(began + 30)
        stream.on_sweep(began + 42)
        await served.settle()
        with trio.fail_after(2):
            assert await client.until(b":\n\n\r\n") == b"3\r\n:\n\n\r\n"
            assert await client.until(b":\n\n\r\n") == b"3\r\n:\n\n\r\n"
        assert client.buffer == b""


async def test_ending_a_stream_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver()
    async with serving(Recorder(receiver.open)) as served:
        client = served.connect()
        await client.send(GET)
        stream = await opened(served, receiver)
        while stream.send_chunk(stream_chunk(b"x" * 100_000)):
            pass
        monkeypatch.setattr("node.connection.MAX_TAIL", 1)
        stream.close_with(0, "")
        assert stream.closed
        await served.settle()
        assert served.reactor.connections == 0
