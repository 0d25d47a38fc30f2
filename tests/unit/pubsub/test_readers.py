"""Local readers with cursors: served from the feed's log, deepened, or told of a gap."""

from __future__ import annotations

import pytest

from pubsub.errors import Code
from pubsub.limits import Limits
from pubsub.messages import Cursor, Entries, Failed, Fetch, Fetched, Joined
from pubsub_rig import Node, Rig


def test_a_cursor_in_the_log_is_served_at_once() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    other.join("/a")
    for index in range(5):
        home.append("/a", f"m{index}")
    rig.log.clear()
    for node in (home, other):
        if node is home:
            node.join("/a")
        assert node.join("/a", Cursor(1, 3)) == Joined("/a", Cursor(1, 3), False, 1, node is other)
    assert not rig.log


def deepening(limits: Limits = Limits()) -> tuple[Rig, Node, Node]:  # noqa: B008
    """A node that joined when ten entries had been published."""
    rig = Rig(limits=limits)
    home, other = rig.home("/a"), rig.others("/a")[0]
    home.join("/a")
    for index in range(1, 11):
        home.append("/a", f"m{index}", payload=bytes(100))
    other.join("/a")
    home.append("/a", "m11", payload=bytes(100))
    return rig, home, other


@pytest.mark.parametrize("batch_bytes", [1 << 18, 300])
def test_a_cursor_before_the_log_deepens_it(batch_bytes: int) -> None:
    rig, _, other = deepening(Limits(batch_bytes=batch_bytes))
    assert other.join("/a", Cursor(1, 2)) == Joined("/a", Cursor(1, 2), False, 1, 1)
    feed = other.engine.feed("/a")
    assert feed is not None
    assert [e.offset for e in feed.log.after(2, 99)] == list(range(3, 12))
    asked = len(rig.messages(Fetch))
    assert (asked == 1) == (batch_bytes > 1000)
    # Now that it is here, nobody is asked again.
    assert other.join("/a", Cursor(1, 5)).cursor == Cursor(1, 5)
    assert len(rig.messages(Fetch)) == asked


def test_readers_that_come_while_the_log_is_deepened_wait_for_it() -> None:
    rig, home, other = deepening()
    rig.hold = lambda message: isinstance(message, Fetched)
    assert other.join("/a", Cursor(1, 7)) is None
    assert other.join("/a", Cursor(1, 2)) is None
    assert other.join("/a").cursor == Cursor(1, 11)
    home.append("/a", "m12")
    assert len(rig.messages(Fetch)) == 1
    rig.let_go()
    assert [r.cursor for r in other.results() if isinstance(r, Joined)][-2:] == [
        Cursor(1, 7),
        Cursor(1, 2),
    ]
    assert len(rig.messages(Fetch)) == 2
    feed = other.engine.feed("/a")
    assert feed is not None
    assert feed.log.first == 3


def test_what_the_home_does_not_hold_either_is_a_gap() -> None:
    rig, home, other = deepening(Limits(log_entries=8))
    result = other.join("/a", Cursor(1, 0))
    first = home.engine._parts.core.topics["/a"].log.first
    assert first > 1
    assert result == Joined("/a", Cursor(1, first - 1), True, 1, 1)
    # At the home there is nobody to ask.
    assert home.join("/a", Cursor(1, 0)) == Joined("/a", Cursor(1, first - 1), True, 1, 0)
    del rig


def test_an_older_reign_that_is_not_continued_is_a_gap_without_asking() -> None:
    rig, _, other = deepening()
    feed = other.engine.feed("/a")
    assert feed is not None
    feed.lineage = 4
    rig.log.clear()
    assert other.join("/a", Cursor(3, 2)).gap
    assert not rig.messages(Fetch)


def test_a_cursor_ahead_of_this_node_is_no_gap() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    other.join("/a")
    rig.hold = lambda message: isinstance(message, Entries)
    home.append("/a", "m1")
    assert other.join("/a", Cursor(1, 1)) == Joined("/a", Cursor(1, 1), False, 1, 1)
    rig.let_go()
    feed = other.engine.feed("/a")
    assert feed is not None
    assert feed.last == Cursor(1, 1)


def test_a_request_that_cannot_be_served_fails_in_time_and_leaves_nothing() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    rig.dead.add(home.id)  # it does not answer, and nobody has noticed
    other.join("/a")
    rig.tick(4.9)
    assert not other.results()
    rig.tick(0.2)
    assert other.results() == [Failed(1, Code.UNAVAILABLE)]
    assert other.engine.feed("/a") is None
    assert other.engine.statistics().pending == 0


def test_a_deepening_that_cannot_be_served_fails_in_time_and_spares_the_others() -> None:
    rig, home, other = deepening()
    rig.dead.add(home.id)
    assert other.join("/a", Cursor(1, 2)) is None
    rig.tick(10.1)
    assert isinstance(other.results()[-1], Failed)
    feed = other.engine.feed("/a")
    assert feed is not None
    assert feed.readers


def test_leaving_does_not_touch_requests_that_wait() -> None:
    rig, _, other = deepening()
    rig.hold = lambda message: isinstance(message, Fetched)
    other.join("/a", Cursor(1, 2))
    other.leave("/a")
    assert other.engine.feed("/a") is not None
    rig.let_go()
    assert other.results()[-1] == Joined("/a", Cursor(1, 2), False, 1, 1)
    assert other.engine.feed("/a").readers  # type: ignore[union-attr]


def test_too_many_requests_are_refused() -> None:
    rig = Rig(limits=Limits(pending=2))
    home, other = rig.home("/a"), rig.others("/a")[0]
    rig.dead.add(home.id)
    assert other.join("/a") is None
    assert other.join("/a") is None
    assert other.join("/a").code == Code.OVERLOADED
