from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.hot_channels import KEPT, HotChannels


def test_the_busiest_come_first_with_their_totals() -> None:
    channels = HotChannels()
    for times in range(1, 6):
        channels.note(f"/{times}", times)
    channels.note("/1", 9)
    assert channels.hottest(3) == [("/1", 10), ("/5", 5), ("/4", 4)]


def test_of_late_counts_for_more_than_long_ago() -> None:
    channels = HotChannels()
    channels.note("/old", 1_000)
    for _ in range(8):
        channels.note("/new", 100)
        channels.hottest(1)
    assert channels.hottest(2) == [("/new", 800), ("/old", 1_000)]


@given(st.lists(st.integers(0, 3_000), max_size=5_000), st.integers(0, 20))
def test_memory_is_bounded_and_totals_never_exceed_the_truth(names: list[int], count: int) -> None:
    channels = HotChannels()
    for name in names:
        channels.note(f"/{name}")
        assert len(channels) <= 2 * KEPT + 1
    shown = channels.hottest(count)
    assert len(shown) <= count
    assert len(channels) <= KEPT
    assert all(total <= names.count(int(channel[1:])) for channel, total in shown)


def test_a_busy_channel_outlives_a_flood_of_idle_ones() -> None:
    channels = HotChannels()
    for i in range(20 * KEPT):
        channels.note(f"/flood/{i}")
        channels.note("/busy")
    assert channels.hottest(1) == [("/busy", 20 * KEPT)]
