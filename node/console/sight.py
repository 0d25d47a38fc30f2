"""What one node sees of itself: its figures, and what it has of a topic or session.

A look takes differences to the look before, so it costs something only while
somebody asks: then publishes are sampled, too (`Stats.witness`).
"""

from __future__ import annotations

import os
import time
from heapq import nlargest
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from node.console.messages import (
    MAX_CHANNELS,
    MAX_CHILDREN,
    MAX_NAME,
    Branch,
    Busy,
    Figures,
    Publishes,
)
from pubsub.sessions import address_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from node.cluster.driver import Cluster
    from node.hub import Hub
    from node.session import Session
    from node.stats import Stats
    from pubsub.slot import Topic as HomeTopic

FRESH: Final = 0.8
"""Seconds for which a look is told again: consoles of two nodes ask once a second each."""
SAMPLE: Final = 16
"""Topics that are remembered between two looks as having been published to."""
BETWEEN_POLLS: Final = "between polls"
_MEMORY: Final = Path("/proc/self/statm")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Totals(NamedTuple):
    """What the next look takes the difference to."""

    at: float
    published: int
    delivered: int
    cpu: float
    channels: dict[str, int]  # accepted here
    due: dict[str, int]  # messages times readers here


class Sight:
    """Looks at one node. `figures` begins to watch it, `close` ends that."""

    def __init__(
        self,
        cluster: Cluster,
        stats: Stats,
        hub: Hub,
        session: Callable[[str], Session | None],
    ) -> None:
        self._cluster = cluster
        self._stats = stats
        self._hub = hub
        self._session = session
        self._before: Totals | None = None
        self._last: Figures | None = None
        self._looks = 0
        self._sample: dict[str, int] = {}

    def close(self) -> None:
        """Nobody asks any more: watch nothing, keep nothing."""
        self._stats.witness = None
        self._before = self._last = None
        self._sample.clear()

    def _witness(self, topic: str) -> None:
        sample = self._sample
        if topic in sample:
            sample[topic] += 1
        elif len(sample) < SAMPLE:
            sample[topic] = 1

    # -- figures --------------------------------------------------------------------------

    def figures(self, now: float) -> Figures:
        """The node in numbers; `now` in seconds on a monotonic clock."""
        before = self._before
        if before is not None and self._last is not None and now - before.at < FRESH:
            return self._last
        totals = self._totals(now)
        self._last = self._describe(totals, before or totals)
        self._before = totals
        self._sample.clear()
        self._stats.witness = self._witness
        return self._last

    def _totals(self, now: float) -> Totals:
        stats = self._stats
        return Totals(
            now,
            sum(stats.published.values()),
            sum(stats.delivered.values()),
            time.process_time(),
            stats.hot_published.totals(),
            stats.hot_delivered.totals(),
        )

    def _describe(self, totals: Totals, before: Totals) -> Figures:
        stats, status = self._stats, self._cluster.status()
        ring, pubsub = status.ring, status.pubsub
        took = totals.at - before.at

        def rate(now: float, then: float) -> float:
            return round((now - then) / took, 2) if took > 0 else 0.0

        self._looks += 1
        return Figures(
            view=ring.number if ring else 0,
            ready=status.ready,
            draining=status.draining,
            leased=ring is not None and ring.leased,
            frozen=ring is not None and ring.frozen,
            sessions=stats.sessions,
            connections={name: held for name, held in stats.connections.items() if held},
            polls=stats.held_polls,
            published=rate(totals.published, before.published),
            delivered=rate(totals.delivered, before.delivered),
            lag=round(stats.lag, 4),
            cpu=rate(totals.cpu, before.cpu),
            memory=resident(),
            log=pubsub.log_bytes if pubsub else 0,
            topics=pubsub.topics if pubsub else 0,
            feeds=pubsub.feeds if pubsub else 0,
            records=pubsub.records if pubsub else 0,
            children=pubsub.tree_children if pubsub else 0,
            slots=pubsub.slots.get("home", 0) if pubsub else 0,
            gaps=stats.gaps_reported,
            lossy=pubsub.takeovers.get("lossy", 0) if pubsub else 0,
            look=self._looks,
            suspected=ring.suspected[:MAX_CHILDREN] if ring else (),
            busiest=self._busiest(totals, before),
            publishes=tuple(
                Publishes(name, times)
                for topic, times in self._sample.items()
                if (name := _shown(topic)) is not None
            ),
        )

    def _busiest(self, totals: Totals, before: Totals) -> tuple[Busy, ...]:
        took = totals.at - before.at
        if took <= 0:
            return ()
        published = _grown(totals.channels, before.channels)
        due = _grown(totals.due, before.due)
        traffic = {
            name: published.get(name, 0) + due.get(name, 0)
            for name in published.keys() | due.keys()
            if len(name) <= MAX_NAME
        }
        found = nlargest(MAX_CHANNELS, traffic, key=lambda name: (traffic[name], name))
        return tuple(
            Busy(
                name,
                round(published.get(name, 0) / took, 2),
                round(due.get(name, 0) / took, 2),
                self._readers(name),
            )
            for name in found
        )

    # -- one topic ------------------------------------------------------------------------

    def branch(self, name: str) -> Branch | None:
        """What this node has of a channel or address; None: nothing."""
        cluster = self._cluster
        feed = cluster.feed(name)
        home = cluster.serving_name(name)
        topic = cluster.topic(name) if home else None
        record = cluster.record(name)
        session = self._session(name)
        if feed is None and topic is None and record is None and session is None:
            return None
        children = feed.children if feed is not None else ()
        epoch, offset, entries, size = _log(topic)
        return Branch(
            topic=name,
            parent=(feed.parent if feed is not None else None) or b"",
            children=children[:MAX_CHILDREN],
            width=len(children),
            depth=feed.depth if feed is not None else 0,
            readers=self._readers(name),
            home=home,
            epoch=epoch,
            offset=offset,
            entries=entries,
            size=size,
            edge=record.edge if record is not None else b"",
            subscriptions=len(record.cursors) - 1 if record is not None else -1,
            transport=_carrier(session) if session is not None else "",
        )

    def _readers(self, name: str) -> int:
        topic = self._hub.topics.get(name)
        return len(topic.members) if topic is not None else 0


def _log(topic: HomeTopic | None) -> tuple[int, int, int, int]:
    """Epoch, offset, entries and bytes of a log; zeros without one."""
    if topic is None:
        return 0, 0, 0, 0
    return topic.last.epoch, topic.last.offset, len(topic.log), topic.log.size_bytes


def _carrier(session: Session) -> str:
    """By what a session's client is connected now."""
    if session.carrier is not None:
        return session.carrier.transport
    return session.poll.transport if session.poll is not None else BETWEEN_POLLS


def _shown(topic: str) -> str | None:
    """The name under which a topic may be shown: never a session's id."""
    name = topic if topic.startswith("/") else address_for(topic)
    return name if name is not None and len(name) <= MAX_NAME else None


def _grown(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """By how much each count has grown; one that began again counts whole."""
    grown = {}
    for name, total in now.items():
        then = before.get(name, 0)
        more = total - then if total >= then else total
        if more:
            grown[name] = more
    return grown


def resident() -> int:
    """Bytes of memory that this process has; 0 where the system does not tell."""
    try:
        return int(_MEMORY.read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0
