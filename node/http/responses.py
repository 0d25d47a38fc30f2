"""Response bytes: built once where they can be, validated where they must be.

No `Date`: formatting one a second would cost the sharing of whole responses,
and nothing here is cacheable by anyone.
"""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from typing import Final

import msgspec

from node.errors import LocalProtocolError

JSON: Final = "application/json;charset=UTF-8"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"

_NAME: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_BODILESS: Final = frozenset({204, 304})
_RETRY_AFTER: Final = "Retry-After"

Headers = tuple[tuple[str, str], ...]


@lru_cache(maxsize=4096)
def json_head(length: int) -> bytes:
    """The head of a 200 JSON response with `length` bytes of body."""
    return _start(200, JSON) + b"Content-Length: %d\r\n\r\n" % length


def json_response(body: bytes) -> bytes:
    """A whole 200 JSON response, for `HttpConnection.respond_prebuilt`."""
    return json_head(len(body)) + body


def response(status: int, body: bytes, content_type: str = JSON, headers: Headers = ()) -> bytes:
    """A whole response. One that says "not now" (503) says when, if `headers` do not: in a second.

    Raises LocalProtocolError for a header that is not one line of text.
    """
    if status == HTTPStatus.SERVICE_UNAVAILABLE and not any(n == _RETRY_AFTER for n, _ in headers):
        headers = (*headers, (_RETRY_AFTER, "1"))
    if status in _BODILESS:
        return _start(status, "") + _lines(headers) + b"\r\n"
    return b"%bContent-Length: %d\r\n%b\r\n%b" % (
        _start(status, content_type),
        len(body),
        _lines(headers),
        body,
    )


def stream_start(content_type: str, headers: Headers = (), *, chunked: bool = True) -> bytes:
    """The head of a response without a length: chunked, or ended by closing."""
    framing = b"Transfer-Encoding: chunked\r\n" if chunked else b"Connection: close\r\n"
    return _start(200, content_type) + framing + _lines(headers) + b"\r\n"


def stream_chunk(data: bytes) -> bytes:
    """`data` (not empty) as one chunk, for `EventStream.send_chunk`."""
    if not data:
        raise LocalProtocolError("an empty chunk would end the stream")
    return b"%x\r\n%b\r\n" % (len(data), data)


def unchunk(chunk: bytes) -> bytes:
    """What `stream_chunk` was given, for a client that knows no chunks."""
    return chunk[chunk.index(b"\r\n") + 2 : -2]


def closing(data: bytes) -> bytes:
    """The prebuilt response `data`, telling the client that it is the last one."""
    return data.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


def with_lines(data: bytes, lines: bytes) -> bytes:
    """The prebuilt response `data` with more header lines, each ended by CRLF."""
    return data.replace(b"\r\n", b"\r\n" + lines, 1)


def header_lines(headers: Headers) -> bytes:
    """Headers as lines. Raises LocalProtocolError for one that is not one line of text."""
    return _lines(headers)


def bodiless(data: bytes) -> bytes:
    """The prebuilt response `data` as the answer to HEAD."""
    return data[: data.index(b"\r\n\r\n") + 4]


def error_body(code: str, message: str, retry: bool = False) -> bytes:
    """`{"error":{"code","message","retry"}}` as JSON."""
    return msgspec.json.encode({"error": {"code": code, "message": message, "retry": retry}})


@lru_cache(maxsize=256)
def _start(status: int, content_type: str) -> bytes:
    """Status line and content type."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Status"
    line = f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")
    return line + _lines((("Content-Type", content_type),)) if content_type else line


def _lines(headers: Headers) -> bytes:
    if not headers:
        return b""
    lines = []
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise LocalProtocolError(f"not a header: {name!r}: {value!r}")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("latin-1")
