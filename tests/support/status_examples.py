"""A cluster status to show on ops pages, without a cluster."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from dht.engine import RingEngine
from dht.view import Member, MemberState
from node.cluster.recovery import RecoveryRefused, prove
from node.cluster.status import ClusterStatus, LinkStatus
from pubsub.engine import PubSubEngine

if TYPE_CHECKING:
    from pubsub.statistics import Statistics

ME = b"\x01" * 20
YOU = b"\x02" * 20
SECRET = b"s" * 32


def lonely() -> ClusterStatus:
    """A node that has just been started."""
    return ClusterStatus(
        me=ME,
        incarnation=7,
        ready=False,
        draining=False,
        placement=None,
        ring=None,
        pubsub=None,
        links=(),
        strangers=0,
    )


def in_ring(*, draining: bool = False) -> ClusterStatus:
    """A member of a ring of one, with a link all the same."""
    me = Member(ME, 7, "10.0.0.1:7400", "10.0.0.1:8080", "zone-a", MemberState.JOINING)
    ring = RingEngine(me, (), 1, random.Random(1))
    ring.start(0.0)
    pubsub = PubSubEngine(ME)
    assert ring.view is not None
    assert ring.placement is not None
    pubsub.install_view(ring.view, ring.placement, 0.0)
    statistics: Statistics = pubsub.statistics()
    return replace(
        lonely(),
        ready=not draining,
        draining=draining,
        placement=ring.placement,
        ring=ring.status(),
        pubsub=statistics,
        links=(LinkStatus(YOU, "10.0.0.2:7400", 0.0015, 12, dialled=True),),
        strangers=3,
    )


class Source:
    """An `OpsSource`."""

    def __init__(self, status: ClusterStatus) -> None:
        self.now = status
        self.recovered = False

    def status(self) -> ClusterStatus:
        return self.now

    def recover(self, proof: str) -> None:
        if proof != prove(SECRET, self.now.situation):
            raise RecoveryRefused(401, "unauthorized", "prove it")
        if self.now.ready:
            raise RecoveryRefused(409, "not_needed", "all is well")
        self.recovered = True
