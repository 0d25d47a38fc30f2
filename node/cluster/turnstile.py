"""How many strangers are looked at: before a handshake there is this.

A connection costs its acceptor some hundred microseconds until it has failed to
prove anything, so who opens enough of them could keep a node from its work. Each
host may begin so many handshakes; what it opens beyond is closed at once, and no
more of those are accepted than a small part of the loop can deal with: the rest
waits in the kernel's queue, which is short. Open links feel nothing of it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from node.cluster.refusals import Refusals

PER_HOST: Final = 100.0
"""Handshakes a second that one host may begin; so many at once:"""
BURST: Final = 500.0
MAX_HOSTS: Final = 4_096
"""Hosts kept in mind; the one not seen for longest is forgotten, and begins anew."""
CLOSED: Final = 1_000.0
"""Connections a second that are accepted only to be closed: some 5 % of a core."""
SLICE: Final = 0.05
"""Seconds between two looks at the queue while there are more, at most."""
BACKLOG: Final = 256
"""Connections that the kernel keeps waiting."""


class Allowance:
    """So many `a second`, `burst` of them at once (a token bucket)."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, a_second: float, burst: float, now: float) -> None:
        self._rate, self._burst = a_second, burst
        self._left, self._at = burst, now

    def take(self, now: float) -> float:
        """Take one. Seconds until there would have been one, if there is none; then it is owed."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left >= 1.0:
            self._left -= 1.0
            return 0.0
        return (1.0 - self._left) / self._rate


class Turnstile(trio.abc.Listener[trio.SocketStream]):
    """A listener that lets through what the bounds above allow."""

    def __init__(self, listener: trio.SocketListener, refusals: Refusals) -> None:
        self._listener = listener
        self._refusals = refusals
        self._hosts: OrderedDict[str, Allowance] = OrderedDict()
        self._closed = Allowance(CLOSED, CLOSED * SLICE, trio.current_time())

    async def accept(self) -> trio.SocketStream:
        """The next connection of a host that has not opened too many."""
        while True:
            stream = await self._listener.accept()
            now = trio.current_time()
            host = _host_of(stream)
            if self.admits(host, now):
                return stream
            stream.socket.close()
            self._refusals.note("too_many", host, "it opens connections faster than it may")
            pause = self._closed.take(now)
            if pause:
                await trio.sleep(SLICE)

    def admits(self, host: str, now: float) -> bool:
        """Whether `host` may begin one more handshake."""
        allowance = self._hosts.pop(host, None)
        if allowance is None:
            allowance = Allowance(PER_HOST, BURST, now)
            if len(self._hosts) >= MAX_HOSTS:
                self._hosts.popitem(last=False)
        self._hosts[host] = allowance
        return not allowance.take(now)

    async def aclose(self) -> None:
        await self._listener.aclose()


def _host_of(stream: trio.SocketStream) -> str:
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:
        return "a connection that is gone"
