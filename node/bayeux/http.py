"""Bayeux over HTTP: long-polling, callback-polling, and Faye's stream of events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.bayeux.binding import NONE, admits, mark_of, new_cookie
from node.bayeux.bodies import Fields, read_body
from node.bayeux.callback import DEFAULT_CALLBACK, CallbackPoll, is_callback
from node.bayeux.channels import META_HANDSHAKE
from node.errors import RemoteProtocolError
from node.http.origins import METHODS, Origins
from node.http.responses import error_body
from pubsub.sessions import parse_secret

if TYPE_CHECKING:
    from node.bayeux.event_source import EventSources
    from node.bayeux.messages import ClientMessage
    from node.bayeux.protocol import Protocol
    from node.bayeux.relay import Relays
    from node.bayeux.sessions import Sessions
    from node.http import Head, HttpConnection


def client_id_of(messages: list[ClientMessage]) -> str:
    """The secret id of the session that a batch is for: its first message's; empty for none.

    A batch is for one session; messages that name another are refused one by
    one (402), so that nobody slips another's id in second place.
    """
    for message in messages:
        if message.channel == META_HANDSHAKE:
            return ""
        if message.client_id:
            return message.client_id
    return ""


def named_session(messages: list[ClientMessage]) -> str | None:
    """The address of the session that a batch is for; None for none, or for no proper id."""
    named = client_id_of(messages)
    return parse_secret(named) if named else None


def bind(conn: HttpConnection, head: Head) -> bytes:
    """The binding of a session that this request makes; a browser without the cookie gets it.

    A browser that does not say which page asks may ask for another site's, and
    would then not keep the cookie: its session is bound to nothing until it shows one.
    """
    mark = mark_of(head)
    if mark or head.foreign or not head.browser:
        return mark
    secure = conn.secure or head.page.startswith("https:")
    mark, line = new_cookie(secure=secure)
    conn.add_headers(line)
    return mark if head.page or head.shape.fetch_site else NONE


class HttpTransports:
    """Takes requests to `/bayeux` and `/cometd`."""

    def __init__(
        self,
        protocol: Protocol,
        sessions: Sessions,
        relays: Relays,
        event_sources: EventSources,
        origins: Origins,
    ) -> None:
        self._protocol = protocol
        self._sessions = sessions
        self._relays = relays
        self._event_sources = event_sources
        self._origins = origins

    def handle(self, conn: HttpConnection, head: Head, body: bytes) -> None:
        """RemoteProtocolErrors raised here are answered by the connection (400)."""
        if not self._origins.admit(conn, head):
            return
        if head.method == "POST":
            messages, body = read_body(head, body)
            self._run(conn, conn, head, messages, body)
        elif head.method == "GET":
            self._get(conn, head)
        elif head.method == "OPTIONS":
            self._origins.preflight(conn, head)
        else:
            told = error_body("bad_request", "use POST, GET or a WebSocket")
            conn.respond(405, told, headers=(("Allow", METHODS),))

    def _get(self, conn: HttpConnection, head: Head) -> None:
        last = head.path.rpartition("/")[2]
        address = None if "message=" in head.query else parse_secret(last)
        if address is not None:
            self._event_sources.open(conn, head, address)
            return
        if not self._origins.allows_script(head):
            self._origins.refuse(conn)
            return
        fields = Fields(head.query)
        messages, body = fields.batch()
        callback = fields.get("jsonp", DEFAULT_CALLBACK)
        if not is_callback(callback):
            raise RemoteProtocolError("jsonp= must name a function: 1 to 64 of A-Z a-z 0-9 . _ -")
        poll = CallbackPoll(conn, callback)
        conn.owner = poll
        self._run(conn, poll, head, messages, body)

    def _run(
        self,
        conn: HttpConnection,
        poll: HttpConnection | CallbackPoll,
        head: Head,
        messages: list[ClientMessage],
        body: bytes,
    ) -> None:
        named = client_id_of(messages)
        address = parse_secret(named) if named else None
        if address is None:
            shakes = any(message.channel == META_HANDSHAKE for message in messages)
            binding = bind(conn, head) if shakes else NONE
            origin = self._protocol.gate.client_of(conn, head) if shakes else ""
            self._protocol.batch(messages, None, poll=poll, binding=binding, origin=origin).run()
            return
        session = self._sessions.get(address)
        if session is None:
            self._relays.forward(poll, address, body, mark_of(head))
            return
        if session.binding and not admits(session.binding, mark_of(head)):
            session = None
        poll.owner = session
        if (
            session is not None
            and len(messages) == 1
            and self._protocol.connect_alone(session, messages[0], poll)
        ):
            return
        batch = self._protocol.batch(messages, session, poll=poll)
        batch.client_id = named
        batch.run()
