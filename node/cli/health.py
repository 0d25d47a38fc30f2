"""The state of a ring in words: what an operator wants to know at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from node.cli.report import RingReport

SHORT_ID = 8  # hex digits that tell nodes apart for a person
UNEVEN = 4.0  # times the mean: more than joins and leaves account for


def style(verdict: str) -> str:
    """How a verdict looks on a terminal."""
    if verdict == "healthy":
        return "bold green"
    return "bold red" if verdict.partition(":")[0].isupper() else "bold yellow"


def verdict(rings: Sequence[RingReport]) -> str:
    """One phrase for all of it; the worst that is true of any node that was asked."""
    ring = rings[0]
    if len({each.ring for each in rings}) > 1 or any(each.foreign for each in rings):
        return "TWO RINGS"
    if any(each.frozen for each in rings):
        return "FROZEN: no majority of voters"
    if len({(each.view, each.digest) for each in rings}) > 1:
        return "views differ"
    suspected = {node for each in rings for node in each.suspected}
    if suspected:
        return f"{len(suspected)} suspected"
    if ring.behind:
        return f"{len(ring.behind)} behind"
    return "healthy"


def lines(rings: Sequence[RingReport]) -> Iterable[tuple[str, str]]:
    """Title and text of each line about the ring. The first report is the one that is shown."""
    ring = rings[0]
    yield "views", _views(rings)
    yield "voters", _voters(ring)
    yield "suspected", _suspected(rings)
    if ring.balance:
        text = f"the busiest home has {ring.balance:.2f} times the mean"
        yield "balance", text + (", too much" if ring.balance > UNEVEN else "")
    foreign = sorted({other for each in rings for other in (*each.foreign, each.ring)})
    if len(foreign) > 1:
        others = ", ".join(other[:SHORT_ID] for other in foreign if other != ring.ring)
        yield "rings", f"another was met: {others}. They never merge: stop one, start it anew"


def _views(rings: Sequence[RingReport]) -> str:
    ring = rings[0]
    if len(rings) > 1:
        found = {(each.ring, each.view, each.digest) for each in rings}
        if len(found) > 1:
            told = ", ".join(f"{each.node[:SHORT_ID]} on {each.view}" for each in rings)
            return f"{len(found)} among the nodes asked: {told}"
        return f"one: all {len(rings)} nodes asked are on {ring.view}"
    if ring.behind:
        behind = ", ".join(node[:SHORT_ID] for node in ring.behind)
        return f"of {ring.heard} members heard, not on {ring.view}: {behind}"
    if ring.heard < len(ring.members) and ring.suspected:
        return f"the {ring.heard} members heard are on {ring.view}; nobody knows of the others"
    return f"one: all {ring.heard} members heard are on {ring.view}"


def _voters(ring: RingReport) -> str:
    total, missing = len(ring.voters), len(ring.missing_voters)
    text = f"{total - missing} of {total} heard"
    if missing:
        text += f", missing {', '.join(node[:SHORT_ID] for node in ring.missing_voters)}"
    if ring.frozen:
        return text + "; NO MAJORITY ANSWERS: publishes are refused, no view can be decided"
    if ring.leader is not None:
        text += f"; {ring.leader[:SHORT_ID]} leads"
    return text + ("; lease held" if ring.leased else "; no lease just now")


def _suspected(rings: Sequence[RingReport]) -> str:
    by: dict[str, set[str]] = {}
    for ring in rings:
        for node in ring.suspected:
            by.setdefault(node, set()).add(ring.node)
        for accused in ring.accused:
            by.setdefault(accused.node, set()).update(accused.by)
    if not by:
        return "nobody"
    return "; ".join(
        f"{node[:SHORT_ID]} by {', '.join(sorted(each[:SHORT_ID] for each in observers))}"
        for node, observers in sorted(by.items())
    )
