from __future__ import annotations

import h11
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import LocalProtocolError
from node.http import responses
from node.http.responses import (
    bodiless,
    closing,
    error_body,
    json_response,
    response,
    stream_chunk,
    stream_start,
    unchunk,
)


def read(data: bytes, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    head = client.next_event()
    assert isinstance(head, h11.Response)
    body = b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        body += event.data
    assert client.trailing_data[0] == b""
    return head.status_code, dict(head.headers), body


def test_json() -> None:
    status, headers, body = read(json_response(b'{"a":1}'))
    assert status == 200
    assert headers[b"content-type"] == b"application/json;charset=UTF-8"
    assert body == b'{"a":1}'


def test_headers_and_another_status() -> None:
    data = response(404, b"no", "text/plain", (("Set-Cookie", "a=b; HttpOnly"), ("Vary", "é")))
    assert data.startswith(b"HTTP/1.1 404 Not Found\r\n")
    status, headers, body = read(data)
    assert (status, body) == (404, b"no")
    assert headers[b"set-cookie"] == b"a=b; HttpOnly"
    assert headers[b"vary"] == "é".encode("latin-1")


def test_a_status_without_a_name() -> None:
    assert read(response(299, b""))[0] == 299


def test_a_status_without_a_body() -> None:
    data = response(204, b"", headers=(("Access-Control-Allow-Origin", "*"),))
    assert b"Content-" not in data
    assert read(data)[0] == 204


@pytest.mark.parametrize(
    "header",
    [
        ("A", "b\r\nc: d"),
        ("A", "b\nc"),
        ("A\r\nB", "c"),
        ("A b", "c"),
        ("", "c"),
        ("A", "\x00"),
        ("A", "€"),
    ],
)
def test_headers_cannot_be_injected(header: tuple[str, str]) -> None:
    with pytest.raises(LocalProtocolError):
        response(200, b"", headers=(header,))
    with pytest.raises(LocalProtocolError):
        stream_start("text/plain", (header,))


def test_nor_by_the_content_type() -> None:
    with pytest.raises(LocalProtocolError):
        response(200, b"", "text/plain\r\nA: b")


def test_the_last_one() -> None:
    status, headers, body = read(closing(json_response(b"[]")))
    assert (status, body) == (200, b"[]")
    assert headers[b"connection"] == b"close"


def test_the_answer_to_head() -> None:
    status, headers, body = read(bodiless(json_response(b"[1,2]")), "HEAD")
    assert (status, body) == (200, b"")
    assert headers[b"content-length"] == b"5"


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5))
def test_streams(parts: list[bytes]) -> None:
    chunks = [stream_chunk(part) for part in parts]
    assert [unchunk(chunk) for chunk in chunks] == parts
    data = stream_start("text/event-stream") + b"".join(chunks) + responses.LAST_CHUNK
    assert read(data)[2] == b"".join(parts)


def test_a_stream_until_close() -> None:
    assert b"Connection: close\r\n" in stream_start("text/plain", chunked=False)


def test_an_empty_chunk_would_end_the_stream() -> None:
    with pytest.raises(LocalProtocolError):
        stream_chunk(b"")


def test_errors() -> None:
    assert msgspec.json.decode(error_body("unavailable", 'a "b"\n', retry=True)) == {
        "error": {"code": "unavailable", "message": 'a "b"\n', "retry": True}
    }
