from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from node.channel_metrics import SAMPLE, ChannelCollector
from node.metrics import Exposition
from node.session import Session
from node.stats import Stats
from node.topic import Topic
from status_examples import Source, lonely

if TYPE_CHECKING:
    from collections.abc import Mapping


def shown(stats: Stats, topics: Mapping[str, Topic], count: int = 20) -> dict[str, float]:
    exposition = Exposition(stats, Source(lonely()), [ChannelCollector(stats, topics, count)])
    return {
        f"{sample.name.removeprefix('cometring_channel_')} {sample.labels['channel']}": sample.value
        for family in parse(exposition.render()[0].decode())
        for sample in family.samples
        if sample.name.startswith("cometring_channel_")
    }


def topic_with(readers: int) -> Topic:
    topic = Topic("/room")
    topic.flushed = 10
    topic.members = {Session(f"reader-{i}", 1): None for i in range(readers)}
    return topic


def test_publishes_and_deliveries_are_counted_by_channel() -> None:
    stats = Stats()
    stats.note_published("/room")
    stats.note_published("/room")
    stats.note_published("an-inbox")
    stats.hot_delivered.note("/other", 7)
    assert shown(stats, {}) == {"published_total /room": 2, "delivered_total /other": 7}
    assert stats.published == {"group": 2, "direct": 1}


def test_readers_and_the_slowest_of_them() -> None:
    stats = Stats()
    stats.note_published("/room")
    topic = topic_with(3)
    first, second, _ = topic.members
    first.fall_behind(topic, 4)
    second.fall_behind(topic, 9)
    told = shown(stats, {"/room": topic})
    assert told["readers /room"] == 3
    assert told["readers_behind /room"] == 2
    assert told["lag_entries /room"] == 6


def test_of_a_crowd_only_a_sample_is_looked_at() -> None:
    stats = Stats()
    stats.note_published("/room")
    topic = topic_with(2 * SAMPLE)
    for session in list(topic.members)[:SAMPLE:2]:
        session.fall_behind(topic, 0)
    assert shown(stats, {"/room": topic})["readers_behind /room"] == SAMPLE


@pytest.mark.parametrize(("count", "series"), [(0, 0), (5, 5)])
def test_no_more_channels_are_named_than_asked_for(count: int, series: int) -> None:
    stats = Stats()
    for i in range(9):
        stats.note_published(f"/{i}")
    assert len(shown(stats, {}, count)) == series
