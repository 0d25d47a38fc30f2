"""The extensions of a node in their order, and their hooks around each message.

An extension is foreign code in the middle of the node: one that raises is
logged, and stops the message that it was shown, not the node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import structlog

from node.bayeux.extensions.api import Client, Delivery, Exchange, Extension, Veto
from node.bayeux.messages import delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from node.bayeux.messages import ClientMessage, Raw

log = structlog.get_logger()

_FAILED = Veto(500, "an extension failed")
_Shown = TypeVar("_Shown", Exchange, Delivery)
_encode = msgspec.json.encode


class Pipeline:
    """Runs `incoming` in the order of the list, `reply` and `outgoing` in the opposite one."""

    def __init__(self, extensions: Sequence[Extension] = ()) -> None:
        self._incoming = tuple(e.incoming for e in extensions if _overrides(e, "incoming"))
        self._reply = tuple(e.reply for e in reversed(extensions) if _overrides(e, "reply"))
        self._outgoing = tuple(
            e.outgoing for e in reversed(extensions) if _overrides(e, "outgoing")
        )
        looking = [e for e in extensions if e.always]
        self.eager = any(_overrides(e, "incoming") or _overrides(e, "reply") for e in looking)
        """Some extension wants to see every message, not only those that carry `ext`."""
        self._eager_outgoing = any(_overrides(e, "outgoing") for e in looking)

    def incoming(self, message: ClientMessage, client: Client | None) -> Exchange | Veto:
        """Show a message to the extensions; it goes on if none stops it."""
        exchange = Exchange(message, client)
        for hook in self._incoming:
            veto = _guarded(hook, exchange)
            if veto is not None:
                return veto
        return exchange

    def finish(self, exchange: Exchange) -> None:
        """The message is about to be answered: fill `ext` and `fields` of the reply."""
        for hook in self._reply:
            _guarded(hook, exchange)

    def complete(self, exchange: Exchange, reply: bytes) -> bytes:
        """`reply`, a JSON object without `ext`, with what the extensions add to it."""
        self.finish(exchange)
        return reply[:-1] + added(exchange.fields, exchange.ext) + b"}"

    def deliver(
        self,
        channel: str,
        data: Raw | bytes,
        message_id: str,
        sender: str = "",
        exchange: Exchange | None = None,
    ) -> bytes | Veto:
        """The JSON object that readers of `channel` get. The other arguments as in `Delivery`."""
        if not self._eager_outgoing and (exchange is None or not exchange.asked):
            return delivery(channel, data, message_id, {"from": sender} if sender else {})
        item = Delivery(channel, bytes(data), message_id, sender, exchange)
        for hook in self._outgoing:
            veto = _guarded(hook, item)
            if veto is not None:
                return veto
        return delivery(channel, item.data, message_id, item.ext, item.fields)


def added(fields: Mapping[str, Any], ext: Mapping[str, Any]) -> bytes:
    """What goes into a message besides what is always there, as JSON fields, each after a comma."""
    extra = {**fields, "ext": ext} if ext else fields
    return b"," + _encode(extra)[1:-1] if extra else b""


def _overrides(extension: Extension, name: str) -> bool:
    return getattr(type(extension), name) is not getattr(Extension, name)


def _guarded(hook: Callable[[_Shown], Veto | None], shown: _Shown) -> Veto | None:
    try:
        return hook(shown)
    except Exception:  # the boundary to foreign code
        log.exception("extension failed", hook=getattr(hook, "__qualname__", ""))
        return _FAILED
