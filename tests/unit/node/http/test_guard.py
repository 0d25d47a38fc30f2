from __future__ import annotations

import pytest

from node.errors import RemoteProtocolError
from node.http.guard import MAX_FIELDS, check_head, check_lines, check_part

GOOD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nX-Tab:\ta\tb\r\n\r\n"


def test_a_proper_head_passes() -> None:
    check_head(GOOD)


def test_every_part_of_a_proper_head_passes() -> None:
    for end in range(len(GOOD) + 1):
        check_part(GOOD[:end], 1000)


@pytest.mark.parametrize(
    "bad",
    [
        b"GET / HTTP/1.1\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: \x0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: \x7f\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_bad_lines_are_refused(bad: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        check_lines(bad)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "fields",
    [
        b"A: b\r\n c: d\r\n",
        b"A: b\r\n\tc\r\n",
        b"Content-Length: 2\r\nContent-Length: 2\r\n",
        b"content-length: 2\r\nCONTENT-LENGTH: 3\r\n",
        b"Content-Length: 2, 2\r\n",
        b"Content-Length: +2\r\n",
        b"Content-Length: 0x2\r\n",
        b"Content-Length: \r\n",
        b"Content-Length: 2 2\r\n",
        b"Content-Length: 9999999999999999999\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
    ],
)
def test_ambiguous_heads_are_refused(fields: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        check_head(b"POST / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n")
    assert refused.value.status == 400


def test_chunks_are_not_for_http_1_0() -> None:
    head = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(RemoteProtocolError):
        check_head(head)
    check_head(head.replace(b"1.0", b"1.1"))


def test_a_flood_of_lines_is_refused() -> None:
    start = b"GET / HTTP/1.1\r\n"
    check_head(start + b"A: b\r\n" * MAX_FIELDS + b"\r\n")
    with pytest.raises(RemoteProtocolError) as refused:
        check_head(start + b"A: b\r\n" * (MAX_FIELDS + 1) + b"\r\n")
    assert refused.value.status == 431


def test_too_many_bytes_are_refused_unless_something_is_worse() -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        check_part(b"x" * 101, 100)
    assert refused.value.status == 431
    with pytest.raises(RemoteProtocolError) as refused:
        check_part(b"\n" * 101, 100)
    assert refused.value.status == 400
