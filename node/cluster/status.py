"""What a node shows of itself on its ops pages: frozen, and free of secrets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.cluster.recovery import Situation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dht.ids import NodeId
    from dht.placement import Placement
    from dht.status import RingStatus
    from node.cluster.link import Link
    from pubsub.statistics import Statistics


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """One open link."""

    node: NodeId
    peer: str
    """HOST:PORT that the other node advertises."""
    rtt: float | None
    """Seconds; None before the first answer."""
    queued: int
    """Bytes that wait to be sent."""
    dialled: bool
    """This node opened it."""


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """One node's view of the cluster, now."""

    me: NodeId
    incarnation: int
    ready: bool
    """In the ring, and not on the way out."""
    draining: bool
    placement: Placement | None
    """Of the view that `ring` names; None without one."""
    ring: RingStatus | None
    """None before the peer listener is open."""
    pubsub: Statistics | None
    """None before the first view."""
    links: tuple[LinkStatus, ...]
    strangers: int
    """Connections to the peer listener that have not authenticated yet."""

    @property
    def situation(self) -> Situation:
        """What a proof for ``ring recover`` is bound to."""
        ring = self.ring
        return Situation(
            node=self.me.hex(),
            incarnation=self.incarnation,
            ring=(ring.ring or ring.health.waits_for).hex() if ring is not None else "",
            view=ring.number if ring is not None else 0,
            digest=ring.digest.hex() if ring is not None else "",
        )


def describe_links(links: Iterable[Link]) -> tuple[LinkStatus, ...]:
    """The status of each link, by node id."""
    described = (
        LinkStatus(link.node, link.peer, link.rtt, link.queued, link.dialled) for link in links
    )
    return tuple(sorted(described, key=lambda link: link.node))
