"""Metrics with a channel's name in a label: of the busiest few, so that series stay few."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric

    from node.hot_channels import HotChannels
    from node.stats import Stats
    from node.topic import Topic

PREFIX: Final = "cometring_channel_"
LABEL: Final = ("channel",)
SAMPLE: Final = 1_000
"""Readers of a channel that are looked at; of more, those behind are an estimate."""


class ChannelCollector(Collector):
    """The `shown` channels with most publishes here, and the `shown` with most deliveries.

    `topics` are those with readers here (`node.hub.Hub.topics`).
    """

    def __init__(self, stats: Stats, topics: Mapping[str, Topic], shown: int) -> None:
        self._stats = stats
        self._topics = topics
        self._shown = shown

    def collect(self) -> Iterator[Metric]:
        """All families; empty ones where no channel is to be named."""
        published = self._hottest("published", "Group messages accepted", self._stats.hot_published)
        delivered = self._hottest("delivered", "Messages due to readers", self._stats.hot_delivered)
        yield published
        yield delivered
        readers = _gauge("readers", "Readers on this node")
        behind = _gauge("readers_behind", "Readers that have not been served everything")
        lag = _gauge("lag_entries", "Entries that the slowest reader still has to get")
        labels = (
            sample.labels["channel"] for each in (published, delivered) for sample in each.samples
        )
        for channel in dict.fromkeys(labels):
            topic = self._topics.get(channel)
            if topic is not None and topic.members:
                waiting, worst = _laggards(topic)
                readers.add_metric((channel,), len(topic.members))
                behind.add_metric((channel,), waiting)
                lag.add_metric((channel,), worst)
        yield from (readers, behind, lag)

    def _hottest(self, name: str, text: str, channels: HotChannels) -> CounterMetricFamily:
        family = CounterMetricFamily(
            PREFIX + name, f"{text}, of the busiest channels", labels=LABEL
        )
        for channel, total in channels.hottest(self._shown):
            family.add_metric((channel,), total)
        return family


def _gauge(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, f"{text}, of the busiest channels", labels=LABEL)


def _laggards(topic: Topic) -> tuple[int, int]:
    """How many readers are behind, and by how many entries the slowest is."""
    looked = min(len(topic.members), SAMPLE)
    lags = [
        topic.flushed - session.behind[topic]
        for session in islice(topic.members, looked)
        if session.behind is not None and topic in session.behind
    ]
    return round(len(lags) * len(topic.members) / looked), max(0, *lags) if lags else 0
