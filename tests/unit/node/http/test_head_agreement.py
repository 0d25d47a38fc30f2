"""Fuzzing of the head path: what is recognised is taken for what it would be parsed as.

The same bytes go to a service that recognises heads (a connection's last one, and those
in its cache) and to one that never does, whole, cut, and byte by byte; both must do and
answer the same. What is accepted must be what h11 reads in it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any

import h11
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.errors import RemoteProtocolError
from node.http import Head, HttpSettings, responses
from node.http.head import CHUNKED, parse
from node.http.head_cache import DIGEST_BYTES, HeadCache
from wire import Recorder, serving

if TYPE_CHECKING:
    from collections.abc import Sequence

COOKIES = frozenset({"BAYEUX_BROWSER"})
SETTINGS = HttpSettings(max_body=1_000, drain_timeout=0.1, cookies=COOKIES)
TAIL = b"0\r\n\r\n"  # five bytes of a body, and the end of a chunked one
CHUNK = b"5\r\nhello\r\n" + TAIL  # a chunked body, of one chunk
_LINES = [
    b"Content-Length: 5",
    b"Content-Length: 5",
    b"Content-Length: 0",
    b"Content-Length: 05",
    b"Content-Length: 5000",
    b"Content-Length: -5",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: Chunked",
    b"Transfer-Encoding: identity",
    b"Connection: close",
    b"Connection: keep-alive, Upgrade",
    b"Cookie: BAYEUX_BROWSER=1",
    b"Cookie: a=b; BAYEUX_BROWSER=2; BAYEUX_BROWSER=3",
    b"Cookie: BAYEUX_BROWSER=4",
    b"Origin: https://a.example",
    b"Origin: null",
    b"Referer: https://a.example/x",
    b"Content-Type: application/json;charset=UTF-8",
    b"Content-Type: text/plain",
    b"Last-Event-ID: 3:4",
    b"Authorization: Bearer k",
    b"X-API-Key: k",
    b"Upgrade: websocket",
    b"Expect: 100-continue",
    b"Sec-Fetch-Site: cross-site",
    b"User-Agent: Mozilla/5.0",
    b"Host: y",
    b" folded: line",
    b"X-A:  spaces  ",
    b"X-\xe9: \xe9",
]
_FIRSTS = [
    b"POST /bayeux HTTP/1.1",
    b"POST /bayeux HTTP/1.1",
    b"GET /bayeux?message=%5B%5D HTTP/1.1",
    b"GET http://x/a?b HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"POST /bayeux HTTP/1.0",
    b"PUT /a HTTP/1.1",
]
LENGTH = re.compile(rb"Content-Length: *([^\r\n]*)", re.IGNORECASE)
_LENGTHS = [
    b"5",
    b"0",
    b"05",
    b"005",
    b"10",
    b"5000",
    b"4294967296",
    b"9" * 30,
    b"+5",
    b"",
    b"5, 5",
]
_heads = st.builds(
    lambda first, lines: b"\r\n".join([first, b"Host: x", *lines, b"", b""]),
    st.sampled_from(_FIRSTS),
    st.lists(st.sampled_from(_LINES), max_size=5),
)
_bits = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\0",
        b" ",
        b"\t",
        b":",
        b"\x7f",
        b"\xff",
        b"x",
        b"5",
        b"",
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A head, as it should be or with a few bytes of it replaced."""
    raw = draw(_heads)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        start = draw(st.integers(0, len(raw) - 1))
        raw = raw[:start] + draw(_bits) + raw[start + draw(st.integers(0, 3)) :]
    return raw


@st.composite
def families(draw: st.DrawFn) -> list[bytes]:
    """Heads that differ in little: two mutants, and what they are with other lengths."""
    heads = draw(st.lists(mutated(), min_size=1, max_size=2))
    for raw in list(heads):
        lengths = [found.span(1) for found in LENGTH.finditer(raw)]
        if lengths:
            start, stop = draw(st.sampled_from(lengths))
            heads.append(raw[:start] + draw(st.sampled_from(_LENGTHS)) + raw[stop:])
    return heads


