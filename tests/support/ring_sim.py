"""Real ring engines under virtual time: seeded, one event heap (`ring_network`)."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from dht.agreement import choose_voters
from dht.dealing import deal_ids
from dht.engine import RingEngine
from dht.ids import random_id
from dht.messages import Admitted
from dht.settings import RingSettings
from dht.view import Member, MemberState, View
from ring_network import Chaos, Network
from ring_process import Disk, SimNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dht.ballots import Electorate
    from dht.effects import Effect
    from dht.ids import NodeId

__all__ = ["Chaos", "RingSim", "SimNode"]

RING = b"simulated-ring.."


class RingSim(Network):
    """The world: processes, and the network between them."""

    def __init__(
        self,
        seed: int,
        latency: float = 0.001,
        loss: float = 0.0,
        settings: RingSettings | None = None,
        chaos: Chaos | None = None,
        *,
        codec: bool = True,
    ) -> None:
        """`codec`: messages travel as bytes, as they do in life; off, they are handed over."""
        super().__init__(seed, latency, loss, chaos, codec=codec)
        self.settings = settings or RingSettings()
        self.refounded: set[tuple[bytes, int]] = set()  # views proposed by seekers
        self.watches: list[Callable[[SimNode, View], None]] = []  # told of every view installed
        self.disks: dict[str, Disk] = {}

    # -- processes ----------------------------------------------------------------------------

    def start(
        self,
        name: str,
        seeds: Iterable[str] = (),
        expect: int = 1,
        *,
        node: NodeId | None = None,
        incarnation: int | None = None,
        zone: str = "",
        durable: bool = False,
    ) -> SimNode:
        """Start a process that listens at ``name:7400``; `node`: an id that was kept.

        `durable`: with the disk of that name, and what an earlier life has left there.
        """
        address = f"{name}:7400"
        disk = self.disks.setdefault(address, Disk()) if durable else None
        if disk is not None:
            node = node or disk.id
        me = Member(
            node or random_id(self.rng),
            incarnation or int(self.now * 1000),
            address,
            f"{name}:8080",
            zone or name,
            MemberState.JOINING,
        )
        engine = RingEngine(
            me,
            [f"{seed}:7400" for seed in seeds],
            expect,
            Random(self.rng.getrandbits(64)),
            self.settings,
            keeps_id=node is not None,
            memory=disk.memory if disk is not None else None,
            durable=durable,
        )
        self._note_refounding(engine)
        process = SimNode(self, address, engine)
        process.disk = disk
        assert address not in self.nodes
        self.nodes[address] = process
        process.call(engine.start)
        return process

    def establish(self, count: int) -> list[SimNode]:
        """A ring of `count` that has been there for long: all ACTIVE, ids dealt, on view 1.

        They open their links as they begin to beat, each at a moment of its own.
        """
        ids = deal_ids((), count, self.rng)
        members = tuple(
            Member(node, 1, f"n{index}:7400", f"n{index}:8080", f"n{index}", MemberState.ACTIVE)
            for index, node in enumerate(ids)
        )
        ordered = tuple(sorted(members, key=lambda member: member.id))
        view = View(1, RING, ordered, choose_voters(ordered, ()))
        return [self._established(member, view) for member in members]

    def _established(self, member: Member, view: View) -> SimNode:
        rng = Random(self.rng.getrandbits(64))
        seeking = member.with_state(MemberState.JOINING)
        engine = RingEngine(seeking, ["n0:7400"], 3, rng, self.settings, keeps_id=True)
        process = self.nodes[member.peer] = SimNode(self, member.peer, engine)
        admitted = Admitted(member.id, member.incarnation, view)

        def begin() -> None:
            process.call(engine.start)
            process.call(lambda now: engine.receive(view.voters[0], admitted, now))

        self.at(self.rng.uniform(0.0, self.settings.beat), begin)
        return process

    def _note_refounding(self, engine: RingEngine) -> None:
        refounding = engine._seeker._refounding
        propose = refounding.propose

        def noted(electorate: Electorate, *rest: Any) -> list[Effect]:
            self.refounded.add((electorate.ring, electorate.number))
            return propose(electorate, *rest)

        refounding.propose = noted  # type: ignore[method-assign, assignment]

    def live(self) -> list[SimNode]:
        return [node for node in self.nodes.values() if node.alive and not node.hung]

    def one_ring(self, nodes: Iterable[SimNode], size: int | None = None) -> bool:
        """Whether `nodes` are on one view that lists them, all ACTIVE, and nobody else."""
        group = list(nodes)
        views = {n.engine.view.digest if n.engine.view else None for n in group}
        view = group[0].engine.view
        return (
            len(views) == 1
            and view is not None
            and len(view.members) == (size or len(group))
            and all(m.state is MemberState.ACTIVE for m in view.members)
            and all(view.get(n.engine.me.id) == n.engine.me for n in group)
        )

    def describe(self) -> str:
        lines = []
        for node in self.nodes.values():
            status = node.engine.status()
            ids = " ".join(member.id.hex()[:4] for member in status.members)
            me = f"{status.me.id.hex()[:4]} {status.me.state.name}"
            lines.append(f"{node.address} is {me} in view {status.number} of {ids}")
        return "; ".join(lines)
