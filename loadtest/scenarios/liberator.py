"""The Liberator shape: every client gets so many messages a second, in batches.

Caplin's Liberator is said to bring 10,000 clients 100 messages a second each,
batched over 100 ms. The publisher here calls once a batch, so that is what it
sends; the latency is that of each message from the moment its batch was due.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Final

from loadtest.latency import Latency
from loadtest.report import Report
from loadtest.server import HOST, running_node
from loadtest.settings import option
from loadtest.swarm.control import swarm_for, swarm_processes
from loadtest.swarm.orders import Open, Publish, Published

if TYPE_CHECKING:
    from loadtest.settings import Progress

MUST_SHARE: Final = 0.99  # of what is asked; the first and last batch of a round are cut
MUST_CORES: Final = 1.0
AIM_CORES: Final = 0.7
MUST_P99_MS: Final = 300.0
AIM_P99_MS: Final = 150.0
_NS: Final = 1e9
_CHANNEL: Final = "/bench/prices"
_WARM_UP: Final = 4.0  # seconds
_PAYLOAD: Final = "EURUSD 1.0842 1.0844"


@dataclass(frozen=True, slots=True)
class Liberator:
    """Many clients, many messages a second each, in batches of 100 ms."""

    clients: int = option(10_000, "Clients, all of one channel.")
    rate: float = option(100.0, "Messages a second to each client.")
    batch: int = option(10, "Messages a batch.")
    seconds: float = option(15.0, "Length of a round.")
    rounds: int = option(3, "Rounds; the table shows their median.")
    transport: str = option("websocket", "What the clients use: websocket or sse.")


def run(settings: Liberator, progress: Progress) -> Report:
    """One open load over all rounds."""
    wanted = settings.clients * settings.rate
    report = Report(
        "liberator",
        {"clients": settings.clients, "messages a second": wanted, "batch": settings.batch},
    )
    progress(f"liberator: opening {settings.clients:,} clients")
    with (
        running_node() as node,
        swarm_for(settings.clients) as swarm,
        swarm_processes(1) as (publisher,),
    ):
        swarm.open(
            Open(
                transport=settings.transport,
                host=HOST,
                port=node.client_port,
                count=settings.clients,
                seed=1,
                channel=_CHANNEL,
                path=f"/sse?channel={_CHANNEL}" if settings.transport == "sse" else "/bayeux",
            )
        )
        seconds = _WARM_UP + settings.rounds * settings.seconds + 1.0
        publisher.order(
            Publish(
                host=HOST,
                port=node.client_port,
                api_key=node.api_key,
                targets=[_CHANNEL],
                rate=settings.rate,
                batch=settings.batch,
                connections=1,
                seconds=seconds,
                text=_PAYLOAD,
            )
        )
        sleep(_WARM_UP)
        start, before = swarm.tell(), node.cpu()
        for number in range(settings.rounds):
            progress(f"liberator: round {number + 1} of {settings.rounds}")
            sleep(settings.seconds)
            end, after = swarm.tell(), node.cpu()
            if end.faults:
                raise RuntimeError(f"clients were lost: {end.faults[0]}")
            elapsed = (end.at_ns - start.at_ns) / _NS
            used = after.since(before)
            delivered = (end.deliveries - start.deliveries) / elapsed
            report.add("messages delivered a second", "/s", delivered, at_least=wanted * MUST_SHARE)
            report.add(
                "CPU of the node", "cores", used.total / elapsed, at_most=MUST_CORES, aim=AIM_CORES
            )
            report.add("share of it in the kernel", "%", 100 * used.system / used.total)
            report.add("CPU a message delivered", "µs", used.total / elapsed / delivered * 1e6)
            latency = Latency()
            latency.add_encoded(end.latency)
            report.add("sent to received: p50", "ms", latency.percentile_ms(50))
            report.add(
                "sent to received: p99",
                "ms",
                latency.percentile_ms(99),
                at_most=MUST_P99_MS,
                aim=AIM_P99_MS,
            )
            report.draw_latency("Liberator shape", f"round {number + 1}", latency.curve())
            start, before = end, after
        published = publisher.wait(Published, seconds + 60.0)
        if published.refused:
            raise RuntimeError(f"{published.refused} publishes refused: {published.faults[0]}")
    return report
