"""A snapshot of one pubsub engine, for metrics and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pubsub.timings import Timings


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts, unless they say otherwise. Totals only grow."""

    slots: dict[str, int]
    """Slots by role: ``home`` (open), ``replica``, ``opening``, ``parting`` (kept for others)."""
    topics: int
    """Topics with a log at this home; inboxes only while something in them is unread."""
    feeds: int
    """Channels that this node reads or forwards."""
    log_bytes: int
    """Payload bytes in all logs."""
    log_limit: int
    """So many at most; from half of it on logs keep less."""
    tree_children: int
    tree_depth: int
    """The longest way, in tree links, from a root to one of this node's feeds."""
    records: int
    """Sessions whose home this node is."""
    held: int
    """Sessions that this node holds for homes elsewhere."""
    pending: int
    """Requests of this node without an answer."""
    staged: int
    """Changes that not all holders have acknowledged yet."""
    replica_lag: float
    """Age in seconds of the oldest of them; 0 without any."""
    commits: Timings
    """How long changes took from their position to their commit."""
    takeovers: dict[str, int]
    """Total of slots that were opened here, by outcome: fresh, taken_over, lossy."""
    takeover_seconds: Timings
    """How long slots took to open after the view that brought them."""
    gap_repairs: int
    """Total of holes after which entries were asked for again."""
    gaps_reported: int
    """Total of resets that readers here were told of."""
    refused: int
    """Total of appends refused for want of memory."""
    trimmed: int
    """Total of entries that were given up early for want of memory."""
    patterns: int
    """Patterns that are active in the cluster, as this node knows."""
    forwarded: int
    """Total of entries that homes of patterns have taken from channels whose home is here."""
    forward_lag: int
    """Entries that they are still to take."""
    forward_repeats: int
    """Total of entries forwarded to patterns here that they had taken already."""
