"""What the connections of one listener share, so that each of them is small."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from node.http.connection import HttpConnection
from node.http.head_cache import HeadCache
from node.websocket.settings import WebSocketSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.connection import ClientSocket, Connection
    from node.http.connection import HttpHandler
    from node.http.head import Head
    from node.reactor import Reactor
    from node.request_log import RequestLog
    from node.stats import Stats


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Bounds of one listener."""

    max_head: int = 16 * 1024  # bytes
    max_body: int = 1024 * 1024  # bytes
    head_timeout: float = 10.0  # seconds from a head's first byte to its last
    min_body_rate: int = 8 * 1024  # bytes a second, on top of head_timeout
    idle_timeout: float = 75.0  # seconds between requests; never while an answer is held
    drain_bytes: int = 16 * 1024 * 1024  # of a body that is too large, before the answer
    drain_timeout: float = 5.0  # seconds of the same
    keep_alive: float = 25.0  # seconds between comments in a stream of events
    cookies: frozenset[str] = frozenset({"BAYEUX_BROWSER"})  # those that Head.cookie keeps
    mark_of: Callable[[Head], bytes] | None = None  # Head.mark is kept, and Head.cookie is not
    forwarded: bool = False  # Head.forwarded is kept: proxies stand in front
    websocket: WebSocketSettings = field(default_factory=WebSocketSettings)


class HttpService:
    """One listener: its handler, its settings, its head cache."""

    def __init__(
        self,
        reactor: Reactor,
        handler: HttpHandler,
        stats: Stats,
        settings: HttpSettings | None = None,
        route_of: Callable[[str], str] = lambda _path: "other",
        refusal_lines: Callable[[Head], bytes] = lambda _head: b"",
        request_log: RequestLog | None = None,
    ) -> None:
        """`route_of(path)` names what requests are counted under; few names, whatever is asked.

        `refusal_lines(head)`: header lines of an answer to a request whose body is refused.
        `request_log`: stands before `handler`.
        """
        self.request_log = request_log
        self.refusal_lines = refusal_lines
        self.reactor = reactor
        self.handler = handler if request_log is None else request_log.before(handler)
        self.stats = stats
        self.settings = settings or HttpSettings()
        self.heads = HeadCache(mark_of=self.settings.mark_of)
        self._route_of = lru_cache(maxsize=1024)(route_of)
        self.draining = False  # every answer says that it is the last on its connection

    def accept(self, sock: ClientSocket) -> None:
        """Take an accepted, non-blocking socket."""
        self.reactor.register(HttpConnection(self, sock))
        self.stats.connections["http"] += 1

    def adopt(self, waiting: Connection) -> None:
        """Take a registered connection, of which no protocol has read anything yet."""
        HttpConnection(self, waiting.sock).take_over(waiting)
        self.stats.connections["http"] += 1

    def count(self, path: str, status: int) -> None:
        """A request to `path` was answered."""
        self.stats.http_requests[self._route_of(path), status] += 1

    def drain(self) -> None:
        """From now on every answer says `Connection: close`, and is followed by one.

        Connections between requests stay until they ask again: closing one just
        as its client sends would be an error to that client.
        """
        self.draining = True
