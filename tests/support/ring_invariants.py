"""What must hold of views at every moment of every history (architecture.md, "Testing")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.view import MemberState

if TYPE_CHECKING:
    from dht.ids import NodeId
    from dht.view import View
    from ring_sim import RingSim, SimNode


class Invariants:
    """Watches a simulation; an AssertionError ends it where one is broken.

    - view numbers of a process grow, and one number of a ring means one digest;
    - there is one ring, unless `rings` says otherwise;
    - nobody is struck off, by a view that anyone has installed, while it still
      believes in its lease;
    - a process is never found ACTIVE that was not JOINING before in the same
      incarnation, founders apart: it would be home to what it does not hold. The
      same from its own side: no process finds itself ACTIVE in the first view that
      it installs, though a view may list the process that was there before it.
    """

    def __init__(self, sim: RingSim, *, rings: int = 1) -> None:
        self._sim = sim
        self._rings = rings
        self._digests: dict[tuple[bytes, int], bytes] = {}
        self._views: dict[bytes, View] = {}  # ring -> the latest
        self._joined: dict[tuple[NodeId, int], int] = {}  # member -> the view it was JOINING in
        self._entered: set[tuple[SimNode, int]] = set()  # processes that found themselves JOINING
        self._founded: dict[tuple[NodeId, int], float] = {}  # member -> when it was last a founder
        self.seen = 0
        sim.watches.append(self.check)

    def check(self, node: SimNode, view: View) -> None:
        """`node` has just installed `view`."""
        self.seen += 1
        where = f"{node.address} at {self._sim.now:.3f}"
        before = [each for _, each in node.views[:-1] if each.ring == view.ring]
        assert not before or before[-1].number < view.number, f"{where}: numbers do not grow"
        known = self._digests.setdefault((view.ring, view.number), view.digest)
        assert known == view.digest, f"{where}: two views of number {view.number}"
        rings = {ring for ring, _ in self._digests}
        assert len(rings) <= self._rings, f"{where}: {len(rings)} rings"
        latest = self._views.get(view.ring)
        if latest is None or latest.number < view.number:
            self._views[view.ring] = view
            self._check_joined(view, where)
            self._check_leases(view, where)
        self._check_entered(node, view, where)

    def _check_entered(self, node: SimNode, view: View, where: str) -> None:
        mine = view.get(node.engine.me.id)
        if mine is None or mine.incarnation != node.engine.me.incarnation:
            return
        founded_at = self._founded.get((mine.id, mine.incarnation), float("-inf"))
        if mine.state is MemberState.JOINING or founded_at >= node.started_at:
            self._entered.add((node, mine.incarnation))
        assert (node, mine.incarnation) in self._entered, f"{where}: takes another's place"

    def _check_joined(self, view: View, where: str) -> None:
        founded = view.number == 1 or (view.ring, view.number) in self._sim.refounded
        for member in view.members:
            key = member.id, member.incarnation
            if founded:
                self._founded[key] = self._sim.now
            if member.state is MemberState.JOINING or founded:
                self._joined[key] = view.number
            else:
                assert key in self._joined, f"{where}: {member.peer} never joined"

    def _check_leases(self, view: View, where: str) -> None:
        listed = {(member.id, member.incarnation) for member in view.members}
        for node in self._sim.nodes.values():
            me, own = node.engine.me, node.engine.view
            if own is None or own.ring != view.ring or (me.id, me.incarnation) in listed:
                continue
            if node.alive and me.state is MemberState.ACTIVE:
                held = node.engine.holds_lease(self._sim.now)
                assert not held, f"{where}: {node.address} is struck off leased"
