"""Counters that the hot paths bump: plain integers, read when somebody scrapes.

`prometheus_client` counters take a lock on every increment; these do not, and
`node.metrics` turns them into Prometheus families at scrape time. What the
engines count themselves (takeovers, gap repairs) is in their own statistics.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Final

from node.hot_channels import HotChannels

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS: Final = (
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip
HOPS: Final = (0, 1, 2, 3, 4, 5, 6, 8)


class Buckets:
    """A histogram of plain integers; `bounds` are inclusive upper limits."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    @property
    def count(self) -> int:
        """How many values have been observed."""
        return sum(self.counts)

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times


class Stats:
    """Everything one node counts."""

    def __init__(self) -> None:
        self.published: Counter[str] = Counter()  # kind: group, direct
        self.delivered: Counter[str] = Counter()  # transport
        self.connections: Counter[str] = Counter()  # transport; goes up and down
        self.http_requests: Counter[tuple[str, int]] = Counter()  # (route, status)
        self.slow_consumers: Counter[str] = Counter()  # action
        self.link_bytes: Counter[str] = Counter()  # direction: in, out
        self.link_refused: Counter[str] = Counter()  # reason
        self.refused: Counter[str] = Counter()  # error code told to a client
        self.tls_handshakes: Counter[str] = Counter()  # outcome: ok, failed, timeout, plain
        self.tls_reloads: Counter[str] = Counter()  # outcome: ok, refused
        self.partial_refused: Counter[str] = Counter()  # transport
        self.members_gone: Counter[str] = Counter()  # how: died, left, restarted
        self.hot_published = HotChannels()
        self.hot_delivered = HotChannels()
        self.witness: Callable[[str], None] | None = None  # is told of each topic published to
        self.certificate_ends: float | None = None  # seconds since 1970; None without TLS
        self.gc_seconds = 0.0  # total
        self.partial_bytes = 0  # kept of requests and messages that are not complete; now
        self.head_cache_hits = 0
        self.head_cache_misses = 0
        self.gaps_reported = 0  # once for each reader that was told
        self.sessions = 0
        self.sessions_swept = 0
        self.relays_refused = 0  # requests held for their session's edge, and given up
        self.loop_lag = 0.0  # seconds, worst since the last scrape
        self.event_wait = 0.0  # seconds, worst since the last scrape
        self.recent_lag = 0.0  # seconds, the worse of both since the load was last looked at
        self.lag = 0.0  # seconds, the worse of both when the load was last looked at
        self.held_polls = 0  # now
        self.put_off = 0  # polls answered at once because of load
        self.shed_interval = 0.0  # seconds that clients are told to wait because of load
        self.delivery_seconds = Buckets(SECONDS)
        self.append_commit_seconds = Buckets(SECONDS)
        self.takeover_seconds = Buckets(SECONDS)  # from a view to serving all slots it brought
        self.link_rtt_seconds = Buckets(SECONDS)
        self.group_hops = Buckets(HOPS)
        self.direct_hops = Buckets(HOPS)

    def note_lag(self, seconds: float) -> None:
        """A timer ran so much later than it was due."""
        self.loop_lag = max(self.loop_lag, seconds)
        self.recent_lag = max(self.recent_lag, seconds)

    def note_wait(self, seconds: float) -> None:
        """A socket that was ready was served so much later."""
        self.event_wait = max(self.event_wait, seconds)
        self.recent_lag = max(self.recent_lag, seconds)

    def note_published(self, topic: str) -> None:
        """An entry of `topic` that this node accepted has been committed."""
        if self.witness is not None:
            self.witness(topic)
        if topic.startswith("/"):
            self.published["group"] += 1
            self.hot_published.note(topic)
        else:
            self.published["direct"] += 1
