"""``/metrics``: what the node counts, as Prometheus families, built when somebody scrapes.

Nothing here runs in between. A family without a value that would be true (no
ring yet, so no view number) is left out rather than shown as zero.
"""

from __future__ import annotations

import gc
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from node.cluster.census import WAYS
from node.ops_pages import balance
from node.process_watch import memory_limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from node.cluster.status import ClusterStatus
    from node.stats import Buckets, Stats
    from pubsub.statistics import Statistics
    from pubsub.timings import Timings

PREFIX: Final = "cometring_"
ROLES: Final = ("home", "replica", "opening", "parting")
# Shown at 0 before they happen first: an increase from nothing is none.
OUTCOMES: Final = ("fresh", "taken_over", "lossy")
REFUSALS: Final = ("forged", "same_id", "secret", "version")
NAMED: Final = 8  # hex digits of an id, as logs have them
MATRIX: Final = 64  # links that are told one by one


def _version() -> str:
    try:
        return version("cometring")
    except PackageNotFoundError:  # run from its source
        return "unknown"


VERSION: Final = _version()


class StatusSource(Protocol):
    """`node.cluster.driver.Cluster`, as far as the ops pages need it."""

    def status(self) -> ClusterStatus: ...


class NodeCollector(Collector):
    """Reads `Stats` and the cluster's status at each scrape."""

    def __init__(self, stats: Stats, cluster: StatusSource) -> None:
        self._stats = stats
        self._cluster = cluster

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield from _client_side(self._stats)
        yield from _publishing(self._stats)
        yield from _process(self._stats)
        status = self._cluster.status()
        yield from _identity(status)
        yield from _links(self._stats, status)
        yield from _ring(status)
        if status.pubsub is not None:
            yield from _pubsub(status.pubsub)


class Exposition:
    """The text of ``/metrics``, from a registry of this node's own."""

    def __init__(
        self, stats: Stats, cluster: StatusSource, collectors: Sequence[Collector] = ()
    ) -> None:
        """`collectors`: of further families."""
        self._registry = CollectorRegistry(auto_describe=False)
        for collector in (NodeCollector(stats, cluster), *collectors):
            self._registry.register(collector)
        ProcessCollector(registry=self._registry)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The text and its content type, in the form that an Accept header asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


def _client_side(stats: Stats) -> Iterator[Metric]:
    yield _gauge("sessions", "Sessions whose edge is this node", stats.sessions)
    yield _counter("sessions_swept", "Sessions ended for silence", stats.sessions_swept)
    yield _counter(
        "relays_refused", "Requests held for a session's edge, and answered 503 in the end",
        stats.relays_refused,
    )  # fmt: skip
    yield _gauges("connections", "Open client connections", "transport", stats.connections)
    yield _requests(stats)
    yield _counter("head_cache_hits", "Request heads recognised", stats.head_cache_hits)
    yield _counter("head_cache_misses", "Request heads parsed", stats.head_cache_misses)
    yield _counters(
        "slow_consumers", "Readers that did not take what they were owed", "action",
        {"close": 0} | stats.slow_consumers,
    )  # fmt: skip
    yield _gauge("partial_bytes", "Bytes kept of unfinished requests", stats.partial_bytes)
    yield _counters(
        "partial_refused", "Requests refused because too many were unfinished", "transport",
        stats.partial_refused,
    )  # fmt: skip
    yield _counters("tls_handshakes", "TLS handshakes ended", "outcome", stats.tls_handshakes)
    yield _counters("tls_reloads", "New certificates looked at", "outcome", stats.tls_reloads)
    if stats.certificate_ends is not None:
        yield _gauge(
            "tls_certificate_expiry_timestamp_seconds", "Until when the certificate is valid",
            stats.certificate_ends,
        )  # fmt: skip
    yield _counters("refused", "Requests refused, by error code", "code", stats.refused)
    lag, stats.loop_lag = stats.loop_lag, 0.0
    yield _gauge("loop_lag_seconds", "How late the loop was, at worst, since the last scrape", lag)
    wait, stats.event_wait = stats.event_wait, 0.0
    yield _gauge(
        "event_wait_seconds", "How long a ready socket waited, at worst, since the last scrape",
        wait,
    )  # fmt: skip
    yield _gauge("held_polls", "Long polls that are held", stats.held_polls)
    yield _gauge(
        "shed_interval_seconds", "Pause between polls that load makes us ask for",
        stats.shed_interval,
    )  # fmt: skip
    yield _counter("polls_put_off", "Polls answered at once because of load", stats.put_off)


