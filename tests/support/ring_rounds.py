"""Rounds of faults on a ring of real processes, timed at every survivor.

Each node logs the moment at which it installs a view, with the view's digest, so
nobody has to be asked and the measuring costs the nodes nothing. A survivor has
agreed when it stands on the view that all survivors end up on.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from cluster_process import ClusterProcess, NodeProcess, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
    from random import Random

SETTLE_WITHIN = 60.0
"""Seconds in which any fault must have been dealt with; far above every bound: a process that
starts writes to a disk, and a busy machine has had one wait for half a minute."""


@dataclass(frozen=True)
class Installed:
    """A view that a node has come to stand on."""

    at: float  # seconds of the wall clock, the same for all nodes of one machine
    ring: str
    number: int
    digest: str
    members: int

    @property
    def view(self) -> tuple[str, int, str]:
        """What is the same for all that agree."""
        return self.ring, self.number, self.digest


class ViewLog:
    """The views that one node has logged so far."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = 0  # bytes
        self._views: list[Installed] = []

    def views(self) -> list[Installed]:
        """All of them, oldest first."""
        with self._log.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        text = text[: text.rfind(b"\n") + 1]  # the rest is only half written yet
        self._read += len(text)
        for line in text.splitlines():
            if b'"event": "view"' in line:
                entry = json.loads(line)
                at = datetime.fromisoformat(entry["timestamp"]).timestamp()
                view = (entry["ring"], entry["number"], entry["digest"], entry["members"])
                self._views.append(Installed(at, *view))
        return self._views


@dataclass
class Samples:
    """Seconds, each from one node in one round."""

    seconds: list[float] = field(default_factory=list)

    def quantile(self, part: float) -> float:
        """The value below which `part` of them lie (nearest rank)."""
        ranked = sorted(self.seconds)
        return ranked[min(len(ranked) - 1, int(part * len(ranked)))]

    def summary(self) -> dict[str, float]:
        return {
            "samples": len(self.seconds),
            "p50": round(self.quantile(0.5), 3),
            "p99": round(self.quantile(0.99), 3),
            "max": round(max(self.seconds), 3),
        }


class RingRounds:
    """A ring of `nodes` real processes, each with a state directory, and what it goes through.

    `measured` has samples by name: ``kill`` and ``hang`` from the fault until a
    survivor has agreed, ``back …`` from the start of the process, or from SIGCONT,
    until a node has agreed that it is back. `bystanders`: healthy nodes that lost their place.
    """

    def __init__(
        self, nodes: int, directory: Path, rng: Random, arguments: Iterable[str] = ()
    ) -> None:
        self.measured: defaultdict[str, Samples] = defaultdict(Samples)
        self.bystanders = 0
        self._rng = rng
        options = ("--log-level", "info", "--log-format", "json", *arguments)
        self.cluster = ClusterProcess(nodes, directory, options)
        self._logs = {node.index: ViewLog(node.log) for node in self.cluster.nodes}
        self._state = {node.index: directory / f"state-{node.index}" for node in self.cluster.nodes}
        for node in self.cluster.nodes:
            node.arguments += ["--state-dir", str(self._state[node.index])]

    def any_node(self) -> NodeProcess:
        return self._rng.choice(self.cluster.nodes)

    # -- faults -----------------------------------------------------------------------

    def kill_and_restart(self, victim: NodeProcess, *, with_state: bool) -> None:
        """``kill -9``, and a new process later, with the state directory or without."""
        survivors = [node for node in self.cluster.nodes if node is not victim]
        before = _listed(survivors[0])
        began = time.time()
        victim.kill()
        self._measure("kill", began, survivors)
        if not with_state:
            shutil.rmtree(self._state[victim.index])
        began = time.time()
        self.cluster.start_node(victim)
        kind = "back with state" if with_state else "back without state"
        self._measure(kind, began, self.cluster.nodes)
        self._look_who_is_new(before, victim, same_id=with_state)

    def hang(self, victim: NodeProcess, seconds: float) -> None:
        """SIGSTOP: the others go on without it. SIGCONT: it comes back, as a new incarnation."""
        survivors = [node for node in self.cluster.nodes if node is not victim]
        before = _listed(survivors[0])
        began = time.time()
        victim.pause()
        try:
            self._measure("hang", began, survivors)
            time.sleep(max(0.0, began + seconds - time.time()))
        finally:
            resumed = time.time()
            victim.resume()
        self._measure("back after hang", resumed, self.cluster.nodes)
        self._look_who_is_new(before, victim, same_id=True)

    def blink(self, victim: NodeProcess, seconds: float) -> None:
        """A pause that is not to cost the node its place: no view may come of it."""
        before = [len(self._logs[node.index].views()) for node in self.cluster.nodes]
        victim.pause()
        time.sleep(seconds)
        victim.resume()
        time.sleep(1.0)  # late accusations would do their harm now
        after = [len(self._logs[node.index].views()) for node in self.cluster.nodes]
        assert after == before, f"a pause of {seconds:g} s cost a node its place"
        assert self.cluster.agreed(len(self.cluster.nodes)), self.cluster.logs()

    # -- measuring ----------------------------------------------------------------------

    def _measure(self, kind: str, began: float, nodes: Sequence[NodeProcess]) -> None:
        """Wait until `nodes`, and nobody else, are one ring; note when each came to be there."""
        latest: list[Installed] = []

        def agreed() -> bool:
            latest[:] = [self._logs[node.index].views()[-1] for node in nodes]
            return len({each.view for each in latest}) == 1 and latest[0].members == len(nodes)

        self._wait(agreed, f"{kind}: a ring of {len(nodes)}")
        self.measured[kind].seconds += [each.at - began for each in latest]
        if len(nodes) == len(self.cluster.nodes):
            self._wait(partial(self.cluster.agreed, len(nodes)), f"{kind}: all are ready")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        try:
            wait_until(condition, SETTLE_WITHIN, what, 0.02)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.cluster.logs()}") from None

    def _look_who_is_new(
        self, before: dict[str, int], victim: NodeProcess, *, same_id: bool
    ) -> None:
        """The victim is another incarnation than before; nobody else ought to be."""
        now = _listed(self.cluster.nodes[0])
        changed = {node for node in now if now[node] != before.get(node)}
        ring = victim.ring()
        assert ring is not None
        assert ring["node"] in changed, "it is taken for the process that it was"
        if same_id:
            assert ring["node"] in before, "it lost its id"
        self.bystanders += len(changed) - 1


def _listed(node: NodeProcess) -> dict[str, int]:
    """Member -> incarnation, as `node` sees the ring."""
    ring = node.ring()
    assert ring is not None
    return {member["id"]: member["incarnation"] for member in ring["members"]}
