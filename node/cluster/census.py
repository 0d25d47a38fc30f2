"""Who is gone from one view to the next, and how: what an operator asks first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dht.view import MemberState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dht.view import View

WAYS: Final = ("died", "left", "restarted")


def gone(before: View | None, after: View) -> Iterator[str]:
    """For each member of `before` that `after` lacks, one of `WAYS`.

    A node that missed the view in which another was on its way out takes its
    leave for a death: ask the median of all nodes, not one.
    """
    if before is None or before.ring != after.ring:
        return
    for member in before.members:
        now = after.get(member.id)
        if now is None:
            yield "left" if member.state is MemberState.LEAVING else "died"
        elif now.incarnation != member.incarnation:
            yield "restarted"