def _publishing(stats: Stats) -> Iterator[Metric]:
    published = {"group": 0, "direct": 0} | stats.published
    yield _counters("published", "Messages accepted and committed", "kind", published)
    yield _counters("delivered", "Messages written to clients", "transport", stats.delivered)
    yield _histogram(
        "delivery_seconds", "From a publish accepted to its write to a socket",
        stats.delivery_seconds,
    )  # fmt: skip
    yield _histogram(
        "append_commit_seconds", "From a publish accepted to its commit",
        stats.append_commit_seconds,
    )  # fmt: skip
    yield _histogram("group_hops", "Links that a group message crossed", stats.group_hops)
    yield _histogram("direct_hops", "Links that a direct message crossed", stats.direct_hops)
    yield _counter("gaps_reported", "Readers told that messages are missing", stats.gaps_reported)


def _process(stats: Stats) -> Iterator[Metric]:
    limit = memory_limit()
    if limit is not None:
        yield _gauge("memory_limit_bytes", "Memory that this process may hold", limit)
    yield _counter("gc_seconds", "Seconds that the garbage collector has taken", stats.gc_seconds)
    runs = {str(age): each["collections"] for age, each in enumerate(gc.get_stats())}
    yield _counters("gc_collections", "Runs of the garbage collector", "generation", runs)


def _identity(status: ClusterStatus) -> Iterator[Metric]:
    """Series that are always 1 and say in labels what is what, to be joined with others."""
    zone, ring = "", status.ring
    if ring is not None:
        zone = ring.me.zone
    yield _info(
        "node_info", "Who this is", node=status.me.hex()[:NAMED], zone=zone, version=VERSION
    )
    if ring is not None and ring.number:
        yield _info(
            "ring_info", "The view that this node is on",
            ring=ring.ring.hex()[:NAMED], digest=ring.digest.hex(),
        )  # fmt: skip


def _links(stats: Stats, status: ClusterStatus) -> Iterator[Metric]:
    yield _gauge("links", "Open links to other nodes", len(status.links))
    yield _gauge(
        "link_queued_bytes", "Bytes that wait to be sent on links",
        sum(link.queued for link in status.links),
    )  # fmt: skip
    yield _gauge(
        "link_strangers", "Connections to the peer listener not authenticated yet",
        status.strangers,
    )  # fmt: skip
    moved = {"in": 0, "out": 0} | stats.link_bytes
    yield _counters("link_bytes", "Bytes on links", "direction", moved)
    refused = dict.fromkeys(REFUSALS, 0) | stats.link_refused
    yield _counters("link_refused", "Links refused or broken off", "reason", refused)
    members_gone = dict.fromkeys(WAYS, 0) | stats.members_gone
    yield _counters("members_gone", "Members that new views lacked", "how", members_gone)
    rtts = {link.node.hex()[:NAMED]: link.rtt for link in status.links[:MATRIX]}
    yield _gauges(
        "peer_rtt_seconds", "Last round trip to a node", "peer",
        {peer: rtt for peer, rtt in rtts.items() if rtt is not None},
    )  # fmt: skip
    yield _gauges(
        "peer_queued_bytes", "Bytes that wait to be sent to a node", "peer",
        {link.node.hex()[:NAMED]: link.queued for link in status.links[:MATRIX]},
    )  # fmt: skip
    yield _histogram("link_rtt_seconds", "Round trip times of links", stats.link_rtt_seconds)
    yield _histogram(
        "takeover_seconds", "From a view to serving every slot that it brought",
        stats.takeover_seconds,
    )  # fmt: skip


