"""Real ring engines under virtual time: an event heap, seeded, with TCP-like links.

A link delivers in order; loss is a delay (the kernel sends again). A killed
process resets its links and refuses connections; a hung one accepts and says
nothing; a cut holds everything back.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import TYPE_CHECKING

import msgspec

from dht.effects import Departed, Dial, Hangup, IdentityDealt, Send, ViewInstalled
from dht.engine import RingEngine
from dht.ids import random_id
from dht.messages import RingMessage
from dht.settings import RingSettings
from dht.view import Member, MemberState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.view import View

CONNECT_TIMEOUT = 2.0
_decoder = msgspec.msgpack.Decoder(RingMessage)


class SimLink:
    """One direction's queue for each end, and the ids that the ends presented."""

    def __init__(self, ends: tuple[SimNode, SimNode]) -> None:
        self.ends = ends
        self.ids = {end: end.engine.me.id for end in ends}
        self.queues: dict[SimNode, deque[tuple[float, bytes]]] = {end: deque() for end in ends}
        self.open = True

    def other(self, node: SimNode) -> SimNode:
        return self.ends[1] if node is self.ends[0] else self.ends[0]


class SimNode:
    """A process: an engine, its driver, and its listener at `address`."""

    def __init__(self, sim: RingSim, address: str, engine: RingEngine) -> None:
        self.sim = sim
        self.address = address
        self.engine = engine
        self.alive = True
        self.hung = False
        self.departed_at: float | None = None
        self.links: dict[NodeId, SimLink] = {}
        self.views: list[tuple[float, View]] = []
        self.dealt = 0
        self.sent = 0
        self._dialling: set[str] = set()
        self._waiting: dict[str, list[Send]] = {}
        self._timer = 0
        self._stalled: list[Callable[[], None]] = []

    # -- the driver -------------------------------------------------------------------

    def call(self, step: Callable[[float], list[Effect]]) -> None:
        """Give the engine an input; a hung process gets it when it goes on."""
        if not self.alive:
            return
        if self.hung:
            self._stalled.append(lambda: self.call(step))
            return
        self.perform(step(self.sim.now))
        self._set_timer()

    def perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._send(effect)
                case Dial():
                    self._dial(effect.address)
                case Hangup():
                    self._close(effect.node)
                case IdentityDealt():
                    assert effect.id == self.engine.me.id
                    self.dealt += 1
                    for node in list(self.links):
                        self._close(node)
                case ViewInstalled():
                    assert self.engine.view is effect.view
                    self.views.append((self.sim.now, effect.view))
                case Departed():
                    self.departed_at = self.sim.now
                    self.sim.at(0.0, self.die)
                case _:
                    raise AssertionError(effect)

    def _set_timer(self) -> None:
        deadline = self.engine.next_deadline()
        self._timer += 1
        if deadline is not None:
            timer = self._timer
            self.sim.at(max(0.0, deadline - self.sim.now), lambda: self._timer_fired(timer))

    def _timer_fired(self, timer: int) -> None:
        if timer == self._timer:
            self.call(self.engine.handle_timer)

    def _send(self, effect: Send) -> None:
        link = self.links.get(effect.to)
        self.sent += 1
        if link is not None:
            self.sim.transmit(link, self, msgspec.msgpack.encode(effect.message))
            return
        view = self.engine.view
        member = view.get(effect.to) if view is not None else None
        if member is not None:
            waiting = self._waiting.setdefault(member.peer, [])
            if len(waiting) < 100:
                waiting.append(effect)
            self._dial(member.peer)

    def _dial(self, address: str) -> None:
        if address not in self._dialling:
            self._dialling.add(address)
            self.sim.connect(self, address)

    def _close(self, node: NodeId) -> None:
        """Close a link without a report to our own engine."""
        link = self.links.pop(node, None)
        if link is None or not link.open:
            return
        link.open = False
        self.sim.end_of_file(link.other(self), link)

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

    def closed(self, link: SimLink) -> None:
        node = link.ids[link.other(self)]
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
            self._close(node)

    def hang(self) -> None:
        self.hung = True

    def resume(self) -> None:
        self.hung = False
        stalled, self._stalled = self._stalled, []
        for step in stalled:
            step()

    def leave(self, drain: float = 0.05) -> None:
        """Leave politely: hand over `drain` seconds after the view says LEAVING."""
        self.call(self.engine.leave)

        def hand_over() -> None:
            if self.engine.me.state is MemberState.LEAVING and self.departed_at is None:
                self.sim.at(drain, lambda: self.call(self.engine.handed_over))
            elif self.alive:
                self.sim.at(0.01, hand_over)

        hand_over()


