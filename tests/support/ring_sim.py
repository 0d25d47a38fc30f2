"""Real ring engines under virtual time: an event heap, seeded, with TCP-like links.

A link delivers in order; loss is a delay (the kernel sends again). A killed
process resets its links and refuses connections; a hung one accepts and says
nothing; a cut, of one direction or both, holds everything back. `Chaos` adds what
TCP keeps from us, so that nothing in the engines leans on it: messages that are
dropped, repeated and delivered out of order.

A process may have a disk (`durable`): writes take a moment, and what has not
been written when it dies is gone.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from dht.ballots import Memory
from dht.effects import Departed, Dial, Hangup, IdentityDealt, Keep, Send, ViewInstalled
from dht.engine import RingEngine
from dht.ids import NodeId, random_id
from dht.messages import RingMessage
from dht.settings import RingSettings
from dht.view import Member, MemberState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dht.ballots import Electorate
    from dht.effects import Effect
    from dht.view import View

CONNECT_TIMEOUT = 2.0
DISK_DELAY = (0.0005, 0.02)
_decoder = msgspec.msgpack.Decoder(RingMessage)


class Chaos(msgspec.Struct, frozen=True):
    """Probabilities for each message."""

    drop: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0


class Disk(msgspec.Struct):
    """A state directory."""

    id: NodeId | None = None
    memory: Memory | None = None


class SimLink:
    """One direction's queue for each end, and the ids that the ends presented."""

    def __init__(self, ends: tuple[SimNode, SimNode]) -> None:
        self.ends = ends
        self.ids = {end: end.engine.me.id for end in ends}
        self.queues: dict[SimNode, deque[tuple[float, Any]]] = {end: deque() for end in ends}
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
        self.disk: Disk | None = None
        self.sent = 0
        self.received = 0
        self._dialling: set[str] = set()
        self._waiting: dict[str, list[Send]] = {}
        self._timer_at = float("inf")
        self._write_done = 0.0
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

    def perform(self, effects: Iterable[Effect]) -> None:  # noqa: C901 - one case an effect
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

    def _set_timer(self) -> None:
        """One event is under way, for the earliest deadline since it was asked for."""
        deadline = self.engine.next_deadline()
        if deadline is not None and deadline < self._timer_at:
            self._timer_at = max(deadline, self.sim.now)
            self.sim.at(self._timer_at - self.sim.now, self._timer_fired)

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
        chaos: Chaos | None = None,
        *,
        codec: bool = True,
    ) -> None:
        """`codec`: messages travel as bytes, as they do in life; off, they are handed over."""
        self.rng = Random(seed)
        self.now = 1000.0
        self.latency = latency
        self.loss = loss
        self.settings = settings or RingSettings()
        self.chaos = chaos
        self.codec = codec
        self.refounded: set[tuple[bytes, int]] = set()  # views proposed by seekers
        self.watches: list[Callable[[SimNode, View], None]] = []  # told of every view installed
        self.nodes: dict[str, SimNode] = {}  # by the address they listen at
        self.disks: dict[str, Disk] = {}
        self.cuts: set[tuple[str, str]] = set()  # from, to
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
        durable: bool = False,
    ) -> SimNode:
        """Start a process that listens at ``name:7400``; `node`: an id that was kept.

        `durable`: with the disk of that name, and what an earlier life has left there.
        """
        address = f"{name}:7400"
        disk = self.disks.setdefault(address, Disk()) if durable else None
        if disk is not None:
            node = node or disk.id
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
            memory=disk.memory if disk is not None else None,
            durable=durable,
        )
        self._note_refounding(engine)
        process = SimNode(self, address, engine)
        process.disk = disk
        assert address not in self.nodes
        self.nodes[address] = process
        process.call(engine.start)
        return process

    def _note_refounding(self, engine: RingEngine) -> None:
        refounding = engine._seeker._refounding
        propose = refounding.propose

        def noted(electorate: Electorate, *rest: Any) -> list[Effect]:
            self.refounded.add((electorate.ring, electorate.number))
            return propose(electorate, *rest)

        refounding.propose = noted  # type: ignore[method-assign, assignment]

    def cut(self, one: Iterable[SimNode], two: Iterable[SimNode], *, one_way: bool = False) -> None:
        """Nothing passes between the two groups (or from `one` to `two`) until `heal`."""
        others = list(two)
        for a in one:
            for b in others:
                self.cuts.add((a.address, b.address))
                if not one_way:
                    self.cuts.add((b.address, a.address))

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

    def is_cut(self, sender: SimNode, receiver: SimNode) -> bool:
        return bool(self.cuts) and (sender.address, receiver.address) in self.cuts

    def is_cut_off(self, one: SimNode, two: SimNode) -> bool:
        """Whether the two cannot open a connection: that takes both directions."""
        return self.is_cut(one, two) or self.is_cut(two, one)

    def connect(self, dialler: SimNode, address: str) -> None:
        self.at(3 * self.delay(), lambda: self._answer(dialler, address))

    def _answer(self, dialler: SimNode, address: str) -> None:
        target = self.nodes.get(address)
        if not dialler.alive:
            return
        if target is None or not target.alive:
            dialler.refused(address, refused=True)
        elif target.hung or self.is_cut_off(dialler, target):
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

    def transmit(self, link: SimLink, sender: SimNode, message: Any) -> None:
        data = msgspec.msgpack.encode(message) if self.codec else message
        arrival = self.now + self.delay()
        if self.chaos is not None:
            self._upset(self.chaos, link, sender, data, arrival)
            return
        queue = link.queues[sender]
        if queue:  # in order: what follows a lost packet waits for it
            arrival = max(arrival, queue[-1][0])
        queue.append((arrival, data))
        if len(queue) == 1:
            self.at(arrival - self.now, lambda: self._arrive(link, sender))

    def _upset(
        self, chaos: Chaos, link: SimLink, sender: SimNode, data: Any, arrival: float
    ) -> None:
        rng = self.rng
        if rng.random() < chaos.drop:
            return
        for _ in range(1 + (rng.random() < chaos.repeat)):
            late = rng.uniform(0.0, 0.3) if rng.random() < chaos.reorder else 0.0
            self.at(arrival - self.now + late, lambda: self._arrive_alone(link, sender, data))

    def _arrive_alone(self, link: SimLink, sender: SimNode, data: Any) -> None:
        receiver = link.other(sender)
        if receiver.links.get(link.ids[sender]) is link and not self.is_cut(sender, receiver):
            self._deliver(receiver, link.ids[sender], data)

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
        self._deliver(receiver, link.ids[sender], data)

    def _deliver(self, receiver: SimNode, node: NodeId, data: Any) -> None:
        receiver.received += 1
        message = _decoder.decode(data) if self.codec else data
        receiver.call(lambda now: receiver.engine.receive(node, message, now))

    def end_of_file(self, node: SimNode, link: SimLink) -> None:
        """The other end has closed: `node` hears of it after what was sent before."""
        if self.is_cut(link.other(node), node):
            self.at(0.1, lambda: self.end_of_file(node, link))
        elif link.queues[link.other(node)]:
            self.at(self.latency, lambda: self.end_of_file(node, link))
        else:
            self.at(self.delay(), lambda: node.closed(link))
