"""What copies cost: the same publishes with one, two and three of them, side by side.

And what they cost when a holder of copies pauses, or dies: the longest that a
publisher waited for its commit.
"""

from __future__ import annotations

import os
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Final

from loadtest.latency import Latency
from loadtest.report import Report
from loadtest.server import HOST, Node, running_nodes
from loadtest.settings import option
from loadtest.swarm.control import SwarmProcess, publish, swarm_processes
from loadtest.swarm.orders import Publish

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.settings import Progress

COPIES: Final = (1, 2, 3)
PAUSE: Final = 0.1  # seconds
MUST_PAUSE_MS: Final = 1_000.0  # a pause is shorter than what the ring strikes a member off for
MUST_DEATH_MS: Final = 2_000.0
_US: Final = 1e6
_CHANNELS: Final = 32
_CONNECTIONS: Final = 16
_TEXT: Final = "the quick brown fox"


@dataclass(frozen=True, slots=True)
class Replicas:
    """Publishes with one, two and three copies; a holder of copies that pauses, or dies."""

    nodes: int = option(4, "Nodes of the ring.")
    rate: float = option(500.0, "Publishes a second.")
    seconds: float = option(4.0, "Length of a round.")
    rounds: int = option(5, "Rounds; the table shows their median.")


def run(settings: Replicas, progress: Progress) -> Report:
    """The publisher calls the first node; the last one pauses, and dies in the end."""
    report = Report("replicas", {"nodes": settings.nodes, "rate": settings.rate})
    with tempfile.TemporaryDirectory(prefix="cometring-replicas-") as folder:
        rules = Path(folder) / "channels.toml"
        rules.write_text(
            "".join(f'[[channel]]\nmatch = "/copies{n}/**"\nreplicas = {n}\n' for n in COPIES),
            "utf-8",
        )
        with (
            running_nodes(settings.nodes, ("--channels", str(rules))) as nodes,
            swarm_processes(1) as (publisher,),
        ):
            load = _Load(settings, nodes, publisher, report)
            for copies in COPIES:
                load.publish(copies, 1.0)
            for number in range(settings.rounds):
                for copies in COPIES:
                    progress(f"replicas: round {number + 1} of {settings.rounds}, {copies} copies")
                    load.measure(copies)
                progress(f"replicas: round {number + 1} of {settings.rounds}, a pause")
                load.disturb("a holder pauses 100 ms: worst commit", _pause, MUST_PAUSE_MS)
            progress("replicas: a death")
            load.disturb("a holder dies: worst commit", _kill, MUST_DEATH_MS)
    return report


class _Load:
    """The publisher's orders, and what comes of them."""

    def __init__(
        self, settings: Replicas, nodes: list[Node], publisher: SwarmProcess, report: Report
    ) -> None:
        self._settings = settings
        self._nodes = nodes
        self._publisher = publisher
        self._report = report

    def publish(
        self, copies: int, seconds: float, *, refusals: bool = False
    ) -> tuple[int, Latency]:
        """How many publishes were committed, and how long each waited. Raises RuntimeError."""
        first = self._nodes[0]
        published = publish(
            self._publisher,
            Publish(
                host=HOST,
                port=first.client_port,
                api_key=first.api_key,
                targets=[f"/copies{copies}/{i}" for i in range(_CHANNELS)],
                rate=self._settings.rate,
                batch=1,
                connections=_CONNECTIONS,
                seconds=seconds,
                text=_TEXT,
            ),
        )
        if published.refused and not refusals:
            raise RuntimeError(f"{published.refused} refused: {'; '.join(published.faults)}")
        latency = Latency()
        latency.add_encoded(published.latency)
        return published.accepted, latency

    def measure(self, copies: int) -> None:
        """Commit latency, and the CPU of all nodes."""
        before = [node.cpu() for node in self._nodes]
        accepted, latency = self.publish(copies, self._settings.seconds)
        used = sum(
            node.cpu().since(then).total for node, then in zip(self._nodes, before, strict=True)
        )
        name = "1 copy" if copies == 1 else f"{copies} copies"
        self._report.add(f"{name}: CPU a publish, all nodes", "µs", used / accepted * _US)
        self._report.add(f"{name}: commit p50", "ms", latency.percentile_ms(50))
        self._report.add(f"{name}: commit p99", "ms", latency.percentile_ms(99))
        self._report.add(f"{name}: worst commit", "ms", latency.worst_ms())

    def disturb(self, name: str, harm: Callable[[Node], None], must: float) -> None:
        """The longest wait while something happens to the last node, with three copies."""
        timer = Timer(self._settings.seconds / 2, harm, (self._nodes[-1],))
        timer.start()
        try:
            _, latency = self.publish(COPIES[-1], self._settings.seconds, refusals=True)
        finally:
            timer.join()
        self._report.add(name, "ms", latency.worst_ms(), at_most=must)


def _pause(node: Node) -> None:
    os.kill(node.pid, signal.SIGSTOP)
    resume = Timer(PAUSE, os.kill, (node.pid, signal.SIGCONT))
    resume.start()
    resume.join()


def _kill(node: Node) -> None:
    os.kill(node.pid, signal.SIGKILL)
