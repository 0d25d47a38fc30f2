"""`ack`: the client says what it has got, and gets the rest again (CometD's extension).

    handshake   ext: {ack: true}                 ◄──► ext: {ack: true}
                ext: {ack: {enabled: true}}      ◄──► ext: {ack: {enabled: true, batch: 0}}
    connect     ext: {ack: N}, the last that came ◄──► messages, ext: {ack: M}

What a session that acknowledges is sent, and has acknowledged, is `node.bayeux.acks`.
Both are negotiated in the form in which the client asks, for the one is all that
old clients know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from node.bayeux.channels import META_CONNECT, META_HANDSHAKE
from node.bayeux.extensions.api import Exchange, Extension, Veto, decode_ext
from node.bayeux.traits import ACKNOWLEDGES

if TYPE_CHECKING:
    from node.bayeux.messages import ClientMessage
    from node.config import Config

_KEY: Final = "ack"
_MAX: Final = 1 << 63  # what fits into a message between nodes


class AckExtension(Extension):
    """Negotiates acknowledgements, takes them in, and numbers what is sent."""

    always: ClassVar[bool] = False

    def __init__(self, config: Config) -> None:
        del config

    def incoming(self, exchange: Exchange) -> Veto | None:
        asked = exchange.asked.get(_KEY)
        if exchange.channel == META_HANDSHAKE:
            if asked is True or (isinstance(asked, dict) and asked.get("enabled") is True):
                exchange.traits += ACKNOWLEDGES
        elif exchange.channel == META_CONNECT and exchange.client is not None:
            session = exchange.client.session
            if session.acks is not None:
                session.acks.confirm(session, asked if type(asked) is int else None)
        return None

    def reply(self, exchange: Exchange) -> None:
        session = exchange.client.session if exchange.client is not None else None
        if session is None or session.acks is None:
            return
        if exchange.channel == META_HANDSHAKE:
            new_form = isinstance(exchange.asked.get(_KEY), dict)
            exchange.ext[_KEY] = {"enabled": True, "batch": 0} if new_form else True
        elif exchange.channel == META_CONNECT:
            exchange.ext[_KEY] = session.acks.close_batch(session.generation)


def acknowledged(messages: list[ClientMessage]) -> int:
    """The last batch that a client says it has got; 0 where it says nothing."""
    for message in messages:
        if message.channel == META_CONNECT:
            asked = decode_ext(message).get(_KEY)
            return asked if type(asked) is int and 0 < asked < _MAX else 0
    return 0
