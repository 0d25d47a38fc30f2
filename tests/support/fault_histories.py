"""Random histories in which everything breaks; `pubsub_faults` says how, and what must hold."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from dht.ids import slot_of
from dht.view import MemberState
from pubsub.limits import Limits
from pubsub.messages import Appended, Entries
from pubsub_faults import FaultNode, FaultSim

if TYPE_CHECKING:
    from collections.abc import Callable

    from dht.ids import NodeId
    from pubsub_sim import Publication, Session

STEPS = 100
LIMITS = Limits(orphan_seconds=40.0, lossy_seconds=6.0)


@dataclass
class Account:
    """What a history came to."""

    sim: FaultSim
    acknowledged: int
    lossy: int
    takeovers: int
    steps: int


class Faults:
    """One history, step by step."""

    def __init__(self, seed: int) -> None:
        draw = Random(seed)
        self.topics = [f"/chat/{index}" for index in range(draw.randint(1, 4))]
        addresses = [f"t{index % 3}.{index:020d}" for index in range(5)]
        flat = draw.choice([0, 32])
        self.is_bold = seed % 4 == 3
        names = [*self.topics, *addresses]
        self.sim = FaultSim(seed, flat_limit=flat, limits=LIMITS, names=names)
        self.rng = self.sim.rng
        self.next_index = draw.randint(3, 8)
        self.room = self.next_index + 3
        self.sim.start(self.next_index, room=self.room)
        self.sim.run(0.3)
        self.sim.drop = self.drop
        self.losing = draw.choice([0.0, 0.02])
        self.violence = draw.choice([0.1, 0.25, 0.4])
        self.published = 0
        self.leaving: list[FaultNode] = []
        self.ended: list[FaultNode] = []
        self.sessions: list[Session] = [self.active()[0].open(name) for name in addresses]
        self.sim.run(0.3)

    def drop(self, sender: NodeId, to: NodeId, message: Any) -> bool:
        """What goes down a tree is lost now and then, when an outbox is full."""
        is_tree = isinstance(message, Entries) and message.topic.startswith("/")
        return is_tree and self.rng.random() < self.losing

    # -- who is there -----------------------------------------------------------------

    def active(self) -> list[FaultNode]:
        members = self.sim.members
        return [
            node
            for node in self.sim.running()
            if node.id in members
            and members[node.id].state is MemberState.ACTIVE
            and node.view
            and node.id not in self.sim.isolated
        ]

    def any_active(self) -> FaultNode:
        return self.rng.choice(self.active())

    def any_asked(self) -> FaultNode:
        """Whom a client asks: in every fourth history it may be one that others have struck off."""
        cut_off = [node for node in self.sim.running() if node.id in self.sim.isolated]
        if cut_off and self.is_bold and self.rng.random() < 0.5:
            return self.rng.choice(cut_off)
        return self.any_active()

    # -- what clients do ----------------------------------------------------------------

    def publish(self) -> None:
        for _ in range(self.rng.randint(1, 5)):
            if not self.active():
                return
            self.published += 1
            topic = self.rng.choice(self.topics)
            if self.rng.random() < 0.35:
                topic = self.rng.choice(self.sessions).address
            chosen = self.rng.random() < 0.5
            name = f"m{self.published}"
            publication = self.any_asked().publish(topic, name, client_id=chosen)
            if chosen:
                self.sim.after(0.5, self.ask_again, publication, 8)

    def ask_again(self, publication: Publication, tries: int) -> None:
        """Its client has no answer, or a refusal, and tries elsewhere with the same id."""
        if tries and self.active() and not isinstance(publication.result, Appended):
            topic, name = publication.topic, publication.message_id
            again = self.any_active().publish(topic, name, client_id=True)
            self.sim.after(self.rng.uniform(0.2, 1.5), self.ask_again, again, tries - 1)

    def mind_sessions(self) -> None:
        """Clients whose connection is gone come back somewhere."""
        for session in self.sessions:
            at = session.node
            if not session.generation:
                continue  # its handshake has not been answered: it has no name yet
            gone = at is None or not at.alive or at.id in self.sim.isolated
            if gone and self.rng.random() < 0.3 and self.active():
                session.node = None if at is not None and not at.alive else at
                self.any_active().attach(session)

    # -- what breaks ----------------------------------------------------------------------

    def break_something(self) -> None:
        chance = self.rng.random()
        for until, breakage in BREAKAGES:
            if chance < until:
                breakage(self)
                return

    def reset_link(self) -> None:
        active = self.active()
        if len(active) > 1:
            left, right = self.rng.sample(active, 2)
            self.sim.reset_link(left.id, right.id)

    def kill(self) -> None:
        if len(self.active()) > 2:
            node = self.any_active()
            self.sim.kill(node)
            self.ended.append(node)

    def end_between_effects(self) -> None:
        if len(self.active()) > 2:
            node = self.any_active()
            node.ends_in = self.rng.randint(1, 30)
            self.ended.append(node)

    def pause(self) -> None:
        if len(self.active()) > 2:
            self.sim.pause(self.any_active(), self.rng.choice([0.1, 0.4, 0.8, 3.0]))

    def slow(self) -> None:
        """What one node sends is late from now on; or not any more."""
        node = self.any_active()
        node.delay = 0.0 if node.delay else self.rng.uniform(0.02, 0.2)

    def join(self) -> None:
        if self.next_index < self.room:
            self.sim.join(self.next_index, self.room)
            self.next_index += 1

    def leave(self) -> None:
        if len(self.active()) > 2:
            node = self.any_active()
            self.sim.set_state(node, MemberState.LEAVING)
            self.leaving.append(node)

    def restart(self) -> None:
        """A process that has ended is started again, perhaps before anybody has missed it."""
        ended = [n for n in self.ended if not n.alive and self.sim.nodes[n.id] is n]
        if ended:
            self.sim.restart(self.rng.choice(ended))

    def cut(self) -> None:
        """A minority is cut off, wholly, half or in one direction."""
        active = self.active()
        if len(active) <= 2 or self.sim.blocked:
            return
        size = self.rng.randint(1, max(1, (len(active) - 1) // 2))
        group = {node.id for node in self.rng.sample(active, size)}
        others = {node.id for node in self.sim.living()} - group
        kind = self.rng.choice(["whole", "half", "one-way"])
        if kind == "half":
            others = {other for other in sorted(others) if self.rng.random() < 0.5}
        self.sim.block(group, others, both=kind != "one-way")
        if kind == "whole" or self.rng.random() < 0.5:
            for node_id in sorted(group):
                node = self.sim.nodes[node_id]
                assert isinstance(node, FaultNode)
                node.lease_ends = self.sim.now + 0.5
                self.sim.after(self.rng.uniform(0.9, 1.5), self.strike, node)
        self.sim.after(self.rng.uniform(0.1, 5.0), self.mend)

    def strike(self, node: FaultNode) -> None:
        if any(node.id in pair for pair in self.sim.blocked):
            self.sim.strike(node)
        else:
            self.sim.renew(node)

    def mend(self) -> None:
        self.sim.unblock()
        for node in list(self.sim.struck.values()):
            self.sim.readmit(node)
        for node in self.sim.living():
            self.sim.renew(node)

    def end_all_copies(self) -> None:
        assert self.sim.placement is not None
        if len(self.active()) <= 4:
            return
        for node in self.sim.placement.holders(slot_of(self.rng.choice(self.topics))):
            if self.sim.nodes[node].alive and len(self.active()) > 1:
                self.sim.kill(self.sim.nodes[node])

    def finish_leaving(self) -> None:
        for node in list(self.leaving):
            if node.alive and node.engine.drained() and self.rng.random() < 0.5:
                for readers in list(node.readers.values()):
                    for reader in list(readers):
                        node.unread(reader)
                for session in list(node.sessions.values()):
                    if self.active():
                        self.any_active().attach(session)
                self.sim.run(0.5)
                self.leaving.remove(node)
                if node in self.sim.running() and node.id in self.sim.members:
                    self.sim.remove(node)

    # -- the whole ------------------------------------------------------------------------

    def run(self) -> Account:
        for _ in range(STEPS):
            if not self.active():
                break
            if self.rng.random() < self.violence:
                self.break_something()
            elif self.rng.random() < 0.25:
                self.any_active().read(self.rng.choice(self.topics))
            else:
                self.publish()
            if not self.active():
                break
            self.mind_sessions()
            self.finish_leaving()
            self.sim.run(self.rng.choice([0.0, 0.002, 0.02, 0.2, 0.6]))
        return self.settle()

    def settle(self) -> Account:
        """Everything is mended; then all must be well."""
        sim = self.sim
        self.mend()
        for node in sim.running():
            node.delay = 0.0
            node.ends_in = 0
        sim.run(5.0)
        self.mend()
        sim.run(20.0)
        for node in self.leaving:
            if node.alive and node.id in sim.members:
                sim.set_state(node, MemberState.ACTIVE)
        sim.run(5.0)
        for session in self.sessions:
            gone = session.node is None or not session.node.alive
            if session.generation and gone and self.active():
                self.any_active().attach(session)
        sim.run(30.0)  # ... and what nobody comes back for is over
        sim.check()
        if self.active():
            sim.check_complete()
            sim.check_nothing_lost(self.topics)
            sim.check_quiet()
        for node in sim.running():
            counts = node.engine.statistics()
            assert counts.slots["opening"] == counts.staged == counts.pending == 0, counts
        return Account(
            sim,
            sum(isinstance(p.result, Appended) for p in sim.publications),
            len(sim.lossy),
            sum(n.engine.statistics().takeovers["taken_over"] for n in sim.running()),
            sim.steps,
        )


BREAKAGES: list[tuple[float, Callable[[Faults], None]]] = [
    (0.2, Faults.reset_link),
    (0.35, Faults.kill),
    (0.45, Faults.end_between_effects),
    (0.55, Faults.restart),
    (0.65, Faults.pause),
    (0.75, Faults.cut),
    (0.8, Faults.mend),
    (0.85, Faults.slow),
    (0.9, Faults.join),
    (0.95, Faults.leave),
    (0.97, Faults.end_all_copies),
]


def faulty(seed: int) -> Account:
    """A history in which everything breaks."""
    return Faults(seed).run()