class RingSim:
    """The world. Same seed, same history."""

    def __init__(
        self,
        seed: int,
        latency: float = 0.001,
        loss: float = 0.0,
        settings: RingSettings | None = None,
    ) -> None:
        self.rng = Random(seed)
        self.now = 1000.0
        self.latency = latency
        self.loss = loss
        self.settings = settings or RingSettings()
        self.nodes: dict[str, SimNode] = {}  # by the address they listen at
        self.cuts: set[frozenset[str]] = set()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    # -- time -----------------------------------------------------------------------------

    def at(self, delay: float, action: Callable[[], None]) -> None:
        heappush(self._events, (self.now + delay, next(self._order), action))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, action = heappop(self._events)
            action()
        self.now = end

    def run_until(self, condition: Callable[[], bool], limit: float) -> float:
        """Run until `condition` holds; the seconds it took. Fails after `limit`."""
        start = self.now
        while not condition():
            assert self.now < start + limit, f"not within {limit} s: {self.describe()}"
            assert self._events
            self.now, _, action = heappop(self._events)
            action()
        return self.now - start

    # -- processes ----------------------------------------------------------------------------

    def start(
        self,
        name: str,
        seeds: Iterable[str] = (),
        expect: int = 1,
        *,
        node: NodeId | None = None,
        incarnation: int | None = None,
        zone: str = "",
    ) -> SimNode:
        """Start a process that listens at ``name:7400``; `node`: an id that was kept."""
        address = f"{name}:7400"
        me = Member(
            node or random_id(self.rng),
            incarnation or int(self.now * 1000),
            address,
            f"{name}:8080",
            zone or name,
            MemberState.JOINING,
        )
        engine = RingEngine(
            me,
            [f"{seed}:7400" for seed in seeds],
            expect,
            Random(self.rng.getrandbits(64)),
            self.settings,
            keeps_id=node is not None,
        )
        process = SimNode(self, address, engine)
        assert address not in self.nodes
        self.nodes[address] = process
        process.call(engine.start)
        return process

    def cut(self, one: Iterable[SimNode], two: Iterable[SimNode]) -> None:
        """Nothing passes between the two groups until `heal`."""
        others = list(two)
        self.cuts |= {frozenset((a.address, b.address)) for a in one for b in others}

    def heal(self) -> None:
        self.cuts.clear()

    def live(self) -> list[SimNode]:
        return [node for node in self.nodes.values() if node.alive and not node.hung]

    def one_ring(self, nodes: Iterable[SimNode], size: int | None = None) -> bool:
        """Whether `nodes` are on one view that lists them, all ACTIVE, and nobody else."""
        group = list(nodes)
        views = {n.engine.view.digest if n.engine.view else None for n in group}
        view = group[0].engine.view
        return (
            len(views) == 1
            and view is not None
            and len(view.members) == (size or len(group))
            and all(m.state is MemberState.ACTIVE for m in view.members)
            and all(n.engine.me in view.members for n in group)
        )

    def describe(self) -> str:
        lines = []
        for node in self.nodes.values():
            status = node.engine.status()
            ids = " ".join(member.id.hex()[:4] for member in status.members)
            me = f"{status.me.id.hex()[:4]} {status.me.state.name}"
            lines.append(f"{node.address} is {me} in view {status.number} of {ids}")
        return "; ".join(lines)

    # -- the network --------------------------------------------------------------------------

    def delay(self) -> float:
        delay = self.latency * self.rng.uniform(0.5, 1.5)
        while self.rng.random() < self.loss:
            delay += 0.2  # the kernel's least retransmission timeout
        return delay

    def is_cut(self, one: SimNode, two: SimNode) -> bool:
        return frozenset((one.address, two.address)) in self.cuts

    def connect(self, dialler: SimNode, address: str) -> None:
        self.at(3 * self.delay(), lambda: self._answer(dialler, address))

    def _answer(self, dialler: SimNode, address: str) -> None:
        target = self.nodes.get(address)
        if not dialler.alive:
            return
        if target is None or not target.alive:
            dialler.refused(address, refused=True)
        elif target.hung or self.is_cut(dialler, target):
            self.at(CONNECT_TIMEOUT, lambda: dialler.refused(address, refused=False))
        elif target is dialler:
            dialler.connected(None, dialler.engine.me.id, dialler.address, address)
        else:
            self._introduce(dialler, target, address)

    def _introduce(self, dialler: SimNode, target: SimNode, address: str) -> None:
        mine, theirs = dialler.engine.me.id, target.engine.me.id
        if theirs in dialler.links:
            dialler.connected(None, theirs, target.address, address)
            return
        target._close(mine)  # a link that only the other side has lost
        link = SimLink((dialler, target))
        dialler.connected(link, theirs, target.address, address)
        target.connected(link, mine, dialler.address, "")

    def transmit(self, link: SimLink, sender: SimNode, data: bytes) -> None:
        queue = link.queues[sender]
        arrival = self.now + self.delay()
        if queue:  # in order: what follows a lost packet waits for it
            arrival = max(arrival, queue[-1][0])
        queue.append((arrival, data))
        if len(queue) == 1:
            self.at(arrival - self.now, lambda: self._arrive(link, sender))

    def _arrive(self, link: SimLink, sender: SimNode) -> None:
        receiver = link.other(sender)
        queue = link.queues[sender]
        if receiver.links.get(link.ids[sender]) is not link:
            queue.clear()
            return
        if self.is_cut(sender, receiver):
            self.at(0.1, lambda: self._arrive(link, sender))
            return
        _, data = queue.popleft()
        if queue:
            self.at(max(0.0, queue[0][0] - self.now), lambda: self._arrive(link, sender))
        node, message = link.ids[sender], _decoder.decode(data)
        receiver.call(lambda now: receiver.engine.receive(node, message, now))

    def end_of_file(self, node: SimNode, link: SimLink) -> None:
        """The other end has closed: `node` hears of it after what was sent before."""
        if self.is_cut(*link.ends):
            self.at(0.1, lambda: self.end_of_file(node, link))
        elif link.queues[link.other(node)]:
            self.at(self.latency, lambda: self.end_of_file(node, link))
        else:
            self.at(self.delay(), lambda: node.closed(link))
