"""What a node shows of itself on its ops pages: frozen, and free of secrets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dht.ids import NodeId


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """One link. `rtt` in seconds, None before the first answer; `queued` in bytes."""

    node: NodeId
    peer: str
    rtt: float | None
    queued: int
    dialled: bool


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """One node's view of the cluster, now."""

    me: NodeId
    ready: bool
    draining: bool
    links: tuple[LinkStatus, ...]
