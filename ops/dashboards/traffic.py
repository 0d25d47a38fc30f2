"""*Traffic*: who is connected, what is published and delivered, and how fast."""

from __future__ import annotations

from ops.dashboards.model import CLUSTER, Json, Query, Row, above, dashboard, heat, lines, stat

RATE = "[$__rate_interval]"

GLANCE = Row(
    "At a glance",
    (
        stat("Sessions", "Sessions on all nodes.", f"sum(cometring:sessions:sum{{{CLUSTER}}})"),
        stat(
            "Published",
            "Messages that were accepted and committed.",
            f"sum(cometring:published:rate1m{{{CLUSTER}}})",
            "cps",
        ),
        stat(
            "Delivered",
            "Messages written to clients. 0 where nobody reads.",
            f"sum(cometring:delivered:rate1m{{{CLUSTER}}}) or vector(0)",
            "cps",
        ),
        stat(
            "Fan-out",
            "Deliveries for each message that was published.",
            f"max(cometring:fan_out:ratio1m{{{CLUSTER}}}) or vector(0)",
        ),
        stat(
            "Median delivery",
            "From a publish accepted to the write to a reader's socket.",
            f"max(cometring:delivery_seconds:p50{{{CLUSTER}}})",
            "s",
            steps=above(yellow=0.1, red=1),
        ),
        stat(
            "Slowest 1 %",
            "The 99th percentile of the same.",
            f"max(cometring:delivery_seconds:p99{{{CLUSTER}}})",
            "s",
            steps=above(yellow=0.3, red=1),
        ),
        stat(
            "Commit, slowest 1 %",
            "From a publish accepted to its commit on every copy.",
            f"max(cometring:append_commit_seconds:p99{{{CLUSTER}}})",
            "s",
            steps=above(yellow=0.05, red=0.25),
        ),
        stat(
            "Told to retry",
            "Requests a second that were answered `unavailable` or `overloaded`.",
            f'sum(cometring:refused:rate1m{{{CLUSTER}, code=~"unavailable|overloaded|503"}}) or vector(0)',
            "cps",
            steps=above(yellow=0.1, red=1),
        ),
    ),
)

CLIENTS = Row(
    "Clients",
    (
        lines(
            "Sessions by node",
            "The balancer spreads connections; a node that has just come has few for a while.",
            Query(f"cometring_sessions{{{CLUSTER}}}", "{{instance}}"),
            stacked=True,
        ),
        lines(
            "Connections by transport",
            "Open client connections. Long-polling clients have one or two each (http).",
            Query(f"sum by (transport) (cometring_connections{{{CLUSTER}}})", "{{transport}}"),
            stacked=True,
        ),
        lines(
            "Sessions ended for silence",
            "Their clients went without a word. Many at once: a network, or a balancer, has cut them off.",
            Query(f"sum(rate(cometring_sessions_swept_total{{{CLUSTER}}}{RATE}))", "swept"),
            unit="cps",
        ),
    ),
)

MESSAGES = Row(
    "Messages",
    (
        lines(
            "Published",
            "group: to a channel; direct: to one session.",
            Query(
                f"sum by (kind) (rate(cometring_published_total{{{CLUSTER}}}{RATE}))", "{{kind}}"
            ),
            unit="cps",
            stacked=True,
        ),
        lines(
            "Delivered",
            "Messages written to clients, by transport.",
            Query(
                f"sum by (transport) (rate(cometring_delivered_total{{{CLUSTER}}}{RATE}))",
                "{{transport}}",
            ),
            unit="cps",
            stacked=True,
        ),
        lines(
            "Fan-out",
            "Deliveries for each message that was published.",
            Query(f"cometring:fan_out:ratio1m{{{CLUSTER}}}", "readers a message"),
        ),
        heat(
            "Delivery latency",
            "From a publish accepted by a node to the write to each reader's socket; brighter is more.",
            "cometring_delivery_seconds_bucket",
            "s",
            width=12,
            height=8,
        ),
        heat(
            "Commit latency",
            "From a publish accepted to its commit: what a publisher waits for.",
            "cometring_append_commit_seconds_bucket",
            "s",
            width=12,
            height=8,
        ),
        lines(
            "Latency, percentiles",
            "Of deliveries and of commits.",
            Query(f"cometring:delivery_seconds:p50{{{CLUSTER}}}", "delivery, median"),
            Query(f"cometring:delivery_seconds:p99{{{CLUSTER}}}", "delivery, 99th"),
            Query(f"cometring:append_commit_seconds:p99{{{CLUSTER}}}", "commit, 99th"),
            unit="s",
            steps=above(yellow=0.3, red=1),
        ),
        heat(
            "Hops of group messages",
            "Links that a message crossed from the node that accepted it to the one that delivered it.",
            "cometring_group_hops_bucket",
            "short",
        ),
        heat(
            "Hops of direct messages",
            "Two at most: to the session's home, and to its edge.",
            "cometring_direct_hops_bucket",
            "short",
        ),
    ),
)

REQUESTS = Row(
    "Requests and trees",
    (
        lines(
            "HTTP requests",
            "Answered, by route and status.",
            Query(
                f"sum by (route, status) (rate(cometring_http_requests_total{{{CLUSTER}}}{RATE}))",
                "{{route}} {{status}}",
            ),
            unit="reqps",
        ),
        lines(
            "Refused",
            "Errors told to clients and applications, by code. 402: a session that is not known any more.",
            Query(
                f"sum by (code) (rate(cometring_refused_total{{{CLUSTER}}}{RATE})) or vector(0)",
                "{{code}}",
            ),
            unit="cps",
        ),
        lines(
            "Trees",
            "Children in all multicast trees, and the longest way from a root. In a ring of up to 32"
            " members trees are flat.",
            Query(f"sum(cometring_tree_children{{{CLUSTER}}})", "children"),
            Query(f"max(cometring_tree_depth{{{CLUSTER}}})", "depth"),
        ),
        lines(
            "Balancer: connections",
            "Open on the balancer, in front and to each node.",
            Query('sum(haproxy_frontend_current_sessions{proxy="clients"})', "clients"),
            Query(
                'sum by (server) (haproxy_server_current_sessions{proxy="nodes"}) > 0 or'
                ' sum(haproxy_backend_current_sessions{proxy="nodes"})',
                "{{server}}",
            ),
        ),
        lines(
            "Balancer: nodes in use",
            "Nodes that its checks of /readyz find ready.",
            Query('max(haproxy_backend_active_servers{proxy="nodes"})', "nodes"),
            steps=((None, "red"), (1, "green")),
        ),
        lines(
            "Balancer: trouble",
            "Requests that it could not bring to a node, and those it tried on another.",
            Query(
                f'sum(rate(haproxy_backend_connection_errors_total{{proxy="nodes"}}{RATE}))',
                "failed",
            ),
            Query(
                f'sum(rate(haproxy_backend_redispatch_warnings_total{{proxy="nodes"}}{RATE}))',
                "tried elsewhere",
            ),
            unit="cps",
        ),
    ),
)


def build() -> Json:
    """The dashboard."""
    about = "Who is connected, what is published and delivered, and how fast."
    return dashboard("cometring-traffic", "Traffic", about, (GLANCE, CLIENTS, MESSAGES, REQUESTS))
