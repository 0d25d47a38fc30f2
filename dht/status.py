"""What the ring engine shows of itself: for /ring, metrics and `ring status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dht.agreement import leader_of
from dht.ids import NodeId
from dht.view import Member

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dht.discovery import Discovery
    from dht.membership import Membership
    from dht.messages import Suspicion
    from dht.view import View


class Health(msgspec.Struct, frozen=True):
    """What an operator is to be told of, loudly."""

    frozen: bool  # no majority of voters has answered for some time: no view can be decided
    missing: tuple[NodeId, ...]  # voters that are not heard of
    foreign: tuple[bytes, ...]  # ids of other rings met of late: there should be none
    waits_for: bytes  # of a seeker: a ring that it remembers and that lacks a majority; or empty


class RingStatus(msgspec.Struct, frozen=True):
    """One node's view of the ring, now. Without a view `number` is 0."""

    me: Member
    in_ring: bool  # the view lists this process
    ring: bytes  # the ring's id; empty without a view
    number: int
    digest: bytes
    members: tuple[Member, ...]
    voters: tuple[NodeId, ...]
    leader: NodeId | None
    suspected: tuple[NodeId, ...]  # by this node itself
    dead: tuple[NodeId, ...]  # by verdict; a view without them is due
    leased: bool  # a majority of voters stands by this node: what it is home to, it may confirm
    health: Health
    accused: tuple[tuple[NodeId, tuple[NodeId, ...]], ...]  # who, and by whom, as far as told here
    heard: int  # members that have told this one which view they are on: neighbours, or all
    behind: tuple[NodeId, ...]  # of those, the ones that were on another view than this one
    links: int
    seekers: int  # nodes without a ring that this one knows of, itself left out
    contacts: int  # in the k-buckets

    @property
    def frozen(self) -> bool:
        """Whether no majority of voters has answered for some time."""
        return self.health.frozen


def describe(
    me: Member,
    view: View | None,
    suspected: Iterable[Suspicion],
    member: Membership | None,
    discovery: Discovery,
    seekers: int,
    health: Health,
    now: float,
) -> RingStatus:
    """The status of a node; `member` is None unless a view lists it."""
    council = member.council if member else None
    heard, behind = member.heard_views(now) if member else (0, ())
    absent = council.absent if council else ()
    return RingStatus(
        me=me,
        in_ring=member is not None,
        ring=view.ring if view else b"",
        number=view.number if view else 0,
        digest=view.digest if view else b"",
        members=view.members if view else (),
        voters=view.voters if view else (),
        leader=leader_of(view, absent) if view else None,
        suspected=tuple(each.node for each in suspected),
        dead=tuple(sorted(council.dead)) if council else (),
        leased=member is not None and member.lease.is_held(now),
        health=health,
        accused=council.accusations.summary(now) if council else (),
        heard=heard,
        behind=behind,
        links=len(discovery.links),
        seekers=seekers,
        contacts=len(discovery.table),
    )
