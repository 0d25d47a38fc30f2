"""What a holder has promised to new homes: how a later one learns of those before it.

Whoever is sealed for a view remembers the view, and who was to hold the slot in
it: if that reign began, its changes are with those holders and not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pubsub.slot_messages import Holders, Pledge

MOST: Final = 16  # remembered for one slot


def add(pledges: tuple[Pledge, ...], view: int, holders: Holders) -> tuple[Pledge, ...]:
    """`pledges` with one for `view`, unless there is that or a later one.

    One after another with the same holders are one: whoever can say that the
    later reign did not begin can say so of the earlier.
    """
    if pledges and pledges[-1][0] >= view:
        return pledges
    if pledges and pledges[-1][1] == holders:
        return (*pledges[:-1], (view, holders))
    if len(pledges) < MOST:
        return (*pledges, (view, holders))
    # Of two, only who was to hold the slot in both can say that neither began.
    (_, first), (later, second) = pledges[:2]
    both = tuple(holder for holder in first if holder in second)
    return ((later, both), *pledges[2:], (view, holders))
