"""A console on a ring that is made up: the real listener, feed and page, with imagined members.

Only what other nodes answer is invented: `Imagined` stands for the cluster and answers each
`SurveyAsk` as its members would, with channels that have readers on some of them and trees by
the real placement. By hand:

    PYTHONPATH=.:tests/support python tests/support/console_sim.py --nodes 50 --port 9200

`--every` is the time between pulses: 0.01 makes an hour of pulses in 36 s.
"""

from __future__ import annotations

import argparse
import random
from typing import TYPE_CHECKING, Any

import trio

from dht.dealing import deal_ids
from dht.ids import random_id, slot_of
from dht.placement import Placement
from dht.status import Health, RingStatus
from dht.view import Member, MemberState, View
from node.cluster.status import ClusterStatus, LinkStatus
from node.console.console import Console
from node.console.messages import (
    MAX_CHANNELS,
    MAX_CHILDREN,
    Branch,
    Busy,
    Figures,
    Publishes,
    Survey,
    SurveyAsk,
)
from node.endpoint import Endpoint
from node.ops import OpsServer
from node.stats import Stats
from pubsub.sessions import address_of, session_id

if TYPE_CHECKING:
    from dht.ids import NodeId

CHANNELS = (
    "/chat/lobby", "/chat/launch", "/prices/eurusd", "/prices/gbpusd", "/sensors/hall/temperature",
    "/news", "/orders/updates", "/games/42/moves", "/presence/all", "/alerts/ops",
)  # fmt: skip
TRANSPORTS = ("websocket", "sse", "http")
HOST = "127.0.0.1"


