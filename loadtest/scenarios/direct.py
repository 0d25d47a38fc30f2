"""Messages to single sessions: published on one node, delivered by another."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

from loadtest.latency import Latency
from loadtest.report import Report
from loadtest.server import HOST, Node, running_nodes
from loadtest.settings import option
from loadtest.swarm.control import Swarm, SwarmProcess, publish, swarm_for, swarm_processes
from loadtest.swarm.orders import Open, Publish

if TYPE_CHECKING:
    from loadtest.settings import Progress
    from loadtest.swarm.orders import Counts, Published

_US: Final = 1e6
_SETTLE: Final = 30.0
_TEXT: Final = "the quick brown fox"
_TO_CLIENT: Final = "sent to received"
_BUDGET: Final = {50: (2.0, 1.0), 99: (10.0, 5.0)}  # ms: must, aim
_MUST_RATE: Final = 15_000.0
_AIM_RATE: Final = 30_000.0


@dataclass(frozen=True, slots=True)
class Direct:
    """Direct messages from one node to sessions on another: latency and throughput."""

    nodes: int = option(3, "Nodes of the ring.")
    sessions: int = option(300, "Sessions, on the last node.")
    rate: float = option(1_000.0, "Messages a second while latency is taken, one a call.")
    batch: int = option(100, "Messages a call at full speed.")
    connections: int = option(8, "Connections of the publisher.")
    seconds: float = option(5.0, "Length of a round.")
    rounds: int = option(3, "Rounds; the table shows their median.")
    transport: str = option("websocket", "What the sessions use.")


def run(settings: Direct, progress: Progress) -> Report:
    """Sessions live on the last node, the publisher calls the first."""
    report = Report(
        "direct",
        {
            "nodes": settings.nodes,
            "sessions": settings.sessions,
            "rate": settings.rate,
            "batch": settings.batch,
        },
    )
    with (
        running_nodes(settings.nodes) as nodes,
        swarm_for(settings.sessions) as swarm,
        swarm_processes(1) as (publisher,),
    ):
        progress("direct: opening")
        swarm.open(
            Open(
                transport=settings.transport,
                host=HOST,
                port=nodes[-1].client_port,
                count=settings.sessions,
                seed=1,
                sampled=settings.sessions,
            )
        )
        load = _Load(settings, nodes, swarm, publisher)
        load.run(rate=settings.rate, batch=1, seconds=1.0)
        for number in range(settings.rounds):
            progress(f"direct: round {number + 1} of {settings.rounds}")
            load.measure_latency(report)
            load.measure_throughput(report)
    return report


class _Load:
    """The publisher's orders, and the check that all they sent has come."""

    def __init__(
        self, settings: Direct, nodes: list[Node], swarm: Swarm, publisher: SwarmProcess
    ) -> None:
        self._settings = settings
        self._nodes = nodes
        self._swarm = swarm
        self._publisher = publisher
        self._sent = 0

    def run(self, *, rate: float, batch: int, seconds: float) -> tuple[Published, Counts]:
        """Publish, wait until every message has come, and check the count."""
        order = Publish(
            host=HOST,
            port=self._nodes[0].client_port,
            api_key=self._nodes[0].api_key,
            targets=self._swarm.sessions,
            rate=rate,
            batch=batch,
            connections=self._settings.connections,
            seconds=seconds,
            text=_TEXT,
        )
        published = publish(self._publisher, order)
        if published.refused:
            faults = published.faults + self._swarm.tell().faults
            raise RuntimeError(f"{published.refused} sends refused: {'; '.join(faults)}")
        self._sent += published.accepted
        deadline = monotonic() + _SETTLE
        counts = self._swarm.tell()
        while counts.deliveries < self._sent and monotonic() < deadline and not counts.faults:
            sleep(0.05)
            later = self._swarm.tell()
            latency = Latency()
            latency.add_encoded(counts.latency)
            latency.add_encoded(later.latency)
            later.latency = latency.encoded()
            counts = later
        if counts.faults:
            raise RuntimeError(f"sessions were lost: {counts.faults[0]}")
        if counts.deliveries != self._sent or counts.checked != self._sent:
            raise RuntimeError(
                f"{self._sent} sent, {counts.deliveries} came, {counts.checked} were in order"
            )
        return published, counts

    def measure_latency(self, report: Report) -> None:
        """At a fixed rate, one message a call; from the intended moment of sending."""
        settings = self._settings
        published, counts = self.run(rate=settings.rate, batch=1, seconds=settings.seconds)
        for name, text in ((_TO_CLIENT, counts.latency), ("API call", published.latency)):
            latency = Latency()
            latency.add_encoded(text)
            budget = _BUDGET if name == _TO_CLIENT else {}
            for percentile in (50, 99):
                must, aim = budget.get(percentile, (None, None))
                value = latency.percentile_ms(percentile)
                report.add(f"{name}: p{percentile}", "ms", value, at_most=must, aim=aim, paced=True)
            report.draw_latency("Direct messages", name, latency.curve())
            report.add(f"{name}: worst", "ms", latency.worst_ms())

    def measure_throughput(self, report: Report) -> None:
        """As fast as batches are answered."""
        settings = self._settings
        before = [node.cpu() for node in self._nodes]
        published, _ = self.run(rate=0, batch=settings.batch, seconds=settings.seconds)
        used = [node.cpu().since(then) for node, then in zip(self._nodes, before, strict=True)]
        report.add(
            "messages a second, by the clock",
            "/s",
            published.accepted / published.seconds,
            at_least=_MUST_RATE,
            aim=_AIM_RATE,
            paced=True,
        )
        report.add(
            "CPU a message, all nodes",
            "µs",
            sum(cpu.total for cpu in used) / published.accepted * _US,
        )
        report.add(
            "CPU a message, publisher's node", "µs", used[0].total / published.accepted * _US
        )
        report.add("CPU a message, session's node", "µs", used[-1].total / published.accepted * _US)
