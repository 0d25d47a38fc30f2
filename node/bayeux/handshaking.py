"""The handshake: who may come in, and what a session is told when it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from node.bayeux.advice import advice
from node.bayeux.connects import CONNECTION_TYPES
from node.bayeux.extensions import Client
from node.bayeux.extensions.pipeline import added
from node.bayeux.messages import ClientMessage, quote, reply
from node.bayeux.traits import pack
from node.identity.gate import Gate, token_in
from pubsub.messages import Failed
from pubsub.sessions import parse_secret

if TYPE_CHECKING:
    from node.bayeux.batch import Batch
    from node.bayeux.extensions import Exchange
    from node.bayeux.extensions.pipeline import Pipeline
    from node.bayeux.refusals import Refusals
    from node.bayeux.sessions import Sessions
    from node.cluster.driver import Cluster
    from node.config import Config
    from node.session import Session
    from node.tags import TagPool

_NODES_TOLD = 16  # client addresses in a handshake reply


class Handshaking:
    """Begins sessions."""

    def __init__(
        self,
        cluster: Cluster,
        sessions: Sessions,
        tags: TagPool,
        config: Config,
        pipeline: Pipeline,
        gate: Gate,
        refusals: Refusals,
    ) -> None:
        self._cluster = cluster
        self._sessions = sessions
        self._tags = tags
        self._advice = advice(config)
        self._pipeline = pipeline
        self._gate = gate
        self._refusals = refusals

    def handshake(self, batch: Batch, index: int, message: ClientMessage) -> None:
        """Answer a `/meta/handshake`, once its session is committed at its home."""
        batch.block(index)
        del batch.messages[index + 1 :]  # other messages in a handshake's batch are ignored
        offered = message.supported_connection_types or []
        if not any(kind in offered for kind in CONNECTION_TYPES):
            self._refusals.refuse(
                batch, index, message, 301, ",".join(offered), "no common connection type"
            )
            return
        if not message.version:
            self._refusals.refuse(batch, index, message, 400, "", "version missing")
            return
        if self._sessions.full:
            batch.status = 503  # proxies and clients that never heard of Bayeux understand that too
            self._refusals.refuse(batch, index, message, 503, "", "too many sessions, retry")
            return
        denied = self._gate.deny_session(token_in(message.ext), batch.origin)
        if denied is not None:
            self._refusals.refuse(batch, index, message, denied.status, "", denied.text)
            return
        secret = self._tags.mint()
        address = parse_secret(secret)
        if address is None:
            raise AssertionError("a minted session id does not parse")

        def opened(result: Session | Failed) -> None:
            if isinstance(result, Failed):
                self._refusals.refuse_with(batch, index, message, result)
                return
            batch.session = result
            if batch.stream is not None:
                self._sessions.adopt_stream(result, batch.stream)
            exchange = batch.take(index)
            if exchange is not None:
                exchange.client = Client(result, self._sessions, batch.stream)
                self._pipeline.finish(exchange)
            batch.reply(index, self._welcome(message, secret, address, exchange))

        exchange = batch.exchanges.get(index)
        traits = exchange.traits if exchange is not None else ""
        self._sessions.open(address, pack(batch.binding, traits), opened)

    def _welcome(
        self, message: ClientMessage, secret: str, address: str, exchange: Exchange | None
    ) -> bytes:
        me = self._cluster.me
        view = self._cluster.view
        mine = view.get(me) if view is not None else None
        ext = {
            "address": address,
            "node": me.hex()[:8],
            "client": mine.client if mine is not None else "",
            "nodes": [member.client for member in view.active[:_NODES_TOLD]] if view else [],
        }
        fields = b',"version":"1.0","supportedConnectionTypes":%b' % msgspec.json.encode(
            CONNECTION_TYPES
        )
        fields += b',"clientId":%b,"advice":%b' % (quote(secret), self._advice)
        if exchange is not None:
            return reply(message, fields + added(exchange.fields, exchange.ext | ext))
        return reply(message, fields + added({}, ext))
