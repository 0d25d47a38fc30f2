"""Signatures; being filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.connection import Connection
    from node.stats import Stats


class Reactor:
    """Client sockets in a private epoll set, watched by one trio task."""

    clock: int  # seconds (monotonic, whole): a cheap "now" for per-connection stamps

    def __init__(self, stats: Stats, end_of_turn: Callable[[], bool]) -> None:
        raise NotImplementedError

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled; then every connection is closed."""
        raise NotImplementedError

    def wake(self) -> None:
        """Work came from elsewhere (a link): run `end_of_turn` soon. Idempotent, cheap."""
        raise NotImplementedError

    def register(self, conn: Connection) -> None: ...

    def unregister(self, conn: Connection) -> None: ...

    def set_writable_interest(self, conn: Connection, on: bool) -> None: ...

    @property
    def connections(self) -> int:
        """How many are registered."""
        raise NotImplementedError
