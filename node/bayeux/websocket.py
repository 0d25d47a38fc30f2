"""Bayeux over WebSocket: each text frame is a batch; deliveries come as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from node.bayeux.binding import mark_of
from node.bayeux.channels import META_CONNECT
from node.bayeux.extensions.ack import acknowledged
from node.bayeux.http import named_session
from node.bayeux.messages import ClientMessage, decode_batch
from node.bayeux.relay import admits_to
from node.bayeux.relayed import Frame
from node.errors import RemoteProtocolError
from node.session import Session
from node.websocket import CloseCode
from pubsub.errors import Code
from pubsub.messages import Failed

if TYPE_CHECKING:
    from node.bayeux.batch import Batch
    from node.bayeux.protocol import Protocol
    from node.bayeux.relay import Relays
    from node.bayeux.sessions import Sessions
    from node.http import Head, HttpConnection
    from node.http.origins import Origins
    from node.stats import Stats
    from node.websocket import WebSocketConnection

_Open = TypeVar("_Open", "Batch", Frame)
_PRUNE_OVER = 256  # batches that are kept count of before the answered ones are forgotten


class BayeuxWebSocket:
    """Receives the frames of every Bayeux WebSocket of the node."""

    def __init__(
        self,
        protocol: Protocol,
        sessions: Sessions,
        relays: Relays,
        stats: Stats,
        origins: Origins,
    ) -> None:
        self._protocol = protocol
        self._sessions = sessions
        self._relays = relays
        self._stats = stats
        self._origins = origins
        self._open: dict[Batch | Frame, None] = {}  # not all answered yet, when last looked at
        self._prune_at = _PRUNE_OVER

    def open(self, conn: HttpConnection, head: Head) -> None:
        """Answer a handshake request; no CORS guards it, so pages are checked here."""
        if self._origins.allows(head):
            origin = self._protocol.gate.client_of(conn, head)
            ws = conn.upgrade(head, self)
            ws.mark, ws.origin = mark_of(head), origin
        else:
            self._origins.refuse(conn)

    def handle_text(self, ws: WebSocketConnection, text: bytes) -> None:
        try:
            messages = decode_batch(text)
        except RemoteProtocolError as error:
            ws.close_with(CloseCode.INVALID_TEXT, str(error)[:100])
            return
        address = named_session(messages)
        if address is None:
            self._run(ws, messages, None)
            return
        session = self._sessions.get(address)
        if session is not None:
            self._run_for(ws, messages, session)
        elif any(message.channel == META_CONNECT for message in messages):
            self._claim(ws, messages, address)
        else:  # (where it lives, what its client has got is known, or will be said)
            frame = self._watch(Frame(ws))
            self._relays.forward(frame, address, text, ws.mark)

    def _claim(self, ws: WebSocketConnection, messages: list[ClientMessage], address: str) -> None:
        """Its client connects here: the session moves."""
        frame = self._watch(Frame(ws))

        def resumed(result: Session | Failed) -> None:
            frame.done = True
            if not isinstance(result, Failed):
                self._run_for(ws, messages, result)
            elif result.code == Code.UNKNOWN_SESSION:
                self._run(ws, messages, None)
            else:
                frame.respond(503, b"")

        self._relays.claim(address, ws.mark, ws.transport, resumed, acknowledged(messages))

    def _run_for(
        self, ws: WebSocketConnection, messages: list[ClientMessage], session: Session
    ) -> None:
        admitted = ws.owner is session or admits_to(session, ws.mark, ws.transport)
        self._run(ws, messages, session if admitted else None)

    def _run(
        self, ws: WebSocketConnection, messages: list[ClientMessage], session: Session | None
    ) -> None:
        if ws.closed:
            return
        batch = self._protocol.batch(
            messages, session, stream=ws, binding=ws.mark, origin=ws.origin
        )
        batch.run()
        if not batch.done:
            self._watch(batch)

    def _watch(self, what: _Open) -> _Open:
        """Until it is done its socket is busy."""
        self._open[what] = None
        if len(self._open) > self._prune_at:
            self._prune()
        return what

    def busy(self, ws: WebSocketConnection | None) -> bool:
        """Whether replies are still to come on `ws` (None: on any that is open)."""
        self._prune()
        return any(what.stream is ws or ws is None for what in self._open)

    def _prune(self) -> None:
        """Forget what has been answered; from time to time, since nothing waits for it."""
        self._open = {
            what: None
            for what in self._open
            if not (what.done or what.stream is None or what.stream.closed)
        }
        self._prune_at = 2 * len(self._open) + _PRUNE_OVER

    def handle_writable(self, ws: WebSocketConnection) -> None:
        """The kernel takes more: read on from the log."""
        session = ws.owner
        if isinstance(session, Session):
            self._sessions.hub.catch_up(session)

    def connection_lost(self, ws: WebSocketConnection) -> None:
        session = cast("Session | None", ws.owner)
        if session is not None:
            ws.owner = None
            self._sessions.connection_lost(session, ws)
