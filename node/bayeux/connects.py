"""How sessions reach their clients: connects held on polls and WebSockets, streams of events.

A session is silent when it has none of these; after `max_interval` of silence
it is over.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, cast

import trio

from node.bayeux.acks import REPLACED, SocketPoll
from node.bayeux.advice import advice
from node.bayeux.binding import names_browser
from node.bayeux.extensions.pipeline import added
from node.bayeux.messages import ClientMessage, connect_reply
from node.hub import Hub
from node.shedding import Shedding
from node.timers import Timed, TimerWheel
from node.websocket import CloseCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.bayeux.extensions import Exchange
    from node.cluster.driver import Cluster
    from node.config import Config
    from node.rules import Rules
    from node.session import PollSink, Session, Stream
    from node.stats import Stats
    from node.websocket.connection import WebSocketConnection

EVENT_SOURCE = "eventsource"  # the connection type of who reads events (Faye's name for it)
CONNECTION_TYPES = (
    "websocket",
    EVENT_SOURCE,
    "long-polling",
    "cross-origin-long-polling",  # Faye's name for long-polling with CORS
    "callback-polling",
)
# Seconds until a client that is told to go comes back: its close is faster, over slow lines, too.
AFTER_CLOSE = 0.5
MAX_CLIENT_INTERVAL = 300.0  # seconds of silence that a client may ask for
_SUPERSEDED = 500  # HTTP status of a poll that a newer one replaced, as CometD has it


def _seconds(milliseconds: int, most: float) -> float:
    """A client's milliseconds, between none and `most` seconds; no number is too large."""
    return min(max(milliseconds, 0), int(most * 1000)) / 1000


def let_go(stream: Stream) -> None:
    """`stream` carries its session no more. A WebSocket may go on with another one."""
    stream.owner = None
    if stream.transport == "sse":
        stream.close_with(CloseCode.NORMAL, "")


