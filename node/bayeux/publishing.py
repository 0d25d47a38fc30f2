"""What clients publish: to a channel, to another session's address, to the application alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import msgspec

from node.bayeux import channels
from node.bayeux.channels import Kind, kind_of
from node.bayeux.direct import decode_direct
from node.bayeux.extensions import Veto
from node.bayeux.messages import reply
from node.bayeux.naming import given_id, id_for
from pubsub.errors import Code
from pubsub.messages import Appended, Failed
from pubsub.sessions import address_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.bayeux.batch import Batch
    from node.bayeux.extensions.pipeline import Pipeline
    from node.bayeux.messages import ClientMessage, Raw
    from node.cluster.driver import Cluster
    from node.rules import Rules
    from node.stats import Stats


class Fail(Protocol):
    """Refuses message `index` with ``code:arguments:text``."""

    def __call__(
        self, batch: Batch, index: int, message: ClientMessage, code: int, arguments: str, text: str
    ) -> None: ...


class Publishing:
    """Commits what may be published; its sender and channel have been checked."""

    def __init__(
        self,
        cluster: Cluster,
        rules: Rules,
        stats: Stats,
        pipeline: Pipeline,
        message_id: Callable[[], str],
        fail: Fail,
        fail_with: Callable[[Batch, int, ClientMessage, Failed], None],
    ) -> None:
        """`fail_with` refuses as the cluster has refused."""
        self._cluster = cluster
        self._rules = rules
        self._stats = stats
        self._pipeline = pipeline
        self._message_id = message_id
        self._fail = fail
        self._fail_with = fail_with

    def denial(self, kind: Kind, channel: str) -> str | None:
        """Why sessions may not publish to `channel`; None if they may."""
        if channel == channels.SERVICE_SEND:
            return None if self._rules.allows_direct() else "publish_denied"
        return None if kind is Kind.SERVICE else self._rules.publish_denial(channel)

    def publish(self, batch: Batch, index: int, message: ClientMessage, kind: Kind) -> None:
        """Commit the message to its channel, or wherever it is meant for; then answer."""
        channel = message.channel
        if channel == channels.SERVICE_SEND:
            self._send(batch, index, message)
        elif kind is Kind.SERVICE:  # for the application alone: its extensions have seen it
            batch.reply(index, reply(message, b""))
        else:
            self._append(batch, index, message, channel, channel, message.data)

    def _send(self, batch: Batch, index: int, message: ClientMessage) -> None:
        """`/service/send`: one session's message to another's address."""
        try:
            direct = decode_direct(message.data)
        except msgspec.MsgspecError as error:
            self._fail(batch, index, message, 400, "", f"data must be {{to, data}}: {error}")
            return
        address = address_for(direct.to)
        if address is None:
            self._fail(batch, index, message, 404, direct.to[:64], "no such session")
        elif kind_of(direct.channel) is not Kind.SERVICE:
            self._fail(batch, index, message, 405, direct.channel, "not under /service/")
        else:
            self._append(batch, index, message, address, direct.channel, direct.data)

    def _append(
        self,
        batch: Batch,
        index: int,
        message: ClientMessage,
        topic: str,
        channel: str,
        data: Raw,
    ) -> None:
        """Publish; the message is named so that it is the same one at every try."""
        session = batch.session
        if session is None:
            raise AssertionError("published without a session")
        try:
            given = given_id(message)
        except ValueError as error:
            self._fail(batch, index, message, 400, "", str(error))
            return
        if given:
            message_id = id_for(session.address, given)
        elif batch.name:
            message_id = f"{batch.name}.{index}"
        else:
            message_id = self._message_id()
        sender = "" if topic == channel else session.address
        exchange = batch.exchanges.get(index)
        payload = self._pipeline.deliver(channel, data, message_id, sender, exchange)
        if isinstance(payload, Veto):
            self._fail(batch, index, message, payload.code, channel, payload.text)
            return
        started = time.perf_counter()

        def done(result: Appended | Failed) -> None:
            if isinstance(result, Appended):
                self._stats.append_commit_seconds.observe(time.perf_counter() - started)
                self._stats.note_published(topic)
                batch.reply(index, reply(message, b""))
            elif result.code == Code.UNKNOWN_SESSION:
                self._fail(batch, index, message, 404, topic, "no such session")
            else:
                self._fail_with(batch, index, message, result)

        repeatable = bool(given or batch.name)
        self._cluster.append(topic, payload, message_id, done, client_id=repeatable)
