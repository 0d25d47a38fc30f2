"""*Node*: whether each process has what it needs."""

from __future__ import annotations

from ops.dashboards.model import CLUSTER, Json, Query, Row, above, below, dashboard, lines, stat

ONE = f'{CLUSTER}, instance=~"$instance"'
RATE = "[$__rate_interval]"
BY = "{{instance}}"

GLANCE = Row(
    "At a glance: the worst of the chosen nodes",
    (
        stat(
            "Loop lag",
            "How late the event loop was. Heartbeats go through it: beyond 0.1 s the node asks for"
            " patience, beyond about a second others drop it.",
            f"max(cometring_loop_lag_seconds{{{ONE}}})",
            "s",
            steps=above(yellow=0.05, red=0.1),
            width=4,
        ),
        stat(
            "CPU",
            "Of one core: a node uses no more than one.",
            f"max(cometring:cpu:rate1m{{{ONE}}})",
            "percentunit",
            steps=above(yellow=0.7, red=0.9),
            width=4,
        ),
        stat(
            "Memory",
            "Of what its control group or the machine allows.",
            f"max(cometring:memory_used:ratio{{{ONE}}})",
            "percentunit",
            steps=above(yellow=0.7, red=0.85),
            width=4,
        ),
        stat(
            "Descriptors",
            "Of the limit on open files; each client is one.",
            f"max(cometring:descriptors_used:ratio{{{ONE}}})",
            "percentunit",
            steps=above(yellow=0.7, red=0.85),
            width=4,
        ),
        stat(
            "Heads recognised",
            "Part of request heads that were recognised and not parsed. Low with many long-polling"
            " clients: something changes their headers each time.",
            f"min(cometring:head_cache_hit:ratio1m{{{ONE}}}) or vector(1)",
            "percentunit",
            width=4,
        ),
        stat(
            "Certificate",
            "Until the first certificate of a chosen node ends. None: clients do not speak TLS to it.",
            f"min(cometring_tls_certificate_expiry_timestamp_seconds{{{ONE}}} - time())"
            f" or (0 * sum(cometring_ready{{{ONE}}}) - 1)",
            "s",
            mappings=(
                {"type": "value", "options": {"-1": {"text": "none", "color": "text", "index": 0}}},
            ),
            steps=below(3 * 86_400, 14 * 86_400),
            width=4,
        ),
    ),
)

LOOP = Row(
    "Time",
    (
        lines(
            "Loop lag",
            "The worst lateness of the event loop between two scrapes.",
            Query(f"cometring_loop_lag_seconds{{{ONE}}}", BY),
            unit="s",
            steps=above(red=0.1),
        ),
        lines(
            "Load shedding",
            "The pause between polls that clients are told to make because of load, and how long a ready"
            " socket waited for its turn. Both 0 in quiet times.",
            Query(f"cometring_shed_interval_seconds{{{ONE}}}", "pause {{instance}}"),
            Query(f"cometring_event_wait_seconds{{{ONE}}}", "wait {{instance}}"),
            unit="s",
            steps=above(yellow=0.1, red=1),
        ),
        lines(
            "CPU",
            "Of one core; a node uses no more than one.",
            Query(f"cometring:cpu:rate1m{{{ONE}}}", BY),
            unit="percentunit",
            steps=above(yellow=0.7, red=0.9),
        ),
        lines(
            "Garbage collection",
            "The collector's part of the time; part of the CPU beside it.",
            Query(f"cometring:gc:rate1m{{{ONE}}}", BY),
            unit="percentunit",
            steps=above(yellow=0.05),
        ),
        lines(
            "Collections",
            "Runs of the collector a second, by generation. The oldest generation is the slow one.",
            Query(
                f"sum by (generation) (rate(cometring_gc_collections_total{{{ONE}}}{RATE}))",
                "generation {{generation}}",
            ),
            unit="ops",
        ),
        lines(
            "Heads recognised",
            "Part of request heads that were recognised and not parsed.",
            Query(
                f"rate(cometring_head_cache_hits_total{{{ONE}}}{RATE})"
                f" / (rate(cometring_head_cache_hits_total{{{ONE}}}{RATE})"
                f" + rate(cometring_head_cache_misses_total{{{ONE}}}{RATE})) or"
                f" 0 * cometring_ready{{{ONE}}}",
                BY,
            ),
            unit="percentunit",
            high=1.0,
        ),
        lines(
            "Polls",
            "Long polls that are held, and those that were answered at once because of load (a second).",
            Query(f"sum by (instance) (cometring_held_polls{{{ONE}}})", "held {{instance}}"),
            Query(f"sum(rate(cometring_polls_put_off_total{{{ONE}}}{RATE}))", "put off, all"),
        ),
        lines(
            "Relayed requests refused",
            "Requests that waited for a session's edge, and were answered 503 in the end.",
            Query(f"sum by (instance) (rate(cometring_relays_refused_total{{{ONE}}}{RATE}))", BY),
            unit="cps",
            steps=above(red=0.1),
        ),
        lines(
            "Requests to homes not answered yet",
            "Publishes, subscriptions and the like that wait for another node. Growing: a slot is not"
            " served.",
            Query(f"cometring_pending_requests{{{ONE}}}", BY),
        ),
    ),
)

