"""The two ends of a relayed request; frames and streams of sessions that live elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from node.websocket import CloseCode
from pubsub.errors import Code
from pubsub.messages import Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from dht.ids import NodeId
    from node.bayeux.callback import CallbackPoll
    from node.bayeux.relay import Relays
    from node.cluster.messages import Relay
    from node.http import HttpConnection
    from node.session import Session
    from node.websocket.connection import WebSocketConnection

    Poll: TypeAlias = "HttpConnection | CallbackPoll | Frame | Claim"

UNKNOWN = 402  # the status that says: no such session for you


class Outbound:
    """A client's request waiting for another node's answer.

    `name` is what its messages' ids are made of, so that they are the same
    wherever and however often it is handled. `deadline`: seconds on the trio
    clock until which it is tried again; 0 before its first failure.
    """

    __slots__ = (
        "ack",
        "address",
        "body",
        "conn",
        "deadline",
        "hops",
        "mark",
        "name",
        "request",
        "to",
    )

    def __init__(self, conn: Poll, address: str, body: bytes, mark: bytes, name: str) -> None:
        self.conn = conn
        self.address = address
        self.body = body
        self.mark = mark
        self.name = name
        self.ack = conn.ack if isinstance(conn, Claim) else 0
        self.request = 0
        self.to: NodeId = b""
        self.hops = 0  # nodes that it was sent to, one after the other's word
        self.deadline = 0.0


class Inbound:
    """The poll sink of a request that another node relayed here."""

    __slots__ = ("_relays", "node", "request", "session", "transport")

    def __init__(self, relays: Relays, node: NodeId, relay: Relay, session: Session) -> None:
        self._relays = relays
        self.node = node
        self.request = relay.request
        self.transport = relay.transport
        self.session = session

    def respond_json(self, body: bytes) -> None:
        self._relays.answer(self, 200, body)

    def respond(self, status: int, body: bytes) -> None:
        self._relays.answer(self, status, body)


class Frame:
    """A WebSocket's frame for a session that lives elsewhere; stands where a client's poll does.

    It has no connect in it. That is to move the session, since it says what its client has got.
    """

    __slots__ = ("done", "owner", "stream")

    transport = "websocket"

    def __init__(self, stream: WebSocketConnection) -> None:
        self.stream = stream
        self.owner: object | None = None
        self.done = False

    def respond_json(self, body: bytes) -> None:
        self.done = True
        self.stream.send_text(body)

    def respond(self, status: int, body: bytes) -> None:
        """Nobody can be asked now: only a serving home may call a session unknown."""
        del status, body
        self.done = True
        self.stream.close_with(CloseCode.TRY_AGAIN_LATER, "not now, retry")


class Claim:
    """A stream opened here wants a session that lives elsewhere; stands where a client's poll does.

    Before the session is moved its edge is asked (a relayed request without a
    body) whether who opened the stream may have it: a thief of its id must not
    even disturb it.
    """

    __slots__ = ("_on_done", "ack", "owner", "transport")

    def __init__(
        self, transport: str, on_done: Callable[[Session | Failed], None], ack: int = 0
    ) -> None:
        """`ack`: the last batch that the client says it has got, if it does."""
        self.ack = ack
        self._on_done = on_done
        self.transport = transport
        self.owner: object | None = None

    def respond(self, status: int, body: bytes) -> None:
        """The edge does not agree, or nobody can be asked now."""
        del body
        code = Code.UNKNOWN_SESSION if status == UNKNOWN else Code.UNAVAILABLE
        self._on_done(Failed(0, code))

    def settle(self, session: Session | None) -> None:
        """The session is here, or nowhere."""
        self._on_done(session if session is not None else Failed(0, Code.UNKNOWN_SESSION))
