"""Spreading the news of a view over the Kademlia buckets: O(log n) hops, one message each.

Seen from a member, the others fall into ranges: those that differ from it in the
first base-8 digit, those that share it and differ in the second, and so on (Kademlia's
buckets, three bits at a time). Whoever has a range to serve tells one member in each
of the ranges that it consists of, and leaves that range to it. Two are told where the
range is large, for either may have died a moment ago; who hears twice passes on once.

Sources: Maymounkov and Mazieres, "Kademlia", sections 2.2 and 4.2; El-Ansary et al.,
"Efficient broadcast in structured P2P networks" (2003).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from dht.ids import ID_BITS, to_id, to_int

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dht.ids import NodeId
    from dht.view import Member, View

_DIGIT_BITS: Final = 3
_LARGE: Final = 16  # members of a range from which on two of it are told


def contacts(
    view: View, before: View, me: NodeId, depth: int, until: int
) -> Iterator[tuple[NodeId, int]]:
    """Whom `me` tells of `view`, and the bits that each shares with those left to it.

    `me` serves the members that share `depth` bits with it, but for those that
    share `until`. Only members of `before` are told: the new ones cannot follow.
    """
    for low, high, shared in _ranges(view.members, to_int(me), depth, until):
        for node in _some_of(view, before, me, low, high):
            yield node, shared


def _ranges(
    members: Sequence[Member], me: int, depth: int, until: int
) -> Iterator[tuple[int, int, int]]:
    """Index ranges of the sorted `members` that make up what `me` has to serve, without itself."""
    low, high = _range(members, me >> (ID_BITS - depth), depth, 0, len(members))
    while low < high and depth < min(until, ID_BITS):
        step = min(_DIGIT_BITS, ID_BITS - depth)
        mine = me >> (ID_BITS - depth - step)
        first = mine >> step << step
        own = low, low
        for prefix in range(first, first + (1 << step)):
            bounds = _range(members, prefix, depth + step, low, high)
            if prefix == mine:
                own = bounds
            elif bounds[0] < bounds[1]:
                yield *bounds, depth + step
        low, high = own
        depth += step
        if high - low == 1 and to_int(members[low].id) == me:
            return


def _range(
    members: Sequence[Member], prefix: int, bits: int, low: int, high: int
) -> tuple[int, int]:
    """Where the members whose ids begin with `prefix` are, between `low` and `high`."""
    rest = ID_BITS - bits
    first = to_id(prefix << rest)
    start = bisect_left(members, first, low, high, key=lambda member: member.id)
    if prefix + 1 == 1 << bits:
        return start, high
    end = to_id((prefix + 1) << rest)
    return start, bisect_left(members, end, start, high, key=lambda member: member.id)


def _some_of(view: View, before: View, me: NodeId, low: int, high: int) -> tuple[NodeId, ...]:
    """One or two of a range; the same, whoever asks, so that hearing twice ends there."""
    size = high - low
    wanted = 2 if size >= _LARGE else 1
    start = int.from_bytes(view.digest, "big")
    chosen: dict[NodeId, None] = {}
    for turn in range(wanted):
        first = start + turn * size // wanted
        for step in range(size):
            member = view.members[low + (first + step) % size]
            old = before.get(member.id)
            if old is not None and old.incarnation == member.incarnation and member.id != me:
                chosen[member.id] = None
                break
    return tuple(chosen)
