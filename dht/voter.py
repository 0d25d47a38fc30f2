"""A process as a voter: its word on ballots, and the leases that it grants.

It outlives memberships, as `dht.voting.Acceptor` does. An acceptance that would
strike off a member under lease is held back until the lease has run out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.delta import evicted
from dht.effects import Send
from dht.leases import Grants
from dht.messages import Accept, Lease
from dht.voting import Acceptor

if TYPE_CHECKING:
    from collections.abc import Collection

    from dht.ballots import Electorate, Memory
    from dht.delta import Delta
    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.messages import Heartbeat, Prepare
    from dht.settings import RingSettings
    from dht.view import Member, View


MOST_BARRED = 64
"""Members that a voter leaves out of what it grants; of more, it grants to nobody for a while."""


class Voter:
    """The acceptor of one process, and its grants. Times are monotonic seconds."""

    def __init__(
        self, me: Member, memory: Memory | None, settings: RingSettings, *, durable: bool
    ) -> None:
        self.acceptor = Acceptor(me, memory, durable=durable)
        self._grants = Grants(settings.lease)
        self._patience = settings.bar_life
        self._held: tuple[float, NodeId, Accept] | None = None  # due, who asks, what
        self._barred: tuple[float, Delta] | None = None  # until when, what it was asked

    def start(self, now: float) -> None:
        """An earlier life of this process may have granted leases until just now."""
        self.acceptor.advanced_at = now

    def install(self, view: View, me: Member, now: float) -> list[Effect]:
        """`view` is decided, and this process knows it."""
        self._held = self._barred = None
        self._grants.install(view)
        return self.acceptor.install(view, me, now)

    def unresolved_since(self) -> float | None:
        """When a value was accepted of which no view has come yet."""
        acceptor = self.acceptor
        return acceptor.accepted_at if acceptor.has_accepted else None

    # -- ballots ------------------------------------------------------------------------

    def receive(
        self,
        sender: NodeId,
        message: Prepare | Accept,
        view: View | None,
        gone: Collection[NodeId],
        now: float,
    ) -> list[Effect]:
        """A proposer asks. `gone`: members of whose end this node has proof."""
        acceptor = self.acceptor
        if not acceptor.is_asked_rightly(message.electorate):
            return []
        if not isinstance(message, Accept):
            return acceptor.prepare(sender, message, now)
        if message.delta.number < acceptor.memory.number:
            return []
        due = self._free_at(message, view, gone, now)
        if due <= now or message.ballot < acceptor.memory.promised:
            self._held = None
            return acceptor.accept(sender, message, now)
        # Whom it would strike off gets no more leases, or the time would never come.
        self._barred = (now + self._patience, message.delta)
        self._held = (due, sender, message)
        return []

    def next_deadline(self) -> float | None:
        """When an acceptance that is held back is due."""
        return self._held[0] if self._held is not None else None

    def handle_timer(self, view: View | None, gone: Collection[NodeId], now: float) -> list[Effect]:
        """Accept what was held back, if its time has come."""
        if self._held is None or self._held[0] > now:
            return []
        _, sender, message = self._held
        self._held = None
        return self.receive(sender, message, view, gone, now)

    def _free_at(
        self, message: Accept, view: View | None, gone: Collection[NodeId], now: float
    ) -> float:
        delta, acceptor = message.delta, self.acceptor
        if delta.number > acceptor.memory.number:
            acceptor.advance(message.electorate, now)
        if not delta.base:
            return self._grants.free_of_all(acceptor.advanced_at)
        if view is not None and delta.follows(view):
            struck = [node for node in evicted(view, delta) if node not in gone]
        else:
            struck = list(delta.struck)  # who they were it cannot know
        return self._grants.free_at(struck, acceptor.advanced_at)

    # -- leases -------------------------------------------------------------------------

    @property
    def remembers(self) -> Electorate | None:
        """The latest electorate that this process knows of, in this life or an earlier one."""
        electorate = self.acceptor.memory.electorate
        return electorate if electorate.ring else None

    def grant(
        self, sender: NodeId, message: Heartbeat, view: View, dead: Collection[NodeId], now: float
    ) -> list[Effect]:
        """Answer a member's heartbeat with a lease, if it can have one."""
        if (
            message.number != view.number
            or message.digest != view.digest
            or sender not in view
            or sender in dead
            or not self._may_grant(view)
            or self._is_barred(sender, now)
        ):
            return []
        self._grants.grant(sender, now)
        return [Send(sender, Lease(view.number, message.sent))]

    def vouch(
        self, view: View, dead: Collection[NodeId], gone: Collection[NodeId], now: float
    ) -> tuple[NodeId, ...] | None:
        """Grant to all members of `view` at once; the answer names those left out.

        These are the `dead`, and whom it has been asked to strike off, but for the
        `gone`. None: it cannot grant, to anybody.
        """
        if not self._may_grant(view):
            return None
        barred = set(dead)
        if self._barred is not None and self._barred[0] > now:
            if not self._barred[1].base:
                return None
            barred.update(self._barred[1].struck)
        barred.difference_update(gone)
        if len(barred) > MOST_BARRED:
            return None
        self._grants.vouch(barred, now)
        return tuple(sorted(barred))

    def _may_grant(self, view: View) -> bool:
        acceptor = self.acceptor
        return acceptor.memory.number == view.number + 1 and not acceptor.has_accepted

    def _is_barred(self, node: NodeId, now: float) -> bool:
        if self._barred is None or self._barred[0] <= now:
            return False
        delta = self._barred[1]
        return node in delta.struck or not delta.base
