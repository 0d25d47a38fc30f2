"""Streams of events that carry a Bayeux session, as Faye has them: GET `<mount>/<clientId>`.

The client sends its messages in requests of their own, its connects too; what
it is owed comes as events, each a JSON array of messages.
"""

from __future__ import annotations

from functools import partial
from secrets import randbelow
from typing import TYPE_CHECKING, cast

from node.bayeux.binding import admits, mark_of
from node.http.responses import error_body, stream_chunk
from node.sse import events
from node.topic import ARRAYS
from pubsub.errors import Code
from pubsub.messages import Failed

if TYPE_CHECKING:
    from node.bayeux.relay import Relays
    from node.bayeux.sessions import Sessions
    from node.http import EventStream, Head, HttpConnection
    from node.session import Session, Stream

RETRY_MS = 1_000  # milliseconds before a client whose stream broke comes back
_UNKNOWN = error_body("unknown_session", "session unknown: handshake again")
_UNAVAILABLE = error_body("unavailable", "not now, retry", retry=True)


def spread_return(stream: Stream) -> None:
    """Before many streams end at once: let their clients come back one by one."""
    if stream.transport == "sse" and stream.writable:
        wait = RETRY_MS // 2 + randbelow(2 * RETRY_MS)
        stream.send_chunk(stream_chunk(events.retry_after(wait)))


class Visit:
    """A request on its way to a stream; the owner of its connection until then."""

    __slots__ = ("conn",)

    def __init__(self, conn: HttpConnection) -> None:
        self.conn = conn
        conn.owner = self

    @property
    def gone(self) -> bool:
        """The client did not wait."""
        return self.conn.owner is not self


class StreamReceiver:
    """What the streams of all sessions have in common: how they go on, and how they end."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def handle_writable(self, stream: EventStream) -> None:
        """The kernel takes more: read on from the log."""
        if stream.owner is not None:
            self._sessions.hub.catch_up(cast("Session", stream.owner))

    def connection_lost(self, stream: EventStream) -> None:
        session = cast("Session | None", stream.owner)
        if session is not None:
            stream.owner = None
            self._sessions.connection_lost(session, stream)


class EventSources:
    """Opens such streams."""

    def __init__(self, sessions: Sessions, relays: Relays) -> None:
        self._sessions = sessions
        self._relays = relays
        self._receiver = StreamReceiver(sessions)

    def open(self, conn: HttpConnection, head: Head, address: str) -> None:
        """Stream the session with this address, which the client named by its secret."""
        visit, mark = Visit(conn), mark_of(head)
        session = self._sessions.get(address)
        if session is None:
            self._relays.claim(address, mark, "sse", partial(self._resumed, visit, mark))
        else:
            self._resumed(visit, mark, session)

    def _resumed(self, visit: Visit, mark: bytes, result: Session | Failed) -> None:
        if visit.gone:
            return
        conn = visit.conn
        conn.owner = None
        if isinstance(result, Failed) and result.code != Code.UNKNOWN_SESSION:
            conn.respond(503, _UNAVAILABLE)
        elif isinstance(result, Failed) or not admits(result.binding, mark):
            conn.respond(404, _UNKNOWN)
        else:
            stream = conn.start_events(self._receiver, events.retry_after(RETRY_MS))
            stream.form = ARRAYS
            self._sessions.adopt_stream(result, stream)
            self._sessions.hub.catch_up(result)
