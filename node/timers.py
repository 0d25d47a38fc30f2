"""One timer wheel for everything that waits by the thousand.

A trio cancel scope per session would cost kilobytes; an entry here costs one
list slot. Entries are re-armed lazily: an object whose deadline moved later
stays in its old bucket and is put forward when that bucket comes up, so a
client that polls every second does not leave a trail of entries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

STALL = 1.0  # seconds
TICK = 0.1  # seconds; deadlines are met up to one tick late, never early


class Timed(Protocol):
    """What the wheel keeps: an object with its own deadline."""

    deadline: float  # seconds on the trio clock; 0.0 means none
    armed: int  # tick of the bucket that will look at it next; 0 means none


class TimerWheel:
    """Calls `expired(item)` once an item's deadline has passed."""

    def __init__(self, expired: Callable[[Timed], None]) -> None:
        self._expired = expired
        self._buckets: dict[int, list[Timed]] = {}
        self._done = int(trio.current_time() / TICK)

    def arm(self, item: Timed, deadline: float) -> None:
        """Set `item`'s deadline (seconds, trio clock)."""
        item.deadline = deadline
        tick = max(int(deadline / TICK) + 1, self._done + 1)
        if item.armed and item.armed <= tick:
            return  # its bucket comes up in time and will put it forward
        item.armed = tick
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = [item]
        else:
            bucket.append(item)

    def disarm(self, item: Timed) -> None:
        """Forget the deadline; a bucket that still lists the item drops it."""
        item.deadline = 0.0

    def advance(self, now: float) -> None:
        """Expire everything due at `now` (seconds, trio clock)."""
        current = int(now / TICK)
        while self._done < current:
            self._done += 1
            for item in self._buckets.pop(self._done, ()):
                if item.armed != self._done:
                    continue  # re-armed for an earlier bucket since
                item.armed = 0
                if not item.deadline:
                    continue
                if item.deadline > now:
                    self.arm(item, item.deadline)
                else:
                    item.deadline = 0.0
                    self._expired(item)

    async def run(self) -> None:
        """Advance until cancelled.

        After a stall everybody else gets a turn first: whoever is about to be called
        silent may have spoken.
        """
        while True:
            due = trio.current_time() + TICK
            await trio.sleep_until(due)
            now = trio.current_time()
            if now - due < STALL:
                self.advance(now)
