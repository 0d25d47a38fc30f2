"""What the ring engine shows of itself: for /ring, metrics and `ring status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dht.agreement import leader_of
from dht.ids import NodeId
from dht.view import Member

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dht.council import Council
    from dht.discovery import Discovery
    from dht.messages import Suspicion
    from dht.view import View


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
    frozen: bool  # this side of the ring has no majority of voters: no view can be decided
    links: int
    seekers: int  # nodes without a ring that this one knows of, itself left out
    contacts: int  # in the k-buckets


def describe(
    me: Member,
    view: View | None,
    suspected: Iterable[Suspicion],
    council: Council | None,
    discovery: Discovery,
    seekers: int,
) -> RingStatus:
    """The status of a node; `council` is None unless it is a member."""
    absent = council.absent if council else ()
    return RingStatus(
        me=me,
        in_ring=council is not None,
        ring=view.ring if view else b"",
        number=view.number if view else 0,
        digest=view.digest if view else b"",
        members=view.members if view else (),
        voters=view.voters if view else (),
        leader=leader_of(view, absent) if view else None,
        suspected=tuple(each.node for each in suspected),
        dead=tuple(sorted(council.dead)) if council else (),
        frozen=council is not None and council.frozen,
        links=len(discovery.links),
        seekers=seekers,
        contacts=len(discovery.table),
    )
