"""Signatures; being filled in."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.http.connection import HttpHandler
    from node.reactor import Reactor
    from node.stats import Stats


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Bounds of one listener."""

    max_head: int = 16 * 1024  # bytes
    max_body: int = 1024 * 1024  # bytes
    head_timeout: float = 10.0  # seconds from a head's first byte to its last
    min_body_rate: int = 8 * 1024  # bytes a second, after head_timeout's worth of grace
    idle_timeout: float = 75.0  # seconds between requests
    drain_bytes: int = 16 * 1024 * 1024
    drain_timeout: float = 5.0  # seconds
    cookies: frozenset[str] = frozenset({"BAYEUX_BROWSER"})  # the cookies that Head.cookie keeps
    ping_interval: float = 25.0  # seconds of silence after which a WebSocket is pinged
    pong_timeout: float = 20.0  # seconds
    max_message: int = 1024 * 1024  # bytes of a WebSocket message


class HttpService:
    """One listener's connections: what they share, so that each of them is small."""

    def __init__(
        self,
        reactor: Reactor,
        handler: HttpHandler,
        stats: Stats,
        settings: HttpSettings | None = None,
    ) -> None:
        raise NotImplementedError

    def accept(self, sock: socket.socket) -> None:
        """Take an accepted, non-blocking socket."""
        raise NotImplementedError

    def drain(self) -> None:
        """From now on every answer says `Connection: close`; connections between requests end."""
        raise NotImplementedError
