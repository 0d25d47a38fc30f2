"""A WebSocket on a real socket: messages, fragments, control frames, closing, silence, garbage."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from node.connection import MAX_TAIL, READ
from node.errors import RemoteProtocolError
from node.http import Head, HttpConnection, HttpSettings
from node.websocket import CloseCode, WebSocketConnection, WebSocketSettings, text_frame
from node.websocket.reader import FRAMES_A_TURN, UNREAD
from wire import Client, Recorder, Served, serving
from ws_bytes import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    TEXT,
    close,
    frame,
    handshake,
    read_close,
    read_frame,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LIMIT = 100_000
SETTINGS = HttpSettings(websocket=WebSocketSettings(max_message=LIMIT))


@dataclass
class Receiver:
    """Notes what comes; `act` says what to do with a message."""

    act: Callable[[WebSocketConnection, bytes], None] | None = None
    texts: list[bytes] = field(default_factory=list)
    lost: int = 0
    drained: int = 0

    def handle_text(self, ws: WebSocketConnection, text: bytes) -> None:
        self.texts.append(text)
        if self.act is not None:
            self.act(ws, text)

    def connection_lost(self, ws: WebSocketConnection) -> None:
        del ws
        self.lost += 1

    def handle_writable(self, ws: WebSocketConnection) -> None:
        del ws
        self.drained += 1


@dataclass
class BinaryReceiver(Receiver):
    """One that takes binary messages too."""

    blobs: list[bytes] = field(default_factory=list)

    def handle_binary(self, ws: WebSocketConnection, data: bytes) -> None:
        del ws
        self.blobs.append(data)


@dataclass
class Open:
    """An open WebSocket, both ends."""

    served: Served
    client: Client
    ws: WebSocketConnection
    receiver: Receiver

    async def send(self, *frames: bytes) -> None:
        await self.client.send(b"".join(frames))
        await self.served.settle()

    def at_rest(self) -> bool:
        """Nothing is kept for a message under way."""
        return (
            self.ws._machine is None and not self.ws._partial and not self.served.reactor._deadlines
        )


@asynccontextmanager
async def opened(
    receiver: Receiver | None = None,
    ahead: bytes = b"",
    http: HttpSettings = SETTINGS,
) -> AsyncIterator[Open]:
    """An open WebSocket; `ahead` is sent behind the handshake without waiting."""
    receiver = receiver or Receiver()
    sockets: list[WebSocketConnection] = []

    def answer(conn: HttpConnection, head: Head, body: bytes) -> None:
        sockets.append(conn.upgrade(head, receiver, ("bayeux",)))

    async with serving(Recorder(answer=answer), http) as served:
        client = served.connect()
        await client.send(handshake() + ahead)
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        yield Open(served, client, sockets[0], receiver)


def echo(ws: WebSocketConnection, text: bytes) -> None:
    ws.send_text(text)


async def test_messages_in_and_out() -> None:
    async with opened(Receiver(act=echo)) as it:
        assert it.served.stats.connections == {"http": 0, "websocket": 1}
        for text in (b"", b"hello", "§ü\U0001f600".encode(), b"x" * 126, b"y" * 65_000):
            await it.send(frame(TEXT, text))
            assert await read_frame(it.client) == (TEXT, text)
            assert it.at_rest()
        assert it.ws.send_frame(text_frame(b"shared"))
        assert await read_frame(it.client) == (TEXT, b"shared")


async def test_what_was_sent_behind_the_handshake() -> None:
    receiver = Receiver()
    two = frame(TEXT, b"two")
    async with opened(receiver, ahead=frame(TEXT, b"one") + two[:-1]) as it:
        await it.served.settle()
        assert receiver.texts == [b"one"]
        await it.send(two[-1:])
        assert receiver.texts == [b"one", b"two"]


async def test_a_flood_behind_the_handshake() -> None:
    async with opened(ahead=frame(TEXT, b"x" * 50) * 4000) as it:
        while len(it.receiver.texts) < 4000:
            await it.served.settle(1)
        assert it.at_rest()


async def test_handshakes_that_fail_are_answered() -> None:
    def answer(conn: HttpConnection, head: Head, body: bytes) -> None:
        conn.upgrade(head, Receiver())

    async with serving(Recorder(answer=answer)) as served:
        client = served.connect()
        await client.send(handshake().replace(b"Version: 13", b"Version: 7"))
        status, headers, _ = await client.response()
        assert (status, headers["sec-websocket-version"]) == (426, "13")
        await client.send(handshake().replace(KEY, b"?"))
        assert (await client.response())[0] == 400


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=30).map(lambda text: ("whole", text)),
            st.text(min_size=1, max_size=30).map(lambda text: ("parts", text)),
            st.just(("ping", "p")),
            st.just(("pong", "")),
        ),
        min_size=1,
        max_size=8,
    ),
    st.lists(st.integers(0, 3000), max_size=10),
)
async def test_any_split_gives_the_same_messages(
    messages: list[tuple[str, str]], cuts: list[int]
) -> None:
    data = b""
    expected = []
    for kind, text in messages:
        raw = text.encode()
        if kind == "whole":
            data += frame(TEXT, raw)
        elif kind == "parts":
            half = len(raw) // 2  # (within a character, perhaps)
            data += frame(TEXT, raw[:half], fin=False) + frame(PONG)
            data += frame(CONTINUATION, raw[half:])
        else:
            data += frame(PING if kind == "ping" else PONG, raw)
        if kind in {"whole", "parts"}:
            expected.append(raw)
    async with opened() as it:
        bounds = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
        for start, end in pairwise(bounds):
            await it.send(data[start:end])
        assert it.receiver.texts == expected
        assert it.at_rest()
        for kind, _ in messages:
            if kind == "ping":
                assert await read_frame(it.client) == (PONG, b"p")


async def test_many_frames_in_one_read_are_read_in_slices() -> None:
    async with opened() as it:
        count = 5 * FRAMES_A_TURN + 3
        await it.client.send(b"".join(frame(TEXT, b"%d" % n) for n in range(count)))
        await it.served.settle(1)
        while len(it.receiver.texts) < count:
            await it.served.settle(1)
        assert it.receiver.texts == [b"%d" % n for n in range(count)]
        assert it.at_rest()


async def test_a_large_message_in_one_frame() -> None:
    async with opened() as it:
        await it.send(frame(TEXT, b"x" * LIMIT))
        assert it.receiver.texts == [b"x" * LIMIT]
        assert it.at_rest()


class TestControlFrames:
    """RFC 6455 section 5.5; Autobahn's case 2."""

    @pytest.mark.parametrize("payload", [b"", b"hello", bytes(range(125))])
    async def test_a_ping_is_answered(self, payload: bytes) -> None:
        async with opened() as it:
            await it.send(frame(PING, payload))
            assert await read_frame(it.client) == (PONG, payload)
            assert it.at_rest()

    async def test_a_ping_that_comes_byte_by_byte(self) -> None:
        async with opened() as it:
            for byte in frame(PING, b"hello"):
                await it.send(bytes([byte]))
            assert await read_frame(it.client) == (PONG, b"hello")
            assert it.at_rest()

    async def test_a_pong_unasked_is_ignored(self) -> None:
        async with opened() as it:
            await it.send(frame(PONG, b"x"), *[bytes([b]) for b in frame(PONG, b"y")])
            await it.send(frame(PING, b"z"))
            assert await read_frame(it.client) == (PONG, b"z")

    async def test_a_ping_between_fragments(self) -> None:
        async with opened() as it:
            await it.send(frame(TEXT, b"a", fin=False), frame(PING, b"p"))
            assert await read_frame(it.client) == (PONG, b"p")
            assert not it.at_rest()
            await it.send(frame(CONTINUATION, b"b"))
            assert it.receiver.texts == [b"ab"]
            assert it.at_rest()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"x", masked=False), 1002),
        (frame(TEXT, b"x", rsv=1), 1002),
        (frame(TEXT, b"x", rsv=4), 1002),
        (frame(3, b"x"), 1002),
        (frame(7), 1002),
        (frame(11), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(PING, fin=False), 1002),
        (frame(CONTINUATION, b"x"), 1002),
        (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
        (frame(TEXT, b"x", fin=False) + frame(BINARY, b"y"), 1002),
        (b"\x81\xfe\x00\x05" + b"mask" + b"xxxxx", 1002),  # lengths must be the shortest
        (b"\x81\xff" + (5).to_bytes(8, "big") + b"mask" + b"xxxxx", 1002),
        (b"\x81\xff" + (1 << 63).to_bytes(8, "big") + b"mask", 1009),
        (close(999), 1002),
        (close(1004), 1002),
        (close(1005), 1002),
        (close(1006), 1002),
        (close(2999), 1002),
        (close(5000), 1002),
        (frame(CLOSE, b"x"), 1002),
        (close(1000, b"\xff"), 1007),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"caf\xc3"), 1007),
        (frame(TEXT, b"\xed\xa0\x80"), 1007),  # a surrogate
        (frame(TEXT, b"\xf4\x90\x80\x80"), 1007),  # beyond Unicode
        (frame(TEXT, b"\xce\xba", fin=False) + frame(CONTINUATION, b"\xff"), 1007),
        (frame(TEXT, b"a\xc3", fin=False) + frame(CONTINUATION, b"b"), 1007),
        (frame(TEXT, b"a\xc3", fin=False) + frame(CONTINUATION, b""), 1007),
        (frame(BINARY, b"[]"), 1003),
        (frame(BINARY, b"[", fin=False) + frame(CONTINUATION, b"]"), 1003),
        (frame(TEXT, b"x" * (LIMIT + 1))[:20], 1009),
        (frame(TEXT, b"x" * 60_000, fin=False) + frame(CONTINUATION, b"x" * 60_000), 1009),
    ],
)
async def test_what_is_wrong_closes_with_a_code_that_says_why(data: bytes, code: int) -> None:
    with capture_logs() as logs:
        async with opened() as it:
            await it.client.send(data + frame(TEXT, b"not heard"))
            with trio.fail_after(5):
                opcode, payload = await read_frame(it.client)
                assert opcode == CLOSE
                assert int.from_bytes(payload[:2], "big") == code
                await it.client.send(close(code))
                assert await it.client.rest() == b""
            await it.served.settle()
            assert it.receiver.texts == []
            assert it.receiver.lost == 1
            assert it.served.stats.connections["websocket"] == 0
    assert logs == []


