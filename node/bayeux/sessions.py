"""The sessions of which this node is the edge: open, hold, resume, expire."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import structlog
import trio

from node.bayeux.acks import Acks
from node.bayeux.connects import Connects, let_go
from node.bayeux.traits import ACKNOWLEDGES, unpack
from node.rules import Rules
from node.session import Session
from node.shedding import DEAF
from node.websocket import CloseCode
from pubsub.errors import Code
from pubsub.messages import Cursor, Failed, Record, SessionDone

if TYPE_CHECKING:
    from collections.abc import Callable

    from dht.ids import NodeId
    from node.bayeux.extensions import Exchange
    from node.cluster.driver import Cluster
    from node.config import Config
    from node.stats import Stats
    from node.timers import Timed
    from node.topic import Topic
    from pubsub.feed import Feed

log = structlog.get_logger()

_SUPERSEDED = 500  # HTTP status of a poll whose session is over or goes elsewhere
_SESSION_OVER = 4001
_NO_MORE = b',"advice":{"reconnect":"none"}'


class Sessions(Connects):
    """Sessions by address, and the one timer wheel that all of them share."""

    def __init__(
        self,
        cluster: Cluster,
        config: Config,
        stats: Stats,
        rules: Rules | None = None,
        finish: Callable[[Exchange], None] = lambda _exchange: None,
    ) -> None:
        """`rules`: of the channels; without them the defaults hold. `finish` as in `Connects`."""
        self.rules = rules or Rules(demo=config.demo)
        self._by_address: dict[str, Session] = {}
        super().__init__(cluster, config, stats, self._by_address.get, self.rules, finish)
        self._cluster = cluster
        self._resuming: dict[str, list[Callable[[Session | Failed], None]]] = {}
        self._settled_at = float("-inf")  # until then homes may be on their way to other nodes
        self.get = self._by_address.get

    def __len__(self) -> int:
        return len(self._by_address)

    @property
    def full(self) -> bool:
        """New sessions are refused: there are too many, or the node is far too busy."""
        return self.shedding.refusing or len(self._by_address) >= self._config.max_sessions

    def all(self) -> list[Session]:
        return list(self._by_address.values())

    # -- beginning and end ------------------------------------------------------

    def open(self, address: str, extra: bytes, on_done: Callable[[Session | Failed], None]) -> None:
        """Commit a new session at its home. `extra`: as `node.bayeux.traits` packs it."""

        def opened(result: SessionDone | Failed) -> None:
            if isinstance(result, Failed):
                on_done(result)
            else:
                on_done(self._add(result.record))

        self._cluster.open_session(address, extra, opened)

    def _add(self, record: Record) -> Session:
        address = record.address
        binding, traits = unpack(record.extra)
        session = Session(address, record.generation, binding)
        if ACKNOWLEDGES in traits:
            session.acks = Acks(self.hub.confirmed)
        self._by_address[address] = session
        self._stats.sessions = len(self._by_address)
        self._await_client(session)
        return session

    def close(self, session: Session, by: object | None = None) -> None:
        """The session is over, for its home too. `by`: the connection that ends it stays open."""
        self._cluster.close_session(session.address, session.generation)
        self.hub.release_poll(session, _NO_MORE)
        stream = session.carrier
        self._answer_connect(session, fields=_NO_MORE)
        self._drop(session)
        if stream is not None and stream is not by:
            stream.close_with(_SESSION_OVER, "session over")

    def _drop(self, session: Session) -> None:
        poll, stream = session.poll, session.carrier
        self.hub.forget(session)
        session.poll = session.stream = session.connect_id = None
        self.wheel.disarm(session)
        self._forget_browser(session)
        self._by_address.pop(session.address, None)
        self._stats.sessions = len(self._by_address)
        if poll is not None:
            self._stats.held_polls -= poll.transport != "websocket"
            poll.respond(_SUPERSEDED, b"")
        if stream is not None:
            let_go(stream)

    def _expired(self, item: Timed) -> None:
        session = cast("Session", item)
        if session.poll is not None:
            self.hub.release_poll(session)
        elif session.stream is not None and session.connect_id is not None:
            self._answer_connect(session)
        elif self.shedding.interval or max(self.shedding.lag, self._stats.recent_lag) > DEAF:
            # Its poll may be among the unread, or our answer was late, and so is its pause.
            # To send it to a new handshake now would only add to the load.
            self.wheel.arm(session, trio.current_time() + self._config.max_interval)
        elif trio.current_time() < self._settled_at:
            # Its client may be with another node, and that wait for a home that can move it.
            self.wheel.arm(session, self._settled_at)
        else:
            self._stats.sessions_swept += 1
            self.close(session)

    def unsettle(self) -> None:
        """The ring has changed: for a while nobody's silence means that its client has gone."""
        self._settled_at = trio.current_time() + self._config.max_interval

    # -- moving -------------------------------------------------------------------

    def resuming(self, address: str) -> bool:
        """Whether this node is about to become the session's edge."""
        return address in self._resuming

    def resume(
        self, address: str, on_done: Callable[[Session | Failed], None], edge: NodeId = b""
    ) -> None:
        """Become the edge of a session that lived elsewhere, unless another request was faster.

        `edge`: the node that has let go of it, if one has; from another it is not taken.
        """
        waiting = self._resuming.get(address)
        if waiting is not None:
            waiting.append(on_done)
            return
        here = self._by_address.get(address)
        if here is not None:  # moving it again would end what it holds
            on_done(here)
            return
        self._resuming[address] = [on_done]

        def attached(result: SessionDone | Failed) -> None:
            if isinstance(result, Failed):
                self._resumed(address, result)
            else:
                self._rejoin(result.record)

        self._cluster.attach_session(address, attached, edge)

    def _rejoin(self, record: Record) -> None:
        old = self._by_address.get(record.address)
        if old is not None:
            self._drop(old)
        session = self._add(record)
        session.advise = True  # its client may have been told to pause by the edge before
        session.met = True
        self._await_client(session, self._config.longest_pause)
        unread = self._cluster.feed(record.address)
        if unread is not None:  # it came before the answer: nobody has looked at it
            self.hub.mark(unread, unread.depth)
        cursors = [(name, cursor) for name, cursor in record.cursors if name.startswith("/")]
        left = len(cursors)
        if not left:
            self._resumed(record.address, session)
            return
        failure: Failed | None = None

        def joined(channel: str, result: Cursor | Failed) -> None:
            nonlocal left, failure
            left -= 1
            if isinstance(result, Failed):
                log.warning("could not rejoin", session=record.address, channel=channel)
                failure = result
            if left:
                return
            here = self._by_address.get(record.address) is session
            if not here:  # another edge has it already: a request goes there
                self.hub.forget(session)
                self._resumed(record.address, Failed(0, Code.MOVED))
                return
            if failure is not None:
                self._drop(session)  # it would miss a channel for good: its client is to try again
            self._resumed(record.address, failure or session)

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
            if session.poll is not None and session.poll.transport != "websocket":
                self.hub.release_poll(session)  # its client is served elsewhere: no failure
            cursors = self.hub.told(session)
        self._cluster.released(address, generation, cursors)
        if session is not None:
            self.lost(address)

    def lost(self, address: str) -> None:
        """Another edge has the session: its connection here serves it no more."""
        session = self._by_address.get(address)
        if session is None:
            return
        stream = session.carrier
        self._drop(session)
        if stream is not None:
            stream.close_with(CloseCode.GOING_AWAY, "session moved to another connection")

    # -- subscriptions ----------------------------------------------------------------

    def subscribe(
        self,
        session: Session,
        channel: str,
        on_done: Callable[[Failed | None], None],
        cursor: Cursor | None = None,
    ) -> None:
        """Join the topic, then commit the subscription with its start; then answer.

        `cursor` is where the client stands; None: from now on, or where it stood.
        """

        def committed(result: SessionDone | Failed) -> None:
            on_done(result if isinstance(result, Failed) else None)

        def joined(result: Cursor | Failed) -> None:
            if isinstance(result, Failed):
                on_done(result)
                return
            self._cluster.update_session(
                session.address, session.generation, ((channel, result),), (), committed
            )

        if cursor is None and any(topic.name == channel for topic in session.topics):
            on_done(None)
        else:
            self.hub.join(session, channel, cursor, joined)

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

    # -- what the cluster tells ------------------------------------------------------------

    def on_deliver(self, feed: Feed, depth: int) -> None:
        self.hub.mark(feed, depth)
