"""How long takeovers take: from a view to serving every slot that it brought here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from node.stats import Buckets


class TakeoverWatch:
    """Times one takeover after the other; a new view in between joins the one under way."""

    def __init__(self, seconds: Buckets) -> None:
        self._seconds = seconds
        self._closed: list[int] = []  # slots that this node is home to and does not serve yet
        self._since = 0.0

    @property
    def waiting(self) -> bool:
        """Whether a takeover is under way."""
        return bool(self._closed)

    def begin(self, slots: Iterable[int], serving: Callable[[int], bool], now: float) -> None:
        """A view makes this node the home of `slots`."""
        under_way = bool(self._closed)
        if not under_way:
            self._since = now
        self._closed = [slot for slot in slots if not serving(slot)]
        if under_way and not self._closed:  # what was awaited is another's now
            self._seconds.observe(now - self._since)

    def look(self, serving: Callable[[int], bool], now: float) -> None:
        """See whether it is done; costs one slot's look while it is not."""
        closed = self._closed
        while closed and serving(closed[-1]):
            closed.pop()
        if not closed:
            self._seconds.observe(now - self._since)
