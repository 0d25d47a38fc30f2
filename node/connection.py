"""Signatures; being filled in."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.reactor import Reactor

MAX_TAIL = 1024 * 1024  # bytes kept for a client that does not read


class Connection:
    """One client TCP connection: a slotted object in the reactor's table, not a task.

    `owner` belongs to the protocol above. Nothing here raises `OSError`.
    """

    __slots__ = ("_tail", "owner", "reactor", "seen", "sock")

    def __init__(self, reactor: Reactor, sock: socket.socket) -> None:
        self.reactor = reactor
        self.sock = sock
        self.owner: object | None = None
        self.seen = 0
        self._tail: bytearray | None = None

    def send(self, data: bytes) -> bool:
        """True if the kernel took it all; else the tail is kept (False).

        Raises SlowConsumerError when a tail already waits and would pass MAX_TAIL.
        On a closed or broken connection it does nothing and returns False.
        """
        raise NotImplementedError

    @property
    def writable(self) -> bool:
        """No tail is waiting and the connection is open."""
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        raise NotImplementedError

    @property
    def peer_host(self) -> str:
        """The client's IP address as text; empty where there is none."""
        raise NotImplementedError

    def close(self) -> None:
        """Close now (idempotent). `connection_lost`, where it is due, follows in a later turn."""
        raise NotImplementedError
