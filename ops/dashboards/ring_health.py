"""*Ring health*: is there one ring, does it decide, who is in it, how are the links."""

from __future__ import annotations

from typing import Final

from ops.dashboards.model import (
    CLUSTER,
    GREEN,
    RED,
    YELLOW,
    Json,
    Query,
    Row,
    above,
    dashboard,
    heat,
    lines,
    stat,
    states,
    table,
    values,
)

FIRING: Final = (
    'ALERTS{alertname=~"Cometring.+", alertname!="CometringWatchdog", alertstate="firing"}'
)
WITH_NODE: Final = f"on (instance) group_left (node) cometring_node_info{{{CLUSTER}}}"

GLANCE = Row(
    "At a glance",
    (
        stat(
            "One view?",
            "Views that nodes are on. One is right; two for a moment while members come and go; two"
            " for longer is a split.",
            f"max(cometring:views:count{{{CLUSTER}}})",
            mappings=(values(_1=("one view", GREEN)),),
            steps=above(red=2),
        ),
        stat(
            "Decides?",
            "Frozen: no majority of voters answers, so nobody can be replaced until one does.",
            f"max(cometring_frozen{{{CLUSTER}}})",
            mappings=(values(_0=("yes", GREEN), _1=("FROZEN", RED)),),
            steps=above(red=1),
        ),
        stat(
            "Members",
            "Members of the newest view.",
            f"max(cometring:members:max{{{CLUSTER}}})",
        ),
        stat(
            "Ready",
            "Nodes that are in the ring, stay there and are scraped. Less than the members: some are"
            " leaving, or are not seen.",
            f"sum(cometring_ready{{{CLUSTER}}}) - max(cometring:members:max{{{CLUSTER}}})",
            mappings=(values(_0=("all", GREEN)),),
            steps=((None, YELLOW), (0, GREEN)),
        ),
        stat(
            "Suspected",
            "Members that some node finds dead and that the view still lists. Above 0 for longer than"
            " two seconds: they cannot be dropped.",
            f"max(cometring_suspected{{{CLUSTER}}})",
            steps=above(yellow=1),
        ),
        stat(
            "Without a lease",
            "Nodes that may not acknowledge, because no majority of voters stands by them.",
            f"sum(1 - cometring_leased{{{CLUSTER}}})",
            steps=above(yellow=1),
        ),
        stat(
            "Lossy, 1 h",
            "Slots that were opened without their log within the last hour: all copies were gone.",
            f'sum(increase(cometring_takeovers_total{{{CLUSTER}, outcome="lossy"}}[1h]))',
            steps=above(red=1),
            decimals=0,
        ),
        stat(
            "Alerts",
            "Alerts of ours that fire now. Each names a section of the runbooks.",
            f"count({FIRING}) or vector(0)",
            steps=above(red=1),
        ),
    ),
)

NO_YES = values(_0=("no", GREEN), _1=("yes", RED))
READY = values(_0=("not ready", RED), _1=("ready", GREEN))


def _column(name: str, title: str, unit: str | None = None, mapping: Json | None = None) -> Json:
    properties: list[Json] = [{"id": "displayName", "value": title}]
    if unit is not None:
        properties.append({"id": "unit", "value": unit})
    if mapping is not None:
        properties.append({"id": "mappings", "value": [mapping]})
        properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
    return {"matcher": {"id": "byName", "options": name}, "properties": properties}