def imagined_view(nodes: int, rng: random.Random) -> View:
    """A view of `nodes` members; of more than nine one is on its way in, another one out."""
    first = random_id(rng)
    ids = sorted([first, *deal_ids([first], nodes - 1, rng)])
    states = dict.fromkeys(ids, MemberState.ACTIVE)
    if nodes > 9:
        states[ids[nodes // 3]] = MemberState.JOINING
        states[ids[nodes // 2]] = MemberState.LEAVING
    members = tuple(
        Member(
            node, 1, f"10.0.{at // 250}.{at % 250}:7400", f"10.0.{at // 250}.{at % 250}:8080",
            f"rack-{at % 3}", states[node],
        )
        for at, node in enumerate(ids)
    )  # fmt: skip
    active = [node for node in ids if states[node] is MemberState.ACTIVE]
    return View(41, b"r" * 16, members, tuple(rng.sample(active, 5 if nodes > 4 else 1)))


class Imagined:
    """The cluster of a node in a ring of imagined members, as far as a console needs it."""

    def __init__(self, nodes: int, seed: int = 1) -> None:
        self.rng = random.Random(seed)
        self.view = imagined_view(nodes, self.rng)
        self.placement = Placement(self.view)
        active = [member.id for member in self.view.active]
        self.me: NodeId = active[0]
        self.silent = set(active[-1:]) if nodes > 9 else set()
        self.suspect = active[-2:-1] if nodes > 9 else []
        self.readers = {
            channel: {
                node: self.rng.randint(1, 400)
                for node in self.rng.sample(active, max(1, len(active) * (place + 2) // 12))
            }
            for place, channel in enumerate(CHANNELS)
        }
        self.addresses = [
            address_of(session_id(f"t{at}", self.rng.randbytes(16))) for at in range(40)
        ]
        self.edges = {address: self.rng.choice(active) for address in self.addresses}
        self.sessions = {node: self.rng.randint(200, 4_000) for node in active}
        self.trees: dict[tuple[str, int], dict[NodeId, NodeId]] = {}
        self.looks = 0
        self.asked = 0  # questions, of this node or another
        self.console: Console

    # -- what a cluster is asked ------------------------------------------------------------

    def status(self) -> ClusterStatus:
        ring = RingStatus(
            me=self.view.by_id[self.me],
            in_ring=True,
            ring=self.view.ring,
            number=self.view.number,
            digest=self.view.digest,
            members=self.view.members,
            voters=self.view.voters,
            leader=self.view.voters[0],
            suspected=(),
            dead=(),
            leased=True,
            health=Health(frozen=False, missing=(), foreign=(), waits_for=b""),
            accused=(),
            heard=len(self.view.members),
            behind=(),
            links=0,
            seekers=0,
            contacts=0,
        )
        links = tuple(LinkStatus(m.id, m.peer, 0.0004, 0, dialled=True) for m in self.view.members)
        return ClusterStatus(
            self.me, 1, True, False, self.placement, ring, None, links, strangers=0
        )

    def post(self, to: NodeId, message: Any) -> bool:
        """Answers of others come in at once, or never."""
        if to not in self.silent:
            answer = self.answer(to, message)
            trio.lowlevel.current_trio_token().run_sync_soon(self.console.receive, to, answer)
        return True

    def recover(self, proof: str) -> None:
        raise AssertionError(proof)

    # -- what members answer -------------------------------------------------------------------

    def answer(self, node: NodeId, question: SurveyAsk) -> Survey:
        self.asked += 1
        figures = self.figures(node) if question.figures else None
        branches = [self.branch(node, name) for name in question.names]
        return Survey(question.request, figures, tuple(each for each in branches if each))

    def figures(self, node: NodeId) -> Figures:
        rng = self.rng
        self.looks += 1
        sessions = self.sessions.get(node, 0)
        read = [(name, its[node]) for name, its in self.readers.items() if node in its]
        busiest = tuple(
            Busy(name, rng.randint(0, 9) / 2, readers * rng.randint(1, 20) / 4, readers)
            for name, readers in read[:MAX_CHANNELS]
        )
        publishes = []
        if rng.random() < 4 / len(self.view.members):
            publishes.append(Publishes(rng.choice(CHANNELS), rng.randint(1, 40)))
        if rng.random() < 2 / len(self.view.members):
            publishes.append(Publishes(rng.choice(self.addresses), 1))
        return Figures(
            look=self.looks, view=self.view.number, ready=True, draining=False, leased=True,
            frozen=False, sessions=sessions,
            connections=dict.fromkeys(TRANSPORTS, sessions // 3),
            polls=sessions // 5,
            published=sum(each.published for each in busiest),
            delivered=sum(each.due for each in busiest),
            lag=rng.random() / 200, cpu=rng.random() / 2, memory=90 << 20, log=3 << 20,
            topics=120, feeds=40, records=sessions, children=90,
            slots=4096 // len(self.view.members), gaps=0, lossy=0,
            suspected=tuple(self.suspect) if node == self.view.members[1].id else (),
            busiest=busiest, publishes=tuple(publishes),
        )  # fmt: skip

    def branch(self, node: NodeId, name: str) -> Branch | None:
        home = self.placement.home(slot_of(name))
        if not name.startswith("/"):
            return self._session(node, name, home)
        parents = self._parents(name, home)
        if node not in parents:
            return None
        children = tuple(each for each, parent in parents.items() if parent == node)
        depth, at = 0, node
        while parents[at]:
            depth, at = depth + 1, parents[at]
        return Branch(
            topic=name, parent=parents[node], children=children[:MAX_CHILDREN],
            width=len(children), depth=depth, readers=self.readers.get(name, {}).get(node, 0),
            home=node == home, epoch=self.view.number if node == home else 0,
            offset=18_204 if node == home else 0, entries=10_000 if node == home else 0,
            size=900_000 if node == home else 0, edge=b"", subscriptions=-1, transport="",
        )  # fmt: skip

    def _parents(self, name: str, home: NodeId) -> dict[NodeId, NodeId]:
        """The tree of a channel: everybody on the way from a reader to the home."""
        known = self.trees.get((name, self.view.number))
        if known is not None:
            return known
        parents: dict[NodeId, NodeId] = {home: b""}
        for reader in self.readers.get(name, {}):
            at = reader
            while at not in parents:
                parents[at] = self.placement.parent(at, home)
                at = parents[at]
        if name in self.readers:
            self.trees[name, self.view.number] = parents
        return parents

    def _session(self, node: NodeId, name: str, home: NodeId) -> Branch | None:
        edge = self.edges.get(name, b"")
        if not edge or node not in {home, edge}:
            return None
        return Branch(
            topic=name, parent=b"", children=(), width=0, depth=0, readers=int(node == edge),
            home=node == home, epoch=self.view.number if node == home else 0, offset=7,
            entries=2, size=180, edge=edge if node == home else b"",
            subscriptions=3 if node == home else -1,
            transport="websocket" if node == edge else "",
        )  # fmt: skip


class ImaginedSight:
    """Stands for `node.console.sight.Sight` on the console's own node."""

    def __init__(self, cluster: Imagined) -> None:
        self._cluster = cluster

    def figures(self, now: float) -> Figures:
        return self._cluster.figures(self._cluster.me)

    def branch(self, name: str) -> Branch | None:
        return self._cluster.branch(self._cluster.me, name)

    def close(self) -> None:
        pass


def imagined_console(nodes: int, every: float, seed: int = 1) -> tuple[Imagined, Console]:
    """A console whose node is one of so many imagined ones."""
    cluster = Imagined(nodes, seed)
    sight: Any = ImaginedSight(cluster)
    console = Console(cluster, sight, every)  # type: ignore[arg-type]
    cluster.console = console
    return cluster, console


async def serve(nodes: int, port: int, every: float) -> None:
    """Until killed; says where once it listens."""
    cluster, console = imagined_console(nodes, every)
    if every < 0.2:
        cluster.silent.clear()  # each round would wait for them
    server = OpsServer(Endpoint(HOST, port), cluster, Stats(), console=console)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        nursery.start_soon(console.run)
        print(f"http://{server.endpoint}/console {cluster.addresses[0]}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--every", type=float, default=1.0)
    given = parser.parse_args()
    trio.run(serve, given.nodes, given.port, given.every)