async def test_a_quick_frame_over_the_limit() -> None:
    small = HttpSettings(websocket=WebSocketSettings(max_message=10))
    async with opened(http=small) as it:
        await it.send(frame(TEXT, b"x" * 10))
        await it.send(frame(TEXT, b"x" * 11))
        assert (await read_close(it.client))[0] == 1009
        assert it.receiver.texts == [b"x" * 10]


async def test_a_receiver_that_takes_binary() -> None:
    receiver = BinaryReceiver()
    async with opened(receiver) as it:
        await it.send(frame(BINARY, b"\xff\x00"), frame(TEXT, b"text"))
        assert (receiver.blobs, receiver.texts) == ([b"\xff\x00"], [b"text"])
        assert it.at_rest()


class TestClosing:
    """RFC 6455 section 7; Autobahn's case 7."""

    @pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 3999, 4000, 4999])
    async def test_by_the_client(self, code: int) -> None:
        async with opened() as it:
            await it.send(close(code, b"bye"), frame(TEXT, b"not heard"))
            assert await read_close(it.client) == (code, "bye")
            assert it.receiver.texts == []
            assert it.receiver.lost == 1
            assert not it.ws.writable
            assert not it.ws.send_text(b"x")
            assert not it.ws.send_frame(text_frame(b"x"))

    async def test_by_the_client_without_a_code(self) -> None:
        async with opened() as it:
            await it.send(close(None))
            assert await read_frame(it.client) == (CLOSE, b"")
            assert await it.client.rest() == b""

    async def test_by_us(self) -> None:
        async with opened() as it:
            it.ws.close_with(CloseCode.GOING_AWAY, "drain")
            it.ws.close_with(CloseCode.NORMAL, "again")
            assert not it.ws.writable
            assert not it.ws.send_text(b"x")
            assert it.receiver.lost == 0
            await it.served.settle()
            assert it.receiver.lost == 1
            assert await read_frame(it.client) == (CLOSE, b"\x03\xe9drain")
            await it.send(frame(TEXT, b"late"), frame(PING, b"late"), frame(BINARY, b"late"))
            await it.send(frame(TEXT, b"la", fin=False))
            await it.send(close(1001))
            assert await it.client.rest() == b""
            assert it.receiver.texts == []
            assert it.receiver.lost == 1
            it.client.close()
            await it.served.settle()
            assert it.served.reactor.connections == 0

    async def test_by_us_and_the_end_comes_with_it(self) -> None:
        async with opened() as it:
            it.ws.part(CloseCode.SERVICE_RESTART, "drain")
            it.ws.part(CloseCode.NORMAL, "again")
            assert it.ws.closing
            assert it.receiver.lost == 0
            assert await read_frame(it.client) == (CLOSE, b"\x03\xf4drain")
            assert await it.client.rest() == b""  # though the client has not answered
            assert it.receiver.lost == 1
            await it.send(frame(TEXT, b"late"), close(1012))  # no reset
            assert it.receiver.texts == []
            it.client.close()
            await it.served.settle()
            assert it.served.reactor.connections == 0

    async def test_a_quiet_moment(self) -> None:
        async with opened() as it:
            assert it.ws.quiet
            whole = frame(TEXT, b"one")
            await it.send(whole[:5])
            assert not it.ws.quiet
            await it.send(whole[5:])
            assert it.ws.quiet
            await it.send(frame(TEXT, b"tw", fin=False))
            assert not it.ws.quiet
            await it.send(frame(CONTINUATION, b"o"))
            assert it.ws.quiet
            it.ws.part(CloseCode.SERVICE_RESTART)
            assert not it.ws.quiet

    async def test_by_us_and_the_client_does_not_answer(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with opened() as it:
            it.ws.close_with(CloseCode.GOING_AWAY)
            assert await read_frame(it.client) == (CLOSE, b"\x03\xe9")
            before = trio.current_time()
            assert await it.client.rest() == b""
            assert 4 < trio.current_time() - before < 6
            await trio.sleep(6)
            assert it.served.reactor.connections == 0

    async def test_by_us_and_the_client_answers_with_a_flood(self) -> None:
        async with opened() as it:
            it.ws.close_with(CloseCode.GOING_AWAY)
            await it.send(frame(PING) * 10_000)
            assert await read_frame(it.client) == (CLOSE, b"\x03\xe9")
            assert await it.client.rest() == b""

    async def test_by_us_and_the_client_answers_with_nonsense(self) -> None:
        async with opened() as it:
            it.ws.close_with(CloseCode.GOING_AWAY)
            await it.send(frame(7))
            assert await read_frame(it.client) == (CLOSE, b"\x03\xe9")
            assert await it.client.rest() == b""

    async def test_within_a_message(self) -> None:
        def leave(ws: WebSocketConnection, text: bytes) -> None:
            ws.close_with(4000, text.decode())

        async with opened(Receiver(act=leave)) as it:
            await it.send(frame(TEXT, b"one"), frame(TEXT, b"two"))
            assert await read_frame(it.client) == (CLOSE, b"\x0f\xa0one")
            await it.send(close(4000))
            assert await it.client.rest() == b""
            assert it.receiver.texts == [b"one"]
            assert it.receiver.lost == 1

    async def test_at_once(self) -> None:
        def leave(ws: WebSocketConnection, text: bytes) -> None:
            ws.close()
            ws.close_with(1000)

        async with opened(Receiver(act=leave)) as it:
            await it.send(frame(TEXT, b"one"), frame(TEXT, b"two"))
            assert await it.client.rest() == b""
            assert it.receiver.texts == [b"one"]
            assert it.receiver.lost == 1
            assert it.served.stats.connections["websocket"] == 0

    async def test_with_frames_waiting_for_a_turn(self) -> None:
        def leave(ws: WebSocketConnection, text: bytes) -> None:
            if text == b"0":
                waiting.append(ws)

        waiting: list[WebSocketConnection] = []
        async with opened(Receiver(act=leave)) as it:
            await it.client.send(b"".join(frame(TEXT, b"%d" % n) for n in range(200)))
            while not waiting:
                await it.served.settle(1)
            it.ws.close_with(1001)
            heard = len(it.receiver.texts)
            await it.served.settle()
            await it.send(close(1001))
            assert await read_frame(it.client) == (CLOSE, b"\x03\xe9")
            assert len(it.receiver.texts) == heard

    async def test_by_an_error_of_the_receiver(self) -> None:
        def refuse(ws: WebSocketConnection, text: bytes) -> None:
            raise RemoteProtocolError("not Bayeux")

        async with opened(Receiver(act=refuse)) as it:
            await it.send(frame(TEXT, b"one"))
            await it.send(close(1008))
            assert await read_close(it.client) == (1008, "not Bayeux")

    async def test_by_a_bug_of_the_receiver(self) -> None:
        def crash(ws: WebSocketConnection, text: bytes) -> None:
            raise KeyError("a bug")

        with capture_logs() as logs:
            async with opened(Receiver(act=crash)) as it:
                await it.send(frame(TEXT, b"one"), frame(TEXT, b"two"))
                assert (await read_close(it.client))[0] == 1011
                assert it.receiver.lost == 1
        assert [entry["event"] for entry in logs] == ["connection_crashed"]

    async def test_the_client_goes_without_a_word(self) -> None:
        async with opened() as it:
            await it.send(frame(TEXT, b"one")[:3])
            it.client.close()
            await it.served.settle()
            assert it.receiver.lost == 1
            assert it.served.stats.connections["websocket"] == 0
            assert it.served.reactor.connections == 0


class TestSilence:
    """Pings, and messages that do not end."""

    async def test_a_silent_client_is_pinged(self, autojump_clock: trio.testing.MockClock) -> None:
        async with opened() as it:
            before = trio.current_time()
            for _ in range(3):
                assert await read_frame(it.client) == (PING, b"")
                await it.client.send(frame(PONG))
            assert 75 <= trio.current_time() - before <= 95
            assert it.at_rest()

    async def test_one_that_talks_is_not(self, autojump_clock: trio.testing.MockClock) -> None:
        async with opened(Receiver(act=echo)) as it:
            for _ in range(10):
                await it.client.send(frame(TEXT, b"x"))
                assert await read_frame(it.client) == (TEXT, b"x")
                await trio.sleep(20)

    async def test_one_that_does_not_answer_is_given_up(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with opened() as it:
            before = trio.current_time()
            while (got := await read_frame(it.client)) == (PING, b""):
                pass
            assert got == (CLOSE, b"\x03\xf3no answer to pings")
            assert 45 <= trio.current_time() - before <= 52
            await it.served.settle()
            assert it.receiver.lost == 1
            assert it.served.stats.slow_consumers["close"] == 0  # there was nothing for it to read

    async def test_so_is_one_that_does_not_read(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with opened() as it:
            assert not it.ws.send_frame(text_frame(b"x" * 500_000))
            await trio.sleep(60)
            assert it.served.stats.slow_consumers["close"] == 1
            assert it.ws.closed

    @pytest.mark.parametrize(
        "pieces",
        [
            [frame(TEXT, b"x" * 100)[n : n + 1] for n in range(20)],
            [frame(TEXT, b"whole") + frame(TEXT, b"x" * 100, mask=bytes(4))[:50]] + [b"x"] * 20,
            [frame(TEXT, b"x", fin=False)] + [frame(CONTINUATION, b"x", fin=False)] * 20,
        ],
    )
    async def test_a_message_that_does_not_end(
        self, autojump_clock: trio.testing.MockClock, pieces: list[bytes]
    ) -> None:
        async with opened() as it:
            before = trio.current_time()
            for piece in pieces:
                if it.ws.closed:
                    break
                await it.client.send(piece)
                await trio.sleep(5)
            assert await read_close(it.client) == (1008, "the message came too slowly")
            assert 60 <= trio.current_time() - before <= 75
            await it.served.settle()
            assert it.receiver.lost == 1

    async def test_a_busy_client_is_never_late(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with opened() as it:
            data = frame(TEXT, b"x" * 100, mask=b"abcd")
            await it.client.send(data[:50])
            for _ in range(20):  # always in the middle of a message, but of another one
                await trio.sleep(20)
                await it.client.send(data[50:] + data[:50])
            await it.served.settle()
            assert len(it.receiver.texts) == 20
            assert it.receiver.lost == 0


class TestSlowConsumers:
    """Clients that do not read."""

    async def test_the_tail_drains(self) -> None:
        async with opened() as it:
            big = text_frame(b"x" * 500_000)
            assert not it.ws.send_frame(big)
            assert not it.ws.writable
            it.ws.send_text(b"end")
            got = await it.client.exactly(len(big))
            assert got == big
            assert await read_frame(it.client) == (TEXT, b"end")
            await it.served.settle()
            assert it.ws.writable
            assert it.receiver.drained == 1

    async def test_the_bound(self) -> None:
        async with opened() as it:
            big = text_frame(b"x" * (MAX_TAIL // 2))
            assert not it.ws.send_frame(big)
            assert not it.ws.send_frame(big)
            assert not it.ws.send_frame(big)  # raises nothing: the caller may serve others, too
            assert it.ws.closed
            assert not it.ws.send_text(b"x")
            assert it.receiver.lost == 0
            await it.served.settle()
            assert it.receiver.lost == 1
            assert it.served.stats.slow_consumers["close"] == 1
            await it.client.exactly(2 * len(big))
            assert await read_close(it.client) == (1008, "too slow")

    async def test_a_close_frame_always_has_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with opened() as it:
            big = text_frame(b"x" * MAX_TAIL)
            it.ws.send_frame(big)
            monkeypatch.setattr("node.connection.MAX_TAIL", 1)
            it.ws.close_with(1012, "leaving")
            await it.served.settle()
            assert it.receiver.lost == 1
            await it.client.exactly(len(big))
            assert await read_frame(it.client) == (CLOSE, b"\x03\xf4leaving")

    async def test_a_client_that_does_not_read_is_not_read_from(self) -> None:
        async with opened(Receiver(act=echo)) as it:
            text = b"x" * 10_000
            sent = 0
            with trio.move_on_after(0.5):
                while True:
                    await it.client.send(frame(TEXT, text))
                    sent += 1
            assert not it.ws.writable
            assert not it.ws.closed
            assert UNREAD < len(it.ws._tail or b"") < MAX_TAIL // 2
            heard = len(it.receiver.texts)
            await it.served.settle()
            assert len(it.receiver.texts) == heard <= sent
            for _ in range(heard):
                assert await read_frame(it.client) == (TEXT, text)
            await it.served.settle()
            assert it.ws.writable
            assert len(it.receiver.texts) > heard  # it is read from again

    async def test_a_close_is_answered_even_then(self) -> None:
        async with opened(Receiver(act=echo)) as it:
            text = b"x" * 60_000
            while it.ws.interest & READ:
                await it.send(frame(TEXT, text))
            it.ws.close_with(1012)
            for _ in it.receiver.texts:
                assert await read_frame(it.client) == (TEXT, text)
            assert await read_frame(it.client) == (CLOSE, b"\x03\xf4")
            await it.client.send(close(1012))
            assert await it.client.rest() == b""

    async def test_a_ping_flood_of_a_client_that_does_not_read(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with opened() as it:
            before = trio.current_time()
            while not it.ws.closed:
                try:
                    with trio.move_on_after(1):
                        await it.client.send(frame(PING, b"x" * 125) * 100)
                except trio.BrokenResourceError:
                    break
                assert len(it.ws._tail or b"") < MAX_TAIL // 2
            assert 45 <= trio.current_time() - before <= 60
            await it.served.settle()
            assert it.receiver.lost == 1

    async def test_a_receiver_that_overruns_its_client(self) -> None:
        def overrun(ws: WebSocketConnection, text: bytes) -> None:
            while not ws.closed:
                ws.send_text(b"x" * 100_000)

        async with opened(Receiver(act=overrun)) as it:
            await it.send(frame(TEXT, b"x"))
            await it.served.settle()
            assert it.ws.closed
            assert it.receiver.lost == 1
            assert it.served.stats.slow_consumers["close"] == 1


_frames = st.builds(
    frame,
    st.sampled_from([TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG, 3, 12]),
    st.binary(max_size=130) | st.text(max_size=20).map(str.encode),
    fin=st.booleans(),
    rsv=st.sampled_from([0, 0, 0, 4]),
    masked=st.sampled_from([True, True, True, False]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_frames | st.binary(max_size=40), min_size=1, max_size=8), st.booleans())
async def test_garbage_ends_at_most_its_connection(pieces: list[bytes], at_once: bool) -> None:
    with capture_logs() as logs:
        async with opened(Receiver(act=echo)) as it:
            for piece in [b"".join(pieces)] if at_once else pieces:
                try:
                    await it.client.send(piece)
                except trio.BrokenResourceError:
                    break
                await it.served.settle(6)
            it.client.close()
            await it.served.settle()
            assert it.receiver.lost == 1
            assert it.served.reactor.connections == 0
            assert it.served.stats.connections["websocket"] == 0
    assert logs == []
