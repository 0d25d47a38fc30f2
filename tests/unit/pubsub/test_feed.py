"""Where a reader with a cursor can go on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pubsub.feed import NOWHERE, Feed, resume
from pubsub.flow import following
from pubsub.log import Log
from pubsub.messages import Cursor, Entry


def make(*entries: tuple[int, int], first: int | None = None) -> tuple[Log, Cursor]:
    start = (entries[0][1] if entries else first or 1) - 1
    log = Log(last=start)
    for epoch, offset in entries:
        log.append(Entry(epoch, offset, "m", b"", 0.0, 0))
    last = Cursor(*entries[-1]) if entries else Cursor(1, start)
    return log, last


# Offsets 5 to 9; the epoch changed from 2 to 4 after 7.
LOG = ((2, 5), (2, 6), (2, 7), (4, 8), (4, 9))


@pytest.mark.parametrize(
    ("cursor", "start"),
    [
        ((2, 4), (2, 4)),  # just before the first
        ((2, 6), (2, 6)),
        ((2, 7), (2, 7)),
        ((4, 9), (4, 9)),
        ((3, 7), (3, 7)),  # a mere position: no entry had that name, none is missed
        ((2, 3), (2, 4)),  # too old: from the start of the log
        ((1, 6), (2, 4)),  # an epoch that this log does not continue
        ((2, 8), (4, 7)),  # epoch 2 had ended: it goes on with what came after it
        ((4, 10), (4, 9)),  # not reached yet
        ((5, 7), (4, 9)),
    ],
)
def test_where_to_go_on(cursor: tuple[int, int], start: tuple[int, int]) -> None:
    log, last = make(*LOG)
    wanted = Cursor(*cursor)
    got = resume(log, last, 2, wanted)
    assert got == Cursor(*start)
    assert (got is wanted) == (cursor == start)


def test_an_empty_log_serves_only_its_end() -> None:
    log, last = make(first=8)
    assert resume(log, last, 1, Cursor(1, 7)) == last
    assert resume(log, last, 1, Cursor(1, 3)) is last
    assert resume(log, last, 1, Cursor(1, 9)) is last


def test_a_feed_covers_what_it_can_resume() -> None:
    feed = Feed("/a", *make(*LOG)[:1])
    assert feed.last is NOWHERE
    feed.last, feed.lineage = Cursor(4, 9), 2
    assert feed.covers(Cursor(2, 5))
    assert not feed.covers(Cursor(2, 3))
    assert repr(feed) == "<Feed /a joining at 4:9>"
    feed.joined = True
    assert repr(feed) == "<Feed /a joined at 4:9>"


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 12), st.data())
def test_what_comes_after_a_position_follows_it(
    steps: list[int], trimmed: int, data: st.DataObject
) -> None:
    """However often the home has changed since: a feed that begins there takes all that comes."""
    epochs = [1 + sum(steps[: i + 1]) for i in range(len(steps))]
    log, last = make(*((epoch, 4 + i) for i, epoch in enumerate(epochs)))
    feed = Feed("/a", log)
    feed.last, feed.lineage = last, 1
    log.trim_to(3 + min(trimmed, len(steps) - 1))
    offset = data.draw(st.integers(log.first - 1, log.last - 1))
    position = feed.at(offset)
    rest = tuple(log.after(offset, 100))
    assert position.offset == offset
    assert following(position, rest) == rest
    assert resume(log, last, 1, position) is position


def test_who_has_all_stands_at_the_end() -> None:
    feed = Feed("/a", make(*LOG)[0])
    feed.last = Cursor(4, 9)
    assert feed.at(9) == Cursor(4, 9)
    assert feed.at(8) == Cursor(4, 8)
    assert feed.at(6) == Cursor(2, 6)
