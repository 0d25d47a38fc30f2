"""*Channels*: the hottest, those whose readers lag, and what was missed."""

from __future__ import annotations

from ops.dashboards.model import CLUSTER, Json, Query, Row, above, dashboard, lines, stat, table

RATE = "[$__rate_interval]"
NONE_YET = "or vector(0)"


def _by_channel(metric: str, operation: str = "sum") -> str:
    return f"topk(10, {operation} by (channel) ({metric}{{{CLUSTER}}}))"


def _rate(metric: str) -> str:
    return f"topk(10, sum by (channel) (rate({metric}{{{CLUSTER}}}{RATE})))"


GLANCE = Row(
    "At a glance",
    (
        stat(
            "Topics",
            "Channels and inboxes that have a log.",
            f"sum(cometring_topics{{{CLUSTER}}})",
            width=4,
        ),
        stat(
            "Log bytes",
            "Payload bytes in all logs, of all nodes.",
            f"sum(cometring_log_bytes{{{CLUSTER}}})",
            "bytes",
            width=4,
        ),
        stat(
            "Readers told of gaps, 1 h",
            "How often a reader was told that messages are missing.",
            f"sum(increase(cometring_gaps_reported_total{{{CLUSTER}}}[1h]))",
            steps=above(red=1),
            width=4,
            decimals=0,
        ),
        stat(
            "Slow consumers, 1 h",
            "Connections closed because they did not read.",
            f"sum(increase(cometring_slow_consumers_total{{{CLUSTER}}}[1h]))",
            steps=above(yellow=1),
            width=4,
            decimals=0,
        ),
        stat(
            "Worst lag",
            "Entries that the slowest reader of a busy channel still has to get.",
            f"max(cometring_channel_lag_entries{{{CLUSTER}}}) {NONE_YET}",
            steps=above(yellow=1_000, red=8_000),
            width=4,
        ),
        stat(
            "Refused for want of room",
            "Publishes refused within an hour because a node's logs hold all they may.",
            f"sum(increase(cometring_appends_refused_total{{{CLUSTER}}}[1h]))",
            steps=above(red=1),
            width=4,
            decimals=0,
        ),
    ),
)

HOT = Row(
    "The busiest channels",
    (
        lines(
            "Published",
            "Messages a second, by channel. Only the busiest are named (`channel_metrics`).",
            Query(f"{_rate('cometring_channel_published_total')} {NONE_YET}", "{{channel}}"),
            unit="cps",
            width=12,
            height=8,
        ),
        lines(
            "Delivered",
            "Messages due to readers a second, by channel: what a channel costs.",
            Query(f"{_rate('cometring_channel_delivered_total')} {NONE_YET}", "{{channel}}"),
            unit="cps",
            width=12,
            height=8,
        ),
        table(
            "Now",
            "Readers of each of the busiest channels, those not level with the newest message, and what"
            " the slowest still has to get.",
            Query(
                f"sum by (channel) (cometring_channel_readers{{{CLUSTER}}})",
                instant=True,
                form="table",
            ),
            Query(
                f"sum by (channel) (cometring_channel_readers_behind{{{CLUSTER}}})",
                instant=True,
                form="table",
            ),
            Query(
                f"max by (channel) (cometring_channel_lag_entries{{{CLUSTER}}})",
                instant=True,
                form="table",
            ),
            width=24,
            height=8,
            transformations=(
                {"id": "joinByField", "options": {"byField": "channel", "mode": "outer"}},
                {
                    "id": "filterFieldsByName",
                    "options": {
                        "include": {"names": ["channel", "Value #A", "Value #B", "Value #C"]}
                    },
                },
            ),
            overrides=tuple(
                {
                    "matcher": {"id": "byName", "options": name},
                    "properties": [{"id": "displayName", "value": title}],
                }
                for name, title in (
                    ("Value #A", "readers"),
                    ("Value #B", "behind"),
                    ("Value #C", "slowest, entries"),
                )
            ),
        ),
    ),
)

LAG = Row(
    "Readers that lag",
    (
        lines(
            "Readers behind",
            "Of the busiest channels. A polling client is behind for a moment between two polls.",
            Query(f"{_by_channel('cometring_channel_readers_behind')} {NONE_YET}", "{{channel}}"),
        ),
        lines(
            "Entries behind",
            "What the slowest reader still has to get. A log keeps 10,000 entries or 1 MiB: beyond that"
            " there is a gap.",
            Query(
                f"{_by_channel('cometring_channel_lag_entries', 'max')} {NONE_YET}", "{{channel}}"
            ),
            steps=above(yellow=1_000, red=8_000),
        ),
        lines(
            "Slow consumers",
            "Connections closed because they did not read.",
            Query(
                f"sum by (action) (rate(cometring_slow_consumers_total{{{CLUSTER}}}{RATE}))",
                "{{action}}",
            ),
            unit="cps",
            steps=above(red=0.1),
        ),
    ),
)

GAPS = Row(
    "Gaps",
    (
        lines(
            "Told to readers",
            "Logs were lost, or trimmed before a slow reader came for them.",
            Query(
                f"sum by (instance) (rate(cometring_gaps_reported_total{{{CLUSTER}}}{RATE}))",
                "{{instance}}",
            ),
            unit="cps",
            steps=above(red=0.001),
        ),
        lines(
            "Closed on the way",
            "Holes after which entries were asked for again, and got: nobody noticed.",
            Query(
                f"sum by (instance) (rate(cometring_gap_repairs_total{{{CLUSTER}}}{RATE}))",
                "{{instance}}",
            ),
            unit="cps",
        ),
        lines(
            "Feeds that began anew",
            "Entries that no node holds any more: the readers of these feeds are told of a gap.",
            Query(
                f"sum by (instance) (rate(cometring_feed_resets_total{{{CLUSTER}}}{RATE}))",
                "{{instance}}",
            ),
            unit="cps",
            steps=above(red=0.001),
        ),
    ),
)


def build() -> Json:
    """The dashboard."""
    about = "The busiest channels, those whose readers lag, and what was missed."
    return dashboard("cometring-channels", "Channels", about, (GLANCE, HOT, LAG, GAPS))
