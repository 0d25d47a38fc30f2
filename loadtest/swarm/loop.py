"""One epoll loop: a callable per descriptor, and a few timers."""

from __future__ import annotations

import select
from heapq import heappop, heappush
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_EVENTS: Final = 512


class Loop:
    """Calls what is watched when its descriptor is ready; ends with `stop`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._running = False

    def watch(self, descriptor: int, call: Callable[[], None], *, writable: bool = False) -> None:
        """Call `call` whenever `descriptor` is readable (or `writable`)."""
        self._epoll.register(descriptor, select.EPOLLOUT if writable else select.EPOLLIN)
        self._ready[descriptor] = call

    def watch_readable(self, descriptor: int, call: Callable[[], None]) -> None:
        """Turn a watch for writability into one for readability."""
        self._epoll.modify(descriptor, select.EPOLLIN)
        self._ready[descriptor] = call

    def replace(self, descriptor: int, call: Callable[[], None]) -> None:
        """Another callable for the same watch."""
        self._ready[descriptor] = call

    def forget(self, descriptor: int) -> None:
        """Stop watching; call before closing the descriptor."""
        if self._ready.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        """Call once at monotonic time `when` (seconds), or as soon after it as may be."""
        heappush(self._timers, (when, next(self._order), call))

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        """Run until `stop`."""
        self._running = True
        ready = self._ready
        poll = self._epoll.poll
        while self._running:
            for descriptor, _ in poll(self._sleep(), _EVENTS):
                call = ready.get(descriptor)
                if call is not None:
                    call()
            self._run_timers()
        self._epoll.close()

    def _sleep(self) -> float:
        """The timeout for the next poll, in seconds; a timer is waited for here.

        epoll rounds its timeouts up to milliseconds, which would show in every
        latency; select() keeps microseconds, and can watch the epoll itself.
        """
        if not self._timers:
            return -1.0
        wait = max(0.0, self._timers[0][0] - monotonic())
        select.select([self._epoll.fileno()], [], [], wait)
        return 0.0

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= monotonic():
            heappop(self._timers)[2]()