def _ring(status: ClusterStatus) -> Iterator[Metric]:
    yield _gauge("ready", "1: in the ring and not leaving", int(status.ready))
    yield _gauge("draining", "1: on the way out of the ring", int(status.draining))
    ring = status.ring
    if ring is None or not ring.number:
        return
    yield _gauge("members", "Members of the view", len(ring.members))
    yield _gauge("view", "Number of the view", ring.number)
    yield _gauge("suspected", "Members that this node thinks dead", len(ring.suspected))
    yield _gauge("accused", "Members thought dead by anyone who told", len(ring.accused))
    yield _gauge("behind", "Members heard on another view than this node's", len(ring.behind))
    yield _gauge("voters", "Members that decide on the next view", len(ring.voters))
    yield _gauge("voters_missing", "Voters not heard of late", len(ring.health.missing))
    yield _gauge("leased", "1: a majority of voters lets this node acknowledge", int(ring.leased))
    yield _gauge("frozen", "1: no majority of voters, no new view", int(ring.frozen))
    yield _gauge("foreign_rings", "Other rings met of late", len(ring.health.foreign))
    if status.placement is not None:
        share = status.placement.share(status.me)
        yield _gauge("slot_share", "Part of all slots that this node is home to", share)
        yield _gauge("slot_balance", "Greatest share over the mean", balance(status.placement))


def _pubsub(statistics: Statistics) -> Iterator[Metric]:
    slots = dict.fromkeys(ROLES, 0) | statistics.slots
    yield _gauges("slots", "Slots by this node's role in them", "role", slots)
    takeovers = dict.fromkeys(OUTCOMES, 0) | statistics.takeovers
    yield _counters("takeovers", "Slots opened here", "outcome", takeovers)
    yield _histogram(
        "replicate_seconds", "From a position to its commit on all copies", statistics.commits
    )
    yield _gauge("staged", "Changes that not all copies have yet", statistics.staged)
    yield _gauge(
        "replica_lag", "Seconds that the oldest of them has waited", statistics.replica_lag
    )
    yield _counter("trimmed", "Entries given up early for want of memory", statistics.trimmed)
    yield _gauge("topics", "Topics whose home is here", statistics.topics)
    yield _gauge("feeds", "Channels read or forwarded here", statistics.feeds)
    yield _gauge("log_bytes", "Payload bytes in all logs", statistics.log_bytes)
    yield _gauge("log_limit_bytes", "So many of them at most", statistics.log_limit)
    yield _gauge("tree_children", "Children in all multicast trees", statistics.tree_children)
    yield _gauge("tree_depth", "Longest way from a root to here, in links", statistics.tree_depth)
    yield _gauge("session_records", "Sessions whose home is here", statistics.records)
    yield _gauge("pending_requests", "Requests to homes not answered yet", statistics.pending)
    yield _counter(
        "gap_repairs", "Holes after which entries were asked for", statistics.gap_repairs
    )
    yield _counter("feed_resets", "Feeds with entries nobody holds", statistics.gaps_reported)
    yield _gauge("patterns", "Wildcard channels that are active", statistics.patterns)
    yield _counter("forwards", "Entries that patterns' homes have taken", statistics.forwarded)
    yield _gauge("forward_lag", "Entries that they are still to take", statistics.forward_lag)
    yield _counter(
        "forward_repeats", "Entries that came to a pattern again", statistics.forward_repeats
    )
    yield _counter("appends_refused", "Appends refused for want of memory", statistics.refused)


def _requests(stats: Stats) -> CounterMetricFamily:
    family = CounterMetricFamily(
        f"{PREFIX}http_requests", "Requests answered", labels=("route", "status")
    )
    for (route, status), count in sorted(stats.http_requests.items()):
        family.add_metric((route, str(status)), count)
    return family


def _info(name: str, text: str, **labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, text, labels=tuple(labels))
    family.add_metric(tuple(labels.values()), 1)
    return family


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, text, value=value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, text, labels=(label,))
    for key, value in sorted(values.items()):
        family.add_metric((key,), value)
    return family


def _counters(name: str, text: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(PREFIX + name, text, labels=(label,))
    for key, value in sorted(values.items()):
        family.add_metric((key,), value)
    return family


def _histogram(name: str, text: str, buckets: Buckets | Timings) -> HistogramMetricFamily:
    bounds = [*map(float, buckets.bounds), float("inf")]
    counts = accumulate(buckets.counts)
    cumulative = [(_bound(bound), count) for bound, count in zip(bounds, counts, strict=True)]
    return HistogramMetricFamily(PREFIX + name, text, buckets=cumulative, sum_value=buckets.total)


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(bound)
