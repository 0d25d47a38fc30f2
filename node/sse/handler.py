"""`GET /sse?channel=/a&channel=/b`: channels as server-sent events, without Bayeux.

The reader has a session all the same: that is what direct messages are sent to
and what moves between nodes. A client that comes back hands over where it
stood (`Last-Event-ID`), and goes on from there, on any node: with the session
that it had, if the id names one and that still lives, else with a new one.
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from node.bayeux.binding import admits, mark_of
from node.bayeux.bodies import Fields
from node.bayeux.event_source import RETRY_MS, StreamReceiver, Visit
from node.bayeux.http import bind
from node.bayeux.subscribing import refusal_of
from node.errors import RemoteProtocolError
from node.http.responses import error_body
from node.identity.tokens import TokenError
from node.sse import events
from node.sse.cursors import Position, parse_id, position_id
from node.topic import MESSAGES, NUMBERED
from pubsub.errors import RETRYABLE, Code
from pubsub.messages import Failed
from pubsub.sessions import parse_secret

if TYPE_CHECKING:
    from node.bayeux.relay import Relays
    from node.bayeux.sessions import Sessions
    from node.http import Head, HttpConnection
    from node.http.origins import Origins
    from node.identity.gate import Denied, Gate
    from node.rules import Rules
    from node.session import Session
    from node.stats import Stats
    from node.tags import TagPool
    from pubsub.messages import Cursor

MAX_CHANNELS: Final = 100  # their positions must fit into a header
METHODS: Final = "GET, OPTIONS"
_CODES: Final = {403: "forbidden", 405: "bad_request", 413: "too_large"}
_FULL: Final = error_body("unavailable", "too many sessions, retry", retry=True)
_TOO_MANY: Final = error_body("too_large", "the cluster has as many wildcard channels as it may")
_UNAVAILABLE: Final = error_body("unavailable", "not now, retry", retry=True)


class Reader:
    """What the node keeps of a reader beside its session: `EventStream.reader`."""

    __slots__ = ("channels", "session")

    def __init__(self, session: str, channels: tuple[str, ...]) -> None:
        self.session = session  # its secret id: the one place where an edge keeps one
        self.channels = channels


class Opening:
    """A request on its way to a stream: a session first, then its channels, one by one."""

    __slots__ = (
        "binding", "channels", "failed", "left", "origin", "position", "secret", "token", "visit",
    )  # fmt: skip

    def __init__(
        self,
        visit: Visit,
        channels: tuple[str, ...],
        position: Position,
        binding: bytes,
        token: str,
        origin: str,
    ) -> None:
        """`token` and `origin`: as `Gate.deny_session` takes them."""
        self.token = token
        self.origin = origin
        self.visit = visit
        self.channels = channels
        self.position = position
        self.binding = binding
        self.secret = position.session
        self.left = len(channels)
        self.failed: Failed | None = None

    def cursor(self, index: int) -> Cursor | None:
        """Where the client says it stands in the channel; None: nowhere."""
        return self.position.cursors[index] if self.position.cursors else None


class EventReaders:
    """Takes requests to `/sse`."""

    def __init__(
        self,
        sessions: Sessions,
        relays: Relays,
        tags: TagPool,
        origins: Origins,
        gate: Gate,
        stats: Stats,
    ) -> None:
        self._gate = gate
        self._stats = stats
        self._sessions = sessions
        self._relays = relays
        self._tags = tags
        self._origins = origins
        self._receiver = StreamReceiver(sessions)

    def handle(self, conn: HttpConnection, head: Head) -> None:
        """RemoteProtocolErrors raised here are answered by the connection (400)."""
        if not self._origins.admit(conn, head):
            return
        if head.method == "OPTIONS":
            self._origins.preflight(conn, head)
        elif head.method != "GET":
            told = error_body("bad_request", "use GET")
            conn.respond(405, told, headers=(("Allow", METHODS),))
        else:
            try:
                fields = Fields(head.query)
                token = _token(fields, head)
                channels = _channels(fields, self._sessions.rules, self._granted(token))
            except RemoteProtocolError as error:
                self._stats.refused[str(error.status)] += 1
                raise
            position = parse_id(head.last_event_id, len(channels))
            if not position.session:
                position = Position(fields.get("session"), position.cursors)
            origin = self._gate.client_of(conn, head)
            opening = Opening(Visit(conn), channels, position, bind(conn, head), token, origin)
            self._begin(opening, mark_of(head))

    def _granted(self, token: str) -> tuple[str, ...]:
        """The channels that a token opens: none, if it is no good."""
        try:
            return self._gate.claims(token).channels
        except TokenError:
            return ()

    # -- a session ------------------------------------------------------------------

    def _begin(self, opening: Opening, mark: bytes) -> None:
        address = parse_secret(opening.secret) if opening.secret else None
        if address is None:
            self._open(opening)
            return
        session = self._sessions.get(address)
        found = partial(self._found, opening, mark)
        if session is None:
            self._relays.claim(address, mark, "sse", found)
        else:
            found(session)

    def _found(self, opening: Opening, mark: bytes, result: Session | Failed) -> None:
        """The session that the client had, or why it is not to be had."""
        if opening.visit.gone:
            return
        if isinstance(result, Failed):
            if result.code in RETRYABLE:
                self._refuse(opening)
            else:
                self._open(opening)
        elif admits(result.binding, mark):
            self._join(opening, result)
        else:
            self._open(opening)

    def _open(self, opening: Opening) -> None:
        if self._sessions.full:
            self._refuse(opening, _FULL)
            return
        denied = self._gate.deny_session(opening.token, opening.origin)
        if denied is not None:
            self._deny(opening, denied)
            return
        opening.secret = self._tags.mint()
        address = parse_secret(opening.secret)
        if address is None:
            raise AssertionError("a minted session id does not parse")
        self._sessions.open(address, opening.binding, partial(self._opened, opening))

    def _opened(self, opening: Opening, result: Session | Failed) -> None:
        if opening.visit.gone:
            if not isinstance(result, Failed):
                self._sessions.close(result)
        elif isinstance(result, Failed):
            self._refuse(opening)
        else:
            self._join(opening, result)

    def _refuse(self, opening: Opening, body: bytes = _UNAVAILABLE, status: int = 503) -> None:
        self._stats.refused[str(status)] += 1
        conn = opening.visit.conn
        conn.owner = None
        conn.respond(status, body)

    def _deny(self, opening: Opening, denied: Denied) -> None:
        self._stats.refused[str(denied.status)] += 1
        conn = opening.visit.conn
        conn.owner = None
        retry = denied.status == HTTPStatus.TOO_MANY_REQUESTS
        code = "rate_limited" if retry else "unauthorized"
        conn.respond(denied.status, error_body(code, denied.text, retry=retry))

    # -- its channels ---------------------------------------------------------------

    def _join(self, opening: Opening, session: Session) -> None:
        joined = partial(self._joined, opening, session)
        if not opening.channels:
            self._start(opening, session)
        for index, channel in enumerate(opening.channels):
            self._sessions.subscribe(session, channel, joined, opening.cursor(index))

    def _joined(self, opening: Opening, session: Session, failed: Failed | None) -> None:
        opening.failed = opening.failed or failed
        opening.left -= 1
        if opening.left or opening.visit.gone:  # (one without a client is swept)
            return
        if opening.failed is not None:
            self._refuse_channels(opening, opening.failed)
        else:
            self._start(opening, session)

    def _refuse_channels(self, opening: Opening, failed: Failed) -> None:
        if failed.code == Code.TOO_MANY:
            self._refuse(opening, _TOO_MANY, 413)
        else:
            self._refuse(opening)

    def _start(self, opening: Opening, session: Session) -> None:
        conn, channels = opening.visit.conn, opening.channels
        conn.owner = None
        stands = position_id(opening.secret, channels, dict(self._sessions.hub.cursors(session)))
        first = events.opening(opening.secret, session.address, stands, RETRY_MS)
        stream = conn.start_events(self._receiver, first)
        stream.reader = Reader(opening.secret, channels)
        stream.form = NUMBERED if len(channels) == 1 else MESSAGES
        self._sessions.adopt_stream(session, stream)
        self._sessions.hub.catch_up(session)


def _token(fields: Fields, head: Head) -> str:
    """The token that a reader shows: browsers' event streams can send it in the URL only."""
    scheme, _, token = head.authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else fields.get("token")


def _channels(fields: Fields, rules: Rules, granted: tuple[str, ...]) -> tuple[str, ...]:
    """What the client wants to read. Raises RemoteProtocolError with the fitting status."""
    channels = tuple(dict.fromkeys(fields.all("channel")))
    if len(channels) > MAX_CHANNELS:
        raise RemoteProtocolError(f"at most {MAX_CHANNELS} channels", 413, "too_large")
    if channels:
        refusal = refusal_of(channels, (), rules, granted)
        if refusal is not None:
            status, name, text = refusal
            status = 400 if status == 405 else status
            raise RemoteProtocolError(
                f"{text}: {name[:128]}", status, _CODES.get(status, "bad_request")
            )
    return channels