MEMBERS = Row(
    "Members",
    (
        table(
            "Nodes",
            "Every node that is scraped. The id is what logs and /ring call it; the share is its part"
            " of all slots.",
            Query(f"cometring_node_info{{{CLUSTER}}}", instant=True, form="table"),
            Query(f"cometring_ready{{{CLUSTER}}}", instant=True, form="table"),
            Query(f"cometring_view{{{CLUSTER}}}", instant=True, form="table"),
            Query(f"cometring_slot_share{{{CLUSTER}}}", instant=True, form="table"),
            Query(f"cometring_sessions{{{CLUSTER}}}", instant=True, form="table"),
            Query(f"cometring_links{{{CLUSTER}}}", instant=True, form="table"),
            width=12,
            height=8,
            transformations=(
                {"id": "joinByField", "options": {"byField": "instance", "mode": "outer"}},
                {
                    "id": "filterFieldsByName",
                    "options": {
                        "include": {
                            "names": [
                                "instance",
                                "node",
                                "zone",
                                "version",
                                "Value #B",
                                "Value #C",
                                "Value #D",
                                "Value #E",
                                "Value #F",
                            ]
                        }
                    },
                },
            ),
            overrides=(
                _column("Value #B", "state", mapping=READY),
                _column("Value #C", "view"),
                _column("Value #D", "share", "percentunit"),
                _column("Value #E", "sessions"),
                _column("Value #F", "links"),
            ),
        ),
        states(
            "Ready",
            "When each node was in the ring and stayed there. Gaps: it did not answer at all.",
            Query(f"cometring_ready{{{CLUSTER}}}", "{{instance}}"),
            mappings=(READY,),
            width=12,
            height=8,
        ),
        lines(
            "View number",
            "All lines on one another: one view. A line that stays behind is cut off or hangs.",
            Query(f"cometring_view{{{CLUSTER}}}", "{{instance}}"),
        ),
        lines(
            "Suspected, accused, behind",
            "The worst node's count of members it finds dead itself, of members that anybody finds"
            " dead, and of members heard on another view.",
            Query(f"max(cometring_suspected{{{CLUSTER}}})", "suspected"),
            Query(f"max(cometring_accused{{{CLUSTER}}})", "accused"),
            Query(f"max(cometring_behind{{{CLUSTER}}})", "behind"),
            steps=above(red=1),
        ),
        lines(
            "Voters",
            "Members that decide on the next view, and those of them that are not heard of. Half of"
            " them missing: frozen.",
            Query(f"max(cometring_voters{{{CLUSTER}}})", "voters"),
            Query(f"max(cometring_voters_missing{{{CLUSTER}}})", "missing"),
        ),
        lines(
            "Share of slots",
            "Each node's part of all slots. Ids are dealt, so that no part is much over twice another.",
            Query(f"cometring_slot_share{{{CLUSTER}}}", "{{instance}}"),
            unit="percentunit",
            stacked=True,
            high=1.0,
        ),
        lines(
            "Balance",
            "The greatest share in multiples of the mean.",
            Query(f"max(cometring_slot_balance{{{CLUSTER}}})", "greatest over mean"),
            steps=above(yellow=2.5, red=3),
        ),
        states(
            "Frozen, draining",
            "Frozen: cannot decide. Draining: on the way out of the ring.",
            Query(f"cometring_frozen{{{CLUSTER}}}", "frozen {{instance}}"),
            Query(f"cometring_draining{{{CLUSTER}}}", "draining {{instance}}"),
            mappings=(NO_YES,),
        ),
    ),
)

CHANGES = Row(
    "Changes",
    (
        lines(
            "Views installed",
            "New views within a minute, by the node that saw most. Many for long: members come and go"
            " again and again.",
            Query(f"max(changes(cometring_view{{{CLUSTER}}}[1m]))", "views"),
            width=6,
        ),
        lines(
            "Members gone",
            "Members that new views lacked, within a minute, by how they went: the median of all nodes.",
            Query(
                f"quantile by (how) (0.5, increase(cometring_members_gone_total{{{CLUSTER}}}[1m]))",
                "{{how}}",
            ),
            width=6,
            steps=above(red=1),
        ),
        lines(
            "Takeovers",
            "Slots that got a new home, by outcome; each opens an epoch. lossy: opened without their log.",
            Query(
                f"sum by (outcome) (rate(cometring_takeovers_total{{{CLUSTER}}}[$__rate_interval]))",
                "{{outcome}}",
            ),
            unit="ops",
            width=6,
        ),
        lines(
            "Slots by role",
            "home: served here; opening: being taken over; parting: handed over and not confirmed.",
            Query(f"sum by (role) (cometring_slots{{{CLUSTER}}})", "{{role}}"),
            width=6,
            stacked=True,
        ),
        heat(
            "How long takeovers take",
            "From a view to serving every slot that it brought to a node. Publishes to these slots wait"
            " for so long.",
            "cometring_takeover_seconds_bucket",
            "s",
            width=24,
            height=6,
        ),
    ),
)

