"""``/ring``: one node's view of the ring as JSON. Ids are hex; nothing in it is secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dht.placement import Placement
    from dht.view import Member
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


class Accused(msgspec.Struct, frozen=True):
    """A member that others think dead, as far as the node that was asked has been told."""

    node: str
    by: tuple[str, ...]


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
    missing_voters: tuple[str, ...]  # those that this node does not hear
    leased: bool  # a majority of voters stands by this node: it may acknowledge
    frozen: bool  # none has for some time
    foreign: tuple[str, ...]  # ids of other rings that this node has met; never good
    heard: int  # members that have told this node which view they are on
    behind: tuple[str, ...]  # those among them that were on another view
    balance: float  # the greatest share of slots, in multiples of the mean
    members: tuple[MemberLine, ...]
    suspected: tuple[str, ...]  # by this node itself
    accused: tuple[Accused, ...]
    slots: dict[str, int]  # by this node's role in them
    links: tuple[LinkLine, ...]


class WaitingPage(msgspec.Struct, frozen=True):
    """Instead of the page, while there is no view."""

    error: dict[str, object]
    node: str
    incarnation: int
    waits_for: str  # a ring that the node remembers, and that lacks a majority here; or empty


def waiting_page(status: ClusterStatus) -> WaitingPage:
    """Why there is no ring yet."""
    waits_for = status.ring.health.waits_for.hex() if status.ring is not None else ""
    text = "no ring yet, retry"
    if waits_for:
        text = f"waiting for the voters of ring {waits_for[:8]}, which this node remembers"
    error = {"code": "unavailable", "message": text, "retry": True}
    return WaitingPage(error, status.me.hex(), status.incarnation, waits_for)


def balance(placement: Placement) -> float:
    """The greatest share of slots, in multiples of the mean; 0 without ACTIVE members."""
    active = placement.view.active
    return max((placement.share(each.id) for each in active), default=0.0) * len(active)


def _hex(ids: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(each.hex() for each in ids)


def member_line(member: Member, placement: Placement) -> MemberLine:
    """What is told of a member of the view that `placement` is of."""
    return MemberLine(
        id=member.id.hex(),
        state=member.state.name.lower(),
        client=member.client,
        peer=member.peer,
        zone=member.zone,
        incarnation=member.incarnation,
        share=placement.share(member.id),
    )


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
        voters=_hex(ring.voters),
        missing_voters=_hex(ring.health.missing),
        leased=ring.leased,
        frozen=ring.frozen,
        foreign=_hex(ring.health.foreign),
        heard=ring.heard,
        behind=_hex(ring.behind),
        balance=balance(placement),
        members=tuple(member_line(member, placement) for member in ring.members),
        suspected=_hex(ring.suspected),
        accused=tuple(Accused(node.hex(), _hex(by)) for node, by in ring.accused),
        slots=pubsub.slots,
        links=tuple(
            LinkLine(link.node.hex(), link.peer, link.rtt, link.queued, link.dialled)
            for link in status.links
        ),
    )
