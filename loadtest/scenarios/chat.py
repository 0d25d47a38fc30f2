"""CometD's load shape: many rooms, each client in some, small messages in batches.

The CometD project's load test has 100 rooms, clients in 10 of them, and
messages of 50 bytes in batches of 10. A batch here is one call of the
application interface with 10 messages for 10 rooms.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Final

from loadtest.latency import Latency
from loadtest.report import Report
from loadtest.server import HOST, running_node
from loadtest.settings import option
from loadtest.swarm.control import publish, swarm_for, swarm_processes
from loadtest.swarm.orders import Open, Publish

if TYPE_CHECKING:
    from loadtest.settings import Progress

_CHANNEL: Final = "/chat"
_TEXT: Final = "x" * 50
_SETTLE: Final = 1.0  # seconds for the last messages to come


@dataclass(frozen=True, slots=True)
class Chat:
    """Rooms, with clients in several: latency and CPU against the rate."""

    clients: int = option(1_000, "Clients.")
    rooms: int = option(100, "Rooms.")
    rooms_each: int = option(10, "Rooms that each client is in.")
    batch: int = option(10, "Messages a call.")
    rates: tuple[str, ...] = option(
        ("500", "1000", "2000", "3000"), "Messages published a second.", name="--rate"
    )
    seconds: float = option(6.0, "Length of a round.")
    transport: str = option("websocket", "What the clients use.")


def run(settings: Chat, progress: Progress) -> Report:
    """One round a rate, after a second of warm-up."""
    readers = settings.clients * settings.rooms_each / settings.rooms
    report = Report(
        "chat",
        {"clients": settings.clients, "rooms": settings.rooms, "readers a room": readers},
    )
    with (
        running_node() as node,
        swarm_for(settings.clients) as swarm,
        swarm_processes(1) as (publisher,),
    ):
        progress("chat: opening")
        swarm.open(
            Open(
                transport=settings.transport,
                host=HOST,
                port=node.client_port,
                count=settings.clients,
                seed=1,
                channel=_CHANNEL,
                rooms=settings.rooms,
                rooms_each=settings.rooms_each,
                sampled=100,
            )
        )
        order = Publish(
            host=HOST,
            port=node.client_port,
            api_key=node.api_key,
            targets=[f"{_CHANNEL}/{number}" for number in range(settings.rooms)],
            rate=200.0,
            batch=settings.batch,
            connections=4,
            seconds=1.0,
            text=_TEXT,
        )
        publish(publisher, order)
        sleep(_SETTLE)
        for rate in map(float, settings.rates):
            progress(f"chat: {rate:,.0f} messages a second")
            order.rate, order.seconds = rate, settings.seconds
            before, start = node.cpu(), swarm.tell()
            published = publish(publisher, order)
            sleep(_SETTLE)
            used, end = node.cpu().since(before), swarm.tell()
            faults = [*published.faults, *end.faults]
            if faults:
                raise RuntimeError(f"chat at {rate:,.0f} a second: {faults[0]}")
            delivered = end.deliveries - start.deliveries
            if delivered != round(published.accepted * readers):
                raise RuntimeError(
                    f"{published.accepted} published, {delivered} delivered, {readers} readers"
                )
            _add(
                report,
                rate,
                delivered / published.seconds,
                used.total / published.seconds,
                end.latency,
            )
    return report


def _add(report: Report, rate: float, delivered: float, cores: float, encoded: str) -> None:
    latency = Latency()
    latency.add_encoded(encoded)
    name = f"{rate:,.0f} published a second"
    report.add(f"{name}: delivered", "/s", delivered)
    report.add(f"{name}: CPU of the node", "cores", cores)
    report.add(f"{name}: p50", "ms", latency.percentile_ms(50))
    report.add(f"{name}: p99", "ms", latency.percentile_ms(99))
    report.draw("CPU against rate", "messages delivered a second", "cores").series.setdefault(
        "node", []
    ).append((delivered, cores))
    report.draw_latency("Chat rooms", name, latency.curve())
