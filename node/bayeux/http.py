"""Bayeux over HTTP long-polling: bodies in, one JSON array out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.bayeux.channels import META_HANDSHAKE
from node.bayeux.messages import ClientMessage, decode_batch
from node.errors import RemoteProtocolError
from node.http.responses import error_body
from pubsub.sessions import parse_secret

if TYPE_CHECKING:
    from node.bayeux.protocol import Protocol
    from node.bayeux.relay import Relays
    from node.bayeux.sessions import Sessions
    from node.http import Head, HttpConnection


def named_session(messages: list[ClientMessage]) -> str | None:
    """The address of the session that a batch is for: its first message's.

    A batch is for one session; messages that name another are refused one by
    one (402), so that nobody slips another's id in second place.
    """
    for message in messages:
        if message.channel == META_HANDSHAKE:
            return None
        if message.client_id:
            return parse_secret(message.client_id)
    return None


class LongPolling:
    """Takes requests to `/bayeux` and `/cometd`."""

    def __init__(self, protocol: Protocol, sessions: Sessions, relays: Relays) -> None:
        self._protocol = protocol
        self._sessions = sessions
        self._relays = relays

    def handle(self, conn: HttpConnection, head: Head, body: bytes) -> None:
        if head.method != "POST":
            conn.respond(
                405,
                error_body("bad_request", "use POST or a WebSocket"),
                headers=(("Allow", "POST"),),
            )
            return
        try:
            messages = decode_batch(body)
        except RemoteProtocolError as error:
            conn.respond(400, error_body("bad_request", str(error)))
            return
        address = named_session(messages)
        session = self._sessions.get(address) if address is not None else None
        if session is None and address is not None:
            self._relays.forward(conn, address, body)
            return
        conn.owner = session
        self._protocol.batch(messages, session, poll=conn).run()
