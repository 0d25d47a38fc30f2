"""Agreeing on the next view: who votes, who leads, which of two views stands.

The most senior member that lives leads: it turns what it is asked for and what it
finds (joins, wishes, deaths) into view v + 1, has it voted on (`dht.voting`) and
tells everyone. The others adopt a greater number of the same ring.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from dht.view import MemberState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from dht.ids import NodeId
    from dht.view import Member, View

_VOTERS_OF_SMALL_RINGS = {0: 0, 1: 1, 2: 1, 3: 3, 4: 3}
_VOTERS = 5
DEPUTIES = 5  # members that know what is due, and see to it that it is done


def choose_voters(
    members: Iterable[Member], before: tuple[NodeId, ...], absent: Collection[NodeId] = ()
) -> tuple[NodeId, ...]:
    """The voters among `members`: 1 of one or two, 3 of three or four, 5 from five ACTIVE on.

    Those of `before` stay, in their order, while they are ACTIVE; new ones
    come last, from zones that have no voter where there are such. Who is
    `absent`, and may be dead, comes after all others.
    """
    active = {member.id: member for member in members if member.state is MemberState.ACTIVE}
    count = _VOTERS_OF_SMALL_RINGS.get(len(active), _VOTERS)
    voters = [node for node in before if node in active and node not in absent][:count]
    # By the low bits, which are random: neighbours would be roots of nearly the same trees.
    rest = [node for node in sorted(active, key=_by_low_bits) if node not in voters]
    rest.sort(key=lambda node: (node in absent, node not in before))
    while len(voters) < count:
        zones = {active[node].zone for node in voters}
        present = [node for node in rest if node not in absent] or rest
        chosen = next((node for node in present if active[node].zone not in zones), present[0])
        rest.remove(chosen)
        voters.append(chosen)
    return tuple(voters)


def _by_low_bits(node: NodeId) -> bytes:
    return node[::-1]


def seniority(view: View) -> Iterator[NodeId]:
    """All members, lazily, in the order in which they would lead.

    Voters, then the other ACTIVE members, for it may be left to one of them to
    ask voters that have been restarted; last who is JOINING or LEAVING.
    """
    yield from (node for node in view.voters if node in view)
    for wanted in (True, False):
        for member in view.members:
            if (member.state is MemberState.ACTIVE) is wanted and member.id not in view.voters:
                yield member.id


def deputies(view: View, absent: Collection[NodeId]) -> tuple[NodeId, ...]:
    """The most senior members that are not `absent`, the leader first: who may propose."""
    return tuple(islice((node for node in seniority(view) if node not in absent), DEPUTIES))


def leader_of(view: View, absent: Collection[NodeId]) -> NodeId | None:
    """The most senior member that is not `absent`; None: everyone is."""
    return next((node for node in seniority(view) if node not in absent), None)


def turn_of(view: View, me: NodeId, absent: Collection[NodeId]) -> int | None:
    """How many members are to try before `me`; None: it is not for `me` to try."""
    present = deputies(view, [node for node in absent if node != me])
    return present.index(me) if me in present else None


def supersedes(new: View, old: View) -> bool:
    """Whether a node on `old` adopts `new`: same ring, and later.

    Rings of different ids never merge.
    """
    return new.ring == old.ring and new.number > old.number


def replaces(new: View, old: View) -> bool:
    """Whether an operator has made the ring of `new` out of that of `old` (`ring recover`)."""
    return new.former == old.ring and new.number > old.number


def readmits(new: View, old: View) -> bool:
    """Whether a node that `old` has struck off may be let in by `new`.

    Later views of its ring may, and of one made from it. In any other ring view
    numbers mean something else, and what this process holds would be of no use.
    """
    return supersedes(new, old) or replaces(new, old)