COPIES = Row(
    "Copies",
    (
        lines(
            "Replica lag",
            "For how long the oldest change has waited for a copy to confirm it. A copy that is dead is"
            " dropped within two seconds; longer than that, it is slow, or nobody can drop it.",
            Query(f"cometring_replica_lag{{{CLUSTER}}}", "{{instance}}"),
            unit="s",
            steps=above(yellow=1, red=3),
        ),
        lines(
            "Changes that wait",
            "What homes have given a place and not all copies have yet. Publishers wait for it.",
            Query(f"cometring_staged{{{CLUSTER}}}", "{{instance}}"),
        ),
        heat(
            "How long copies take",
            "From a place in the log to its commit on every copy: what three copies cost a publisher.",
            "cometring_replicate_seconds_bucket",
            "s",
        ),
    ),
)

LINKS = Row(
    "Links",
    (
        table(
            "Link matrix",
            "The last round trip from the node of the row to the node of the column. An empty field: no"
            " link, or no answer yet.",
            Query(
                f"cometring_peer_rtt_seconds{{{CLUSTER}}} * {WITH_NODE}",
                instant=True,
                form="table",
            ),
            unit="s",
            width=12,
            height=8,
            steps=above(yellow=0.02, red=0.1),
            custom={
                "align": "center",
                "cellOptions": {"type": "color-background"},
                "inspect": False,
            },
            transformations=(
                {
                    "id": "groupingToMatrix",
                    "options": {"columnField": "peer", "rowField": "node", "valueField": "Value"},
                },
            ),
        ),
        lines(
            "Round trips, 99th percentile",
            "As each node measures them. Long ones from one node: its loop is late; to one node: likewise.",
            Query(
                "histogram_quantile(0.99, sum by (instance, le)"
                f" (rate(cometring_link_rtt_seconds_bucket{{{CLUSTER}}}[$__rate_interval])))",
                "{{instance}}",
            ),
            unit="s",
            width=12,
            height=8,
            steps=above(yellow=0.02, red=0.1),
        ),
        lines(
            "Bytes that wait",
            "On the fullest link of each node. Growing: the other side does not read.",
            Query(f"max by (instance) (cometring_peer_queued_bytes{{{CLUSTER}}})", "{{instance}}"),
            unit="bytes",
        ),
        lines(
            "Bytes on links",
            "Sent by all nodes to others.",
            Query(
                f'sum by (instance) (rate(cometring_link_bytes_total{{{CLUSTER}, direction="out"}}[$__rate_interval]))',
                "{{instance}}",
            ),
            unit="Bps",
            stacked=True,
        ),
        lines(
            "Links refused",
            "By reason. secret, version: a node that does not belong here, or is configured wrongly.",
            Query(
                f"sum by (reason) (rate(cometring_link_refused_total{{{CLUSTER}}}[$__rate_interval]))",
                "{{reason}}",
            ),
            unit="ops",
        ),
    ),
)


def build() -> Json:
    """The dashboard."""
    about = "Is there one ring, does it decide, who is in it, and how are the links between them."
    return dashboard(
        "cometring-ring", "Ring health", about, (GLANCE, MEMBERS, CHANGES, COPIES, LINKS)
    )
