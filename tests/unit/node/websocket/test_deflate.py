"""permessage-deflate: what is agreed, what is sent, and how bombs end."""

from __future__ import annotations

import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from node.http import Head, HttpConnection, HttpSettings
from node.http.head import parse
from node.topic import Wire
from node.websocket import WebSocketConnection, WebSocketSettings, deflated_frame, text_frame
from node.websocket.deflate import REACH, Negotiation, TooMuchError, inflate
from node.websocket.handshake import accept
from pubsub.messages import Entry
from wire import Client, Recorder, Served, serving
from ws_bytes import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    frame,
    handshake,
    read_close,
    read_frame,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIMIT = 100_000
SETTINGS = HttpSettings(websocket=WebSocketSettings(max_message=LIMIT, deflate=True))
OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
TAIL = b"\x00\x00\xff\xff"


def deflate(text: bytes, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (engine.compress(text) + engine.flush(flush)).removesuffix(TAIL)


def undeflate(data: bytes, bits: int = 15) -> bytes:
    return zlib.decompressobj(-bits).decompress(data + TAIL)


def unframed(data: bytes) -> bytes:
    assert data[0] == 0xC1
    return data[2 if data[1] < 126 else 4 if data[1] == 126 else 10 :]


def agreed(*offers: bytes) -> tuple[str, int]:
    """The answer's header, and the window that was agreed on."""
    fields = [b"Sec-WebSocket-Extensions: " + offer for offer in offers]
    extension = Negotiation()
    answer = accept(parse(handshake(*fields), frozenset(), b"")[0], extensions=[extension])
    for line in answer.decode().split("\r\n"):
        name, _, value = line.partition(": ")
        if name.lower() == "sec-websocket-extensions":
            return value, extension.window
    return "", extension.window


BOTH = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


class TestNegotiation:
    """RFC 7692 section 7.1."""

    @pytest.mark.parametrize(
        "offer",
        [
            b"permessage-deflate",
            b"permessage-deflate; client_max_window_bits",
            b"permessage-deflate; client_max_window_bits=10",
            b'permessage-deflate; client_max_window_bits="8"',
            b"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            b"permessage-deflate ;client_no_context_takeover",
            b"x-webkit-deflate-frame, permessage-deflate",
        ],
    )
    def test_neither_side_keeps_a_window(self, offer: bytes) -> None:
        assert agreed(offer) == (BOTH, 15)

    @pytest.mark.parametrize("bits", [8, 9, 12, 15])
    def test_a_smaller_window_for_us(self, bits: int) -> None:
        offer = b"permessage-deflate; server_max_window_bits=%d" % bits
        assert agreed(offer) == (f"{BOTH}; server_max_window_bits={bits}", bits)

    @pytest.mark.parametrize(
        "offer",
        [
            b"permessage-deflate; server_max_window_bits",
            b"permessage-deflate; server_max_window_bits=7",
            b"permessage-deflate; server_max_window_bits=16",
            b"permessage-deflate; server_max_window_bits=08",
            b"permessage-deflate; client_max_window_bits=",
            b"permessage-deflate; client_max_window_bits=x",
            b"permessage-deflate; server_no_context_takeover=1",
            b"permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            b"permessage-deflate; something_else",
            b"permessage-deflate;",
            b"permessage-bzip2",
            b"",
        ],
    )
    def test_an_offer_that_cannot_be_met_is_declined(self, offer: bytes) -> None:
        assert agreed(offer) == ("", 0)

    def test_the_first_that_can_be_met(self) -> None:
        offers = (
            b"permessage-deflate; mystery, permessage-deflate; server_max_window_bits=10",
            b"permessage-deflate",
        )
        assert agreed(*offers) == (f"{BOTH}; server_max_window_bits=10", 10)

    def test_it_offers_nothing(self) -> None:
        assert not Negotiation().offer()


class TestFrames:
    """What is sent."""

    @given(st.text(max_size=2000))
    def test_what_a_client_reads(self, text: str) -> None:
        payload = text.encode() * 5
        data = deflated_frame(payload)
        plain = text_frame(payload)
        assert len(data) <= len(plain)
        if data != plain:
            assert undeflate(unframed(data)) == payload

    def test_what_does_not_compress_is_left_alone(self) -> None:
        assert deflated_frame(b"abcdef") == text_frame(b"abcdef")

    @pytest.mark.parametrize("bits", [9, 11, 14])
    def test_a_short_message_never_needs_the_whole_window(self, bits: int) -> None:
        payload = (b"0123456789abcdef" * (1 << bits))[: REACH[bits]]
        assert undeflate(unframed(deflated_frame(payload)), bits) == payload

    @pytest.mark.parametrize("bits", range(9, 16))
    def test_a_long_one_is_made_for_the_window(self, bits: int) -> None:
        payload = bytes(range(32, 127)) * 2000
        assert undeflate(unframed(deflated_frame(payload, bits)), bits) == payload

    def test_a_window_too_small_for_zlib(self) -> None:
        assert undeflate(unframed(deflated_frame(b"x" * 256, 8)), 9) == b"x" * 256
        assert deflated_frame(b"x" * 257, 8) == text_frame(b"x" * 257)


class TestInflating:
    """What comes from clients."""

    @given(st.binary(max_size=5000))
    def test_a_whole_message(self, data: bytes) -> None:
        assert inflate(deflate(data), len(data)) == data

    def test_a_last_block(self) -> None:
        # RFC 7692 section 7.2.3.4 (a block with BFINAL), and the same without its padding.
        assert inflate(bytes.fromhex("f348cdc9c9070000"), 5) == b"Hello"
        assert inflate(deflate(b"Hello", zlib.Z_FINISH), 5) == b"Hello"

    @pytest.mark.parametrize("more", [b"\x01", b"\x00\x00", b"\xf3\x48\xcd\xc9\xc9\x07\x00"])
    def test_nothing_may_follow_it(self, more: bytes) -> None:
        with pytest.raises(zlib.error):
            inflate(deflate(b"Hello", zlib.Z_FINISH) + more, 100)

    def test_the_limit_is_exact(self) -> None:
        bomb = deflate(bytes(10_000_000))
        assert len(bomb) < 20_000
        with pytest.raises(TooMuchError):
            inflate(bomb, 9_999_999)
        assert len(inflate(bomb, 10_000_000)) == 10_000_000


class Receiver:
    """Echoes, and notes what comes."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self.blobs: list[bytes] = []
        self.lost = 0

    def handle_text(self, ws: WebSocketConnection, text: bytes) -> None:
        self.texts.append(text)
        ws.send_text(text)

    def handle_binary(self, ws: WebSocketConnection, data: bytes) -> None:
        self.blobs.append(data)

    def connection_lost(self, ws: WebSocketConnection) -> None:
        self.lost += 1

    def handle_writable(self, ws: WebSocketConnection) -> None:
        pass


class Open:
    def __init__(self, served: Served, client: Client, receiver: Receiver) -> None:
        self.served = served
        self.client = client
        self.receiver = receiver
        self.ws: WebSocketConnection

    async def send(self, *frames: bytes) -> None:
        await self.client.send(b"".join(frames))
        await self.served.settle()


@asynccontextmanager
async def opened(offer: bytes = OFFER) -> AsyncIterator[Open]:
    receiver = Receiver()

    def answer(conn: HttpConnection, head: Head, body: bytes) -> None:
        it.ws = conn.upgrade(head, receiver)

    async with serving(Recorder(answer=answer), SETTINGS) as served:
        client = served.connect()
        it = Open(served, client, receiver)
        await client.send(handshake(offer))
        answer_head = await client.until(b"\r\n\r\n")
        assert BOTH.encode() in answer_head
        yield it


async def read_deflated(client: Client) -> bytes:
    """The server's next frame, which must be compressed text."""
    first, second = await client.exactly(2)
    assert first == 0xC1
    size = int.from_bytes(await client.exactly(2), "big") if second == 126 else second
    return undeflate(await client.exactly(size))


JSON = b'[{"channel":"/chat/room","data":"hello"}]' * 20


class TestConnection:
    """Both directions, on a real socket."""

    async def test_whole_messages(self) -> None:
        async with opened() as it:
            await it.send(frame(TEXT, deflate(JSON), rsv=4))
            assert it.receiver.texts == [JSON]
            assert await read_deflated(it.client) == JSON
            await it.send(frame(TEXT, b"small, and not deflated"))
            assert await read_frame(it.client) == (TEXT, b"small, and not deflated")
            assert it.ws._machine is None

    async def test_fragments_and_a_ping_between(self) -> None:
        data = deflate(JSON)
        async with opened() as it:
            await it.send(
                frame(TEXT, data[:10], fin=False, rsv=4),
                frame(PING, b"p"),
                frame(CONTINUATION, data[10:20], fin=False),
                frame(CONTINUATION, data[20:]),
            )
            assert await read_frame(it.client) == (PONG, b"p")
            assert await read_deflated(it.client) == JSON
            assert it.ws._machine is None

    async def test_byte_by_byte(self) -> None:
        async with opened() as it:
            for byte in frame(TEXT, deflate(JSON), rsv=4):
                await it.client.send(bytes([byte]))
                await it.served.settle(3)
            assert it.receiver.texts == [JSON]

    async def test_binary(self) -> None:
        async with opened() as it:
            await it.send(frame(BINARY, deflate(b"\xff" * 1000), rsv=4))
            assert it.receiver.blobs == [b"\xff" * 1000]

    async def test_shared_frames(self) -> None:
        wire = Wire(0, [Entry(1, 1, "id", JSON, 0.0, 0)])
        async with opened() as it:
            it.ws.offer(wire)
            assert await read_deflated(it.client) == b"[%b]" % JSON
            assert wire.deflated is wire.deflated
        small = b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9"
        async with opened(small) as it:
            it.ws.offer(wire)  # longer than that window
            assert await read_frame(it.client) == (TEXT, b"[%b]" % JSON)
            it.ws.send_text(JSON)  # its own, made for that window
            assert await read_deflated(it.client) == JSON

    async def test_what_is_as_large_as_may_be(self) -> None:
        text = bytes(range(32, 127)) * 1100
        text = text[:LIMIT]
        for data in (frame(TEXT, deflate(text), rsv=4), frame(TEXT, text)):
            async with opened() as it:
                await it.send(data)
                assert it.receiver.texts == [text]

    async def test_what_does_not_compress_may_grow_a_little(self) -> None:
        stored = zlib.compressobj(0, zlib.DEFLATED, -15)
        data = stored.compress(b"x" * LIMIT) + stored.flush(zlib.Z_SYNC_FLUSH)
        assert len(data) - 4 > LIMIT
        async with opened() as it:
            await it.send(frame(TEXT, data[:-4], rsv=4))
            assert it.receiver.texts == [b"x" * LIMIT]

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (frame(TEXT, deflate(bytes(LIMIT + 1)), rsv=4), 1009),  # a bomb in one frame
            (frame(TEXT, deflate(bytes(50_000_000)), rsv=4), 1009),
            (
                frame(TEXT, deflate(bytes(LIMIT * 9))[:300], fin=False, rsv=4)
                + frame(CONTINUATION, deflate(bytes(LIMIT * 9))[300:]),
                1009,
            ),
            (frame(TEXT, b"\xff\xff\xff", rsv=4), 1007),  # nothing that zlib knows
            (frame(TEXT, b"\xff\xff", fin=False, rsv=4) + frame(CONTINUATION, b"\xff"), 1007),
            (frame(TEXT, deflate(b"\xff"), rsv=4), 1007),  # inflated, it is not UTF-8
            (frame(TEXT, deflate(b"caf\xc3"), fin=False, rsv=4) + frame(CONTINUATION), 1007),
            (
                frame(TEXT, deflate(b"x", zlib.Z_FINISH) + b"more than padding", rsv=4),
                1007,
            ),
            (frame(TEXT, b"", fin=False) + frame(CONTINUATION, deflate(JSON), rsv=4), 1002),
            (frame(PING, deflate(b"p"), rsv=4), 1002),
            (frame(TEXT, deflate(JSON), rsv=6), 1002),
            (frame(TEXT, deflate(JSON), rsv=2), 1002),
        ],
    )
    async def test_what_is_wrong_closes_with_a_code_that_says_why(
        self, data: bytes, code: int
    ) -> None:
        with capture_logs() as logs:
            async with opened() as it:
                await it.client.send(data)
                assert (await read_close(it.client))[0] == code
                await it.served.settle()
                assert it.receiver.texts == []
                assert it.receiver.lost == 1
        assert logs == []

    async def test_many_bombs_within_the_limit_leave_turns_for_others(self) -> None:
        bomb = frame(TEXT, deflate(b"x" * LIMIT), rsv=4)
        turns = 0

        def count() -> bool:
            nonlocal turns
            turns += 1
            return False

        receiver = Receiver()
        receiver.handle_text = lambda ws, text: receiver.texts.append(text)  # type: ignore[method-assign]

        def answer(conn: HttpConnection, head: Head, body: bytes) -> None:
            conn.upgrade(head, receiver)

        async with serving(Recorder(answer=answer), SETTINGS, count) as served:
            client = served.connect()
            await client.send(handshake(OFFER))
            await client.until(b"\r\n\r\n")
            before = turns
            await client.send(bomb * 600)  # (60 fit into one slice of a fast processor)
            while len(receiver.texts) < 600:
                await served.settle(1)
            assert turns - before > 1

    async def test_without_the_extension_the_bit_is_refused(self) -> None:
        async with serving(Recorder(answer=_upgrade)) as served:
            client = served.connect()
            await client.send(handshake(OFFER))
            assert b"ensions" not in await client.until(b"\r\n\r\n")
            await client.send(frame(TEXT, deflate(JSON), rsv=4))
            assert (await read_close(client))[0] == 1002


def _upgrade(conn: HttpConnection, head: Head, body: bytes) -> None:
    conn.upgrade(head, Receiver())


_pieces = st.lists(st.binary(max_size=60) | st.just(deflate(JSON)), min_size=1, max_size=5)


@settings(max_examples=100, deadline=None)
@given(_pieces, st.booleans())
async def test_garbage_ends_at_most_its_connection(pieces: list[bytes], whole: bool) -> None:
    data = b"".join(
        frame(
            CONTINUATION if index and not whole else TEXT,
            piece,
            rsv=0 if index and not whole else 4,
            fin=whole or index == len(pieces) - 1,
        )
        for index, piece in enumerate(pieces)
    )
    with capture_logs() as logs:
        async with opened() as it:
            await it.send(data)
            it.client.close()
            await it.served.settle()
            assert it.receiver.lost == 1
    assert logs == []
