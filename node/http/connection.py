"""Signatures; being filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from node.connection import Connection

if TYPE_CHECKING:
    from node.http.head import Head
    from node.websocket.connection import WebSocketConnection, WebSocketReceiver

JSON = "application/json;charset=UTF-8"


class HttpHandler(Protocol):
    """What the protocol above gives to the bytes below. Nothing here may wait."""

    def handle_request(self, conn: HttpConnection, head: Head, body: bytes) -> None:
        """Must lead to exactly one respond…, start_stream or upgrade, now or later.

        A RemoteProtocolError raised here is answered with its status.
        """

    def connection_lost(self, conn: HttpConnection) -> None:
        """Called once when a connection is gone and a request was outstanding, or it had an owner.

        Also after this side's own `close()`, then in a later turn of the reactor.
        """

    def handle_writable(self, conn: HttpConnection) -> None:
        """A stream's kept tail has drained."""


class HttpConnection(Connection):
    """A client's HTTP/1.1 connection."""

    __slots__ = ()

    def respond(
        self,
        status: int,
        body: bytes,
        content_type: str = JSON,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Answer. Does nothing if the client has gone.

        Raises LocalProtocolError if no request is outstanding or a header is not one line.
        """
        raise NotImplementedError

    def respond_json(self, body: bytes) -> None:
        """Answer 200 with JSON: the fast path."""
        raise NotImplementedError

    def respond_prebuilt(self, data: bytes) -> None:
        """Answer with a whole response (head and body) that many connections share."""
        raise NotImplementedError

    def respond_error(self, status: int, code: str, message: str, retry: bool = False) -> None:
        """Answer with an error body."""
        raise NotImplementedError

    def start_stream(
        self, content_type: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Begin a 200 response without a length (chunked; until close for HTTP/1.0)."""
        raise NotImplementedError

    def send_chunk(self, chunk: bytes) -> bool:
        """Send a prebuilt `stream_chunk`, shared by all readers. As `send`."""
        raise NotImplementedError

    def end_stream(self) -> None:
        """The stream is complete; the connection may serve another request."""
        raise NotImplementedError

    def upgrade(
        self, head: Head, receiver: WebSocketReceiver, subprotocols: tuple[str, ...] = ()
    ) -> WebSocketConnection:
        """Complete the RFC 6455 handshake; this object is spent, the result has the socket.

        Raises RemoteProtocolError if the request is not a proper handshake: let it
        pass (it is answered 400 or 426) or answer otherwise.
        `subprotocols`: those that we speak, best first.
        """
        raise NotImplementedError
