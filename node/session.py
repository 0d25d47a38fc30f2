"""A session as its edge holds it: small, because there are tens of thousands.

The edge keeps no queue for a session. `behind` names the topics in which the
session is not level with everyone else, and up to which offset it has been
served; a session that is level everywhere has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from node.topic import Topic
    from node.websocket.connection import WebSocketConnection


class PollSink(Protocol):
    """Where the answer to one held `/meta/connect` goes: a socket, or another node."""

    def respond_json(self, body: bytes) -> None:
        """Answer 200 with a JSON body. Never raises for a client that has gone."""

    def respond(self, status: int, body: bytes) -> None:
        """Answer with another status."""


class Session:
    """One client's state on its edge. At most one of `poll` and `stream` is set."""

    __slots__ = (
        "address",
        "armed",
        "behind",
        "connect_id",
        "deadline",
        "gaps",
        "generation",
        "poll",
        "stream",
        "topics",
    )

    def __init__(self, address: str, generation: int) -> None:
        self.address = address
        self.generation = generation
        self.poll: PollSink | None = None  # a held long poll
        self.stream: WebSocketConnection | None = None
        self.connect_id: bytes | None = None  # raw JSON id of the held connect; None: none held
        self.topics: tuple[Topic, ...] = ()  # what it subscribes to
        self.behind: dict[Topic, int] | None = None  # offset served, where not level
        self.gaps: tuple[str, ...] = ()  # channels with a gap the client is still to be told of
        self.deadline = 0.0
        self.armed = 0

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
