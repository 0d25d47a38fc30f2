"""Harm for a ring of real nodes, one blow after the other, drawn from a seed.

Each blow falls as soon as the ring has healed from the one before: every node
runs, is ready, and all agree on one view.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING

from cluster_process import ClusterProcess, NodeProcess, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HEAL_LIMIT = 90.0  # seconds
START_LIMIT = 90.0


class Blow(StrEnum):
    KILL = "kill -9"
    PAUSE = "pause"
    DRAIN = "drain"


@dataclass
class Chaos:
    """`strike()` harms one node and waits until the ring is whole; `seconds` heal on their own."""

    cluster: ClusterProcess
    seed: int
    blows: Sequence[Blow] = tuple(Blow)
    counts: Counter[str] = field(default_factory=Counter)
    heal_times: list[float] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._began = time.monotonic()

    def strike(self) -> None:
        blow = self._random.choice(self.blows)
        node = self._random.choice(self.cluster.nodes)
        self.counts[blow] += 1
        began = time.monotonic()
        if blow is Blow.KILL:
            node.kill()
            self._rest(0.0, 3.0)
            self.cluster.start_node(node)
        elif blow is Blow.PAUSE:
            node.pause()
            self._rest(0.2, 4.0)
            node.resume()
        else:
            restart(self.cluster, node)
        healed = wait_healed(self.cluster)
        self.heal_times.append(healed)
        words = (
            f"{began - self._began:7.2f} s: {blow} node {node.index}, whole {healed:.2f} s later"
        )
        self.log.append(f"{words} ({time.time():.2f})")

    def _rest(self, least: float, most: float) -> None:
        time.sleep(self._random.uniform(least, most))


def durable(cluster: ClusterProcess, folder: Path) -> ClusterProcess:
    """Give every node a state directory, so that a restarted one is who it was.

    And time: the machine may have more to do than to start nodes.
    """
    cluster.start_within = START_LIMIT
    for node in cluster.nodes:
        node.arguments += ["--state-dir", str(folder / f"state-{node.index}")]
    return cluster


def restart(cluster: ClusterProcess, node: NodeProcess) -> None:
    """SIGTERM, wait for its end, start it again; fails if it does not go by itself."""
    node.terminate()
    status = node.wait(30.0)
    assert status == 0, f"node {node.index} ended with {status}\n{cluster.logs()}"
    cluster.start_node(node)


def wait_healed(cluster: ClusterProcess, limit: float = HEAL_LIMIT) -> float:
    """Wait until all nodes run and agree, with every copy of every slot in its place."""

    def healed() -> bool:
        dead = [node.index for node in cluster.nodes if not node.alive]
        assert not dead, f"nodes {dead} have ended\n{cluster.logs()}"
        return cluster.agreed(len(cluster.nodes)) and all(map(settled, cluster.nodes))

    try:
        return wait_until(healed, limit, "the ring whole again", interval=0.1)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{cluster.logs()}") from None


def settled(node: NodeProcess) -> bool:
    """Whether no slot is on its way to or from `node`."""
    try:
        metrics = node.metrics()
    except OSError:
        return False
    moving = ("opening", "parting")
    return not any(metrics.get(f'cometring_slots{{role="{role}"}}', 0) for role in moving)


def end_paused(cluster: ClusterProcess) -> None:
    """Let every paused node run, so that it can be stopped."""
    for node in cluster.alive:
        node.signal(signal.SIGCONT)
