"""Server CPU of one delivery of a broadcast, beside a bare `send()` to the same clients.

One publisher, one message at a time: the next goes out when every client has
the last (and, long-polling, has polled again). So each delivery on a stream is
one `send()` and each long-polling delivery one whole request cycle; nothing is
batched away. The floors run in the same rounds, with messages of the same size
to as many clients of the same kind.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Final

from loadtest.floor import Floor, running_floors
from loadtest.report import Report
from loadtest.room import Room
from loadtest.server import HOST, PROGRAM, running_node
from loadtest.settings import option
from loadtest.swarm.control import Swarm, swarm_for
from loadtest.swarm.orders import Open

if TYPE_CHECKING:
    from loadtest.settings import Progress

MUST_STREAM: Final = 1.5  # times the floor
AIM_STREAM: Final = 1.2
MUST_LONG_POLLING: Final = 30.0  # µs
AIM_LONG_POLLING: Final = 15.0
_US: Final = 1e6
_QUIET: Final = 0.5  # seconds until the last polls have been taken in
_CHANNEL: Final = "/bench/room"
_TRANSPORTS: Final = ("websocket", "sse", "long-polling")


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Server CPU a delivery, beside a bare send() loop in C and in Python."""

    subscribers: int = option(10_000, "Subscribers of each transport.")
    messages: int = option(20, "Messages a round.")
    rounds: int = option(5, "Rounds; the table shows their median.")
    transports: tuple[str, ...] = option(
        ("websocket", "sse"), "Repeat for several.", name="--transport", choices=_TRANSPORTS
    )


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


def run(settings: Broadcast, progress: Progress) -> Report:
    """Rounds alternate between the node and the floors; the first of each is warm-up."""
    report = Report(
        "broadcast", {"subscribers": settings.subscribers, "messages a round": settings.messages}
    )
    for transport in settings.transports:
        progress(f"broadcast: {transport}, opening {settings.subscribers:,} subscribers")
        measure(settings, transport, report, progress)
    return report


def measure(
    settings: Broadcast,
    transport: str,
    report: Report,
    progress: Progress,
    program: tuple[str, ...] = PROGRAM,
    floors: int = 2,
) -> None:
    """The rounds of one transport, on a node that `program` runs, beside so many floors."""
    with ExitStack() as stack:
        node = stack.enter_context(running_node(program=program))
        swarm = stack.enter_context(swarm_for(settings.subscribers))
        order = Open(
            transport=transport,
            host=HOST,
            port=node.client_port,
            count=settings.subscribers,
            seed=1,
            channel=_CHANNEL,
        )
        if transport == "sse":
            order.path = f"/sse?channel={_CHANNEL}"
        swarm.open(order)
        room = Room([node], swarm, _CHANNEL)
        room.publish(1)
        before = swarm.tell().received_bytes
        room.publish(1)
        frame_bytes = (swarm.tell().received_bytes - before) // settings.subscribers
        bare = []
        order.transport = "raw-cycle" if transport == "long-polling" else "raw"
        order.frame_bytes = frame_bytes
        for floor in stack.enter_context(running_floors(frame_bytes, floors)):
            crowd = stack.enter_context(swarm_for(settings.subscribers))
            order.port = floor.port
            crowd.open(order)
            bare.append(_Bare(floor, crowd))
        for number in range(-1, settings.rounds):
            progress(f"broadcast: {transport}, round {number + 1} of {settings.rounds}")
            ours = room.cost(settings.messages)
            beside = {each.floor.name: each.cost(settings.messages) for each in bare}
            if number >= 0:
                _add(report, transport, ours, beside)
        latency = room.check()
        report.add(f"{transport}: bytes a delivery", "bytes", frame_bytes)
        title = f"From publish to a client, bursts of {settings.subscribers:,}"
        report.draw_latency(title, transport, latency.curve())
        report.remarks.append(
            f"{transport}: from publish to a sampled client, one burst of "
            f"{settings.subscribers:,} at a time: p50 {latency.percentile_ms(50):.0f} ms, "
            f"p99 {latency.percentile_ms(99):.0f} ms; every client got all "
            f"{room.published} messages once, in order."
        )


def _add(report: Report, transport: str, ours: float, floors: dict[str, float]) -> None:
    streaming = transport != "long-polling"
    report.add(
        f"{transport}: server CPU a delivery",
        "µs",
        ours,
        at_most=None if streaming else MUST_LONG_POLLING,
        aim=None if streaming else AIM_LONG_POLLING,
        paced=True,
    )
    for position, (name, cost) in enumerate(floors.items()):
        held = streaming and position == 0
        report.add(f"{transport}: {name}", "µs", cost)
        report.add(
            f"{transport}: ours to the {name}",
            "times",
            ours / cost,
            at_most=MUST_STREAM if held else None,
            aim=AIM_STREAM if held else None,
        )
