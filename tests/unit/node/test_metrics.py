from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse

from node.metrics import MATRIX, Exposition
from node.stats import SECONDS, Buckets, Stats
from status_examples import Source, in_ring, lonely

if TYPE_CHECKING:
    from prometheus_client import Metric

# Those of the interface that this release can truly tell.
NAMES = (
    *("sessions", "connections", "published", "delivered", "delivery_seconds"),
    *("group_hops", "direct_hops", "members", "view", "slots", "takeovers", "takeover_seconds"),
    *("append_commit_seconds", "gap_repairs", "gaps_reported", "slow_consumers"),
    *("tree_children", "tree_depth", "link_rtt_seconds", "link_bytes", "loop_lag_seconds"),
    *("http_requests", "head_cache_hits", "head_cache_misses", "log_bytes"),
)


def samples(exposition: Exposition) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = exposition.render()[0].decode()
    return {
        (sample.name.removeprefix("cometring_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(text)
        for sample in family.samples
    }


@pytest.fixture
def stats() -> Stats:
    return Stats()


def test_every_name_of_the_interface_is_there(stats: Stats) -> None:
    families = {
        family.name for family in parse(Exposition(stats, Source(in_ring())).render()[0].decode())
    }
    assert {f"cometring_{name}" for name in NAMES} <= families
    rest = {name for name in families if not name.startswith("cometring_")}
    assert all(name.startswith("process_") for name in rest)


def test_what_the_hot_paths_counted_is_shown(stats: Stats) -> None:
    stats.sessions = 5
    stats.published["group"] += 3
    stats.delivered["websocket"] += 7
    stats.connections["http"] += 2
    stats.http_requests["bayeux", 200] += 11
    stats.link_refused["secret"] += 1
    stats.link_bytes["in"] += 1000
    stats.slow_consumers["close"] += 1
    stats.partial_refused["http"] += 1
    stats.partial_bytes = 512
    stats.tls_handshakes["plain"] += 2
    stats.tls_reloads["refused"] += 3
    stats.refused["unauthorized"] += 4
    stats.head_cache_hits = 9
    shown = samples(Exposition(stats, Source(in_ring())))
    assert shown["sessions", ()] == 5
    assert shown["published_total", (("kind", "group"),)] == 3
    assert shown["published_total", (("kind", "direct"),)] == 0
    assert shown["delivered_total", (("transport", "websocket"),)] == 7
    assert shown["connections", (("transport", "http"),)] == 2
    assert shown["http_requests_total", (("route", "bayeux"), ("status", "200"))] == 11
    assert shown["link_refused_total", (("reason", "secret"),)] == 1
    assert shown["link_bytes_total", (("direction", "in"),)] == 1000
    assert shown["link_bytes_total", (("direction", "out"),)] == 0
    assert shown["slow_consumers_total", (("action", "close"),)] == 1
    assert shown["partial_refused_total", (("transport", "http"),)] == 1
    assert shown["partial_bytes", ()] == 512
    assert shown["tls_handshakes_total", (("outcome", "plain"),)] == 2
    assert shown["tls_reloads_total", (("outcome", "refused"),)] == 3
    assert shown["refused_total", (("code", "unauthorized"),)] == 4
    assert shown["head_cache_hits_total", ()] == 9


def test_what_the_engines_know_is_shown(stats: Stats) -> None:
    shown = samples(Exposition(stats, Source(in_ring())))
    assert shown["members", ()] == shown["view", ()] == shown["ready", ()] == 1
    assert shown["slots", (("role", "home"),)] == 4096
    assert shown["slots", (("role", "opening"),)] == 0
    assert shown["takeovers_total", (("outcome", "fresh"),)] == 4096
    assert shown["links", ()] == 1
    assert shown["link_queued_bytes", ()] == 12
    assert shown["link_strangers", ()] == 3
    assert shown["frozen", ()] == shown["suspected", ()] == shown["draining", ()] == 0


def test_what_alerts_ask_for_is_there_before_it_happens(stats: Stats) -> None:
    shown = samples(Exposition(stats, Source(in_ring())))
    for name, label, value in (
        ("takeovers_total", "outcome", "lossy"),
        ("slow_consumers_total", "action", "close"),
        ("link_refused_total", "reason", "secret"),
        ("members_gone_total", "how", "died"),
    ):
        assert shown[name, ((label, value),)] == 0


def test_who_and_where_this_is(stats: Stats) -> None:
    status = in_ring()
    assert status.ring is not None
    shown = samples(Exposition(stats, Source(status)))
    ring, digest = status.ring.ring.hex()[:8], status.ring.digest.hex()
    assert shown["ring_info", (("digest", digest), ("ring", ring))] == 1
    who = {labels for name, labels in shown if name == "node_info"}
    assert [dict(labels)["node"] for labels in who] == ["01010101"]
    assert [dict(labels)["zone"] for labels in who] == ["zone-a"]


def test_links_one_by_one(stats: Stats) -> None:
    link = in_ring().links[0]
    links = tuple(replace(link, node=i.to_bytes(20, "little")) for i in range(MATRIX + 9))
    shown = samples(Exposition(stats, Source(replace(in_ring(), links=links))))
    assert shown["peer_rtt_seconds", (("peer", "00000000"),)] == 0.0015
    assert shown["peer_queued_bytes", (("peer", "01000000"),)] == 12
    assert len([name for name, _ in shown if name == "peer_rtt_seconds"]) == MATRIX
    assert shown["links", ()] == MATRIX + 9


def test_a_link_that_has_not_answered_yet_has_no_round_trip(stats: Stats) -> None:
    links = (replace(in_ring().links[0], rtt=None),)
    names = {
        name for name, _ in samples(Exposition(stats, Source(replace(in_ring(), links=links))))
    }
    assert "peer_queued_bytes" in names
    assert "peer_rtt_seconds" not in names


def test_the_process(stats: Stats) -> None:
    stats.gc_seconds = 0.5
    shown = samples(Exposition(stats, Source(lonely())))
    assert shown["gc_seconds_total", ()] == 0.5
    assert shown["memory_limit_bytes", ()] > 1 << 20
    assert ("gc_collections_total", (("generation", "2"),)) in shown


def test_a_certificates_end_is_told_where_there_is_one(stats: Stats) -> None:
    name = ("tls_certificate_expiry_timestamp_seconds", ())
    exposition = Exposition(stats, Source(lonely()))
    assert name not in samples(exposition)
    stats.certificate_ends = 1.9e9
    assert samples(exposition)[name] == 1.9e9


def test_without_a_ring_nothing_is_made_up(stats: Stats) -> None:
    names = {name for name, _ in samples(Exposition(stats, Source(lonely())))}
    assert {"sessions", "ready", "links"} <= names
    assert not {"members", "view", "slots", "log_bytes"} & names


def test_histograms_are_cumulative(stats: Stats) -> None:
    for value in (0.0005, 0.0006, 0.3, 99.0):
        stats.delivery_seconds.observe(value)
    stats.group_hops.observe(0, times=10)
    stats.group_hops.observe(2)
    shown = samples(Exposition(stats, Source(lonely())))
    counts = [
        shown["delivery_seconds_bucket", (("le", le),)]
        for le in ("0.0005", "0.001", "0.2", "0.5", "10.0", "+Inf")
    ]
    assert counts == [1, 2, 2, 3, 3, 4]
    assert shown["delivery_seconds_count", ()] == 4
    assert shown["delivery_seconds_sum", ()] == pytest.approx(99.3011)
    assert shown["group_hops_bucket", (("le", "0.0"),)] == 10
    assert shown["group_hops_count", ()] == 11


def test_the_lag_is_the_worst_since_the_last_look(stats: Stats) -> None:
    exposition = Exposition(stats, Source(lonely()))
    stats.loop_lag = 0.25
    assert samples(exposition)["loop_lag_seconds", ()] == 0.25
    assert samples(exposition)["loop_lag_seconds", ()] == 0


def test_the_form_is_negotiated(stats: Stats) -> None:
    exposition = Exposition(stats, Source(in_ring()))
    text, content_type = exposition.render()
    assert content_type.startswith("text/plain")
    assert text.endswith(b"\n")
    body, content_type = exposition.render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    families: list[Metric] = list(parse_open(body.decode()))  # type: ignore[no-untyped-call]
    assert {f"cometring_{name}" for name in NAMES} <= {family.name for family in families}


def test_two_nodes_in_one_process_do_not_mix() -> None:
    first, second = Stats(), Stats()
    first.sessions = 1
    shown = [samples(Exposition(each, Source(lonely()))) for each in (first, second)]
    assert [each["sessions", ()] for each in shown] == [1, 0]


def test_label_values_are_escaped(stats: Stats) -> None:
    stats.http_requests['a"\n\\', 200] += 1
    assert ("http_requests_total", (("route", 'a"\n\\'), ("status", "200"))) in samples(
        Exposition(stats, Source(lonely()))
    )


@pytest.mark.parametrize(("value", "index"), [(0.0, 0), (0.0005, 0), (0.00051, 1), (11.0, 14)])
def test_bounds_are_inclusive(value: float, index: int) -> None:
    buckets = Buckets(SECONDS)
    buckets.observe(value)
    assert buckets.counts[index] == buckets.count == 1
