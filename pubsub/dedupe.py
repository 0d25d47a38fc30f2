"""Windows of remembered message ids, so that a retry is answered and not repeated.

Two generations of a plain dict: what is put in now is found for at least one
period and at most two, without a timestamp or a queue entry an id.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pubsub.messages import Cursor

K = TypeVar("K")


class Window(Generic[K]):
    """Ids remembered with the position that they were given."""

    __slots__ = ("_current", "_previous", "_turned_at")

    def __init__(self, now: float) -> None:
        self._current: dict[K, Cursor] = {}
        self._previous: dict[K, Cursor] = {}
        self._turned_at = now

    def __len__(self) -> int:
        return len(self._current) + len(self._previous)

    @property
    def fresh(self) -> int:
        """How many ids came since the last turn."""
        return len(self._current)

    def get(self, key: K) -> Cursor | None:
        """The position that `key` was given, if it is remembered."""
        return self._current.get(key) or self._previous.get(key)

    def put(self, key: K, cursor: Cursor) -> None:
        self._current[key] = cursor

    def turn(self, now: float) -> int:
        """Begin a new generation; returns how many ids were forgotten."""
        gone = len(self._previous)
        self._previous = self._current
        self._current = {}
        self._turned_at = now
        return gone

    def due(self, now: float, period: float) -> bool:
        """Whether `period` seconds have gone by since the last turn."""
        return now - self._turned_at >= period

    def items(self) -> Iterator[tuple[K, Cursor]]:
        """All that is remembered, oldest generation first."""
        return chain(self._previous.items(), self._current.items())
