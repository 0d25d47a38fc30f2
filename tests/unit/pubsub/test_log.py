"""The log against a list, and its bounds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pubsub.log import Budget, Log
from pubsub.messages import Entry


def entry(offset: int, size: int = 1, epoch: int = 1) -> Entry:
    return Entry(epoch, offset, f"m{offset}", b"x" * size, 0.0, 0)


def filled(count: int, max_bytes: int = 1 << 20) -> Log:
    log = Log(max_bytes=max_bytes)
    for offset in range(1, count + 1):
        log.append(entry(offset))
    return log


def offsets(log: Log) -> list[int]:
    return [e.offset for e in log.after(0, 1 << 30)]


class LogMachine(RuleBasedStateMachine):
    """Every operation on a log and on a plain list of all entries that were ever in it."""

    MAX_ENTRIES, MAX_BYTES = 16, 64

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget()
        self.log = Log(0, self.MAX_ENTRIES, self.MAX_BYTES, self.budget)
        self.model: list[Entry] = []
        self.last = 0

    @rule(size=st.integers(0, 30))
    def append(self, size: int) -> None:
        self.last += 1
        self.log.append(entry(self.last, size))
        self.model.append(entry(self.last, size))
        # What the bounds promise is kept; what is cut is cut from the front.
        kept = len(self.log)
        tail = self.model[-kept:]
        assert self.log.after(0, 1 << 30) == tail
        room = self.MAX_ENTRIES + (self.MAX_ENTRIES >> 3)
        assert 1 <= kept <= room
        if kept < len(self.model):
            dropped = self.model[-kept - 1]
            over = sum(len(e.payload) for e in tail) + len(dropped.payload)
            assert kept + 1 > self.MAX_ENTRIES or over > self.MAX_BYTES
        self.model = tail

    @rule(count=st.integers(1, 4), size=st.integers(0, 10))
    def prepend(self, count: int, size: int) -> None:
        first = self.log.first
        older = [entry(o, size) for o in range(max(1, first - count), first)]
        self.log.prepend(older)
        self.model = older + self.model

    @rule(offset=st.integers(-3, 60))
    def trim(self, offset: int) -> None:
        self.log.trim_to(offset)
        self.model = [e for e in self.model if e.offset > offset]

    @rule(last=st.integers(0, 50))
    def clear(self, last: int) -> None:
        self.log.clear(last)
        self.model, self.last = [], last

    @rule(entries=st.integers(0, 8), size=st.integers(0, 40))
    def shrink(self, entries: int, size: int) -> None:
        self.log.shrink(entries, size)
        kept = len(self.log)
        assert kept >= min(1, len(self.model))
        self.model = self.model[len(self.model) - kept :]
        assert kept <= max(1, entries)
        assert kept <= 1 or self.log.size_bytes <= size

    @rule()
    def copy(self) -> None:
        twin = self.log.copy()
        assert self.budget.used == 2 * self.log.size_bytes
        twin.append(entry(self.last + 1))
        twin.clear(0)

    @invariant()
    def agrees(self) -> None:
        log, model = self.log, self.model
        assert len(log) == len(model)
        assert log.last == self.last
        assert log.first == (model[0].offset if model else self.last + 1)
        assert log.size_bytes == sum(len(e.payload) for e in model) == self.budget.used
        for offset in range(log.first - 2, log.last + 3):
            assert log.covers(offset) == (log.first - 1 <= offset <= log.last)
            assert log.after(offset, 3) == [e for e in model if e.offset > offset][:3]
            assert log.get(offset) == next((e for e in model if e.offset == offset), None)


TestLogAgainstList = LogMachine.TestCase
TestLogAgainstList.settings = settings(deadline=None)


def test_only_the_next_offset_can_be_appended() -> None:
    log = filled(3)
    for offset in (0, 3, 5):
        with pytest.raises(ValueError, match="does not follow"):
            log.append(entry(offset))


def test_only_what_ends_before_the_first_can_be_prepended() -> None:
    log = Log(last=10)
    log.append(entry(11))
    for wrong in ([entry(9)], [entry(11)], [entry(8), entry(10)]):
        with pytest.raises(ValueError, match="do not end before"):
            log.prepend(wrong)
    log.prepend([])
    assert offsets(log) == [11]
    log.prepend([entry(9), entry(10)])
    assert offsets(log) == [9, 10, 11]


def test_an_entry_larger_than_the_bound_is_kept_alone() -> None:
    log = filled(5, max_bytes=10)
    log.append(entry(6, size=100))
    assert offsets(log) == [6]
    log.append(entry(7))
    assert offsets(log) == [7]


@settings(deadline=None)
@given(st.integers(1, 100))
def test_the_default_bounds_keep_what_is_promised(size: int) -> None:
    log = Log(max_entries=100, max_bytes=1000)
    for offset in range(1, 400):
        log.append(entry(offset, size))
    assert len(log) >= min(100, 1000 // size)
    assert log.size_bytes <= max(1125, size)
