"""TLS on real sockets: handshakes good and bad, every transport, what epoll does not see."""

from __future__ import annotations

import ssl
import warnings
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from node.connection import READ, WRITE
from node.http import Head, HttpConnection, HttpSettings
from node.tls import TlsSocket
from node.tls.handshake import HANDSHAKE_TIMEOUT, WAITING
from node.websocket import WebSocketConnection, WebSocketSettings, text_frame
from tls_rig import Issued, tls_serving
from wire import Recorder, hold
from ws_bytes import CLOSE, TEXT, close, frame, handshake, read_frame

if TYPE_CHECKING:
    from collections.abc import Callable

GET = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"


def post(body: bytes, head: bytes = b"Content-Length: %d") -> bytes:
    length = head % len(body) if b"%d" in head else head
    return b"POST /x HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n\r\n" + body


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return Issued(tmp_path_factory.mktemp("tls"))


class Echo:
    """Sends every message back."""

    def handle_text(self, ws: WebSocketConnection, text: bytes) -> None:
        ws.send_text(text)

    def connection_lost(self, ws: WebSocketConnection) -> None:
        pass

    def handle_writable(self, ws: WebSocketConnection) -> None:
        pass


class TestHandshake:
    """Before anything is said."""

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    async def test_a_proper_one(self, issued: Issued, version: ssl.TLSVersion) -> None:
        context = issued.client_context()
        context.minimum_version = context.maximum_version = version
        handler = Recorder()
        async with tls_serving(issued, handler) as it:
            client = it.begin(context)
            await it.served.settle()
            assert it.served.stats.connections == {WAITING: 1}
            await client.tls.do_handshake()
            assert client.tls.selected_alpn_protocol() == "http/1.1"
            await client.send(GET)
            assert (await client.response())[0] == 200
            assert it.served.stats.connections == {WAITING: 0, "http": 1}
            assert it.served.reactor.connections == 1
            assert not it.served.reactor._deadlines
            assert handler.conns[0].secure
            assert it.outcomes == {"ok": 1}

    async def test_older_versions_are_refused(self, issued: Issued) -> None:
        context = issued.client_context()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        async with tls_serving(issued, Recorder()) as it:
            with pytest.raises(trio.BrokenResourceError) as refused:
                await it.connect(context)
            assert "protocol version" in str(refused.value.__cause__).replace("_", " ").lower()
            await it.served.settle()
            assert it.outcomes == {"failed": 1}

    async def test_a_client_that_does_not_trust_us(self, issued: Issued) -> None:
        with capture_logs() as logs:
            async with tls_serving(issued, Recorder()) as it:
                client = it.begin(ssl.create_default_context())
                with pytest.raises(trio.BrokenResourceError):
                    await client.tls.do_handshake()
                client.close()
                await it.served.settle()
                assert it.served.reactor.connections == 0
                assert sum(it.outcomes.values()) == 1
        assert logs == []

    async def test_plain_http_is_told_so(self, issued: Issued) -> None:
        async with tls_serving(issued, Recorder()) as it:
            client = it.plain()
            await client.send(post(b"x" * 100_000))
            status, headers, body = await client.response()
            assert (status, headers["connection"]) == (400, "close")
            assert b"https" in body
            assert await client.rest() == b""
            client.close()
            await it.served.settle()
            assert it.outcomes == {"plain": 1}
            assert it.served.reactor.connections == 0
            assert it.served.stats.connections[WAITING] == 0

    @pytest.mark.parametrize("first", [b"\x00", b"\x80\x2e\x01", b"\r\n\r\n", b"\xff" * 5000])
    async def test_what_is_neither_is_closed(self, issued: Issued, first: bytes) -> None:
        async with tls_serving(issued, Recorder()) as it:
            client = it.plain()
            await client.send(first)
            assert await client.rest() == b""
            await it.served.settle()
            assert it.outcomes == {"failed": 1}
            assert it.served.reactor.connections == 0

    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.binary(min_size=1, max_size=600))
    async def test_garbage_after_a_good_beginning(self, issued: Issued, noise: bytes) -> None:
        with capture_logs() as logs:
            async with tls_serving(issued, Recorder()) as it:
                client = it.plain()
                await client.send(b"\x16\x03\x01" + noise)
                await it.served.settle(5)
                client.close()
                await it.served.settle()
                assert it.served.reactor.connections == 0
                assert it.served.stats.connections[WAITING] == 0
                assert it.outcomes == {"failed": 1}
        assert logs == []

    async def test_who_goes_before_a_word(self, issued: Issued) -> None:
        async with tls_serving(issued, Recorder()) as it:
            it.plain().close()
            await it.served.settle()
            assert it.served.reactor.connections == 0
            assert it.outcomes == {"failed": 1}

    @pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"])
    async def test_it_takes_no_longer_than_that(
        self, issued: Issued, autojump_clock: trio.testing.MockClock, sent: bytes
    ) -> None:
        async with tls_serving(issued, Recorder()) as it:
            client = it.plain()
            before = trio.current_time()
            if sent:
                await client.send(sent)
            await trio.sleep(HANDSHAKE_TIMEOUT / 2)  # (the deadline survives the first byte)
            assert await client.rest() == b""
            assert 9 < trio.current_time() - before < 11
            await it.served.settle()
            assert it.outcomes == {"timeout": 1}
            assert it.served.reactor.connections == 0

    async def test_a_client_that_takes_our_flight_slowly(
        self, issued: Issued, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """OpenSSL wants to write and cannot: wait for room, not for input."""
        steps = iter([ssl.SSLWantWriteError(), ssl.SSLWantReadError()])
        interests: list[int] = []
        go_on = TlsSocket.do_handshake

        def halting(sock: TlsSocket) -> None:
            interests.extend(conn.interest for conn in it.served.reactor.all())
            step = next(steps, None)
            if step is not None:
                raise step
            go_on(sock)

        monkeypatch.setattr(TlsSocket, "do_handshake", halting)
        async with tls_serving(issued, Recorder()) as it:
            client = await it.connect()
            await client.send(GET)
            assert (await client.response())[0] == 200
        assert interests[:3] == [READ, WRITE, READ]

    async def test_a_socket_that_breaks_in_between(
        self, issued: Issued, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object, **__: object) -> None:
            raise ConnectionResetError

        with monkeypatch.context() as patch:
            patch.setattr(TlsSocket, "do_handshake", broken)
            async with tls_serving(issued, Recorder()) as it:
                client = it.plain()
                await client.send(b"\x16")
                assert await client.rest() == b""
                assert it.outcomes == {"failed": 1}
                assert it.served.reactor.connections == 0
        async with tls_serving(issued, Recorder()) as it:
            monkeypatch.setattr(ssl.SSLContext, "wrap_socket", broken)
            client = it.plain()
            await client.send(b"\x16")
            await it.served.settle()
            assert it.outcomes == {"failed": 1}
            assert it.served.reactor.connections == 0
            assert it.served.stats.connections[WAITING] == 0

    async def test_byte_by_byte(self, issued: Issued) -> None:
        """A client's flights may come in any pieces, with its request right behind."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = issued.client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        async with tls_serving(issued, Recorder()) as it:
            client = it.plain()

            async def drive(step: Callable[[], object]) -> object:
                while True:
                    try:
                        result = step()
                    except ssl.SSLWantReadError:
                        result = None
                    for byte in outgoing.read():
                        await client.send(bytes([byte]))
                        await it.served.settle(2)
                    if result is not None:
                        return result
                    incoming.write(await client.receive())

            def shake() -> bool:
                tls.do_handshake()
                return True

            await drive(shake)
            await drive(lambda: tls.write(GET))
            answer = await drive(lambda: tls.read(1000))
            assert isinstance(answer, bytes)
            assert answer.startswith(b"HTTP/1.1 200 ")


class TestTraffic:
    """Behind the handshake."""

    async def test_polls_on_one_connection(self, issued: Issued) -> None:
        handler = Recorder()
        async with tls_serving(issued, handler) as it:
            client = await it.connect()
            for size in (0, 1, 16_384, 16_385, 200_000, 3):
                await client.send(post(b"x" * size))
                assert (await client.response())[0] == 200
            assert [len(body) for _, _, body in handler.requests] == [0, 1, 16384, 16385, 200000, 3]

    async def test_a_large_answer(self, issued: Issued) -> None:
        big = bytes(range(256)) * 8000

        def answer(conn: HttpConnection, head: Head, body: bytes) -> None:
            conn.respond(200, big)

        async with tls_serving(issued, Recorder(answer=answer)) as it:
            client = await it.connect()
            for _ in range(2):
                await client.send(GET)
                assert (await client.response())[2] == big
            await it.served.settle()
            assert it.served.stats.slow_consumers == {}

    async def test_a_tail_that_grows_while_it_waits(self, issued: Issued) -> None:
        """What OpenSSL refused must be offered again as it was."""
        sockets: list[WebSocketConnection] = []

        def answer(conn: HttpConnection, head: Head, body: bytes) -> None:
            sockets.append(conn.upgrade(head, Echo()))

        async with tls_serving(issued, Recorder(answer=answer)) as it:
            client = await it.connect()
            await client.send(handshake())
            await client.until(b"\r\n\r\n")
            texts = [b"%06d" % n * 700 for n in range(200)]
            for text in texts:
                sockets[0].send_text(text)
            assert not sockets[0].writable
            for text in texts:
                assert await read_frame(client) == (TEXT, text)
            await it.served.settle()
            assert sockets[0].writable

    async def test_a_record_read_in_part_is_read_on(self, issued: Issued) -> None:
        """A chunked body is read 4 KiB at a time; records have up to 16."""
        handler = Recorder()
        body = b"".join(b"10\r\n0123456789abcdef\r\n" for _ in range(5000)) + b"0\r\n\r\n"
        request = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body + GET
        async with tls_serving(issued, handler) as it:
            client = await it.connect()
            await client.send(request)
            with trio.fail_after(10):
                assert (await client.response())[0] == 200
                assert (await client.response())[0] == 200
            assert len(handler.requests[0][2]) == 80_000

    async def test_a_record_is_read_on_when_its_client_reads_on(self, issued: Issued) -> None:
        """The rest of a record waits while an answer does, and is not forgotten then."""
        big = b"x" * 300_000
        handler = Recorder(answer=lambda conn, head, body: conn.respond(200, big))
        head = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        rest = b"800\r\n" + b"y" * 2048 + b"\r\n0\r\n\r\n" + GET * 300  # of which 4 KiB are read
        async with tls_serving(issued, handler) as it:
            client = await it.connect()
            await client.send(head)
            await it.served.settle()
            await client.send(rest)
            await it.served.settle()
            assert len(handler.requests) == 1
            assert it.served.reactor._parked
            for _ in range(301):
                with trio.fail_after(5):
                    assert (await client.response())[2] == big
            assert not it.served.reactor._parked
            await client.send(head)
            await it.served.settle()
            await client.send(rest)
            await it.served.settle()
            assert it.served.reactor._parked
            handler.conns[0].close()
            assert not it.served.reactor._parked

    async def test_what_waits_while_nothing_is_read(self, issued: Issued) -> None:
        """Pipelined requests: reading pauses, and what is decrypted already is not forgotten."""
        handler = Recorder(answer=hold)
        async with tls_serving(issued, handler) as it:
            client = await it.connect()
            count = 2000
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send, GET * count)
                for n in range(count):
                    with trio.fail_after(5):
                        while len(handler.requests) <= n:
                            await trio.lowlevel.checkpoint()
                    handler.conns[n].respond_json(b"[]")
                    status, _, _ = await client.response()
                    assert status == 200

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.integers(1, 70_000), min_size=1, max_size=6))
    async def test_any_sizes(self, sizes: list[int]) -> None:
        handler = Recorder(answer=lambda conn, head, body: conn.respond(200, body))
        async with tls_serving(_shared(), handler) as it:
            client = await it.connect()
            for size in sizes:
                body = bytes(size)
                await client.send(post(body))
                assert (await client.response())[2] == body

    async def test_websockets(self, issued: Issued) -> None:
        sockets: list[WebSocketConnection] = []

        def answer(conn: HttpConnection, head: Head, body: bytes) -> None:
            sockets.append(conn.upgrade(head, Echo()))

        limits = HttpSettings(websocket=WebSocketSettings(max_message=1 << 20))
        async with tls_serving(issued, Recorder(answer=answer), limits) as it:
            client = await it.connect()
            await client.send(handshake() + frame(TEXT, b"ahead"))
            await client.until(b"\r\n\r\n")
            assert await read_frame(client) == (TEXT, b"ahead")
            assert sockets[0].secure
            for size in (10, 70_000, 900_000):
                await client.send(frame(TEXT, b"x" * size))
                assert await read_frame(client) == (TEXT, b"x" * size)
            many = [b"%d" % n for n in range(3000)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send, b"".join(frame(TEXT, text) for text in many))
                for text in many:
                    assert await read_frame(client) == (TEXT, text)
            sockets[0].send_frame(text_frame(b"shared"))
            assert await read_frame(client) == (TEXT, b"shared")
            sockets[0].close_with(1012)
            assert await read_frame(client) == (CLOSE, b"\x03\xf4")
            await client.send(close(1012))
            assert await client.rest() == b""

    async def test_any_split_of_the_ciphertext(self, issued: Issued) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = issued.client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        handler = Recorder()
        async with tls_serving(issued, handler) as it:
            client = it.plain()
            done = False
            while not done:
                try:
                    tls.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    await client.send(outgoing.read())
                    incoming.write(await client.receive())
            tls.write(post(b"y" * 40_000))
            data = outgoing.read()
            bounds = [0, 3, 4, 5, 6, 200, 16_000, 16_500, 33_000, len(data)]
            for start, end in pairwise(bounds):
                await client.send(data[start:end])
                await it.served.settle(4)
            with trio.fail_after(5):
                while not handler.requests:
                    await it.served.settle(1)
            assert handler.requests[0][2] == b"y" * 40_000


class TestEnding:
    """Both sides say goodbye (RFC 8446 section 6.1)."""

    async def test_by_us_after_a_last_answer(self, issued: Issued) -> None:
        async with tls_serving(issued, Recorder()) as it:
            it.served.service.drain()
            client = await it.connect()
            await client.send(GET)
            assert (await client.response())[1]["connection"] == "close"
            assert await client.tls.receive_some() == b""  # close_notify, or it would raise

    async def test_by_us_at_once(self, issued: Issued) -> None:
        handler = Recorder(answer=hold)
        async with tls_serving(issued, handler) as it:
            client = await it.connect()
            await client.send(GET)
            await it.served.settle()
            handler.conns[0].close()
            assert await client.tls.receive_some() == b""

    async def test_by_the_client(self, issued: Issued) -> None:
        handler = Recorder(answer=hold)
        async with tls_serving(issued, handler) as it:
            client = await it.connect()
            await client.send(GET)
            await it.served.settle()
            with trio.move_on_after(1):
                await client.tls.aclose()
            await it.served.settle()
            assert handler.lost == handler.conns
            assert it.served.reactor.connections == 0

    async def test_by_the_client_without_a_word(self, issued: Issued) -> None:
        handler = Recorder(answer=hold)
        async with tls_serving(issued, handler) as it:
            client = await it.connect()
            await client.send(GET)
            await it.served.settle()
            client.close()
            await it.served.settle()
            assert handler.lost == handler.conns
            assert it.served.reactor.connections == 0

    async def test_broken_records_end_the_connection(self, issued: Issued) -> None:
        handler = Recorder(answer=hold)
        with capture_logs() as logs:
            async with tls_serving(issued, handler) as it:
                client = await it.connect()
                await client.send(GET)
                await it.served.settle()
                await trio.SocketStream(client.sock).send_all(b"\x17\x03\x03\x00\x20" + b"x" * 32)
                await it.served.settle()
                assert handler.lost == handler.conns
                assert it.served.reactor.connections == 0
        assert logs == []


_cache: list[Issued] = []


def _shared() -> Issued:
    return _cache[0]


@pytest.fixture(scope="module", autouse=True)
def _remember(issued: Issued) -> None:
    _cache[:] = [issued]
