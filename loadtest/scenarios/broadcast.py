"""Server CPU of one delivery of a broadcast, beside a bare `send()` to the same clients.

One publisher, one message at a time: the next goes out when every client has
the last (and, long-polling, has polled again). So each WebSocket delivery is
one `send()` and each long-polling delivery one whole request cycle; nothing is
batched away. The floors run in the same rounds, with messages of the same size
to as many clients of the same kind.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from time import monotonic_ns, sleep
from typing import TYPE_CHECKING, Final

from loadtest.floor import Floor, running_floors
from loadtest.latency import Latency
from loadtest.report import Report
from loadtest.server import HOST, Node, running_node
from loadtest.swarm.control import Swarm, swarm_for
from loadtest.swarm.orders import Open

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND_WEBSOCKET: Final = 2.0  # times the floor
BOUND_LONG_POLLING: Final = 30.0  # µs
_US: Final = 1e6
_QUIET: Final = 0.5  # seconds until the last polls have been taken in
_TEXT: Final = "the quick brown fox"


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Settings; `messages` are sent in every round."""

    subscribers: int = 10_000
    messages: int = 20
    rounds: int = 5
    transports: tuple[str, ...] = ("websocket", "long-polling")
    channel: str = "/bench/room"


class _Room:
    """A node, its subscribers, and the messages published to them so far."""

    def __init__(self, node: Node, swarm: Swarm, channel: str) -> None:
        self.node = node
        self.swarm = swarm
        self._channel = channel
        self.published = 0

    def publish(self, messages: int) -> None:
        """Publish one after the other, each when the last has reached everyone."""
        for _ in range(messages):
            self.published += 1
            self.swarm.expect(self.published)
            data = {"n": self.published, "sent_ns": monotonic_ns(), "text": _TEXT}
            self.node.call("/api/publish", {"channel": self._channel, "data": data})
            self.swarm.wait_reached()
        sleep(_QUIET)

    def cost(self, messages: int) -> float:
        """Server CPU of one delivery, in µs."""
        before = self.node.cpu()
        self.publish(messages)
        used = self.node.cpu().since(before).total
        return used / (messages * self.swarm.clients) * _US

    def check(self) -> Latency:
        """Every client has had every message once; the sampled ones in order. Their latencies."""
        counts = self.swarm.tell()
        if counts.faults:
            raise RuntimeError(f"subscribers were lost: {counts.faults[0]}")
        if not counts.fewest == counts.most == self.published:
            raise RuntimeError(
                f"{self.published} messages published, but clients have "
                f"{counts.fewest} to {counts.most}"
            )
        latency = Latency()
        latency.add_encoded(counts.latency)
        return latency


class _Bare:
    """A floor and its clients."""

    def __init__(self, floor: Floor, swarm: Swarm) -> None:
        self.floor = floor
        self._swarm = swarm
        self._sent = 0

    def cost(self, messages: int) -> float:
        """CPU of one delivery, in µs."""
        before = self.floor.cpu()
        for _ in range(messages):
            self._sent += 1
            self._swarm.expect(self._sent)
            self.floor.send()
            self._swarm.wait_reached()
        sleep(_QUIET)
        used = self.floor.cpu().since(before).total
        return used / (messages * self._swarm.clients) * _US


def run(settings: Broadcast, progress: Callable[[str], None]) -> Report:
    """Rounds alternate between the node and the floors; the first of each is warm-up."""
    report = Report(
        "broadcast", {"subscribers": settings.subscribers, "messages a round": settings.messages}
    )
    for transport in settings.transports:
        progress(f"broadcast: {transport}, opening {settings.subscribers:,} subscribers")
        _measure(settings, transport, report, progress)
    return report


def _measure(
    settings: Broadcast, transport: str, report: Report, progress: Callable[[str], None]
) -> None:
    with ExitStack() as stack:
        node = stack.enter_context(running_node())
        swarm = stack.enter_context(swarm_for(settings.subscribers))
        order = Open(
            transport=transport,
            host=HOST,
            port=node.client_port,
            count=settings.subscribers,
            seed=1,
            channel=settings.channel,
        )
        swarm.open(order)
        room = _Room(node, swarm, settings.channel)
        room.publish(1)
        before = swarm.tell().received_bytes
        room.publish(1)
        frame_bytes = (swarm.tell().received_bytes - before) // settings.subscribers
        bare = []
        order.transport = "raw" if transport == "websocket" else "raw-cycle"
        order.frame_bytes = frame_bytes
        for floor in stack.enter_context(running_floors(frame_bytes)):
            crowd = stack.enter_context(swarm_for(settings.subscribers))
            order.port = floor.port
            crowd.open(order)
            bare.append(_Bare(floor, crowd))
        for number in range(-1, settings.rounds):
            progress(f"broadcast: {transport}, round {number + 1} of {settings.rounds}")
            ours = room.cost(settings.messages)
            floors = {each.floor.name: each.cost(settings.messages) for each in bare}
            if number >= 0:
                _add(report, transport, ours, floors)
        latency = room.check()
        report.add(f"{transport}: bytes a delivery", "bytes", frame_bytes)
        report.remarks.append(
            f"{transport}: from publish to a sampled client, one burst of "
            f"{settings.subscribers:,} at a time: p50 {latency.percentile_ms(50):.0f} ms, "
            f"p99 {latency.percentile_ms(99):.0f} ms; every client got all "
            f"{room.published} messages once, in order."
        )


def _add(report: Report, transport: str, ours: float, floors: dict[str, float]) -> None:
    streaming = transport == "websocket"
    report.add(
        f"{transport}: server CPU a delivery",
        "µs",
        ours,
        at_most=None if streaming else BOUND_LONG_POLLING,
    )
    for position, (name, cost) in enumerate(floors.items()):
        report.add(f"{transport}: {name}", "µs", cost)
        report.add(
            f"{transport}: ours to the {name}",
            "times",
            ours / cost,
            at_most=BOUND_WEBSOCKET if streaming and position == 0 else None,
        )
