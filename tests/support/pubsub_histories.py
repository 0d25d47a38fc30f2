"""Random histories of a ring of real pubsub engines, with everything checked at the end.

One history: some nodes, a few channels and sessions, and a hundred or so
things that happen, drawn from a seed: publishing, reading, moving with a
cursor, attaching elsewhere, links that break, messages that a full outbox
drops, members that join, leave politely or (if asked for) are killed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from dht.ids import slot_of
from dht.view import MemberState
from pubsub.limits import Limits
from pubsub.messages import Appended, Cursor, Entries
from pubsub_sim import Session, SimNode, Simulation

if TYPE_CHECKING:
    from dht.ids import NodeId

ROOM = 4  # nodes that may join
STEPS = 120


@dataclass
class Outcome:
    """What a history came to, beyond what it has checked itself."""

    sim: Simulation
    appended: int
    refused: int
    broken_readers: int
    broken_sessions: int
    takeovers: Counter[str]
    repairs: int


class History:
    """One history, step by step."""

    more_names: tuple[str, ...] = ()  # topics besides those

    def __init__(self, seed: int, *, kills: bool, limits: Limits | None = None) -> None:
        draw = Random(seed)
        self.kills = kills
        flat_limit = draw.choice([0, 0, 32])
        self.topics = [f"/chat/{index}" for index in range(draw.randint(1, 5))]
        addresses = [f"t{index % 4}.{index:020d}" for index in range(8)]
        self.sim = Simulation(
            seed,
            flat_limit=flat_limit,
            limits=limits,
            names=[*self.topics, *addresses, *self.more_names],
        )
        self.rng = self.sim.rng
        self.next_index = draw.randint(3, 14)
        self.room = self.next_index + ROOM
        self.sim.start(self.next_index, room=self.room)
        self.sim.drop = self.drop
        self.lossy = draw.choice([0.0, 0.0, 0.02])
        self.sessions: list[Session] = []
        self.leaving: list[SimNode] = []
        self.published = 0
        for address in addresses:
            self.sessions.append(self.any_active().open(address))
        self.sim.run(0.3)

    def drop(self, sender: NodeId, to: NodeId, message: Any) -> bool:
        """Now and then an outbox is full, and what goes down a tree is lost."""
        del sender, to
        is_tree = isinstance(message, Entries) and message.topic.startswith("/")
        return is_tree and self.rng.random() < self.lossy

    def active(self) -> list[SimNode]:
        members = self.sim.members
        return [
            node
            for node in self.sim.living()
            if node.id in members and members[node.id].state is MemberState.ACTIVE
        ]

    def any_active(self) -> SimNode:
        return self.rng.choice(self.active())

    def run(self) -> Outcome:
        for _ in range(STEPS):
            self.step()
            self.finish_leaving()
            self.sim.run(self.rng.choice([0.0, 0.001, 0.005, 0.02, 0.2]))
        # What an old home keeps for an heir that died is dropped after half a minute.
        self.sim.run(35.0 if self.kills else 15.0)
        return self.check()

    def step(self) -> None:
        rng, node, chance = self.rng, self.any_active(), self.rng.random()
        if chance < 0.45:
            self.publish()
        elif chance < 0.6:
            node.read(rng.choice(self.topics))
        elif chance < 0.7:
            self.move_reader(node)
        elif chance < 0.8:
            self.break_link()
        elif chance < 0.86:
            node.attach(rng.choice(self.sessions))
        elif chance < 0.89 and self.next_index < self.room:
            self.sim.join(self.next_index, self.room)
            self.next_index += 1
        elif chance < 0.92 and len(self.active()) > 2:
            self.sim.set_state(node, MemberState.LEAVING)
            self.leaving.append(node)
        elif self.kills and chance < 0.94 and len(self.active()) > 2:
            self.sim.kill(node)
        elif self.kills and chance < 0.955:
            self.kill_all_copies()

    def kill_all_copies(self) -> None:
        """Everybody who holds some slot dies at once: what was in it is lost."""
        assert self.sim.placement is not None
        name = self.rng.choice([*self.topics, *(s.address for s in self.sessions)])
        holders = self.sim.placement.holders(slot_of(name))
        if len(self.active()) > len(holders) + 1:
            for node in holders:
                if self.sim.nodes[node].alive:
                    self.sim.kill(self.sim.nodes[node])

    def publish(self) -> None:
        for _ in range(self.rng.randint(1, 8)):
            self.published += 1
            topic = self.rng.choice(self.topics)
            if self.rng.random() < 0.3:
                topic = self.rng.choice(self.sessions).address
            chosen = self.rng.random() < 0.3
            self.any_active().publish(topic, f"m{self.published}", client_id=chosen)

    def move_reader(self, node: SimNode) -> None:
        """A reader goes; mostly its client goes on at another node, from what it acknowledged."""
        readers = [
            reader
            for reader in self.sim.readers
            if reader.node.alive and reader in reader.node.readers.get(reader.topic, ())
        ]
        if readers:
            reader = self.rng.choice(readers)
            reader.node.unread(reader)
            if self.rng.random() < 0.7:
                read = [Cursor(epoch, offset) for epoch, offset, _ in reader.seen]
                node.read(reader.topic, self.rng.choice([reader.cursor, reader.start, *read]))

    def break_link(self) -> None:
        active = self.active()
        if len(active) > 1:
            left, right = self.rng.sample(active, 2)
            self.sim.reset_link(left.id, right.id)

    def finish_leaving(self) -> None:
        """Who has handed everything over sends its clients elsewhere, and goes."""
        for node in list(self.leaving):
            if not node.alive or not node.engine.drained() or self.rng.random() > 0.3:
                continue
            for readers in list(node.readers.values()):
                for reader in list(readers):
                    node.unread(reader)
                    self.any_active().read(reader.topic, reader.cursor)
            for session in list(node.sessions.values()):
                self.any_active().attach(session)
            self.sim.run(1.5)
            self.leaving.remove(node)
            if node.alive:
                self.sim.remove(node)

    def check(self) -> Outcome:
        sim = self.sim
        sim.check()
        sim.check_complete()
        sim.check_quiet()
        takeovers: Counter[str] = Counter()
        repairs = 0
        for node in sim.nodes.values():
            takeovers.update(node.engine.statistics().takeovers)
            repairs += node.engine.statistics().gap_repairs
        return Outcome(
            sim=sim,
            appended=sum(isinstance(p.result, Appended) for p in sim.publications),
            refused=sum(not isinstance(p.result, Appended) for p in sim.publications),
            broken_readers=sum(bool(reader.breaks) for reader in sim.readers),
            broken_sessions=sum(bool(session.breaks) for session in sim.sessions),
            takeovers=takeovers,
            repairs=repairs,
        )


class Hurry(History):
    """Members leave and come back faster than slots can follow, and nodes skip views."""

    def step(self) -> None:
        rng, node, chance = self.rng, self.any_active(), self.rng.random()
        if chance < 0.4:
            self.publish()
        elif chance < 0.5:
            node.read(rng.choice(self.topics))
        elif chance < 0.6:
            self.break_link()
        elif chance < 0.8 and len(self.active()) > 2:
            self.sim.set_state(node, MemberState.LEAVING)
        else:
            away = [n for n in self.sim.living() if n not in self.active()]
            if away:
                self.sim.set_state(rng.choice(away), MemberState.ACTIVE)


def peaceful(seed: int) -> Outcome:
    """A history without deaths: nothing may be lost, refused or told to be missing."""
    return _without_loss(seed, History(seed, kills=False, limits=Limits(orphan_seconds=10.0)))


def hurried(seed: int) -> Outcome:
    """Nor when slots are handed on before they have come."""
    return _without_loss(seed, Hurry(seed, kills=False))


def _without_loss(seed: int, history: History) -> Outcome:
    outcome = history.run()
    assert outcome.refused == 0, f"seed {seed}: {outcome.refused} refused"
    assert outcome.broken_readers == outcome.broken_sessions == 0, f"seed {seed}: a gap was told"
    assert outcome.takeovers["lossy"] == 0, f"seed {seed}: a slot was lost"
    assert not [reader for reader in outcome.sim.readers if reader.failed], f"seed {seed}"
    return outcome


def deadly(seed: int) -> Outcome:
    """A history with deaths: what is lost is told."""
    return History(seed, kills=True, limits=Limits(orphan_seconds=20.0, lossy_seconds=8.0)).run()
