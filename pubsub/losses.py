"""Changes that only processes have which are not there any more: how long they are waited for.

Until such processes are known to be dead, or for `lossy_seconds`. A slot that
opens without them is remembered for a while: edges are asked for the records
that it may lack.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dht.effects import Dial, Send
from pubsub import pledges
from pubsub.slot_messages import Reregister

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.view import Member
    from pubsub.core import Core
    from pubsub.opening import Opening
    from pubsub.slot import Slot
    from pubsub.slot_messages import Pledge
    from pubsub.verdict import Verdict

_LOOK_SECONDS = 1.0  # between two looks at who may be dead
_DEAD = 10_000  # processes that are remembered as dead


class Losses:
    """Who is gone, who of them is dead, and which slots have lost something."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._dead: dict[tuple[NodeId, int], None] = {}
        self._addresses: dict[tuple[NodeId, int], str] = {}  # of members that are gone
        self._lost: dict[int, float] = {}  # slots that opened lossy of late, and when
        self.look_at = inf

    # -- waiting ------------------------------------------------------------------

    def may_lose(self, opening: Opening, verdict: Verdict, now: float) -> bool:
        """Whether it is no use to wait for those who are gone."""
        core = self._core
        if now >= opening.since + core.limits.lossy_seconds:
            return True
        if not verdict.unknown and all(
            holder in self._dead or self._is_another(holder, opening) for holder in verdict.gone
        ):
            return True
        told = (pledge for c in opening.claims.values() for pledge in (*c.pledges, *c.seen))
        self._remember(opening, (pledge for pledge in told if pledge[0] < opening.view))
        self.look_at = min(self.look_at, now + _LOOK_SECONDS)
        return False

    def _is_another(self, holder: tuple[NodeId, int], opening: Opening) -> bool:
        """Its place in the ring is another process's now, which has said what it has."""
        node, incarnation = holder
        member = self._core.members.get(node)
        return member is not None and member.incarnation != incarnation and node in opening.claims

    def look(self, now: float, out: list[Effect]) -> bool:
        """Whether it is time to see if waiting is any use; if so, who may be dead is dialled."""
        if now < self.look_at:
            return False
        self.look_at = inf
        for process, address in self._addresses.items():
            if process not in self._dead:
                out.append(Dial(address))
        return True

    # -- who is gone --------------------------------------------------------------

    def install_view(self, gone: Iterable[Member], openings: Iterable[Opening]) -> None:
        """Note who is not there any more."""
        openings = list(openings)
        for member in gone:
            self._addresses[member.id, member.incarnation] = member.peer
            for opening in openings:
                self._note_gone(opening, member.id)
        while len(self._addresses) > _DEAD:
            del self._addresses[next(iter(self._addresses))]

    def _note_gone(self, opening: Opening, node: NodeId) -> None:
        """Who has told of a reign is gone: that there was one must not be forgotten."""
        claim = opening.claims.get(node)
        if claim is None or opening.reference is not None:
            return
        own = () if not claim.epoch else ((claim.epoch, claim.holders),)
        self._remember(opening, (*own, *claim.pledges))

    def _remember(self, opening: Opening, told: Iterable[Pledge]) -> None:
        """A later home has to know of these too."""
        pledged = self._core.pledges
        own = tuple(sorted({*pledged.get(opening.number, ()), *told}))
        if own:
            pledged[opening.number] = own[-pledges.MOST :]

    def died(self, node: NodeId, incarnation: int) -> None:
        """That process has ended: whatever it held is lost."""
        self._dead[node, incarnation] = None
        if len(self._dead) > _DEAD:
            del self._dead[next(iter(self._dead))]
        if self.look_at < inf:
            self.look_at = 0.0

    def address_dead(self, address: str) -> None:
        """Nobody is at this address any more."""
        for (node, incarnation), where in self._addresses.items():
            if where == address:
                self.died(node, incarnation)

    # -- what is lost -------------------------------------------------------------

    def note(self, slot: Slot, now: float) -> None:
        """A slot is about to open without all that it may have had."""
        slot.settled_at = now + self._core.limits.settle_seconds
        self._lost[slot.number] = now

    def opened(self, slots: Iterable[Slot], out: list[Effect]) -> None:
        """These are open: edges are asked for what those that lack something may lack."""
        lost = tuple(slot.number for slot in slots if slot.number in self._lost)
        if lost:
            core = self._core
            out.extend([Send(node, Reregister(lost)) for node in core.members if node != core.me])

    def link_opened(self, node: NodeId, out: list[Effect]) -> None:
        """What was under way may be lost."""
        lost = tuple(number for number in self._lost if number in self._core.slots)
        if lost:
            out.append(Send(node, Reregister(lost)))

    def handle_timer(self, now: float) -> None:
        """Edges have had their time."""
        settle = self._core.limits.settle_seconds
        while self._lost and next(iter(self._lost.values())) + settle <= now:
            del self._lost[next(iter(self._lost))]
