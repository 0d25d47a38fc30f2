"""A session as its edge holds it: small, because there are tens of thousands.

The edge keeps no queue for a session. `behind` names the topics in which the
session is not level with everyone else, and up to which offset it has been
served; a session that is level everywhere has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from node.bayeux.acks import Acks
    from node.bayeux.extensions import Exchange
    from node.http import EventStream
    from node.overlaps import Overlaps
    from node.topic import Topic
    from node.websocket.connection import WebSocketConnection

    Stream: TypeAlias = WebSocketConnection | EventStream

DIRECT: Final = "direct"  # a note: how far its inbox has been read


class PollSink(Protocol):
    """Where the answer to one held `/meta/connect` goes: a socket, or another node."""

    @property
    def transport(self) -> str:
        """The label under which what it delivers is counted."""

    def respond_json(self, body: bytes) -> None:
        """Answer 200 with a JSON body. Never raises for a client that has gone."""

    def respond(self, status: int, body: bytes) -> None:
        """Answer with another status."""


class Session:
    """One client's state on its edge.

    Deliveries go to `stream` where there is one, else they spend `poll`. Both
    are set only for a client that reads events and sends its connects apart.
    """

    __slots__ = (
        "acks",
        "address",
        "advise",
        "armed",
        "behind",
        "binding",
        "connect_id",
        "deadline",
        "exchange",
        "gaps",
        "generation",
        "met",
        "notes",
        "overlaps",
        "poll",
        "stream",
        "topics",
    )

    def __init__(self, address: str, generation: int, binding: bytes = b"") -> None:
        self.address = address
        self.generation = generation
        self.binding = binding  # the mark of its browser (`node.bayeux.binding`)
        self.poll: PollSink | None = None  # a held long poll
        self.stream: Stream | None = None
        self.connect_id: bytes | None = None  # raw JSON id of the held connect; None: none held
        self.met = False  # its client has connected before
        self.advise = False  # the next connect reply carries the server's advice
        self.topics: tuple[Topic, ...] = ()  # what it subscribes to
        self.overlaps: Overlaps | None = None  # where patterns overlap with other subscriptions
        self.behind: dict[Topic, int] | None = None  # offset served, where not level
        self.gaps: tuple[str, ...] = ()  # channels with a gap the client is still to be told of
        self.acks: Acks | None = None  # its client acknowledges: it is sent nothing but on connects
        self.exchange: Exchange | None = None  # what extensions know of the connect to answer next
        self.notes: dict[str, Any] | None = None  # what extensions keep of it
        self.deadline = 0.0
        self.armed = 0

    @property
    def carrier(self) -> Stream | None:
        """The stream, or the WebSocket on which connects are held, if there is one."""
        return self.acks.socket if self.stream is None and self.acks is not None else self.stream

    def fall_behind(self, topic: Topic, offset: int) -> None:
        """Remember that this session has been served `topic` only up to `offset`."""
        if self.behind is None:
            self.behind = {topic: offset}
        else:
            self.behind[topic] = offset

    def level_with(self, topic: Topic) -> None:
        """Forget that the session ever lagged in `topic`."""
        if self.behind is not None:
            self.behind.pop(topic, None)
            if not self.behind:
                self.behind = None
