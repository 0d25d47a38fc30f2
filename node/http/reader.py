"""How requests are read from one client's connection.

    READING ──► BUSY ──► READING        a request is with the handler, then answered
                  │  └──► PENDING       answered; its tail or pipelined input waits for a turn
                  └─────► SPENT         upgraded, turned into a stream, finished, or lost

A request whose head repeats the connection's last one (or any recent one without a secret), and
whose body came along with it, with its length or as one chunk, takes the short way through
`_take`; everything else is parsed. Answering is the subclass's part.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from node.connection import ClientSocket, Connection
from node.errors import RemoteProtocolError
from node.http import responses
from node.http.body import ChunkedBody, SizedBody, lone_chunk
from node.http.guard import check_part
from node.http.head import CHUNKED, Head, parse

if TYPE_CHECKING:
    import h11

    from node.http.body import Body
    from node.http.service import HttpService

READING: Final = 0  # a request may come; perhaps part of it has
BUSY: Final = 1  # a request is outstanding
PENDING: Final = 2  # answered, but the answer, or input that came early, waits for a turn
SPENT: Final = 3

READ_AHEAD: Final = 16 * 1024  # bytes taken from a client that does not wait for its answers
# Python's hash of bytes is keyed with 128 random bits of this process, unless somebody forbids it.
_KEYED_HASH: Final = sys.hash_info.algorithm.startswith("siphash") and bool(
    sys.flags.hash_randomization
)
_LINE_END: Final = b"\r\n"
_HEAD_END: Final = b"\r\n\r\n"


class RequestReader(Connection):
    """Turns input into requests, one outstanding at a time, and hands them to `_handle`."""

    __slots__ = ("_body", "_head", "_partial", "_quick", "_service", "_state")

    def __init__(self, service: HttpService, sock: ClientSocket) -> None:
        super().__init__(service.reactor, sock)
        self._service = service
        self._state = READING
        self._head: Head | None = None  # of the outstanding request; else the last, if remembered
        self._partial = b""  # input not looked at: part of a head, or pipelined requests
        self._body: Body | None = None  # a body on its way
        self._quick = 0  # the hash of `_head`, length and all; 0 for none

    def _handle(self, head: Head, body: bytes) -> None:
        """Have the request that is now outstanding handled."""
        raise NotImplementedError

    def on_readable(self) -> None:
        if self._state != READING:
            self._read_ahead()
        else:
            body = self._body
            data = self.read() if body is None else self.read(body.read_size)
            if not data:
                return
            if body is not None:
                self._feed(body, data)
            elif self._partial:
                self._take(self._partial + data)
            else:
                self._take(data)
        if self._partial or self._body is not None or self._held:
            self._account()

    def _account(self) -> None:
        """Tell what is kept of a request; refuse it if the node keeps too much of them."""
        body = self._body
        held = len(self._partial) if body is None else body.held
        if not self.hold(held) and self._state == READING:
            self.reactor.stats.partial_refused["http"] += 1
            self._refuse(_overloaded())

    def _read_ahead(self) -> None:
        """Input while a request is outstanding: pipelined requests, or the client's end."""
        if self._state == PENDING:
            self.pause_reading()  # until its turn comes: the end of input must not overtake it
            return
        data = self.read(READ_AHEAD)
        if not data:
            return
        self._partial += data
        if len(self._partial) >= READ_AHEAD:
            self.pause_reading()

    def on_again(self) -> None:
        if self._state == PENDING and self.writable:
            data, self._partial = self._partial, b""
            self._state = READING
            if data:
                self._take(data)
            reads_on = self._state == READING or len(self._partial) <= READ_AHEAD // 2
            if reads_on and not self.closed:
                self.resume_reading()
            if not self.closed:
                self._account()
        super().on_again()

    def _take(self, data: bytes) -> None:
        """Serve the request that `data` begins with, if it is all there."""
        service = self._service
        end = data.find(_HEAD_END) + 4
        if end < 4 or end > service.settings.max_head:
            self._wait_for_head(data)
            return
        raw = data[:end]
        quick = hash(raw)
        head = self._head
        parser = None
        if head is not None and quick == self._quick:
            service.stats.head_cache_hits += 1  # the last one again, of a client that repeats it
        else:
            digest, length = service.heads.mark(raw)
            if head is not None and head.digest == digest:
                service.stats.head_cache_hits += 1
                head = service.heads.fitted(head, length)
            else:
                if data.startswith(_LINE_END):
                    self._skip_empty_lines(data)
                    return
                try:
                    head, parser = self._learn(raw, digest, length)
                except RemoteProtocolError as error:
                    self._refuse(error)
                    return
            self._quick = quick if _KEYED_HASH and head.digest else 0
        if self._partial:
            self.reactor.clear_deadline(self)
        length = head.shape.content_length
        whole = end + length
        most = service.settings.max_body
        if length == CHUNKED:
            chunk = lone_chunk(data, end, most)
            if chunk is None:
                self._begin_body(
                    head, parser or parse(raw, service.settings.cookies)[1], data[end:]
                )
                return
            body, whole = chunk
        elif whole > len(data) or length > most:
            self._begin_body(head, None, data[end:])
            return
        else:
            body = data[end:whole]
        self._head = head
        self._partial = data[whole:]
        self._state = BUSY
        self._handle(head, body)

    def _learn(self, head: bytes, digest: bytes, length: int) -> tuple[Head, h11.Connection | None]:
        """What a head says that is not the connection's last one again."""
        service = self._service
        known = service.heads.find(digest)
        if known is not None:
            service.stats.head_cache_hits += 1
            return service.heads.fitted(known, length), None
        service.stats.head_cache_misses += 1
        parsed, parser = parse(
            head, service.settings.cookies, digest, forwarded=service.settings.forwarded
        )
        return service.heads.remember(parsed), parser

    def _wait_for_head(self, data: bytes) -> None:
        """No (acceptable) end of a head is in `data`."""
        if data.startswith(_LINE_END):
            self._skip_empty_lines(data)
            return
        try:
            check_part(data, self._service.settings.max_head)
        except RemoteProtocolError as error:
            self._refuse(error)
            return
        if not self._partial:
            self.reactor.set_deadline(self, self._service.settings.head_timeout)
        self._partial = data

    def _skip_empty_lines(self, data: bytes) -> None:
        # RFC 9112 section 2.2: ignore empty lines before a request.
        start = 0
        while data.startswith(_LINE_END, start):
            start += 2
        if start < len(data):
            self._take(data[start:])
        else:
            if self._partial:
                self.reactor.clear_deadline(self)
            self._partial = b""

    # -- bodies that come in pieces ---------------------------------------------------

    def _begin_body(self, head: Head, parser: h11.Connection | None, data: bytes) -> None:
        settings = self._service.settings
        body: Body
        if parser is not None:
            body = ChunkedBody(head, parser, settings.max_body)
            length = settings.max_body
        else:
            body = SizedBody(head, settings.max_body)
            length = head.content_length
        if head.expects_continue and not data:
            if body.excess:
                self._refuse(_too_large(settings.max_body), head)
                return
            self.send(responses.CONTINUE)
        self._head = head
        self._partial = b""
        self._body = body
        patience = settings.head_timeout + length / settings.min_body_rate
        self.reactor.set_deadline(self, settings.drain_timeout if body.excess else patience)
        if data:
            self._feed(body, data)

    def _feed(self, body: Body, data: bytes) -> None:
        settings = self._service.settings
        fitted = not body.excess
        try:
            rest = body.feed(data)
        except RemoteProtocolError as error:
            self._refuse(error)
            return
        if rest is None:
            if body.excess and body.received > settings.drain_bytes:
                self._refuse(_too_large(settings.max_body))
            elif body.excess and fitted:
                self.reactor.set_deadline(self, settings.drain_timeout)
            return
        if body.excess:
            self._refuse(_too_large(settings.max_body))
            return
        self.reactor.clear_deadline(self)
        self._body = None
        self._partial = rest
        self._state = BUSY
        self._handle(body.head, body.content)

    # -- input that comes to nothing -----------------------------------------------------

    def _refuse(self, error: RemoteProtocolError, head: Head | None = None) -> None:
        """Answer what cannot be taken for a request, and close.

        `head`: of the request, if that much has come; a page may read why.
        """
        head = self._body.head if self._body is not None else head
        self._service.stats.http_requests["refused", error.status] += 1
        body = responses.error_body(error.code, str(error), retry=error.status == 503)
        answer = responses.response(error.status, body, headers=error.headers)
        if head is not None:
            answer = responses.with_lines(answer, self._service.refusal_lines(head))
        self._body = None
        self._partial = b""
        self.send(responses.closing(answer))
        self.finish()

    def on_deadline(self) -> None:
        if self._body is not None and self._body.excess:
            self._refuse(_too_large(self._service.settings.max_body))
        else:
            self._refuse(RemoteProtocolError("the request came too slowly", 408, "timeout"))

    def on_sweep(self, clock: int) -> None:
        if not self._is_idle(clock):
            return
        if self._is_untouched():
            self.reactor.read_now(self)  # a late node may not have come to what it was asked
            if self.closed or not self._is_untouched() or not self._is_idle(clock):
                return
        self.lost()

    def _is_untouched(self) -> bool:
        """Nothing of a request has come."""
        return self._state == READING and not self._partial and self._body is None

    def _is_idle(self, clock: int) -> bool:
        return clock - self.seen > self._service.settings.idle_timeout and (
            self._state == READING or not self.writable
        )


def _overloaded() -> RemoteProtocolError:
    return RemoteProtocolError("too much is being received, retry", 503, "unavailable")


def _too_large(limit: int) -> RemoteProtocolError:
    return RemoteProtocolError(f"a body may have {limit} bytes", 413, "too_large")
