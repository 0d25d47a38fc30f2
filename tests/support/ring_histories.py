"""Random histories: a ring to which anything happens, and what must hold of it throughout.

A history is a seed. Its processes have disks and keep to one set of seeds; they
are killed, hung, paused, cut off (both ways, one way, here and there), leave, come
back with their disk or without, and others join. Now and then several die at
once, perhaps all. In the end everything is mended and everyone whose vote may be
needed is started again: all must come to one view of the one ring.
"""

from __future__ import annotations

from dht.settings import RingSettings
from ring_invariants import Invariants
from ring_sim import Chaos, RingSim, SimNode

SEEDS = ("n0", "n1", "n2")
EVENTS = (
    "die",
    "die",
    "crash",
    "hang",
    "pause",
    "restart",
    "restart",
    "leave",
    "cut",
    "cut",
    "cut one way",
    "cut here and there",
    "join",
    "wipe",
)
MOST = 9  # processes
SETTLES_WITHIN = 30.0  # seconds, after the last fault, with everyone back
CALM = 3.0


class History:
    """One history; `run` raises AssertionError if it breaks an invariant."""

    def __init__(
        self,
        seed: int,
        events: tuple[str, ...] = EVENTS,
        settings: RingSettings | None = None,
    ) -> None:
        if settings is None and seed % 2:  # as in a large ring: word and news by many hops
            settings = RingSettings(flat_limit=0)
        self.sim = RingSim(seed, latency=0.003, loss=0.01, settings=settings, codec=False)
        self.rng = self.sim.rng
        if self.rng.random() < 0.3:
            self.sim.chaos = Chaos(drop=0.01, repeat=0.02, reorder=0.05)
        self.invariants = Invariants(self.sim)
        self.events = events
        self.names = list(SEEDS)
        self.told: list[str] = []  # what happened, for whoever has to find out why
        for name in SEEDS:
            self._start(name)

    def run(self, faults: int = 12) -> None:
        """So many faults at random moments, then calm, then agreement."""
        sim = self.sim
        sim.run_until(self.agreed, 15)
        for _ in range(faults):
            sim.run(self.rng.choice((0.02, 0.2, 1.0, 1.0, 3.0)) * self.rng.random())
            self._happen()
        self._settle()
        sim.run(CALM)
        assert self.agreed(), sim.describe()

    def agreed(self) -> bool:
        """Whether all processes are in one ring, on one view, all ACTIVE."""
        return self.sim.one_ring(self.sim.nodes.values())

    def describe(self) -> str:
        return "\n".join([*self.told, self.sim.describe()])

    # -- what happens ---------------------------------------------------------------------

    def _happen(self) -> None:  # noqa: C901 - one case an event
        event = self.rng.choice(self.events)
        nodes = list(self.sim.nodes.values())
        if self.rng.random() < 0.6:
            self._mend()
            nodes = list(self.sim.nodes.values())
        if not nodes:
            return self._start(self.rng.choice(self.names))
        victim = self.rng.choice(nodes)
        self.told.append(f"{self.sim.now:.3f} {event} {victim.address}")
        match event:
            case "die":
                victim.die()
            case "crash":
                for node in self.rng.sample(nodes, self.rng.randint(1, len(nodes))):
                    node.die()
            case "leave":
                victim.leave()
            case "hang":
                victim.hang()
            case "pause":
                victim.hang()
                self.sim.at(self.rng.uniform(0.05, 1.5), self._resume, victim)
            case "restart":
                self._restart()
            case "wipe":
                self._wipe(victim)
            case "join":
                self._join()
            case _:
                self._cut(event, nodes)
        return None

    def _settle(self) -> None:
        """Mend everything, and start whoever is down or goes down on its way out."""
        self._mend()
        deadline = self.sim.now + SETTLES_WITHIN
        while True:
            for name in self.names:
                if f"{name}:7400" not in self.sim.nodes:
                    self._start(name)
            self.sim.run(0.1)
            if self.agreed():
                return
            assert self.sim.now < deadline, f"not settled: {self.sim.describe()}"

    def _start(self, name: str) -> None:
        self.sim.start(name, SEEDS, len(SEEDS), durable=True)

    def _restart(self) -> None:
        gone = [name for name in self.names if f"{name}:7400" not in self.sim.nodes]
        if gone:
            self._start(self.rng.choice(gone))

    def _join(self) -> None:
        if len(self.names) < MOST:
            self.names.append(f"j{len(self.names)}")
            self._start(self.names[-1])

    def _wipe(self, victim: SimNode) -> None:
        """Its disk is lost. One at a time: of a majority that has lost its memory nobody knows."""
        self._settle()
        self.sim.run(CALM)
        self._settle()
        if len(self.sim.nodes) >= 3 and victim.alive:
            victim.die()
            del self.sim.disks[victim.address]
            self._start(victim.address.partition(":")[0])
            self._settle()

    def _cut(self, event: str, nodes: list[SimNode]) -> None:
        if len(nodes) < 2:
            return
        few = self.rng.sample(nodes, self.rng.randint(1, len(nodes) // 2))
        rest = [node for node in nodes if node not in few]
        if event == "cut":
            self.sim.cut(few, rest)
        elif event == "cut one way":
            sides = (few, rest) if self.rng.random() < 0.5 else (rest, few)
            self.sim.cut(*sides, one_way=True)
        else:
            for _ in range(len(nodes)):
                one, two = self.rng.sample(nodes, 2)
                self.sim.cut([one], [two], one_way=self.rng.random() < 0.5)

    def _mend(self) -> None:
        """End what is not final."""
        self.sim.heal()
        for node in list(self.sim.nodes.values()):
            self._resume(node)

    @staticmethod
    def _resume(node: SimNode) -> None:
        if node.hung and node.alive:
            node.resume()
