"""Signatures; being filled in."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

import trio


async def open_listeners(
    host: str, port: int, *, backlog: int = 4096, reuse_port: bool = False
) -> list[socket.socket]:
    """Bound, listening, non-blocking sockets for every address of `host` ("" = all)."""
    raise NotImplementedError


class Acceptor:
    """Hands accepted sockets to `accept(sock)` (an `HttpService.accept`)."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        accept: Callable[[socket.socket], None],
        count: Callable[[], int] = lambda: 0,
        max_connections: int = 1_000_000,
    ) -> None:
        raise NotImplementedError

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept until `stop()` (then the queue is emptied and the sockets closed) or cancelled."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop listening; what the kernel has already queued is still accepted."""
        raise NotImplementedError
