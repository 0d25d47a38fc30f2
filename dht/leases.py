"""Leases: a member may acknowledge only while a majority of voters would keep it.

Every beat a member's heartbeat goes to the voters too, and a voter of the same
view answers with a `Lease`. Answers of a majority, `lease` seconds old at most
by the time the heartbeats were *sent*, are the member's lease.

A voter that has granted accepts no view without that member until the grant
has run out: `Grants.free_at`. The majority that decides such a view has a voter
in common with the majority that granted, so a member is struck off only when
its lease has ended, whatever the clocks say of each other (rates must agree).

A lease of view v may outlive v: it was granted before v + 1 was accepted, for a
voter that has accepted grants nothing more. So it ends within `lease` seconds of
the decision, and until then nobody is struck off by v + 2 either: each voter
treats all members as granted at the moment it first hears of a number.

In a large ring a voter grants to everyone at once, but for those that it means to
strike off; `dht.relay` tells how its word travels.

Source: Gray and Cheriton, "Leases" (1989).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dht.ids import NodeId
    from dht.view import View


class Lease:
    """A member's side. Times are its own monotonic seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._view: View | None = None
        self._answered: dict[NodeId, float] = {}  # voter -> when what it answered was sent
        self.until = float("-inf")

    def install(self, view: View) -> None:
        """Go on under `view`; the lease that is running ends when it would have."""
        self._view = view
        self._answered.clear()

    def answered(self, voter: NodeId, number: int, sent: float) -> None:
        """`voter` has granted for the heartbeat that was sent then."""
        view = self._view
        if view is None or number != view.number or voter not in view.voters:
            return
        self._answered[voter] = max(sent, self._answered.get(voter, sent))
        latest = sorted(self._answered.values(), reverse=True)
        majority = len(view.voters) // 2 + 1
        if len(latest) >= majority:
            self.until = max(self.until, latest[majority - 1] + self._seconds)

    def is_held(self, now: float) -> bool:
        """Whether this member may acknowledge now."""
        return now < self.until


class Grants:
    """A voter's side: what it owes to whom it has granted."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._granted: dict[NodeId, float] = {}
        self._vouched = float("-inf")  # when it last granted to everyone,
        self._barred: dict[NodeId, float] = {}  # but for these: when they last were among them

    def vouch(self, barred: Iterable[NodeId], now: float) -> None:
        """Everyone is told that they are granted, but for the `barred`."""
        self._barred = {node: self._barred.get(node, self._vouched) for node in barred}
        self._vouched = now

    def grant(self, node: NodeId, now: float) -> None:
        """`node` has been answered."""
        self._granted[node] = now

    def install(self, view: View) -> None:
        """Forget who is no member."""
        if len(self._granted) > len(view.members):
            self._granted = {n: at for n, at in self._granted.items() if n in view}

    def free_at(self, nodes: Iterable[NodeId], advanced_at: float) -> float:
        """When a view without `nodes` may be accepted.

        `advanced_at`: when this voter first heard of the number that is voted on.
        """
        granted = [
            max(self._granted.get(node, advanced_at), self._barred.get(node, self._vouched))
            for node in nodes
        ]
        if not granted:
            return float("-inf")
        return max(advanced_at, *granted) + self._seconds

    def free_of_all(self, advanced_at: float) -> float:
        """When a view may be accepted that keeps nobody who was a member before."""
        return max((advanced_at, self._vouched, *self._granted.values())) + self._seconds
