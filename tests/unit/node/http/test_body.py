from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import RemoteProtocolError
from node.http.body import Body, ChunkedBody, SizedBody, lone_chunk
from node.http.head import parse

LIMIT = 100


def chunked() -> ChunkedBody:
    raw = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return ChunkedBody(*parse(raw, frozenset()), LIMIT)


def sized(length: int) -> SizedBody:
    raw = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length
    return SizedBody(parse(raw, frozenset())[0], LIMIT)


def feed(body: Body, data: bytes, cuts: list[int]) -> bytes | None:
    """Feed `data` in pieces. Returns what follows the body, None if it is not complete."""
    bounds = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in pairwise(bounds):
        rest = body.feed(data[start:end])
        if rest is not None:
            return rest + data[end:]
    return None


_cuts = st.lists(st.integers(0, 10_000), max_size=10)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=LIMIT), st.binary(max_size=20), _cuts)
def test_a_sized_body(content: bytes, rest: bytes, cuts: list[int]) -> None:
    body = sized(len(content))
    assert feed(body, content + rest, cuts) == rest
    assert body.content == content
    assert not body.excess


@settings(deadline=None)
@given(_cuts)
def test_a_sized_body_over_the_limit_is_read_and_dropped(cuts: list[int]) -> None:
    body = sized(LIMIT + 50)
    assert body.excess
    assert feed(body, b"x" * (LIMIT + 50) + b"rest", cuts) == b"rest"
    assert body.content == b""
    assert body.received >= LIMIT + 50


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.binary(max_size=20), _cuts)
def test_a_chunked_body(parts: list[bytes], rest: bytes, cuts: list[int]) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    body = chunked()
    assert feed(body, data + rest, cuts) == rest
    assert body.content == b"".join(parts)
    assert not body.excess


@settings(deadline=None)
@given(_cuts)
def test_a_chunked_body_over_the_limit_is_read_and_dropped(cuts: list[int]) -> None:
    data = (b"32\r\n" + b"x" * 50 + b"\r\n") * 4 + b"0\r\n\r\n"
    body = chunked()
    assert feed(body, data + b"rest", cuts) == b"rest"
    assert body.excess
    assert body.content == b""


_sizes = st.sampled_from([b"%x", b"%X", b"00%x", b" %x", b"%x ", b"%x;a=b", b"+%x", b"0x%x", b"%d"])
_ends = st.sampled_from(
    [b"\r\n0\r\n\r\n", b"\r\n00\r\n\r\n", b"\n0\r\n\r\n", b"\r\n0\r\nA: b\r\n\r\n"]
)


@settings(deadline=None)
@given(_sizes, st.binary(max_size=LIMIT + 10), _ends, st.binary(max_size=20), st.integers(0, 200))
def test_a_lone_chunk_is_what_h11_reads(
    size: bytes, content: bytes, end: bytes, rest: bytes, cut: int
) -> None:
    """If it is taken for one at all; what comes in the usual form is."""
    whole = size % len(content) + b"\r\n" + content + end
    usual = size in {b"%x", b"%X", b"00%x"} and end == b"\r\n0\r\n\r\n"
    for data in (whole + rest, whole[:cut]):
        found = lone_chunk(b"head" + data, 4, LIMIT)
        if found is None:
            assert not usual or not 0 < len(content) <= LIMIT or len(data) < len(whole)
            continue
        got, over = found
        body = chunked()
        assert body.feed(data) == data[over - 4 :]
        assert body.content == got
        assert not body.excess


@settings(deadline=None)
@given(_cuts)
def test_trailers_are_passed_over(cuts: list[int]) -> None:
    body = chunked()
    assert feed(body, b"1;ext=a\r\nx\r\n0\r\nA: b\r\n\r\nrest", cuts) == b"rest"
    assert body.content == b"x"


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"-1\r\n",
        b"1\nx\r\n",
        b"1\r\nxy\r\n",
        b"1\r\nx\n0\r\n\r\n",
        b"1\r\nx\r\n0\r\n\n",
        b"0\r\nA: b\n\n",
        b"0\r\nA: b\n\r\n",
        b"0\r\nnonsense\r\n\r\n",
        b"fffffffffffffffffffff\r\n",
        b"1" + b";" + b"x" * 20_000,
    ],
)
def test_malformed_chunks_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        chunked().feed(data + b"GET / HTTP/1.1\r\n\r\n")


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=100), _cuts)
def test_only_the_declared_error_escapes(junk: bytes, cuts: list[int]) -> None:
    try:
        feed(chunked(), junk, cuts)
    except RemoteProtocolError:
        return
