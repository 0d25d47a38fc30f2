from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import LocalProtocolError, RemoteProtocolError
from node.http.head import Head, parse
from node.websocket.handshake import accept
from ws_bytes import KEY, handshake


def head(raw: bytes) -> Head:
    return parse(raw, frozenset(), b"")[0]


def test_a_proper_handshake() -> None:
    # The example of RFC 6455 section 1.3.
    raw = handshake().replace(KEY, b"dGhlIHNhbXBsZSBub25jZQ==")
    answer = accept(head(raw))
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
    assert b"protocol" not in answer.lower().replace(b"switching protocols", b"")


def test_a_subprotocol_is_chosen_by_our_taste() -> None:
    got = head(handshake(b"Sec-WebSocket-Protocol: a, b", b"Sec-WebSocket-Protocol: c"))
    assert b"protocol: b\r\n" in accept(got, ("x", "b", "a")).lower()
    assert b"protocol: c\r\n" in accept(got, ("c",)).lower()
    assert b"sec-websocket-protocol" not in accept(got, ("x",)).lower()


def test_more_headers() -> None:
    answer = accept(head(handshake()), (), (("Set-Cookie", "a=b"),))
    assert b"set-cookie: a=b\r\n" in answer.lower()


@pytest.mark.parametrize("header", [("A", "b\r\nc: d"), ("A b", "c"), ("A", "€"), ("é", "b")])
def test_headers_cannot_be_injected(header: tuple[str, str]) -> None:
    with pytest.raises(LocalProtocolError):
        accept(head(handshake()), (), (header,))


def test_extensions_are_not_agreed_to() -> None:
    answer = accept(head(handshake(b"Sec-WebSocket-Extensions: permessage-deflate")))
    assert b"extensions" not in answer.lower()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (handshake().replace(b"Upgrade: websocket", b"Upgrade: h2c"), 400),
        (handshake().replace(b"keep-alive, Upgrade", b"keep-alive"), 400),
        (handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (handshake().replace(KEY, b"short"), 400),
        (handshake().replace(KEY, b"c2hvcnQ="), 400),
        (handshake().replace(b"Sec-WebSocket-Key", b"X-Key"), 400),
        (handshake().replace(b"Version: 13", b"Version: 8"), 426),
        (handshake().replace(b"Sec-WebSocket-Version", b"X-Version"), 400),
        (handshake().replace(b"example.org", b"x" * 70 + b".\xc3\xa9"), 400),
        (handshake(b"Sec-WebSocket-Protocol: \xff"), 400),
        (handshake(line=b"POST / HTTP/1.1"), 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ],
)
def test_what_is_refused(raw: bytes, status: int) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        accept(head(raw))
    assert refused.value.status == status
    if status == 426:
        assert refused.value.headers == (("Sec-WebSocket-Version", "13"),)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30), max_size=4), st.integers(0, 300), st.binary(max_size=3))
def test_only_the_declared_error_escapes(fields: list[bytes], at: int, junk: bytes) -> None:
    names = (b"Connection: ", b"Sec-WebSocket-Protocol: ", b"Sec-WebSocket-Extensions: ", b"")
    raw = handshake(*(name + field for name, field in zip(names, fields, strict=False)))
    for data in (raw, raw[:at] + junk + raw[at + 1 :]):
        try:
            accept(head(data), ("a",))
        except RemoteProtocolError:
            continue
