"""What an extension is, and what it is shown.

    client ──► incoming(exchange) ──► the protocol ──► reply(exchange) ──► client
                                          │
                              outgoing(delivery): once, however many readers there are

Hooks run in the node's loop, between two clients: they must not block. An
extension that is not asked costs nothing: a hook that a class does not override
is never called, and one with ``always = False`` is called only for messages that
carry `ext`, which a poll of a client without extensions does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import msgspec

if TYPE_CHECKING:
    from node.bayeux.connects import Connects
    from node.bayeux.messages import ClientMessage
    from node.session import Session
    from node.websocket.connection import WebSocketConnection


class Veto(NamedTuple):
    """Why a message goes no further; its sender is told ``code:channel:text``."""

    code: int = 404
    text: str = "message_deleted"


class Client:
    """Whoever sent a message: a session, as extensions see it."""

    __slots__ = ("_connects", "_stream", "disconnected", "session")

    def __init__(
        self, session: Session, connects: Connects, stream: WebSocketConnection | None = None
    ) -> None:
        """`stream`: the WebSocket that the message came on, if it did."""
        self.session = session  # (for the extensions that come with the node)
        self.disconnected = False  # by an extension
        self._connects = connects
        self._stream = stream

    @property
    def address(self) -> str:
        """The session's public address; never its secret id."""
        return self.session.address

    @property
    def notes(self) -> dict[str, Any]:
        """What extensions keep of the session on this node, by their own keys.

        It goes with the session; it does not go along when the session moves.
        """
        if self.session.notes is None:
            self.session.notes = {}
        return self.session.notes

    def disconnect(self) -> None:
        """End the session. Its client is told not to come back by itself."""
        self.disconnected = True
        self._connects.close(self.session, by=self._stream)


class Exchange:
    """One message of a client, and the reply that it will get."""

    __slots__ = ("asked", "client", "ext", "fields", "message", "notes", "traits")

    def __init__(self, message: ClientMessage, client: Client | None) -> None:
        self.message = message
        self.client = client  # None for a handshake, until it has succeeded
        self.asked = decode_ext(message)  # what the client said in `ext`; {} for nothing
        self.notes: dict[str, Any] = {}  # from `incoming` to `reply`, by the extension's own keys
        self.traits = ""  # letters that a handshake gives its session for life (`SessionTraits`)
        self.ext: dict[str, Any] = {}  # for `reply` to fill: `ext` of the reply
        self.fields: dict[str, Any] = {}  # the same: other fields of the reply

    @property
    def channel(self) -> str:
        """The channel of both messages."""
        return self.message.channel

    @property
    def data(self) -> bytes:
        """What is published, as raw JSON; empty for nothing. Other raw JSON may replace it."""
        return bytes(self.message.data)

    @data.setter
    def data(self, raw: bytes) -> None:
        self.message.data = msgspec.Raw(raw)


class Delivery:
    """A message on its way to all who will read it, before it is written to the log.

    `data` is raw JSON and may be replaced by other raw JSON.
    """

    __slots__ = ("channel", "data", "exchange", "ext", "fields", "id", "sender")

    def __init__(
        self,
        channel: str,
        data: bytes,
        message_id: str,
        sender: str = "",
        exchange: Exchange | None = None,
    ) -> None:
        self.channel = channel
        self.data = data
        self.id = message_id
        self.sender = sender  # the address of the session that sent it directly; "" otherwise
        self.exchange = exchange  # None for one of the application, or one without extensions
        self.ext: dict[str, Any] = {"from": sender} if sender else {}
        self.fields: dict[str, Any] = {}


class Extension:
    """Override what is needed; what is not overridden is never called."""

    always: ClassVar[bool] = True
    """False: only messages that carry `ext` concern it, and sessions that acknowledge."""

    def incoming(self, exchange: Exchange) -> Veto | None:
        """A message has come whose sender may use its session. A `Veto` stops it here."""
        del exchange
        return None

    def reply(self, exchange: Exchange) -> None:
        """The message has been handled and is about to be answered: `ext`, `fields` go along.

        A reply cannot be stopped: every message is answered.
        """
        del exchange

    def outgoing(self, delivery: Delivery) -> Veto | None:
        """A message is about to be committed for its readers. A `Veto` stops it here."""
        del delivery
        return None


def decode_ext(message: ClientMessage) -> dict[str, Any]:
    """`ext` of a message; empty where there is none, or none that is an object."""
    if not message.ext:
        return {}
    try:
        ext = msgspec.json.decode(message.ext)
    except (msgspec.MsgspecError, RecursionError):  # (checked before, but for how deep it is)
        return {}
    return ext if isinstance(ext, dict) else {}
