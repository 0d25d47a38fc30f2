"""How requests are read: any split of the bytes, bodies, bounds, and what is refused."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from node.http import Head, HttpConnection, HttpSettings
from node.http.head import parse
from node.http.reader import READ_AHEAD
from wire import Client, Recorder, Served, hold, serving

if TYPE_CHECKING:
    from collections.abc import Sequence

Requests = list[tuple[str, str, bytes]]

SMALL = HttpSettings(max_body=1000, drain_bytes=10_000)


def post(body: bytes, path: str = "/bayeux", *fields: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: x", *fields, f"Content-Length: {len(body)}", "", "")
    return "\r\n".join(lines).encode() + body


def chunked(*parts: bytes) -> bytes:
    head = b"POST /chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n"


async def send_split(served: Served, client: Client, data: bytes, cuts: Sequence[int]) -> None:
    """Send `data` in pieces, each of which the server reads by itself."""
    bounds = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    for start, end in pairwise(bounds):
        try:
            await client.send(data[start:end])
        except trio.BrokenResourceError:
            return
        await served.settle(6)


_requests = st.lists(
    st.one_of(
        st.tuples(st.just(GET), st.just(("GET", "/a", b""))),
        st.binary(max_size=40).map(lambda body: (post(body), ("POST", "/bayeux", body))),
        st.binary(max_size=40).map(
            lambda body: (post(body, "/key", "X-API-Key: k"), ("POST", "/key", body))
        ),
        st.lists(st.binary(min_size=1, max_size=9), max_size=3).map(
            lambda parts: (chunked(*parts), ("POST", "/chunked", b"".join(parts)))
        ),
        st.tuples(st.just(b"\r\n" + GET), st.just(("GET", "/a", b""))),
    ),
    min_size=1,
    max_size=6,
)
_bad_ends = st.sampled_from(
    [
        b"",
        b"GET / HTTP/1.1\nHost: x\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 17_000,
        b"nonsense\r\n\r\n",
    ]
)


@settings(max_examples=60, deadline=None)
@given(_requests, _bad_ends, st.lists(st.integers(0, 20_000), max_size=12))
async def test_any_split_gives_the_same_requests(
    requests: list[tuple[bytes, tuple[str, str, bytes]]], bad_end: bytes, cuts: list[int]
) -> None:
    handler = Recorder()
    async with serving(handler) as served:
        client = served.connect()
        data = b"".join(raw for raw, _ in requests) + bad_end
        await send_split(served, client, data, cuts)
        for _ in requests:
            assert (await client.response())[0] == 200
        assert handler.requests == [request for _, request in requests]
        if bad_end:
            status, headers, _ = await client.response()
            assert status == (431 if len(bad_end) > 16_384 else 400)
            assert headers["connection"] == "close"
            assert await client.rest() == b""
        assert handler.lost == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["/a", "/b?c", "/bayeux/connect"]),
            st.lists(
                st.sampled_from(
                    [
                        "Cookie: BAYEUX_BROWSER=1",
                        "Cookie: BAYEUX_BROWSER=2; other=3",
                        "Origin: http://x",
                        "Content-Type: text/plain",
                        "Authorization: Bearer k",
                        "X-Whatever: y",
                    ]
                ),
                max_size=3,
                unique=True,
            ),
            st.binary(max_size=3),
        ),
        min_size=1,
        max_size=12,
    ),
)
async def test_a_remembered_head_is_what_h11_parses(
    requests: list[tuple[str, list[str], bytes]],
) -> None:
    handler = Recorder()
    async with serving(handler) as served:
        clients = [served.connect(), served.connect()]
        for number, (path, fields, body) in enumerate(requests):
            data = post(body, path, *fields)
            client = clients[number % 2]
            await client.send(data)
            await client.response()
            expected, _ = parse(data[: len(data) - len(body)], SMALL.cookies, b"d" * 16)
            got = handler.heads[-1]
            assert got.shape == expected.shape
            assert got.cookie == expected.cookie
            assert got.authorization == expected.authorization
            assert bool(got.digest) == bool(expected.digest)


async def test_what_is_remembered_is_not_parsed_again() -> None:
    async with serving(Recorder()) as served:
        one, other = served.connect(), served.connect()
        for client in (one, other, one, other):
            await client.send(post(b"[]"))
            await client.response()
        assert (served.stats.head_cache_misses, served.stats.head_cache_hits) == (1, 3)
        for parts in ([b"[", b"]"], [b"[]"], [b"[]"]):
            await one.send(chunked(*parts))
            await one.response()
        assert (served.stats.head_cache_misses, served.stats.head_cache_hits) == (2, 5)


async def test_a_head_with_a_secret_is_remembered_by_its_connection_alone() -> None:
    async with serving(Recorder()) as served:
        one, other = served.connect(), served.connect()
        for client, key in ((one, "k"), (one, "k"), (other, "k"), (one, "l"), (one, "k")):
            await client.send(
                post(b"[]" * served.stats.head_cache_misses, "/api", f"X-API-Key: {key}")
            )
            await client.response()
        assert (served.stats.head_cache_misses, served.stats.head_cache_hits) == (4, 1)


async def test_a_longer_body_is_no_other_head() -> None:
    handler = Recorder()
    async with serving(handler) as served:
        client = served.connect()
        for size in (9, 10, 100, 2, 100):
            await client.send(post(b"x" * size))
            await client.response()
        assert (served.stats.head_cache_misses, served.stats.head_cache_hits) == (1, 4)
    assert [len(body) for _, _, body in handler.requests] == [9, 10, 100, 2, 100]


@pytest.mark.parametrize("keyed", [True, False])
async def test_a_head_is_not_taken_for_the_last_one(
    keyed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.http.reader._KEYED_HASH", keyed)
    handler = Recorder()
    async with serving(handler) as served:
        client = served.connect()
        for path in ("/a", "/a", "/b", "/a", "/b", "/b"):
            for body in (b"1", b"2", b"333"):
                await client.send(post(body, path))
                assert (await client.response())[0] == 200
                assert handler.requests[-1] == ("POST", path, body)
        assert (served.stats.head_cache_misses, served.stats.head_cache_hits) == (2, 16)


@pytest.mark.parametrize("other", ["content-length: 3", "Content-Length: 3", "CONTENT-LENGTH: 3"])
async def test_a_second_length_is_never_hidden_behind_a_known_head(other: str) -> None:
    async with serving(Recorder()) as served:
        client = served.connect()
        await client.send(post(b"abc"))
        await client.response()
        await client.send(post(b"abcdefg", "/bayeux", other))
        assert b"400" in await client.until(b"\r\n")


async def test_pipelined_requests_are_answered_one_by_one() -> None:
    handler = Recorder(answer=hold)
    async with serving(handler) as served:
        client = served.connect()
        await client.send(b"".join(post(b"%d" % number) for number in range(3)))
        for number in range(3):
            await served.settle()
            assert [body for _, _, body in handler.requests] == [
                b"%d" % n for n in range(number + 1)
            ]
            handler.conns[0].respond_json(b"[%d]" % number)
            assert (await client.response())[2] == b"[%d]" % number


async def test_a_flood_of_pipelined_requests_is_bounded() -> None:
    handler = Recorder(answer=hold)
    async with serving(handler) as served:
        client = served.connect()
        client.sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 8192)
        count = 6_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, GET * count)
            await served.settle(100)
            conn = handler.conns[0]
            assert len(conn._partial) <= 2 * READ_AHEAD
            handler.answer = None
            conn.respond_json(b"[]")
            seen = 0
            while seen < count:
                await client.response()
                seen += 1
                assert len(conn._partial) <= 3 * READ_AHEAD
        assert len(handler.requests) == count


async def test_the_end_of_input_does_not_overtake_pipelined_requests() -> None:
    async with serving(Recorder()) as served:
        client = served.connect()
        await client.send(GET * 5)
        client.sock.shutdown(trio.socket.SHUT_WR)
        for _ in range(5):
            assert (await client.response())[0] == 200
        assert await client.rest() == b""


async def test_the_end_of_input_ends_a_held_request() -> None:
    handler = Recorder(answer=hold)
    async with serving(handler) as served:
        client = served.connect()
        await client.send(GET)
        await served.settle()
        client.sock.shutdown(trio.socket.SHUT_WR)
        await served.settle()
        assert handler.lost == handler.conns
        handler.conns[0].respond_json(b"[]")  # too late, and harmless
        assert served.stats.connections["http"] == 0


@pytest.mark.parametrize("data", [GET[:10], post(b"[]")[:-1], chunked(b"abc")[:-3], b"\r\n"])
async def test_the_end_of_input_within_a_request(data: bytes) -> None:
    handler = Recorder()
    async with serving(handler) as served:
        client = served.connect()
        await client.send(data)
        client.sock.shutdown(trio.socket.SHUT_WR)
        assert await client.rest() == b""
        assert handler.requests == []
        assert handler.lost == []
        assert served.stats.connections["http"] == 0


class TestBodies:
    """Bodies that do not come with their head."""

    async def test_a_large_one(self) -> None:
        handler = Recorder()
        async with serving(handler) as served:
            client = served.connect()
            body = bytes(range(256)) * 4096
            await client.send(post(body))
            assert (await client.response())[0] == 200
        assert handler.requests == [("POST", "/bayeux", body)]

    async def test_continue_is_said_when_it_is_waited_for(self) -> None:
        handler = Recorder()
        async with serving(handler) as served:
            client = served.connect()
            head = post(b"[1]", "/e", "Expect: 100-continue")[:-3]
            await client.send(head)
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(b"[1]")
            assert (await client.response())[0] == 200
            await client.send(head + b"[1]")  # it did not wait
            assert (await client.response())[0] == 200
        assert handler.requests == [("POST", "/e", b"[1]")] * 2

    async def test_what_would_be_too_large_is_refused_before_it_is_sent(self) -> None:
        async with serving(Recorder(), SMALL) as served:
            client = served.connect()
            await client.send(post(b"x" * 1001, "/e", "Expect: 100-continue")[:-1001])
            assert (await client.response())[0] == 413
            assert await client.rest() == b""

    @pytest.mark.parametrize("cuts", [[], [200], [100, 2000, 4000], list(range(0, 5000, 100))])
    @pytest.mark.parametrize("data", [post(b"x" * 4000), chunked(*[b"x" * 500] * 8)])
    async def test_what_is_too_large_is_answered_after_it_was_read(
        self, data: bytes, cuts: list[int]
    ) -> None:
        handler = Recorder()
        async with serving(handler, SMALL) as served:
            client = served.connect()
            await send_split(served, client, data[:-1], cuts)
            with trio.move_on_after(0.05):
                raise AssertionError(await client.receive())
            await client.send(data[-1:])
            status, headers, body = await client.response()
            assert (status, headers["connection"]) == (413, "close")
            assert msgspec.json.decode(body)["error"]["code"] == "too_large"
            assert await client.rest() == b""
        assert handler.requests == []

    @pytest.mark.parametrize("data", [post(b"x" * 50_000), chunked(*[b"x" * 500] * 100)])
    async def test_what_is_much_too_large_is_not_read_to_the_end(self, data: bytes) -> None:
        async with serving(Recorder(), SMALL) as served:
            client = served.connect()
            await client.send(data[:20_000])
            assert (await client.response())[0] == 413

    @pytest.mark.parametrize("data", [post(b"x" * 50_000), chunked(*[b"x" * 500] * 100)])
    async def test_what_is_too_large_and_slow_is_not_waited_for(
        self, autojump_clock: trio.testing.MockClock, data: bytes
    ) -> None:
        async with serving(Recorder(), SMALL) as served:
            client = served.connect()
            await client.send(data[:5000])
            before = trio.current_time()
            assert (await client.response())[0] == 413
            assert 4 < trio.current_time() - before < 6


class TestSlowness:
    """Slow heads, slow bodies, silence."""

    @pytest.mark.parametrize("data", [b"G", GET[:-1]])
    async def test_a_slow_head(self, autojump_clock: trio.testing.MockClock, data: bytes) -> None:
        async with serving(Recorder()) as served:
            client = served.connect()
            before = trio.current_time()
            for index in range(len(data)):
                await client.send(data[index : index + 1])
                await trio.sleep(9.0 / len(data))
            status, _, _ = await client.response()
            assert status == 408
            assert 9 < trio.current_time() - before < 11
            assert await client.rest() == b""

    async def test_a_head_that_is_complete_in_time(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with serving(Recorder(answer=hold)) as served:
            client = served.connect()
            await client.send(GET[:5])
            await trio.sleep(8)
            await client.send(GET[5:])
            await trio.sleep(100)
            assert served.stats.connections["http"] == 1
            assert not served.reactor._deadlines

    @pytest.mark.parametrize("data", [post(b"x" * 40_960)[:-1], chunked(b"a")[:-1]])
    async def test_a_slow_body(self, autojump_clock: trio.testing.MockClock, data: bytes) -> None:
        async with serving(Recorder(), HttpSettings(max_body=40_960)) as served:
            client = served.connect()
            await client.send(data)
            before = trio.current_time()
            assert (await client.response())[0] == 408
            assert 14 < trio.current_time() - before < 16  # 10, and 5 for the bytes

    async def test_silence_between_requests(self, autojump_clock: trio.testing.MockClock) -> None:
        async with serving(Recorder()) as served:
            client = served.connect()
            await trio.sleep(60)
            await client.send(GET)
            await client.response()
            before = trio.current_time()
            assert await client.rest() == b""
            assert 75 < trio.current_time() - before < 85

    async def test_a_held_answer_is_not_silence(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        handler = Recorder(answer=hold)
        async with serving(handler) as served:
            client = served.connect()
            await client.send(GET)
            await trio.sleep(1000)
            handler.conns[0].respond_json(b"[]")
            await trio.sleep(60)
            assert (await client.response())[0] == 200

    async def test_an_answer_that_is_not_read(self, autojump_clock: trio.testing.MockClock) -> None:
        def big(conn: HttpConnection, head: Head, body: bytes) -> None:
            conn.respond_json(b" " * 4_000_000)

        async with serving(Recorder(answer=big)) as served:
            client = served.connect()
            await client.send(GET)
            await trio.sleep(60)
            assert served.stats.connections["http"] == 1
            await trio.sleep(40)
            assert served.stats.connections["http"] == 0


async def test_refusals_are_counted() -> None:
    async with serving(Recorder()) as served:
        client = served.connect()
        await client.send(b"GET / HTTP/1.1\r\n\r\n")
        status, _, body = await client.response()
        assert status == 400
        assert msgspec.json.decode(body)["error"]["retry"] is False
        assert served.stats.http_requests["refused", 400] == 1
        assert served.stats.connections["http"] == 0


_whole = st.sampled_from([GET, post(b"[]"), chunked(b"abcdef")])
_pieces = st.one_of(
    st.binary(max_size=60),
    _whole,
    st.sampled_from([GET[:20], b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"HTTP/1.1"]),
    st.tuples(_whole, st.integers(0, 80), st.binary(max_size=3)).map(
        lambda m: m[0][: m[1]] + m[2] + m[0][m[1] + 1 :]
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_pieces, min_size=1, max_size=8))
async def test_garbage_ends_at_most_its_connection(pieces: list[bytes]) -> None:
    with capture_logs() as logs:
        async with serving(Recorder()) as served:
            client = served.connect()
            for piece in pieces:
                try:
                    await client.send(piece)
                except trio.BrokenResourceError:
                    break
                await served.settle(6)
            other = served.connect()
            await other.send(GET)
            assert (await other.response())[0] == 200
            client.close()
            other.close()
            await served.settle()
            assert served.stats.connections["http"] == 0
    assert logs == []


async def test_an_idle_connection_is_closed() -> None:
    async with serving(Recorder(), HttpSettings(idle_timeout=0.0)) as served:
        client = served.connect()
        await client.send(GET)
        assert (await client.response())[0] == 200
        (conn,) = served.service.reactor.all()
        conn.on_sweep(conn.seen)
        assert not conn.closed
        conn.on_sweep(conn.seen + 1)
        assert await client.rest() == b""


@pytest.mark.parametrize("data", [GET, GET[:10]])
async def test_one_whose_request_a_late_node_has_not_read_is_not(data: bytes) -> None:
    async with serving(Recorder(), HttpSettings(idle_timeout=0.0)) as served:
        client = served.connect()
        await client.send(GET)
        assert (await client.response())[0] == 200
        (conn,) = served.service.reactor.all()
        conn.reactor.clock += 1
        os.write(client.sock.fileno(), data)
        conn.on_sweep(conn.reactor.clock)
        assert not conn.closed
        await client.send(GET[len(data) :])
        assert (await client.response())[0] == 200
