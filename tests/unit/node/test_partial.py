"""What all clients together may leave unfinished: 503 and 1013, and every byte given back."""

from __future__ import annotations

import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from node.http import Head, HttpConnection, HttpSettings
from node.websocket import WebSocketConnection, WebSocketSettings
from wire import Client, Recorder, Served, serving
from ws_bytes import CONTINUATION, TEXT, frame, handshake, read_close

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BOUND = 100_000
SETTINGS = HttpSettings(websocket=WebSocketSettings(deflate=True))
POST = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"
CHUNKED = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nea60\r\n"
OFFER = b"Sec-WebSocket-Extensions: permessage-deflate"


class Receiver:
    def handle_text(self, ws: WebSocketConnection, text: bytes) -> None:
        pass

    def connection_lost(self, ws: WebSocketConnection) -> None:
        pass

    def handle_writable(self, ws: WebSocketConnection) -> None:
        pass


def answer(conn: HttpConnection, head: Head, body: bytes) -> None:
    if head.upgrade:
        conn.upgrade(head, Receiver())
    elif head.path != "/hold":
        conn.respond_json(b"[]")


@asynccontextmanager
async def bounded() -> AsyncIterator[Served]:
    async with serving(Recorder(answer=answer), SETTINGS) as served:
        served.reactor.max_partial = BOUND
        yield served


async def websocket(served: Served) -> Client:
    client = served.connect()
    await client.send(handshake(OFFER))
    assert b" 101 " in await client.until(b"\r\n\r\n")
    return client


async def send(served: Served, client: Client, data: bytes) -> None:
    await client.send(data)
    await served.settle()


@pytest.mark.parametrize("head", [POST, CHUNKED])
async def test_bodies(head: bytes) -> None:
    async with bounded() as served:
        first, second, whole = served.connect(), served.connect(), served.connect()
        await send(served, first, head + b"x" * 55_000)
        assert served.stats.partial_bytes >= 55_000
        await send(served, second, head + b"x" * 55_000)
        status, headers, body = await second.response()
        assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
        assert b'"retry":true' in body
        assert served.stats.partial_refused == {"http": 1}
        assert served.stats.http_requests["refused", 503] == 1
        assert 55_000 <= served.stats.partial_bytes < BOUND
        await send(served, whole, POST + b"x" * 60_000)  # (in one read or two)
        await send(served, first, b"x" * 5_000 + (b"\r\n0\r\n\r\n" if head is CHUNKED else b""))
        assert (await first.response())[0] == 200
        assert served.stats.partial_bytes == 0


async def test_a_request_that_comes_whole_is_always_served() -> None:
    async with bounded() as served:
        served.reactor.max_partial = 0
        client = served.connect()
        await client.send(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.response())[0] == 200
        ws = await websocket(served)
        await send(served, ws, frame(TEXT, b"x" * 1000))
        assert served.stats.partial_refused == {}


async def test_heads() -> None:
    async with bounded() as served:
        clients = [served.connect() for _ in range(8)]
        for client in clients:
            await send(served, client, b"GET /x HTTP/1.1\r\nX: " + b"x" * 15_000)
        assert (await clients[-1].response())[0] == 503
        assert served.stats.partial_refused == {"http": 2}
        for client in clients:
            client.close()
        await served.settle()
        assert served.stats.partial_bytes == 0


async def test_messages() -> None:
    async with bounded() as served:
        first, second = await websocket(served), await websocket(served)
        await send(served, first, frame(TEXT, b"x" * 80_000)[:55_000])
        await send(served, second, frame(TEXT, b"x" * 55_000, fin=False))
        assert (await read_close(second))[0] == 1013
        assert served.stats.partial_refused == {"websocket": 1}
        await send(served, first, frame(TEXT, b"x" * 80_000)[55_000:])
        assert served.stats.partial_bytes == 0
        assert served.stats.connections["websocket"] == 1


async def test_many_small_fragments_cost_what_they_hold() -> None:
    async with bounded() as served:
        client = await websocket(served)
        await send(served, client, frame(TEXT, b"ab", fin=False))
        await send(served, client, frame(CONTINUATION, b"cd", fin=False) * 3000)
        await served.settle(200)
        assert 6000 <= served.stats.partial_bytes <= 6002 + 14


async def test_what_is_inflated_counts() -> None:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = engine.compress(bytes(500_000)) + engine.flush(zlib.Z_SYNC_FLUSH)
    async with bounded() as served:
        client = await websocket(served)
        await send(served, client, frame(TEXT, bomb[:-4], fin=False, rsv=4))
        assert (await read_close(client))[0] == 1013
        await served.settle()
        assert served.stats.partial_bytes == 0


async def test_who_waits_for_an_answer_is_not_refused() -> None:
    async with bounded() as served:
        served.reactor.max_partial = 0
        client = served.connect()
        await send(served, client, b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        await send(served, client, b"GET /x HTTP/1.1\r\nX: " + b"x" * 5_000)
        assert served.stats.partial_bytes > 5_000
        assert served.stats.partial_refused == {}
        client.close()
        await served.settle()
        assert served.stats.partial_bytes == 0


async def test_a_deadline_gives_back(autojump_clock: trio.testing.MockClock) -> None:
    async with bounded() as served:
        http, ws = served.connect(), await websocket(served)
        await http.send(POST + b"x" * 1000)
        await ws.send(frame(TEXT, b"x" * 1000, fin=False))
        await trio.sleep(200)
        assert served.stats.partial_bytes == 0
        assert (await http.response())[0] == 408


_parts = st.sampled_from(
    [
        POST + b"x" * 1000,
        POST + b"x" * 60_000,
        CHUNKED + b"x" * 100,
        b"GET /x HTTP/1.1\r\nX: ",
        b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * 5,
        b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n" + POST,
        b"\r\n" * 100,
        b"bad\n\n",
        handshake(OFFER) + frame(TEXT, b"x" * 5000, fin=False),
        handshake(OFFER) + frame(TEXT, b"x" * 500) * 300,
        handshake() + frame(TEXT, b"x", rsv=1),
        frame(CONTINUATION, b"x" * 500),
        b"x" * 30_000,
    ]
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(_parts, max_size=3), max_size=4), st.sampled_from([0, 5_000, BOUND]))
async def test_whatever_happens_it_is_all_given_back(parts: list[list[bytes]], bound: int) -> None:
    async with serving(Recorder(answer=answer), SETTINGS) as served:
        served.reactor.max_partial = bound
        for pieces in parts:
            client = served.connect()
            for piece in pieces:
                try:
                    await client.send(piece)
                except trio.BrokenResourceError:
                    break
                await served.settle(8)
                assert served.stats.partial_bytes >= 0
            held = sum(conn._held for conn in served.reactor._table if conn is not None)
            assert served.stats.partial_bytes == held
        for client in served.clients:
            client.close()
        await served.settle(60)
        assert served.reactor.connections == 0
        assert served.stats.partial_bytes == 0
