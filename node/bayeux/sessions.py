"""The sessions of which this node is the edge: open, hold, resume, expire."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import structlog
import trio

from node.bayeux.messages import ClientMessage, connect_reply
from node.hub import Hub
from node.session import Session
from node.timers import Timed, TimerWheel
from node.websocket import CloseCode
from pubsub.messages import Cursor, Failed, Record, SessionDone

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.bayeux.batch import Batch
    from node.cluster.driver import Cluster
    from node.config import Config
    from node.stats import Stats
    from node.topic import Topic
    from node.websocket.connection import WebSocketConnection
    from pubsub.feed import Feed

log = structlog.get_logger()

_SUPERSEDED = 500  # HTTP status of a poll that a newer one replaced, as CometD has it
_SESSION_OVER = 4001
_NO_MORE = b',"advice":{"reconnect":"none"}'


class Sessions:
    """Sessions by address, and the one timer wheel that all of them share."""

    def __init__(self, cluster: Cluster, config: Config, stats: Stats) -> None:
        self._cluster = cluster
        self._config = config
        self._stats = stats
        self._by_address: dict[str, Session] = {}
        self._resuming: dict[str, list[Callable[[Session | Failed], None]]] = {}
        self.wheel = TimerWheel(self._expired)
        self.hub = Hub(cluster, stats, self._poll_answered, self._by_address.get)
        self.get = self._by_address.get

    def __len__(self) -> int:
        return len(self._by_address)

    @property
    def full(self) -> bool:
        return len(self._by_address) >= self._config.max_sessions

    def all(self) -> list[Session]:
        return list(self._by_address.values())

    # -- beginning and end ------------------------------------------------------

    def open(self, address: str, on_done: Callable[[Session | Failed], None]) -> None:
        """Commit a new session at its home."""

        def opened(result: SessionDone | Failed) -> None:
            if isinstance(result, Failed):
                on_done(result)
            else:
                on_done(self._add(address, result.record.generation))

        self._cluster.open_session(address, b"", opened)

    def _add(self, address: str, generation: int) -> Session:
        session = Session(address, generation)
        self._by_address[address] = session
        self._stats.sessions = len(self._by_address)
        self._await_client(session)
        return session

    def close(self, session: Session, by: object | None = None) -> None:
        """The session is over, for its home too. `by`: the connection that ends it stays open."""
        self._cluster.close_session(session.address, session.generation)
        self.hub.release_poll(session, _NO_MORE)
        stream = session.stream
        if stream is not None:
            self._answer_connect(session, stream, _NO_MORE)
        self._drop(session)
        if stream is not None and stream is not by:
            stream.close_with(_SESSION_OVER, "session over")

    def _drop(self, session: Session) -> None:
        poll, stream = session.poll, session.stream
        self.hub.forget(session)
        session.poll = session.stream = session.connect_id = None
        self.wheel.disarm(session)
        self._by_address.pop(session.address, None)
        self._stats.sessions = len(self._by_address)
        if poll is not None:
            poll.respond(_SUPERSEDED, b"")
        if stream is not None:
            stream.owner = None

    def _expired(self, item: Timed) -> None:
        session = cast("Session", item)
        if session.poll is not None:
            self.hub.release_poll(session)
        elif session.stream is not None and session.connect_id is not None:
            self._answer_connect(session, session.stream)
        else:
            self._stats.sessions_swept += 1
            self.close(session)

    # -- moving -------------------------------------------------------------------

    def resume(self, address: str, on_done: Callable[[Session | Failed], None]) -> None:
        """Become the edge of a session that lived elsewhere."""
        waiting = self._resuming.get(address)
        if waiting is not None:
            waiting.append(on_done)
            return
        self._resuming[address] = [on_done]

        def attached(result: SessionDone | Failed) -> None:
            if isinstance(result, Failed):
                self._resumed(address, result)
            else:
                self._rejoin(result.record)

        self._cluster.attach_session(address, attached)

    def _rejoin(self, record: Record) -> None:
        old = self._by_address.get(record.address)
        if old is not None:
            self._drop(old)
        session = self._add(record.address, record.generation)
        cursors = [(name, cursor) for name, cursor in record.cursors if name.startswith("/")]
        left = len(cursors)
        if not left:
            self._resumed(record.address, session)
            return

        def joined(channel: str, result: Cursor | Failed) -> None:
            nonlocal left
            left -= 1
            if isinstance(result, Failed):
                log.warning("could not rejoin", session=record.address, channel=channel)
                session.gaps = (*session.gaps, channel)
            if not left:
                self._resumed(record.address, session)

        for channel, cursor in cursors:
            self.hub.join(session, channel, cursor, partial(joined, channel))

    def _resumed(self, address: str, result: Session | Failed) -> None:
        for on_done in self._resuming.pop(address, ()):
            on_done(result)

    def release(self, address: str, generation: int) -> None:
        """The home moves the session: let go and say how far its client has been served."""
        session = self._by_address.get(address)
        cursors: tuple[tuple[str, Cursor], ...] = ()
        if session is not None:
            cursors = self.hub.cursors(session)
        self._cluster.released(address, generation, cursors)
        if session is not None:
            self.lost(address)

    def lost(self, address: str) -> None:
        """Another edge has the session: its connection here serves it no more."""
        session = self._by_address.get(address)
        if session is None:
            return
        stream = session.stream
        self._drop(session)
        if stream is not None:
            stream.close_with(CloseCode.GOING_AWAY, "session moved to another connection")

    # -- subscriptions ----------------------------------------------------------------

    def subscribe(
        self, session: Session, channel: str, on_done: Callable[[Failed | None], None]
    ) -> None:
        """Join the topic, then commit the subscription with its start; then answer."""

        def committed(result: SessionDone | Failed) -> None:
            on_done(result if isinstance(result, Failed) else None)

        def joined(result: Cursor | Failed) -> None:
            if isinstance(result, Failed):
                on_done(result)
                return
            self._cluster.update_session(
                session.address, session.generation, ((channel, result),), (), committed
            )

        if any(topic.name == channel for topic in session.topics):
            on_done(None)
        else:
            self.hub.join(session, channel, None, joined)

    def unsubscribe(
        self, session: Session, topic: Topic, on_done: Callable[[Failed | None], None]
    ) -> None:
        """Leave the topic and commit that."""
        self.hub.leave(session, topic)
        self._cluster.update_session(
            session.address,
            session.generation,
            (),
            (topic.name,),
            lambda result: on_done(result if isinstance(result, Failed) else None),
        )

    # -- connects -----------------------------------------------------------------------

    def connect_poll(self, session: Session, message: ClientMessage, batch: Batch) -> bytes | None:
        """A `/meta/connect` over HTTP: the reply now, or None when the poll is held."""
        poll = batch.poll
        self._supersede(session)
        if session.stream is not None:  # the client fell back from WebSocket
            session.stream.owner = None
            session.stream = None
        session.connect_id = None
        joined = self.hub.pending(session)
        timeout = self._hold_seconds(message)
        if joined or session.gaps or not timeout or not batch.alone or poll is None:
            self._await_client(session)
            reply = connect_reply(bytes(message.id), self.hub.gap_notice(session))
            return b"%b,%b" % (joined, reply) if joined else reply
        session.connect_id = bytes(message.id)
        session.poll = poll
        self.wheel.arm(session, trio.current_time() + timeout)
        return None

    def connect_stream(
        self, session: Session, message: ClientMessage, stream: WebSocketConnection
    ) -> None:
        """A `/meta/connect` over WebSocket: deliveries flow; the reply waits for its time."""
        self._supersede(session)
        if session.stream is not stream:
            self.adopt_stream(session, stream)
        elif session.connect_id is not None:
            stream.send_text(b"[%b]" % connect_reply(session.connect_id))
        seconds = self._hold_seconds(message)
        session.connect_id = bytes(message.id)
        self.wheel.arm(session, trio.current_time() + seconds)
        self.hub.catch_up(session)
        if not seconds:
            self._answer_connect(session, stream)

    def adopt_stream(self, session: Session, stream: WebSocketConnection) -> None:
        """`stream` carries `session` from now on; whichever it carried before is on its own."""
        former = stream.owner
        if former is session:
            return
        if former is not None:
            self.connection_lost(cast("Session", former), stream)
        older = session.stream
        if older is not None:
            session.connect_id = older.owner = None
            older.close_with(CloseCode.GOING_AWAY, "session moved to another connection")
        session.stream = stream
        stream.owner = session

    def _answer_connect(
        self, session: Session, stream: WebSocketConnection, fields: bytes = b""
    ) -> None:
        if session.connect_id is None:
            return
        reply = connect_reply(session.connect_id, self.hub.gap_notice(session) + fields)
        session.connect_id = None
        stream.send_text(b"[%b]" % reply)
        self._await_client(session)

    def _supersede(self, session: Session) -> None:
        """A newer connect ends an older one; what is undelivered goes to the newer."""
        older = session.poll
        if older is not None:
            session.poll = session.connect_id = None
            older.respond(_SUPERSEDED, b"")

    def _hold_seconds(self, message: ClientMessage) -> float:
        asked = message.advice.timeout if message.advice is not None else None
        if asked is None:
            return self._config.timeout
        return min(max(asked, 0) / 1000, self._config.timeout)

    def connection_lost(self, session: Session, connection: object) -> None:
        """A socket is gone; the session waits `max_interval` for its client."""
        if session.poll is connection:
            session.poll = session.connect_id = None
        elif session.stream is connection:
            session.stream = session.connect_id = None
        else:
            return
        self._await_client(session)

    def _poll_answered(self, session: Session) -> None:
        self._await_client(session)

    def _await_client(self, session: Session) -> None:
        self.wheel.arm(session, trio.current_time() + self._config.max_interval)

    # -- what the cluster tells ------------------------------------------------------------

    def on_deliver(self, feed: Feed, depth: int) -> None:
        self.hub.mark(feed, depth)
