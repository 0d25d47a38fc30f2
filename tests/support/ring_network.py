"""The simulated network: TCP-like links, and what befalls them.

A link delivers in order; loss is a delay (the kernel sends again, later each
time). A cut, of one direction or both, holds everything back. `Chaos` adds what
TCP keeps from us, so that nothing in the engines leans on it: messages that are
dropped, repeated and delivered out of order.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dht.messages import RingMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ring_process import SimNode

CONNECT_TIMEOUT: Final = 2.0
RETRANSMIT: Final = 0.2  # the kernel's least timeout; it doubles
RECHECK_CUT: Final = 0.1
_END: Final = object()  # travels as a message does: the other end has closed
_decoder = msgspec.msgpack.Decoder(RingMessage)


class Chaos(msgspec.Struct, frozen=True):
    """Probabilities for each message."""

    drop: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0


class SimLink:
    """Two directions: 0 from who dialled, 1 back. `ids`: what the ends presented."""

    __slots__ = ("ends", "held", "ids", "latest", "open")

    def __init__(self, dialler: SimNode, target: SimNode) -> None:
        self.ends = (dialler, target)
        self.ids = (dialler.engine.me.id, target.engine.me.id)
        self.latest = [0.0, 0.0]  # when what was sent last arrives
        self.held: list[list[Any] | None] = [None, None]  # by a cut
        self.open = True

    def side(self, node: SimNode) -> int:
        return 0 if node is self.ends[0] else 1


class Clock:
    """Virtual time: one heap of events."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()

    def at(self, delay: float, action: Callable[..., None], *args: Any) -> None:
        heappush(self._events, (self.now + delay, next(self._order), action, args))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        events = self._events
        while events and events[0][0] <= end:
            self.now, _, action, args = heappop(events)
            action(*args)
        self.now = end

    def run_until(self, condition: Callable[[], bool], limit: float) -> float:
        """Run until `condition` holds; the seconds it took. Fails after `limit`."""
        start = self.now
        while not condition():
            assert self.now < start + limit, f"not within {limit} s: {self.describe()}"
            assert self._events
            self.now, _, action, args = heappop(self._events)
            action(*args)
        return self.now - start

    def describe(self) -> str:
        raise NotImplementedError


class Network(Clock):
    """Who can reach whom, and how long it takes. Same seed, same history."""

    def __init__(
        self, seed: int, latency: float, loss: float, chaos: Chaos | None, *, codec: bool
    ) -> None:
        super().__init__()
        self.rng = Random(seed)
        self.latency = latency
        self.loss = loss
        self.chaos = chaos
        self.codec = codec
        self.nodes: dict[str, SimNode] = {}  # by the address they listen at
        self.names: dict[str, tuple[str, ...]] = {}  # addresses that stand for several
        self.cuts: set[tuple[str, str]] = set()  # from, to

    # -- cuts ---------------------------------------------------------------------------------

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

    def is_cut(self, sender: SimNode, receiver: SimNode) -> bool:
        return bool(self.cuts) and (sender.address, receiver.address) in self.cuts

    def is_cut_off(self, one: SimNode, two: SimNode) -> bool:
        """Whether the two cannot open a connection: that takes both directions."""
        return self.is_cut(one, two) or self.is_cut(two, one)

    # -- connections --------------------------------------------------------------------------

    def delay(self) -> float:
        random = self.rng.random
        delay = self.latency * (0.5 + random())
        if self.loss:
            again = RETRANSMIT
            while random() < self.loss:
                delay += again
                again *= 2
        return delay

    def connect(self, dialler: SimNode, address: str) -> None:
        self.at(3 * self.delay(), self._answer, dialler, address)

    def _answer(self, dialler: SimNode, address: str) -> None:
        """Everything that the address stands for is tried; the best outcome counts."""
        found = [self.nodes.get(each) for each in self.names.get(address, (address,))]
        live = [target for target in found if target is not None and target.alive]
        if not dialler.alive:
            return
        reached = [each for each in live if not (each.hung or self.is_cut_off(dialler, each))]
        for target in reached:
            if target is dialler:
                dialler.connected(None, dialler.engine.me.id, dialler.address, address)
            else:
                self._introduce(dialler, target, address)
        if not live:
            dialler.refused(address, refused=True)
        elif not reached:
            self.at(CONNECT_TIMEOUT, self._time_out, dialler, address)

    @staticmethod
    def _time_out(dialler: SimNode, address: str) -> None:
        dialler.refused(address, refused=False)

    @staticmethod
    def _introduce(dialler: SimNode, target: SimNode, address: str) -> None:
        mine, theirs = dialler.engine.me.id, target.engine.me.id
        if theirs in dialler.links:
            dialler.connected(None, theirs, target.address, address)
            return
        target.close(mine)  # a link that only the other side has lost
        link = SimLink(dialler, target)
        dialler.connected(link, theirs, target.address, address)
        target.connected(link, mine, dialler.address, "")

    # -- messages -----------------------------------------------------------------------------

    def transmit(self, link: SimLink, sender: SimNode, message: Any) -> None:
        data = msgspec.msgpack.encode(message) if self.codec else message
        arrival = self.now + self.delay()
        side = link.side(sender)
        if self.chaos is not None:
            self._upset(self.chaos, link, side, data, arrival)
            return
        arrival = max(arrival, link.latest[side])  # in order: what follows a lost packet waits
        link.latest[side] = arrival
        heappush(self._events, (arrival, next(self._order), self._arrive, (link, side, data)))

    def end_of_file(self, link: SimLink, sender: SimNode) -> None:
        """`sender` has closed: the other end hears of it after what was sent before."""
        side = link.side(sender)
        arrival = link.latest[side] = max(link.latest[side], self.now) + self.delay()
        self.at(arrival - self.now, self._arrive, link, side, _END)

    def _upset(self, chaos: Chaos, link: SimLink, side: int, data: Any, arrival: float) -> None:
        rng = self.rng
        if rng.random() < chaos.drop:
            return
        for _ in range(1 + (rng.random() < chaos.repeat)):
            late = rng.uniform(0.0, 0.3) if rng.random() < chaos.reorder else 0.0
            self.at(arrival - self.now + late, self._arrive_alone, link, side, data)

    def _arrive_alone(self, link: SimLink, side: int, data: Any) -> None:
        if not self.is_cut(link.ends[side], link.ends[1 - side]):
            self._deliver(link, side, data)

    def _arrive(self, link: SimLink, side: int, data: Any) -> None:
        held = link.held[side]
        if held is not None:
            held.append(data)
        elif self.cuts and self.is_cut(link.ends[side], link.ends[1 - side]):
            link.held[side] = [data]
            self.at(RECHECK_CUT, self._release, link, side)
        else:
            self._deliver(link, side, data)

    def _release(self, link: SimLink, side: int) -> None:
        if self.is_cut(link.ends[side], link.ends[1 - side]):
            self.at(RECHECK_CUT, self._release, link, side)
            return
        held, link.held[side] = link.held[side], None
        for data in held or ():
            self._deliver(link, side, data)

    def _deliver(self, link: SimLink, side: int, data: Any) -> None:
        receiver, node = link.ends[1 - side], link.ids[side]
        if receiver.links.get(node) is not link:
            return
        if data is _END:
            receiver.closed(link, node)
            return
        receiver.take(node, _decoder.decode(data) if self.codec else data)
