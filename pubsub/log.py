"""A topic's bounded log, addressed by offset.

The log is contiguous: it holds the entries ``first`` to ``last`` and nothing
else. Old entries are dropped when either bound is exceeded. Dropping one entry
from the front of a list moves all the others, so the log lets itself grow an
eighth past its bounds and then cuts back to them in one move: at least the
bound is kept, at most nine eighths of it.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pubsub.messages import Entry

MAX_ENTRIES: Final = 10_000
MAX_BYTES: Final = 1 << 20


class Budget:
    """Payload bytes that all logs of a node hold together."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used = 0


class Log:
    """Entries ``first`` … ``last`` of one topic; empty when ``first == last + 1``.

    ``size_bytes`` counts payload bytes. The newest entry is always kept, even
    one that is larger than the bound.
    """

    __slots__ = ("_budget", "_entries", "_max_bytes", "_max_entries", "first", "last", "size_bytes")

    def __init__(
        self,
        last: int = 0,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
        budget: Budget | None = None,
    ) -> None:
        """An empty log that stands after offset `last`; bounds in entries and payload bytes.

        What it holds is counted in `budget` too, until it is cleared.
        """
        self._budget = budget or Budget()
        self._entries: list[Entry] = []
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.first = last + 1
        self.last = last
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entry: Entry) -> None:
        """Add the entry after ``last``; raises ValueError for any other offset."""
        offset = self.last + 1
        if entry.offset != offset:
            raise ValueError(f"entry {entry.offset} does not follow {self.last}")
        entries = self._entries
        entries.append(entry)
        self.last = offset
        added = len(entry.payload)
        self._budget.used += added
        size = self.size_bytes = self.size_bytes + added
        if size > self._max_bytes or len(entries) > self._max_entries:
            self._cut(self._max_entries >> 3, self._max_bytes >> 3)

    def prepend(self, entries: Sequence[Entry]) -> None:
        """Add older entries, contiguous and ending at ``first - 1``; raises ValueError if not.

        The bounds are not applied, or what was fetched for a late reader would
        be dropped at once; the next `append` applies them.
        """
        if not entries:
            return
        if entries[-1].offset != self.first - 1 or entries[0].offset != self.first - len(entries):
            raise ValueError(f"entries do not end before {self.first}")
        self._entries[:0] = entries
        self.first = entries[0].offset
        added = sum(len(entry.payload) for entry in entries)
        self.size_bytes += added
        self._budget.used += added

    def after(self, offset: int, limit: int) -> list[Entry]:
        """At most `limit` entries that follow `offset`, oldest first.

        Starts at ``first`` where older ones are gone: ask `covers` before.
        """
        start = offset + 1 - self.first
        if start <= 0:
            return self._entries[:limit]
        return self._entries[start : start + limit]

    def get(self, offset: int) -> Entry | None:
        """The entry at `offset`, if it is here."""
        index = offset - self.first
        return self._entries[index] if 0 <= index < len(self._entries) else None

    def covers(self, offset: int) -> bool:
        """Whether all entries after `offset` are here, and `offset` is not in the future."""
        return self.first - 1 <= offset <= self.last

    def trim_to(self, offset: int) -> None:
        """Drop the entries up to and including `offset`."""
        count = min(offset + 1 - self.first, len(self._entries))
        if count > 0:
            self._drop(count)

    def shrink(self, max_entries: int, max_bytes: int) -> None:
        """Cut back, once, to bounds below the log's own (memory is short)."""
        count = max(0, len(self._entries) - max(1, max_entries))
        size = self.size_bytes - sum(len(e.payload) for e in islice(self._entries, count))
        while size > max_bytes and count < len(self._entries) - 1:
            size -= len(self._entries[count].payload)
            count += 1
        if count:
            self._drop(count)

    def clear(self, last: int) -> None:
        """Forget everything and stand after offset `last`."""
        self._entries.clear()
        self.first = last + 1
        self.last = last
        self._budget.used -= self.size_bytes
        self.size_bytes = 0

    def copy(self) -> Log:
        """A log of its own with the same entries."""
        twin = Log(self.last, self._max_entries, self._max_bytes, self._budget)
        twin._entries = self._entries.copy()
        twin.first = self.first
        twin.size_bytes = self.size_bytes
        self._budget.used += self.size_bytes
        return twin

    def _cut(self, spare_entries: int, spare_bytes: int) -> None:
        """Once the spare room is used up too, cut back to the bounds."""
        if (
            len(self._entries) > self._max_entries + spare_entries
            or self.size_bytes > self._max_bytes + spare_bytes
        ):
            self.shrink(self._max_entries, self._max_bytes)

    def _drop(self, count: int) -> None:
        entries = self._entries
        gone = sum(len(entry.payload) for entry in islice(entries, count))
        self.size_bytes -= gone
        self._budget.used -= gone
        del entries[:count]
        self.first += count
