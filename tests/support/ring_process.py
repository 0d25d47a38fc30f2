"""A simulated process: one real ring engine, its driver, its listener, perhaps its disk.

A killed process resets its links and refuses connections; a hung one accepts and
says nothing, and takes what has come meanwhile when it goes on. With a disk, writes
take a moment, and what has not been written when it dies is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from dht.ballots import Memory
from dht.effects import Departed, Dial, Hangup, IdentityDealt, Keep, Send, ViewInstalled
from dht.ids import NodeId
from dht.view import MemberState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dht.effects import Effect
    from dht.engine import RingEngine
    from dht.view import View
    from ring_network import SimLink
    from ring_sim import RingSim

DISK_DELAY: Final = (0.0005, 0.02)
_MOST_WAITING: Final = 100  # messages for a link that is being opened


class Disk(msgspec.Struct):
    """A state directory."""

    id: NodeId | None = None
    memory: Memory | None = None


class SimNode:
    """A process that listens at `address`."""

    def __init__(self, sim: RingSim, address: str, engine: RingEngine) -> None:
        self.sim = sim
        self.address = address
        self.engine = engine
        self.started_at = sim.now
        self.alive = True
        self.hung = False
        self.departed_at: float | None = None
        self.links: dict[NodeId, SimLink] = {}
        self.views: list[tuple[float, View]] = []
        self.dealt = 0
        self.disk: Disk | None = None
        self.sent = 0
        self.received = 0
        self._dialling: set[str] = set()
        self._waiting: dict[str, list[Send]] = {}
        self._timer_at = float("inf")
        self._write_done = 0.0
        self._stalled: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    # -- the driver -------------------------------------------------------------------

    def call(self, step: Callable[[float], list[Effect]]) -> None:
        """Give the engine an input; a hung process gets it when it goes on."""
        if not self.alive:
            return
        if self.hung:
            self._stalled.append((self.call, (step,)))
            return
        self._act(step(self.sim.now))

    def take(self, node: NodeId, message: Any) -> None:
        """A message has arrived on the link of `node`."""
        if not self.alive:
            return
        if self.hung:
            self._stalled.append((self.take, (node, message)))
            return
        self.received += 1
        self._act(self.engine.receive(node, message, self.sim.now))

    def _act(self, effects: list[Effect]) -> None:
        if effects:
            self.perform(effects)
        deadline = self.engine.next_deadline()
        if deadline is not None and deadline < self._timer_at:
            # One event is under way, for the earliest deadline since it was asked for.
            self._timer_at = max(deadline, self.sim.now)
            self.sim.at(self._timer_at - self.sim.now, self._timer_fired)

    def perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if type(effect) is Send:
                self._send(effect)
            else:
                self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Dial():
                self._dial(effect.address)
            case Hangup():
                self.close(effect.node)
            case IdentityDealt():
                assert effect.id == self.engine.me.id
                self.dealt += 1
                for node in list(self.links):
                    self.close(node)
            case Keep():
                self._keep(effect)
            case ViewInstalled():
                self.views.append((self.sim.now, effect.view))
                for watch in self.sim.watches:
                    watch(self, effect.view)
            case Departed():
                self.departed_at = self.sim.now
                self.sim.at(0.0, self.die)
            case _:
                raise AssertionError(effect)

    def _keep(self, effect: Keep) -> None:
        disk = self.disk
        assert disk is not None

        def written() -> None:
            if self.alive:
                disk.memory = effect.memory
                self.call(lambda now: self.engine.kept(effect.serial, now))

        if effect.first:
            disk.id, disk.memory = effect.memory.id, effect.memory

        self._write_done = max(self._write_done, self.sim.now + self.sim.rng.uniform(*DISK_DELAY))
        self.sim.at(self._write_done - self.sim.now, written)

    def _timer_fired(self) -> None:
        if self.sim.now < self._timer_at:
            return  # an earlier one has been here since
        self._timer_at = float("inf")
        self.call(self.engine.handle_timer)

    def _send(self, effect: Send) -> None:
        link = self.links.get(effect.to)
        self.sent += 1
        if link is not None:
            self.sim.transmit(link, self, effect.message)
            return
        view = self.engine.view
        member = view.get(effect.to) if view is not None else None
        if member is not None:
            waiting = self._waiting.setdefault(member.peer, [])
            if len(waiting) < _MOST_WAITING:
                waiting.append(effect)
            self._dial(member.peer)

    def _dial(self, address: str) -> None:
        if address not in self._dialling:
            self._dialling.add(address)
            self.sim.connect(self, address)

    def close(self, node: NodeId) -> None:
        """Close a link without a report to our own engine."""
        link = self.links.pop(node, None)
        if link is not None and link.open:
            link.open = False
            self.sim.end_of_file(link, self)

    # -- what the network tells ---------------------------------------------------------

    def connected(self, link: SimLink | None, node: NodeId, peer: str, dialled: str) -> None:
        """A handshake is over; `link` is None if there is one already, or for ourselves."""
        if link is not None:
            self.links[node] = link
        self._dialling.discard(dialled)
        waiting = self._waiting.pop(dialled, [])
        self.call(lambda now: self.engine.link_opened(node, peer, now, dialled or None))
        for effect in waiting:
            if effect.to == node and self.alive:
                self._send(effect)

    def refused(self, address: str, *, refused: bool) -> None:
        self._dialling.discard(address)
        self._waiting.pop(address, None)
        self.call(lambda now: self.engine.dial_failed(address, refused, now))

    def closed(self, link: SimLink, node: NodeId) -> None:
        if self.links.get(node) is link:
            del self.links[node]
            self.call(lambda now: self.engine.link_closed(node, False, now))

    # -- what befalls a process -----------------------------------------------------------

    def die(self) -> None:
        """As kill -9 does: the kernel closes its sockets."""
        self.alive = False
        if self.sim.nodes.get(self.address) is self:
            del self.sim.nodes[self.address]
        for node in list(self.links):
            self.close(node)

    def hang(self) -> None:
        self.hung = True

    def resume(self) -> None:
        self.hung = False
        stalled, self._stalled = self._stalled, []
        for step, args in stalled:
            step(*args)

    def leave(self, drain: float = 0.05) -> None:
        """Leave politely: hand over `drain` seconds after the view says LEAVING."""
        self.call(self.engine.leave)

        def hand_over() -> None:
            if self.engine.me.state is MemberState.LEAVING and self.departed_at is None:
                self.sim.at(drain, lambda: self.call(self.engine.handed_over))
            elif self.alive:
                self.sim.at(0.01, hand_over)

        hand_over()
