"""``/ring``: one node's view of the ring as JSON. Ids are hex; nothing in it is secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from node.cluster.status import ClusterStatus


class MemberLine(msgspec.Struct, frozen=True):
    """A member of the view."""

    id: str
    state: str  # joining, active, leaving
    client: str  # HOST:PORT
    peer: str  # HOST:PORT
    zone: str
    incarnation: int
    share: float  # of all slots, those that it is home to; in [0, 1]


class LinkLine(msgspec.Struct, frozen=True):
    """An open link of the node that was asked."""

    node: str
    peer: str
    rtt: float | None  # seconds
    queued: int  # bytes
    dialled: bool


class RingPage(msgspec.Struct, frozen=True):
    """The whole page."""

    node: str  # who was asked
    incarnation: int
    ready: bool
    draining: bool
    view: int
    digest: str
    ring: str
    leader: str | None
    voters: tuple[str, ...]
    frozen: bool
    members: tuple[MemberLine, ...]
    suspected: tuple[str, ...]
    slots: dict[str, int]  # by this node's role in them
    links: tuple[LinkLine, ...]


def ring_page(status: ClusterStatus) -> RingPage | None:
    """The page for `status`; None while there is no view."""
    ring, placement, pubsub = status.ring, status.placement, status.pubsub
    if ring is None or placement is None or pubsub is None:
        return None
    return RingPage(
        node=status.me.hex(),
        incarnation=status.incarnation,
        ready=status.ready,
        draining=status.draining,
        view=ring.number,
        digest=ring.digest.hex(),
        ring=ring.ring.hex(),
        leader=ring.leader.hex() if ring.leader is not None else None,
        voters=tuple(node.hex() for node in ring.voters),
        frozen=ring.frozen,
        members=tuple(
            MemberLine(
                id=member.id.hex(),
                state=member.state.name.lower(),
                client=member.client,
                peer=member.peer,
                zone=member.zone,
                incarnation=member.incarnation,
                share=placement.share(member.id),
            )
            for member in ring.members
        ),
        suspected=tuple(node.hex() for node in ring.suspected),
        slots=pubsub.slots,
        links=tuple(
            LinkLine(link.node.hex(), link.peer, link.rtt, link.queued, link.dialled)
            for link in status.links
        ),
    )