class Connects(ABC):
    """The half of `Sessions` that holds connects and streams, and the clock of silence."""

    def __init__(
        self,
        cluster: Cluster,
        config: Config,
        stats: Stats,
        find: Callable[[str], Session | None],
        rules: Rules,
        finish: Callable[[Exchange], None],
    ) -> None:
        """`finish(exchange)`: let extensions fill a connect's reply."""
        self._finish = finish
        self._config = config
        self._stats = stats
        self._browsers: dict[bytes, Session] = {}  # the one whose polls are held, by binding
        self._leaving = False
        self.put_off_at: dict[str, float] = {}  # when whose client was told to pause, by address
        self._advice = advice(config)
        self._surplus_advice = advice(config, surplus=True)
        self.shedding = Shedding(config)
        self.wheel = TimerWheel(self._expired)
        self.hub = Hub(
            cluster,
            stats,
            self._connect_fields,
            self._await_client,
            find,
            rules,
            config.max_lazy_timeout,
        )

    @abstractmethod
    def _expired(self, item: Timed) -> None: ...

    @abstractmethod
    def close(self, session: Session, by: object | None = None) -> None:
        """The session is over, for its home too. `by`: the connection that ends it stays open."""

    def connect_poll(
        self,
        session: Session,
        message: ClientMessage,
        poll: PollSink | None,
        socket: WebSocketConnection | None,
        *,
        alone: bool,
    ) -> bytes | None:
        """A `/meta/connect` over HTTP: the reply now, or None when the poll is held.

        The same for one on the WebSocket (`socket`) of a session that acknowledges.
        `alone`: nothing else came with it.
        """
        if socket is not None:
            poll = SocketPoll(socket, bytes(message.id))
        holds = socket is not None or (alone and poll is not None)
        holds = holds and not self._leaving
        timeout = self._hold_seconds(session, message) if holds else 0.0
        if session.poll is not None or session.connect_id is not None:
            self._supersede(session)
        if socket is not None:
            self.adopt_stream(session, socket)
        elif (session.stream is not None or session.acks is not None) and not self._reads_events(
            session, message, timeout
        ):
            self._leave_stream(session)  # the client fell back from it
        session.connect_id = None
        if message.advice is not None:  # a client that gives advice has forgotten ours (a reload)
            session.advise = True
        transport = poll.transport if poll is not None else ""
        joined = b""
        if session.behind is not None and session.stream is None:
            joined = self.hub.pending(session, transport)
        surplus = bool(timeout) and socket is None and self._surplus(session)
        pause = 0.0
        if timeout and socket is None:
            pause = self.shedding.pause(session.address, self._stats.held_polls)
        if surplus or pause or joined or session.gaps or not timeout:
            if session.stream is None:
                joined = self.hub.lazy.join(session, transport, joined)
            self._stats.put_off += pause > 0
            fields = self._connect_fields(session, surplus=surplus, pause=pause)
            self._await_client(session, max(pause, self._interval(message, surplus=surplus)))
            reply = connect_reply(bytes(message.id), fields)
            return b"%b,%b" % (joined, reply) if joined else reply
        session.connect_id = bytes(message.id)
        session.poll = poll
        self._stats.held_polls += transport != "websocket"
        self.wheel.arm(session, trio.current_time() + timeout)
        return None

    @staticmethod
    def _reads_events(session: Session, message: ClientMessage, timeout: float) -> bool:
        """Whether the client goes on reading events, though it polls too.

        Faye's opens the stream while its first connect, an immediate one, is
        still on its way as long-polling.
        """
        stream = session.stream
        if stream is None or stream.transport != "sse":
            return False
        return message.connection_type == EVENT_SOURCE or not timeout

    def _surplus(self, session: Session) -> bool:
        """Whether another session of the same browser has its polls held: two tabs.

        Browsers open few connections to one host; several held polls would
        leave none for anything else (Bayeux 1.0, section 8.2).
        """
        if not self._config.multi_session_interval or not names_browser(session.binding):
            return False
        other = self._browsers.get(session.binding)
        if other is not None and other is not session and other.stream is None:
            return True
        self._browsers[session.binding] = session
        return False

    def connect_stream(
        self, session: Session, message: ClientMessage, stream: WebSocketConnection
    ) -> None:
        """A `/meta/connect` over WebSocket: deliveries flow; the reply waits for its time."""
        self._supersede(session)
        self.adopt_stream(session, stream)
        if message.advice is not None:
            session.advise = True
        seconds = self._hold_seconds(session, message)
        session.connect_id = bytes(message.id)
        self.wheel.arm(session, trio.current_time() + seconds)
        self.hub.catch_up(session)
        if not seconds or self._leaving:
            self._answer_connect(session, self._interval(message))

    def adopt_stream(self, session: Session, stream: Stream) -> None:
        """`stream` carries `session` from now on; whichever it carried before is on its own."""
        former = stream.owner
        if former is session:
            return
        if former is not None:
            self.connection_lost(cast("Session", former), stream)
        older = session.carrier
        if older is not None:
            if session.poll is None:
                self._supersede(session)
            older.owner = None
            older.close_with(CloseCode.GOING_AWAY, "session moved to another connection")
        session.stream = stream
        if session.acks is not None:
            session.acks.socket = None
            if stream.transport == "websocket":  # it carries connects, and nothing in between
                session.stream, session.acks.socket = None, stream
        stream.owner = session
        if session.poll is None:
            self._await_client(session)

    @staticmethod
    def _leave_stream(session: Session) -> None:
        stream, session.stream = session.carrier, None
        if stream is not None:
            let_go(stream)
        if session.acks is not None:
            session.acks.socket = None

    def drain(self) -> None:
        """The node is leaving: no connect is held any more, and WebSockets are about to close.

        A stock client takes a connect that a close cuts off for a failure, and backs off for a
        second. So they are answered, and the next ones told to come a moment after the close.
        """
        self._leaving = True

    def put_off(self, session: Session) -> None:
        """Answer the session's connect, wherever it is held."""
        self._answer_connect(session)
        self.hub.release_poll(session)

    def _answer_connect(
        self, session: Session, interval: float = 0.0, fields: bytes | None = None
    ) -> None:
        """Answer the connect that is held on a WebSocket, if any. `fields` as in `release_poll`."""
        stream = session.stream
        if session.connect_id is None or stream is None or stream.transport != "websocket":
            return
        if fields is None:
            fields = self._connect_fields(session)
        reply = connect_reply(session.connect_id, fields)
        session.connect_id = None
        stream.send_text(b"[%b]" % reply)
        self.hub.lazy.follow(session)
        self._await_client(session, interval)

    def _connect_fields(
        self, session: Session, *, surplus: bool = False, pause: float | None = None
    ) -> bytes:
        """What a connect reply says beside its id: advice that is due, and gaps.

        `pause`: seconds that load makes the client wait; None: as long as the loop is late.
        """
        fields = b""
        if pause is None:
            pause = self._pause(session) if self.shedding.interval else 0.0
        if self._leaving:
            carrier = session.carrier
            if carrier is not None and carrier.transport == "websocket":
                pause = max(pause, AFTER_CLOSE)
                self.put_off_at[session.address] = trio.current_time()
        if pause:
            fields = b',"advice":' + advice(self._config, surplus=surplus, pause=pause)
            session.advise = True  # once the load is gone, it is told so
        elif surplus or session.advise:
            fields = b',"advice":' + (self._surplus_advice if surplus else self._advice)
            session.advise = surplus  # once it is alone, it is told so
        exchange = session.exchange
        if exchange is None:
            if session.gaps:
                fields += added({}, {"gaps": session.gaps})
                session.gaps = ()
            return fields
        session.exchange = None
        self._finish(exchange)
        if session.gaps:
            exchange.ext["gaps"] = session.gaps
            session.gaps = ()
        return fields + added(exchange.fields, exchange.ext)

    def _pause(self, session: Session) -> float:
        """Seconds that a late loop makes the client wait between polls; streams cost nothing."""
        if session.carrier is not None:
            return 0.0
        return self.shedding.pause(session.address, 0)

    def _supersede(self, session: Session) -> None:
        """A newer connect ends an older one; what is undelivered goes to the newer."""
        poll, connect_id = session.poll, session.connect_id
        session.poll = session.connect_id = None
        if poll is not None:
            self._stats.held_polls -= poll.transport != "websocket"
            poll.respond(_SUPERSEDED, b"")
            return
        stream = session.stream
        if connect_id is not None and stream is not None and stream.transport == "websocket":
            reply = connect_reply(connect_id, REPLACED, successful=False)
            stream.send_text(b"[%b]" % reply)

    def _hold_seconds(self, session: Session, message: ClientMessage) -> float:
        """How long a connect may be held: a session's first is answered at once.

        Clients that do not ask for that (`advice.timeout` 0) wait for it all the
        same before they do anything else; CometD's server has it for their sake.
        """
        if not session.met:
            session.met = True
            return 0.0
        asked = message.advice.timeout if message.advice is not None else None
        return self._config.timeout if asked is None else _seconds(asked, self._config.timeout)

    def _interval(self, message: ClientMessage, *, surplus: bool = False) -> float:
        """Seconds for which the client will be silent before its next connect."""
        told = self._config.multi_session_interval if surplus else self._config.interval
        asked = message.advice.interval if message.advice is not None else None
        return max(told, _seconds(asked or 0, MAX_CLIENT_INTERVAL))

    def connection_lost(self, session: Session, connection: object) -> None:
        """A socket is gone; the session waits `max_interval` for its client."""
        if session.poll is connection:
            session.poll = session.connect_id = None
            self._stats.held_polls -= 1  # (a connect on a WebSocket is none)
        elif session.acks is not None and session.acks.socket is connection:
            session.acks.socket = None
            if not isinstance(session.poll, SocketPoll):
                return
            session.poll = session.connect_id = None
        elif session.stream is connection:
            session.stream = None
            if session.poll is not None:  # it takes over from a stream of events
                self.hub.catch_up(session)
                return
            session.connect_id = None
        else:
            return
        self._await_client(session)

    def _await_client(self, session: Session, interval: float | None = None) -> None:
        """Give the client `max_interval` to be heard of, after the `interval` it was told."""
        stream = session.stream
        if stream is not None and stream.transport == "sse":
            self.wheel.disarm(session)  # its client is there as long as the stream is
            return
        silence = interval
        if silence is None:
            silence = self._config.interval
            if self.shedding.interval:
                silence = max(silence, self._pause(session))
        self.wheel.arm(session, trio.current_time() + silence + self._config.max_interval)

    def _forget_browser(self, session: Session) -> None:
        """The session is over, or elsewhere: its browser's other tabs may be held."""
        if self._browsers.get(session.binding) is session:
            del self._browsers[session.binding]
