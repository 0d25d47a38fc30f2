"""A sample of clients' requests in the log: one line each when it is answered.

The answer carries the same id (`X-Request-Id`), so that a client's report can be
found. Off, it is not there at all; on, a request that is not in the sample costs
a random number. What a request says is not logged, and its session only by the
public address.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Self

import msgspec
import structlog

from pubsub.sessions import address_for

if TYPE_CHECKING:
    from random import Random

    from node.http import Head, HttpConnection
    from node.http.connection import HttpHandler

log = structlog.get_logger()

MAX_TEXT: Final = 128
"""Characters of a name that a client chose."""
MAX_BODY: Final = 64 * 1024
"""Bytes: of a larger body nothing is read for the log."""


class _Message(msgspec.Struct):
    channel: str = ""
    clientId: str = ""  # noqa: N815 - the protocol's name


class Asked(msgspec.Struct):
    """A request of the sample that waits for its answer."""

    request: str
    began: float
    words: dict[str, str | int]


_decode: Final = msgspec.json.Decoder(list[_Message] | _Message).decode


class RequestLog:
    """Stands before the handler of an `HttpService`, and is told of answers by connections."""

    _handler: HttpHandler

    def __init__(self, rate: float, draw: Random) -> None:
        """`rate`: the part of all requests that is logged, 0 to 1."""
        self._rate = rate
        self._draw = draw
        self._open: dict[HttpConnection, Asked] = {}

    def before(self, handler: HttpHandler) -> Self:
        """Itself, from now on before `handler`."""
        self._handler = handler
        return self

    def handle_request(self, conn: HttpConnection, head: Head, body: bytes) -> None:
        """As `HttpHandler`."""
        if self._draw.random() < self._rate:
            request = f"{self._draw.getrandbits(64):016x}"
            words: dict[str, str | int] = {"method": head.method, "path": head.path[:MAX_TEXT]}
            self._open[conn] = Asked(request, time.perf_counter(), words | _described(body))
            conn.add_headers(b"X-Request-Id: %b\r\n" % request.encode())
        self._handler.handle_request(conn, head, body)

    def answered(self, conn: HttpConnection, status: int, size: int) -> None:
        """`size`: bytes of the answer, its head included; of a stream, of its beginning."""
        self._write(conn, "request", status=status, bytes=size)

    def connection_lost(self, conn: HttpConnection) -> None:
        """As `HttpHandler`."""
        self._write(conn, "request_lost")
        self._handler.connection_lost(conn)

    def _write(self, conn: HttpConnection, event: str, **words: int) -> None:
        asked = self._open.pop(conn, None)
        if asked is not None:
            took = round((time.perf_counter() - asked.began) * 1000, 3)
            log.info(event, request=asked.request, ms=took, **asked.words, **words)


def _described(body: bytes) -> dict[str, str | int]:
    """Whose session, what for, and how many messages; nothing of a body that is no Bayeux."""
    if not body or len(body) > MAX_BODY:
        return {}
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    messages = found if isinstance(found, list) else [found]
    if not messages or not messages[0].channel:
        return {}
    words: dict[str, str | int] = {
        "channel": messages[0].channel[:MAX_TEXT],
        "messages": len(messages),
    }
    secret = next((each.clientId for each in messages if each.clientId), "")
    if address := address_for(secret):
        words["session"] = address
    return words
