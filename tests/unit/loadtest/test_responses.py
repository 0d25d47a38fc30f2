"""Where responses end: measured once a head, refused where nothing was promised."""

from __future__ import annotations

import pytest

from loadtest.swarm.responses import (
    HEAD_BYTES,
    BadResponse,
    Busy,
    ResponseLengths,
    body_of,
    cookies_of,
    headers_of,
    status_of,
)

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\ncontent-length: 5\r\n\r\nhello"


def test_a_whole_response_is_as_long_as_it_is() -> None:
    lengths = ResponseLengths()
    assert lengths.measure(RESPONSE) == len(RESPONSE)
    assert lengths.measure(RESPONSE) == len(RESPONSE)  # from memory


def test_every_prefix_is_incomplete() -> None:
    lengths = ResponseLengths()
    for size in range(len(RESPONSE)):
        total = lengths.measure(RESPONSE[:size])
        assert not total or size < total


def test_what_follows_is_not_counted() -> None:
    assert ResponseLengths().measure(RESPONSE + RESPONSE) == len(RESPONSE)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 503 Not now\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\r\n\r\n",
        b"x" * (HEAD_BYTES + 1),
    ],
)
def test_other_answers_are_faults(data: bytes) -> None:
    with pytest.raises(BadResponse):
        ResponseLengths().measure(data)


def test_who_is_busy_says_when_to_come_again() -> None:
    with pytest.raises(Busy) as caught:
        ResponseLengths().measure(b"HTTP/1.1 503 Not now\r\nRetry-After: 2\r\n\r\n")
    assert caught.value.after == 2


def test_a_fault_quotes_the_body() -> None:
    with pytest.raises(BadResponse, match="402::session_unknown"):
        ResponseLengths().measure(
            b"HTTP/1.1 400 Bad\r\nContent-Length: 20\r\n\r\n402::session_unknown"
        )


def test_switching_protocols_ends_with_its_head() -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    assert ResponseLengths().measure(head + b"\x81\x00") == len(head)


def test_heads_are_remembered_within_bounds() -> None:
    lengths = ResponseLengths()
    for number in range(10_000):
        assert lengths.measure(b"HTTP/1.1 200 OK\r\nDate: %d\r\nContent-Length: 0\r\n\r\n" % number)
    assert len(lengths._known) <= 4_096


def test_head_fields() -> None:
    head = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; HttpOnly\r\nset-cookie: c=d=e\r\nX\r\n\r\n"
    assert status_of(head) == 200
    assert headers_of(head) == [("set-cookie", "a=b; HttpOnly"), ("set-cookie", "c=d=e")]
    assert cookies_of(head) == {"a": "b", "c": "d=e"}


def test_a_chunked_response_ends_with_its_last_chunk() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    whole = head + b"4\r\n[{}]\r\n2;x=y\r\n, \r\n0\r\n\r\n"
    lengths = ResponseLengths()
    for size in range(len(whole)):
        assert not lengths.measure(whole[:size])
    assert lengths.measure(whole + head) == len(whole)
    assert body_of(whole) == b"[{}], "
    assert body_of(RESPONSE) == b"hello"
