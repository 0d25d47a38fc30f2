"""All clients of one swarm process: opened at a bounded pace, counted together."""

from __future__ import annotations

import sys
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, Final

from loadtest.latency import Latency
from loadtest.swarm.engine_io import EnginePollClient
from loadtest.swarm.events import EventClient
from loadtest.swarm.longpoll import LongPollClient
from loadtest.swarm.orders import Broken, Counts, Reached, Ready
from loadtest.swarm.polls import PollClient
from loadtest.swarm.raw import RawClient
from loadtest.swarm.responses import ResponseLengths
from loadtest.swarm.sampler import Sampler
from loadtest.swarm.websocket import FrameClient, WebSocketClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.swarm.client import Client
    from loadtest.swarm.loop import Loop
    from loadtest.swarm.orders import Answer, Open

FAULTS_KEPT: Final = 10
_KINDS: Final = {
    "sse": EventClient,
    "frames": FrameClient,
    "poll": PollClient,
    "engine-polling": EnginePollClient,
}


class Crowd:
    """The clients that one `Open` order asks for."""

    def __init__(self, loop: Loop, order: Open, answer: Callable[[Answer], None]) -> None:
        self.loop = loop
        self.order = order
        self.address = f"{order.host}:{order.port}"
        self.lengths = ResponseLengths()
        self.latency = Latency()
        self.deliveries = 0
        self.cycles = 0
        self.turned_away = 0
        self.received_bytes = 0
        self.goal = sys.maxsize
        self._answer = answer
        self._clients: list[Client] = []
        self._samplers: list[Sampler] = []
        self._ready: list[str] = []
        self._faults: list[str] = []
        self._failed = 0
        self._announced = False
        self._begun = monotonic()

    def open(self) -> None:
        """Start the first clients; the others follow as these get ready."""
        for _ in range(min(self.order.at_once, self.order.count)):
            self._open_next()

    def _open_next(self) -> None:
        number = len(self._clients)
        if number < self.order.count:
            client = self._make(number)
            self._clients.append(client)
            client.start()

    def next_port(self) -> int:
        """Where the next client connects to."""
        ports = self.order.ports
        return ports[(len(self._clients) - 1) % len(ports)] if ports else self.order.port

    def _make(self, number: int) -> Client:
        seed = self.order.seed * 1_000_003 + number
        order = self.order
        if order.transport == "long-polling":
            return LongPollClient(self, self._sampler(number), seed, number)
        if order.transport == "websocket":
            return WebSocketClient(self, self._sampler(number), seed, number)
        kind = _KINDS.get(order.transport)
        if kind is not None:
            return kind(self, self._sampler(number), seed)
        return RawClient(self, seed, answers=order.transport == "raw-cycle")

    def _sampler(self, number: int) -> Sampler | None:
        share = min(self.order.sampled, self.order.count)
        if (number + 1) * share // self.order.count == number * share // self.order.count:
            return None  # evenly spaced: the others are not sampled
        sampler = Sampler(self.latency)
        self._samplers.append(sampler)
        return sampler

    def client_ready(self, client: Client) -> None:
        """`client` is set up and waits for deliveries."""
        self._ready.append(client.session)
        self._open_next()
        self._announce()

    def client_failed(self, client: Client, why: str) -> None:
        """`client` is lost, in the set-up or later."""
        self._failed += 1
        if len(self._faults) < FAULTS_KEPT:
            self._faults.append(f"client {self._clients.index(client)}: {why}")
        if not self._announced:
            self._open_next()
            self._announce()
        elif self.goal != sys.maxsize:
            self.goal = sys.maxsize
            self._answer(Broken(f"{self._failed} clients lost: {self._faults[0]}"))

    def _announce(self) -> None:
        settled = len(self._ready) + self._failed
        if self._announced or settled < self.order.count:
            return
        self._announced = True
        if self._failed:
            self._answer(Broken(f"{self._failed} clients lost: {self._faults[0]}"))
        else:
            seconds = monotonic() - self._begun
            self._answer(Ready(len(self._ready), seconds, self._ready))

    def expect(self, deliveries: int) -> None:
        """Answer once `deliveries` have come in all."""
        self.goal = deliveries
        if self._failed:
            self.goal = sys.maxsize
            self._answer(Broken(f"{self._failed} clients lost: {self._faults[0]}"))
        elif self.deliveries >= deliveries:
            self.reach()

    def reach(self) -> None:
        """The goal is met."""
        self.goal = sys.maxsize
        self._answer(Reached(self.deliveries, monotonic_ns()))

    def tell(self) -> None:
        """Answer with the totals."""
        each = [client.deliveries for client in self._clients] or [0]
        latency, self.latency = self.latency.encoded(), Latency()
        for sampler in self._samplers:
            sampler.latency = self.latency
        self._answer(
            Counts(
                at_ns=monotonic_ns(),
                deliveries=self.deliveries,
                fewest=min(each),
                most=max(each),
                cycles=self.cycles,
                turned_away=self.turned_away,
                received_bytes=self.received_bytes,
                checked=sum(sampler.checked for sampler in self._samplers),
                faults=list(self._faults),
                latency=latency,
            )
        )
