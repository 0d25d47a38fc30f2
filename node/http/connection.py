"""One client's HTTP/1.1 connection: how requests are answered.

Every answer goes through `respond_prebuilt`, because most are bytes that many
connections share; what is unusual (HEAD, a last answer) is made from the same
bytes.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from node.errors import LocalProtocolError, RemoteProtocolError, SlowConsumerError
from node.http import responses
from node.http.events import EventStream
from node.http.reader import BUSY, PENDING, READING, SPENT, RequestReader
from node.http.responses import JSON, Headers
from node.websocket.connection import WebSocketConnection
from node.websocket.deflate import Negotiation
from node.websocket.handshake import accept

if TYPE_CHECKING:
    from node.connection import ClientSocket
    from node.http.events import EventReceiver
    from node.http.head import Head
    from node.http.service import HttpService
    from node.websocket.connection import WebSocketReceiver


class HttpHandler(Protocol):
    """What the protocol above gives to the bytes below. Nothing here may wait."""

    def handle_request(self, conn: HttpConnection, head: Head, body: bytes) -> None:
        """Must lead to exactly one respond…, start_events or upgrade, now or later.

        A RemoteProtocolError raised here is answered with its status.
        """

    def connection_lost(self, conn: HttpConnection) -> None:
        """The connection is over while a request is outstanding, or it has an owner.

        Called once, also after this side's own `close()`: then not from within it.
        """


class HttpConnection(RequestReader):
    """A client connection that speaks HTTP/1.1."""

    __slots__ = ("_lines",)

    transport = "long-polling"  # what it is to the protocol above, as a held poll

    def __init__(self, service: HttpService, sock: ClientSocket) -> None:
        super().__init__(service, sock)
        self._lines = b""  # more header lines for the answer to the outstanding request

    @property
    def outstanding(self) -> bool:
        """A request waits for its answer."""
        return self._state == BUSY

    def add_headers(self, lines: bytes) -> None:
        """Header lines, each ended by CRLF, for the answer to the outstanding request."""
        self._lines += lines

    def respond_prebuilt(self, data: bytes, status: int = 0) -> None:
        """Answer with a whole response (head and body), which many connections may share.

        `status`: its own, if that is known without looking.
        `data` must have a Content-Length and no Connection header. Does nothing
        if the client has gone. Raises LocalProtocolError if no request is outstanding.
        """
        head = self._head
        if self._state != BUSY or head is None:
            self._refuse_answer()
            return
        shape = head.shape
        self._service.count(shape.path, status or int(data[9:12]))
        if self._lines:
            data = responses.with_lines(data, self._lines)
            self._lines = b""
            self._tell(int(data[9:12]), len(data))
        if not shape.plain or self._service.draining:
            self._respond_unusual(head, data)
            return
        self.seen = self.reactor.clock
        if self.send(data) and not self._partial:
            self._state = READING
        else:
            self._state = PENDING
            self.reactor.again(self)

    def respond_json(self, body: bytes) -> None:
        """Answer 200 with JSON. As `respond_prebuilt`."""
        self.respond_prebuilt(responses.json_head(len(body)) + body, HTTPStatus.OK)

    def respond(
        self, status: int, body: bytes, content_type: str = JSON, headers: Headers = ()
    ) -> None:
        """Answer. As `respond_prebuilt`; LocalProtocolError also for a header of two lines."""
        self.respond_prebuilt(responses.response(status, body, content_type, headers))

    def respond_error(self, status: int, code: str, message: str, retry: bool = False) -> None:
        """Answer with a JSON error body."""
        self.respond(status, responses.error_body(code, message, retry))

    def start_events(self, receiver: EventReceiver, first: bytes) -> EventStream:
        """Answer 200 with a stream of events that begins with `first`.

        This object is then spent. Raises LocalProtocolError if no request is outstanding.
        """
        head = self._head
        if self._state != BUSY or head is None or self.closed:
            raise LocalProtocolError("no request is outstanding")
        self._service.count(head.path, 200)
        stats = self._service.stats
        stats.connections["http"] -= 1
        stats.connections["sse"] += 1
        self._state = SPENT
        stream = EventStream(self.reactor, self.sock, receiver, self._service.settings)
        stream.take_over(self)
        lines, self._lines = self._lines, b""
        self._tell(HTTPStatus.OK, len(first))
        stream.start(first, lines, chunked=head.http_version == "1.1")
        return stream

    def upgrade(
        self,
        head: Head,
        receiver: WebSocketReceiver,
        subprotocols: tuple[str, ...] = (),
        headers: Headers = (),
    ) -> WebSocketConnection:
        """Complete the RFC 6455 handshake; this object is then spent.

        `subprotocols` are those that we speak, best first; `headers` (cookies) go
        with the answer. Raises RemoteProtocolError if the request is no proper
        handshake: let it pass (it is answered 400 or 426) or answer otherwise;
        LocalProtocolError if no request is outstanding.
        """
        if self._state != BUSY or self.closed:
            raise LocalProtocolError("no request is outstanding")
        settings = self._service.settings.websocket
        deflate = Negotiation()
        answer = accept(head, subprotocols, headers, [deflate] if settings.deflate else [])
        self._service.count(head.path, 101)
        stats = self._service.stats
        stats.connections["http"] -= 1
        stats.connections["websocket"] += 1
        self._tell(HTTPStatus.SWITCHING_PROTOCOLS, len(answer))
        self._state = SPENT
        ahead, self._partial = self._partial, b""
        socket = WebSocketConnection(
            self.reactor, self.sock, receiver, settings, window=deflate.window
        )
        socket.take_over(self)
        socket.start(answer, ahead)
        return socket

    def _tell(self, status: int, size: int) -> None:
        """A request of the log's sample, which adds a line to its answer, is answered."""
        if self._service.request_log is not None:
            self._service.request_log.answered(self, status, size)

    def _handle(self, head: Head, body: bytes) -> None:
        try:
            self._service.handler.handle_request(self, head, body)
        except RemoteProtocolError as error:
            if self._state == BUSY:
                told = responses.error_body(error.code, str(error))
                self.respond(error.status, told, JSON, error.headers)

    def _refuse_answer(self) -> None:
        if self._state != SPENT:
            raise LocalProtocolError("no request is outstanding")

    def _respond_unusual(self, head: Head, data: bytes) -> None:
        last = not head.keep_alive or self._service.draining
        if last:
            data = responses.closing(data)
        if head.method == "HEAD":
            data = responses.bodiless(data)
        self.send(data)
        self._answered(head, last=last)

    def _answered(self, head: Head, *, last: bool) -> None:
        self.seen = self.reactor.clock
        plain = self.writable and not self._partial
        self._state = READING if plain else PENDING
        if not head.digest:
            self._head = None
        if last and plain and not head.keep_alive:
            self.close()  # as the client wished; it sends nothing more
        elif last:
            self.finish()
        elif not plain:
            self.reactor.again(self)

    def on_drained(self) -> None:
        if self._state == PENDING:
            self.reactor.again(self)

    def on_failure(self, error: Exception) -> None:
        if self._state == BUSY and not isinstance(error, SlowConsumerError):
            body = responses.error_body("internal", "this request could not be served", retry=True)
            self.send(responses.closing(responses.response(500, body)))
            self.finish()
        else:
            self.close()

    def on_lost(self) -> None:
        due = self._state == BUSY or self.owner is not None
        self._state = SPENT
        self._head = self._body = None
        self._partial = b""
        self._service.stats.connections["http"] -= 1
        if due:
            self._service.handler.connection_lost(self)