class Forgetful(HeadCache):
    """Sees every head for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = count(1)

    def mark(self, head: bytes) -> tuple[bytes, int]:
        _, length = super().mark(head)
        return next(self._numbers).to_bytes(DIGEST_BYTES, "big"), length


WHY = re.compile(rb'(?<="message":")[^"]*|(?<=Content-Length: )\d+')
"""What differs between two refusals of the same: which of several faults was seen first."""

Outcome = tuple[list[Any], list[bytes]]


def said(head: Head) -> tuple[Any, ...]:
    return head.shape, head.cookie, head.header("expect"), bool(head.digest)


async def outcome(streams: Sequence[bytes], cuts: Sequence[int], *, forgetful: bool) -> Outcome:
    """What was handled and what was answered, of streams on a connection each."""
    handler = Recorder()
    answers = []
    async with serving(handler, SETTINGS) as served:
        if forgetful:
            served.service.heads = Forgetful()
        for data in streams:
            client = served.connect()
            bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
            for start, end in pairwise(bounds):
                try:
                    await client.send(data[start:end])
                except trio.BrokenResourceError:
                    break  # it was refused
                await served.settle(6)
            with suppress(OSError):  # closed by the server already
                client.sock.shutdown(trio.socket.SHUT_WR)
            with trio.fail_after(5):
                answer = await client.rest()
            # (That depends on whether the body comes along with the head.)
            answers.append(WHY.sub(b"", answer.replace(responses.CONTINUE, b"")))
    handled = list(zip(handler.requests, map(said, handler.heads), strict=True))
    return handled, answers


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    families(),
    st.lists(st.integers(0, 3), min_size=2, max_size=6),
    st.lists(st.integers(0, 600), max_size=4),
    st.sampled_from([TAIL, CHUNK]),
)
async def test_a_recognised_head_is_taken_for_what_it_would_be_parsed_as(
    heads: list[bytes], order: list[int], cuts: list[int], body: bytes
) -> None:
    """Heads sent again and again, on one connection and on the next."""
    stream = b"".join(heads[number % len(heads)] + body for number in order)
    streams = [stream, heads[0] + body, stream]
    expected = await outcome(streams, [], forgetful=True)
    assert await outcome(streams, [], forgetful=False) == expected
    assert await outcome(streams, cuts, forgetful=False) == expected


GOOD = _FIRSTS[0] + b"\r\nHost: x\r\nContent-Length: 5\r\nCookie: BAYEUX_BROWSER=1\r\n\r\n"
CHUNKS = _FIRSTS[0] + b"\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
PRIVATE = GOOD.replace(b"Cookie: BAYEUX_BROWSER=1", b"Authorization: Bearer k")
DOUBLE = GOOD.replace(b"Cookie", b"Content-Length: 5\r\nCookie")
TWICE = [
    [GOOD + TAIL + GOOD + TAIL],
    [GOOD + TAIL + GOOD.replace(b"=1", b"=2") + TAIL + GOOD + TAIL],
    [CHUNKS + TAIL + GOOD + TAIL],
    [CHUNKS + CHUNK + CHUNKS + CHUNK + CHUNKS + TAIL + CHUNKS + b"1;a=b\r\nx\r\n" + TAIL],
    [PRIVATE + TAIL + PRIVATE.replace(b": 5", b": 0") + PRIVATE.replace(b" k", b" l") + TAIL],
    [GOOD + TAIL + GOOD.replace(b"\r\nCookie", b"\nCookie") + TAIL],
    [GOOD + TAIL + GOOD.replace(b"Cookie", b" Cookie") + TAIL],
    [
        GOOD
        + TAIL
        + GOOD.replace(b": 5", b": 05")
        + TAIL
        + GOOD.replace(b": 5", b": 0")
        + GOOD
        + TAIL
    ],
    [DOUBLE + TAIL + DOUBLE.replace(b": 5", b": 0", 1) + TAIL],
]


@pytest.mark.parametrize("streams", TWICE)
async def test_cut_anywhere(streams: list[bytes]) -> None:
    """Byte by byte, and in two at every place."""
    (data,) = streams
    expected = await outcome([data], [], forgetful=True)
    assert await outcome([data], range(len(data)), forgetful=False) == expected
    for cut in range(1, len(data)):
        assert await outcome([data], [cut], forgetful=False) == expected


async def test_these_tests_try_both_ways() -> None:
    """One service recognises what the other parses again."""
    for forgetful, hits in ((False, 2), (True, 0)):
        async with serving(Recorder(), SETTINGS) as served:
            if forgetful:
                served.service.heads = Forgetful()
            for _ in range(3):
                client = served.connect()
                await client.send(GOOD + TAIL)
                assert (await client.response())[0] == 200
            assert served.stats.head_cache_hits == hits


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_what_is_accepted_is_what_h11_reads(raw: bytes) -> None:
    end = raw.find(b"\r\n\r\n") + 4
    raw = raw[:end] if end >= 4 else raw
    try:
        got, _ = parse(raw, COOKIES, b"d" * DIGEST_BYTES)
    except RemoteProtocolError:
        return
    oracle = h11.Connection(h11.SERVER)
    oracle.receive_data(raw)
    request = oracle.next_event()
    assert isinstance(request, h11.Request)

    def values(name: bytes) -> list[bytes]:
        return [value for key, value in request.headers if key == name]

    assert got.method.encode() == request.method
    target = re.sub(rb"(?i)^https?://[^/?#]*/?", b"/", request.target)
    assert got.path + ("?" + got.query if got.query else "") == target.decode().removesuffix("?")
    if values(b"transfer-encoding"):
        assert got.content_length == CHUNKED
        assert [value.lower() for value in values(b"transfer-encoding")] == [b"chunked"]
        assert not values(b"content-length")
    else:
        (length,) = set(values(b"content-length")) or {b"0"}
        assert got.content_length == int(length)
    for name, attribute in ((b"origin", got.origin), (b"authorization", got.authorization)):
        assert attribute.encode("latin-1") == b", ".join(values(name))
    for cookie in filter(None, got.cookie.split("; ")):
        assert cookie.encode("latin-1") in b"; ".join(values(b"cookie"))
    if b"close" in b",".join(values(b"connection")).lower() or request.http_version == b"1.0":
        assert not got.keep_alive