MEMORY = Row(
    "Memory and descriptors",
    (
        lines(
            "Resident memory",
            "Of the process, and the least that it may have.",
            Query(f'process_resident_memory_bytes{{{ONE}, job="cometring"}}', BY),
            Query(f"min(cometring_memory_limit_bytes{{{ONE}}})", "limit"),
            unit="bytes",
        ),
        lines(
            "Memory a session",
            "All of the process divided by its sessions: means something from some thousands on.",
            Query(
                f"cometring:memory_per_session:bytes{{{ONE}}} or 0 * cometring_sessions{{{ONE}}}",
                BY,
            ),
            unit="bytes",
        ),
        lines(
            "Descriptors",
            "Open files and sockets, of the limit.",
            Query(f"cometring:descriptors_used:ratio{{{ONE}}}", BY),
            unit="percentunit",
            steps=above(yellow=0.7, red=0.85),
        ),
        lines(
            "Logs",
            "Payload bytes in all logs that this node keeps. From half of the limit on they keep less,"
            " at the limit publishes are refused.",
            Query(f"cometring_log_bytes{{{ONE}}}", BY),
            Query(f"min(cometring_log_limit_bytes{{{ONE}}})", "least limit"),
            unit="bytes",
        ),
        lines(
            "What it keeps",
            "Topics it is home to, feeds read or forwarded here, and records of sessions, all nodes"
            " together.",
            Query(f"sum(cometring_topics{{{ONE}}})", "topics"),
            Query(f"sum(cometring_feeds{{{ONE}}})", "feeds"),
            Query(f"sum(cometring_session_records{{{ONE}}})", "session records"),
        ),
        lines(
            "Unfinished requests",
            "Bytes kept of requests and WebSocket messages that are not complete.",
            Query(f"cometring_partial_bytes{{{ONE}}}", BY),
            unit="bytes",
        ),
    ),
)

DOOR = Row(
    "Connections",
    (
        lines(
            "Connections",
            "Open client connections, all transports.",
            Query(
                f"sum by (instance) (cometring_connections{{{ONE}}}) or 0 * cometring_ready{{{ONE}}}",
                BY,
            ),
        ),
        lines(
            "Slow consumers",
            "Connections that were closed because they did not read.",
            Query(f"sum by (instance) (rate(cometring_slow_consumers_total{{{ONE}}}{RATE}))", BY),
            unit="cps",
            steps=above(red=0.1),
        ),
        lines(
            "TLS handshakes",
            "By outcome, where clients speak TLS to the node itself.",
            Query(
                f"sum by (outcome) (rate(cometring_tls_handshakes_total{{{ONE}}}{RATE})) or vector(0)",
                "{{outcome}}",
            ),
            unit="cps",
        ),
    ),
)


def build() -> Json:
    """The dashboard."""
    about = "Whether each process has the time, memory and descriptors that it needs."
    return dashboard("cometring-node", "Node", about, (GLANCE, LOOP, MEMORY, DOOR), by_node=True)
