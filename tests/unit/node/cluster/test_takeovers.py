from __future__ import annotations

from node.cluster.takeovers import TakeoverWatch
from node.stats import SECONDS, Buckets


class Slots(set[int]):
    """The slots that are open."""

    def serving(self, slot: int) -> bool:
        return slot in self


def test_a_takeover_lasts_until_the_last_slot() -> None:
    seconds, slots = Buckets(SECONDS), Slots({1})
    watch = TakeoverWatch(seconds)
    watch.begin([1, 2, 3], slots.serving, 10.0)
    watch.look(slots.serving, 10.1)
    slots.add(3)
    watch.look(slots.serving, 10.2)
    assert watch.waiting
    slots.add(2)
    watch.look(slots.serving, 10.5)
    assert not watch.waiting
    assert (seconds.count, seconds.total) == (1, 0.5)


def test_nothing_to_take_over_takes_no_time() -> None:
    seconds, slots = Buckets(SECONDS), Slots({1})
    watch = TakeoverWatch(seconds)
    watch.begin([1], slots.serving, 10.0)
    assert not watch.waiting
    assert seconds.count == 0


def test_a_view_in_between_joins_the_one_under_way() -> None:
    seconds, slots = Buckets(SECONDS), Slots()
    watch = TakeoverWatch(seconds)
    watch.begin([1], slots.serving, 10.0)
    watch.begin([2], slots.serving, 11.0)
    slots.add(2)
    watch.look(slots.serving, 12.0)
    assert (seconds.count, seconds.total) == (1, 2.0)
    watch.begin([3], slots.serving, 20.0)
    watch.begin([], slots.serving, 21.0)
    assert not watch.waiting
    assert (seconds.count, seconds.total) == (2, 3.0)
