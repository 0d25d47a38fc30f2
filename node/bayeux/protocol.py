"""Bayeux 1.0 as this node speaks it: one handler a message, one place a decision.

Synchronous throughout: what must wait for the cluster is answered from a
callback. Transports (`http`, `websocket`, `relay`) bring batches in.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec

from node.bayeux import channels
from node.bayeux.advice import STOP, advice
from node.bayeux.batch import Batch
from node.bayeux.channels import Kind, kind_of
from node.bayeux.connects import CONNECTION_TYPES
from node.bayeux.extensions import Client, Veto
from node.bayeux.handshaking import Handshaking
from node.bayeux.messages import ClientMessage, reply
from node.bayeux.publishing import Publishing
from node.bayeux.refusals import Refusals
from node.bayeux.subscribing import names_of, refusal_of
from node.identity.gate import Gate, token_in
from node.identity.tokens import TokenError
from pubsub.errors import Code
from pubsub.messages import Failed
from pubsub.sessions import parse_secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.bayeux.extensions.pipeline import Pipeline
    from node.bayeux.sessions import Sessions
    from node.cluster.driver import Cluster
    from node.config import Config
    from node.session import PollSink, Session
    from node.stats import Stats
    from node.tags import TagPool
    from node.websocket.connection import WebSocketConnection

_MOVED = Failed(0, Code.MOVED)
_PACED = frozenset({channels.META_SUBSCRIBE, channels.META_UNSUBSCRIBE})  # beside publishes


def _session_of(batch: Batch) -> Session:
    """The session of a message that `_owner` has let pass."""
    if batch.session is None:
        raise AssertionError("dispatched without a session")
    return batch.session


class Protocol:
    """Handles the messages of a batch; owns no connection and no task."""

    def __init__(
        self,
        cluster: Cluster,
        sessions: Sessions,
        tags: TagPool,
        config: Config,
        stats: Stats,
        pipeline: Pipeline,
        gate: Gate | None = None,
    ) -> None:
        """`gate`: who may come in; without one everybody may."""
        self.gate = gate or Gate(config)
        self._cluster = cluster
        self._sessions = sessions
        self._tags = tags
        self._config = config
        self._stats = stats
        self._pipeline = pipeline
        self._eager = pipeline.eager
        self._refusals = Refusals(stats, advice(config))
        self._handshaking = Handshaking(
            cluster, sessions, tags, config, pipeline, self.gate, self._refusals
        )
        self._publishing = Publishing(
            cluster,
            sessions.rules,
            stats,
            pipeline,
            self.message_id,
            self._refusals.refuse,
            self._refusals.refuse_with,
        )
        self._serial = itertools.count(1)
        self._minter, self._prefix = b"", ""
        self._handlers: dict[str, Callable[[Batch, int, ClientMessage], None]] = {
            channels.META_HANDSHAKE: self._handshaking.handshake,
            channels.META_CONNECT: self._connect,
            channels.META_SUBSCRIBE: self._subscribe,
            channels.META_UNSUBSCRIBE: self._unsubscribe,
            channels.META_DISCONNECT: self._disconnect,
        }

    def batch(
        self,
        messages: list[ClientMessage],
        session: Session | None,
        *,
        poll: PollSink | None = None,
        stream: WebSocketConnection | None = None,
        binding: bytes = b"",
        name: str = "",
        origin: str = "",
    ) -> Batch:
        """A batch to `run()`; `session` is the local one its messages name, if any.

        It has been checked that who sends them may use it (`node.bayeux.binding`);
        `binding` is for the session that a handshake among them makes, `name` that
        of a request which may be handled more than once, `origin` is where it came
        from (`Gate.client_of`).
        """
        batch = Batch(
            messages,
            session,
            self._dispatch,
            poll=poll,
            stream=stream,
            binding=binding,
            name=name,
            at_once=self._sessions.hub.at_once,
        )
        batch.origin = origin
        return batch

    def connect_alone(self, session: Session, message: ClientMessage, poll: PollSink) -> bool:
        """Take a request that is nothing but a `/meta/connect`: what a waiting client sends.

        `message` names `session`, which whoever sends it may use. False, and nothing
        done, where that is not all there is to it: make a batch of it.
        """
        if (
            message.channel != channels.META_CONNECT
            or message.ext
            or self._eager
            or session.acks is not None
            or message.connection_type not in CONNECTION_TYPES
        ):
            return False
        session.exchange = None
        answer = self._sessions.connect_poll(session, message, poll, None, alone=True)
        if answer is not None:
            owed = b""
            if session.stream is None:
                owed = self._sessions.hub.at_once(session, poll.transport)
            poll.respond_json(b"[%b,%b]" % (answer, owed) if owed else b"[%b]" % answer)
        return True

    def message_id(self) -> str:
        """An id for a message whose sender gave none: unique in the cluster."""
        me = self._cluster.me
        if me is not self._minter:  # (an id is dealt once: the prefix is as good as constant)
            self._minter = me
            self._prefix = f"{me.hex()[:8]}-{self._cluster.incarnation:x}-"
        return f"{self._prefix}{next(self._serial):x}"

    # -- dispatch ---------------------------------------------------------------

    def _dispatch(self, batch: Batch, index: int, message: ClientMessage) -> None:
        handler = self._handlers.get(message.channel)
        if handler is None:
            self._publish(batch, index, message)
        elif (
            message.channel == channels.META_HANDSHAKE
            or self._owner(batch, index, message) is not None
        ) and (
            (message.channel not in _PACED or self._is_in_time(batch, index, message))
            and self._passes(batch, index, message)
        ):
            handler(batch, index, message)

    def _is_in_time(self, batch: Batch, index: int, message: ClientMessage) -> bool:
        """Whether a session keeps to its rate; else that is told."""
        if not self.gate.sessions or self.gate.lets_send(_session_of(batch).address):
            return True
        self._refusals.refuse(batch, index, message, 429, "", "too fast, retry later")
        return False

    def _passes(self, batch: Batch, index: int, message: ClientMessage) -> bool:
        """Whether the extensions let a message pass whose sender is known; else that is told."""
        session = batch.session
        if not (message.ext or self._eager) and (session is None or session.acks is None):
            return True
        client = None
        if session is not None and message.channel != channels.META_HANDSHAKE:
            client = Client(session, self._sessions, batch.stream)
        shown = self._pipeline.incoming(message, client)
        if client is not None and client.disconnected:
            batch.session = None
            self._refusals.refuse(batch, index, message, 402, "", "session_unknown", STOP)
        elif isinstance(shown, Veto):
            self._refusals.refuse(batch, index, message, shown.code, message.channel, shown.text)
        else:
            batch.show(index, shown, self._pipeline.complete)
            return True
        return False

    def _owner(self, batch: Batch, index: int, message: ClientMessage) -> Session | None:
        """The batch's session if `message` names it by its secret; else the error is told."""
        session = batch.session
        client_id = message.client_id
        if session is not None and self._sessions.get(session.address) is not session:
            # Another edge has it since this batch began: its client is served there.
            self._refusals.refuse_with(batch, index, message, _MOVED)
            return None
        if session is not None and client_id:
            if client_id == batch.client_id:
                return session
            if parse_secret(client_id) == session.address:
                batch.client_id = client_id
                return session
        self._refusals.refuse(batch, index, message, 402, "", "session_unknown")
        return None

    # -- meta channels ------------------------------------------------------------

    def _connect(self, batch: Batch, index: int, message: ClientMessage) -> None:
        session = _session_of(batch)
        if batch.waiting:  # what is batched with a connect is handled before it
            batch.postpone()
        elif message.connection_type not in CONNECTION_TYPES:
            self._refusals.refuse(
                batch, index, message, 400, message.connection_type or "", "no such connection type"
            )
        elif batch.stream is not None and session.acks is None:
            session.exchange = batch.take(index)
            self._sessions.connect_stream(session, message, batch.stream)
            batch.skip(index)
        else:
            session.exchange = batch.take(index)
            answer = self._sessions.connect_poll(
                session, message, batch.poll, batch.stream, alone=batch.alone
            )
            if answer is None:
                batch.held = True
                batch.skip(index)
            else:
                batch.reply(index, answer)

    def _subscribe(self, batch: Batch, index: int, message: ClientMessage) -> None:
        session = _session_of(batch)
        names = names_of(message)
        try:
            granted = self.gate.claims(token_in(message.ext)).channels
        except TokenError as error:
            self._refusals.refuse(batch, index, message, 403, "", f"subscribe_denied, {error}")
            return
        refused = refusal_of(names, session.topics, self._sessions.rules, granted)
        if refused is not None:
            self._refusals.refuse(batch, index, message, *refused)
            return
        batch.block(index)
        self._each(
            batch, index, message, names, lambda n, done: self._sessions.subscribe(session, n, done)
        )

    def _unsubscribe(self, batch: Batch, index: int, message: ClientMessage) -> None:
        session = _session_of(batch)
        names = names_of(message)
        held = {topic.name: topic for topic in session.topics}
        missing = [name for name in names if name not in held]
        if missing or not names:
            self._refusals.refuse(batch, index, message, 400, ",".join(missing), "not subscribed")
            return
        batch.block(index)
        self._each(
            batch,
            index,
            message,
            names,
            lambda n, done: self._sessions.unsubscribe(session, held[n], done),
        )

    def _each(
        self,
        batch: Batch,
        index: int,
        message: ClientMessage,
        names: list[str],
        action: Callable[[str, Callable[[Failed | None], None]], None],
    ) -> None:
        """Do `action` for every broadcast channel named; one reply when all are done."""
        names = [name for name in names if kind_of(name) is not Kind.SERVICE]
        left = len(names) + 1
        failure: Failed | None = None

        def done(failed: Failed | None) -> None:
            nonlocal left, failure
            left -= 1
            failure = failure or failed
            if left:
                return
            if failure is not None:
                self._refusals.refuse_with(batch, index, message, failure)
            else:
                subscription = b',"subscription":' + msgspec.json.encode(message.subscription)
                batch.reply(index, reply(message, subscription))

        for name in names:
            action(name, done)
        done(None)

    def _disconnect(self, batch: Batch, index: int, message: ClientMessage) -> None:
        session = _session_of(batch)
        if batch.waiting:
            batch.postpone()
            return
        self._sessions.close(session, by=batch.stream)
        batch.session = None
        batch.reply(index, reply(message, b""))

    # -- publishing -----------------------------------------------------------------

    def _publish(self, batch: Batch, index: int, message: ClientMessage) -> None:
        channel = message.channel
        kind = kind_of(channel) if channel else None
        if kind is None:
            self._refusals.refuse(batch, index, message, 400, "", "channel missing")
        elif kind in {Kind.INVALID, Kind.PATTERN} or channel.endswith("*"):
            self._refusals.refuse(batch, index, message, 405, channel, "invalid channel")
        elif kind is Kind.META:
            self._refusals.refuse(batch, index, message, 404, channel, "unknown meta channel")
        elif self._owner(batch, index, message) is None:
            return
        elif not message.data:
            self._refusals.refuse(batch, index, message, 400, "", "data missing")
        elif (denial := self._publishing.denial(kind, channel)) is not None:
            self._refusals.refuse(batch, index, message, 403, channel, denial)
        elif self._is_in_time(batch, index, message) and self._passes(batch, index, message):
            self._publishing.publish(batch, index, message, kind)
