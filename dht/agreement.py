"""Agreeing on the next view: who leads, who votes, which of two views stands.

The most senior live member leads: it alone turns what it is asked for and what
it finds (joins, wishes, deaths) into view v + 1, has it voted on (`dht.voting`)
and tells everyone. The others adopt a greater number of the same ring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.view import MemberState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from dht.ids import NodeId
    from dht.view import Member, View

_VOTERS_OF_SMALL_RINGS = {0: 0, 1: 1, 2: 1, 3: 3, 4: 3}
_VOTERS = 5


def choose_voters(members: Iterable[Member], before: tuple[NodeId, ...]) -> tuple[NodeId, ...]:
    """The voters among `members`: 1 of one or two, 3 of three or four, 5 from five ACTIVE on.

    Those of `before` stay, in their order, while they are ACTIVE; new ones
    come last, from zones that have no voter where there are such.
    """
    active = {member.id: member for member in members if member.state is MemberState.ACTIVE}
    count = _VOTERS_OF_SMALL_RINGS.get(len(active), _VOTERS)
    voters = [node for node in before if node in active][:count]
    rest = [node for node in sorted(active) if node not in voters]
    while len(voters) < count:
        zones = {active[node].zone for node in voters}
        chosen = next((node for node in rest if active[node].zone not in zones), rest[0])
        rest.remove(chosen)
        voters.append(chosen)
    return tuple(voters)


def seniority(view: View) -> tuple[NodeId, ...]:
    """All members, in the order in which they would lead.

    Voters, then the other ACTIVE members; who is JOINING or LEAVING leads only
    when there is no one else left to.
    """
    voters = tuple(node for node in view.voters if node in view)
    others = sorted(
        (member for member in view.members if member.id not in voters),
        key=lambda member: (member.state is not MemberState.ACTIVE, member.id),
    )
    return voters + tuple(member.id for member in others)


def leader_of(view: View, absent: Collection[NodeId]) -> NodeId | None:
    """The most senior member that is not `absent`."""
    voters = (node for node in view.voters if node in view and node not in absent)
    leader = next(voters, None)
    if leader is not None:  # the common case, without sorting ten thousand members
        return leader
    return next((node for node in seniority(view) if node not in absent), None)


def may_decide(view: View, absent: Collection[NodeId], gone: Collection[NodeId]) -> bool:
    """Whether a node to which these are `absent` can hope for a majority; else: frozen.

    Voters that are proven `gone` can decide nothing elsewhere: they do not count.
    """
    voters = [node for node in view.voters if node not in gone]
    present = sum(node not in absent for node in voters)
    return 2 * present > len(voters) or not voters


def supersedes(new: View, old: View) -> bool:
    """Whether a node on `old` adopts `new`: same ring, and later.

    Rings of different ids never merge. Of two views of one number the greater
    digest stands, so that all who hear of both end on the same.
    """
    return new.ring == old.ring and (new.number, new.digest) > (old.number, old.digest)


def readmits(new: View, old: View) -> bool:
    """Whether a node that `old` has struck off may be let in by `new`: later, or another ring."""
    return new.ring != old.ring or supersedes(new, old)
