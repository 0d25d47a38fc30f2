"""A ring of real pubsub engines in which everything breaks, and what must hold all the same.

Besides what `pubsub_sim` breaks: processes end in the middle of what they are
doing and come back as others with the same id; they pause; they are cut off,
wholly, half or in one direction; one is slow. What `dht` promises is kept: a
member is struck off only after its lease has ended, and comes back as another
incarnation; views are numbered.

`FaultSim` sees everything, and checks as it goes that

- one reign of a slot has one home, and begins lossy only if nobody lives who
  may hold what came before, or after the time that such are waited for;
- a position never names two messages, whoever holds them;
- a serving home never forgets a session.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from dht.ids import slot_of
from dht.view import MemberState
from pubsub.engine import PubSubEngine
from pubsub.messages import Appended, Cursor, SessionDone
from pubsub_sim import Session, SimNode, Simulation

if TYPE_CHECKING:
    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.placement import Placement
    from dht.view import Member, View
    from pubsub.slot_messages import Holders

LEASE = 0.5  # seconds
STRUCK_OFF = (0.9, 1.5)  # seconds after contact was lost: always later than a lease lasts


class FaultNode(SimNode):
    """A process that can pause, and end between two effects."""

    sim: FaultSim

    def __init__(self, sim: FaultSim, member: Member) -> None:
        super().__init__(sim, member)
        self.engine = PubSubEngine(member.id, sim.limits, leased=self.leased)
        self.asleep_until = 0.0
        self.lease_ends = float("inf")
        self.ends_in = 0  # effects; 0: never
        self.delay = 0.0  # of everything that it sends
        self.generations: dict[str, int] = {}

    def leased(self, now: float) -> bool:
        return now < self.lease_ends

    def asleep(self) -> bool:
        return self.asleep_until > self.sim.now

    def call(self, effects: list[Effect]) -> None:
        for effect in effects:
            if not self.alive:
                return
            self.perform(effect)
            if self.ends_in:
                self.ends_in -= 1
                if not self.ends_in:
                    self.sim.kill(self)
        if self.alive:
            super().call([])
            self.sim.look(self)

    def end_turn(self) -> None:
        if self.asleep():
            self.sim.at(self.asleep_until, self.end_turn)
        else:
            super().end_turn()

    def wake(self, due: float) -> None:
        if self.asleep():
            self.sim.at(self.asleep_until, self.wake, due)
        else:
            super().wake(due)

    def consume(self, session: Session) -> None:
        if self.asleep():
            self.sim.at(self.asleep_until, self.consume, session)
        else:
            super().consume(session)

    def attach(self, session: Session) -> None:
        if session.address not in self.engine._parts.edge.arrivals:
            super().attach(session)  # else the node has the client wait for the first answer

    def opened(self, session: Session, result: Any) -> None:
        old = session.node
        if isinstance(result, SessionDone) and result.record.generation < session.generation:
            # Its client has given this request up and goes on elsewhere; the node does not know.
            self.sessions[session.address] = session
            self.generations[session.address] = result.record.generation
            return
        super().opened(session, result)
        if session.failed is not None:
            if session.failed == "unknown_session":
                self.sim.after(0.0, self.sim.check_forgotten, session.address)
            return
        self.generations[session.address] = session.generation
        if isinstance(old, FaultNode) and old is not self and old.alive:
            # What is left of the session there serves nobody, but may not know it.
            self.sim.after(self.sim.rng.uniform(0.0, 2.0), old.haunt, session.address)

    def haunt(self, address: str) -> None:
        """A deposed edge believes that its client has got what it had for it."""
        feed = self.engine.feed(address)
        session = self.sessions.get(address)
        if not self.alive or session is None or session.node is self or feed is None:
            return
        if address not in self.generations:
            return  # it was never answered here
        cursors = ((address, feed.last),)
        generation = self.generations[address]
        self.call(self.engine.consumed(address, generation, cursors, self.sim.now))


class FaultSim(Simulation):
    """The world, and what is known of it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.blocked: dict[tuple[NodeId, NodeId], list[Any]] = {}
        self.isolated: set[NodeId] = set()
        self.struck: dict[NodeId, SimNode] = {}
        self.returning: set[NodeId] = set()  # let in again, and do not know it yet
        self.skew = self.rng.choice([0.02, 0.02, 0.3])
        self.homes: dict[tuple[int, int], SimNode] = {}  # by slot and epoch
        self.attempts: dict[int, dict[int, list[SimNode]]] = defaultdict(dict)  # reigns, by slot
        # What copies have of lineages that have begun, and whose they were.
        self.before: dict[tuple[SimNode, int], tuple[int, Holders]] = {}
        self.views: list[tuple[View, Placement]] = []
        self.lineages: dict[int, set[int]] = defaultdict(set)  # that have begun, by slot
        self.served_at: dict[int, float] = defaultdict(float)
        self.lossy: set[int] = set()
        self.incarnations: dict[tuple[NodeId, int], SimNode] = {}
        self.positions: dict[tuple[str, int, int], str] = {}

    # -- processes ----------------------------------------------------------------

    def make_node(self, member: Member) -> SimNode:
        node = FaultNode(self, member)
        self.incarnations[member.id, member.incarnation] = node
        return node

    def restart(self, node: SimNode) -> None:
        """Another process with the same id and nothing in its memory.

        It is JOINING at first, unless nobody is there whom it could join.
        """
        others = [member for member in self.members.values() if member.id != node.id]
        is_met = any(member.state is MemberState.ACTIVE for member in others)
        member = msgspec.structs.replace(
            node.member,
            incarnation=node.member.incarnation + 1,
            state=MemberState.JOINING if is_met else MemberState.ACTIVE,
        )
        self.isolated.discard(node.id)
        self.returning.discard(node.id)
        self.nodes[node.id] = self.make_node(member)
        self.members[node.id] = member
        self.change()
        self.after(0.1, self._activate, self.nodes[node.id])

    def _activate(self, node: SimNode) -> None:
        """It wishes to be ACTIVE, once it knows that it is in."""
        if not node.alive or not self.lists(node):
            return
        if not node.view:
            self.after(0.05, self._activate, node)
        elif self.members[node.id].state is MemberState.JOINING:
            self.set_state(node, MemberState.ACTIVE)

    def pause(self, node: SimNode, seconds: float) -> None:
        """It does nothing for a while; if that is long, others give it up."""
        assert isinstance(node, FaultNode)
        if node.asleep():
            return  # what it has missed waits for the end of that pause, in order
        node.asleep_until = self.now + seconds
        node.lease_ends = self.now + LEASE
        strike_at = self.rng.uniform(*STRUCK_OFF)
        if seconds > strike_at:
            self.after(strike_at, self.strike, node)
            self.after(seconds, self.readmit, node)
        else:
            self.after(seconds, self.renew, node)

    def running(self) -> list[FaultNode]:
        """All that live."""
        return [each for each in self.nodes.values() if isinstance(each, FaultNode) and each.alive]

    def renew(self, node: SimNode) -> None:
        """Its lease goes on, unless it is struck off, does not know that it is back, or sleeps."""
        if not isinstance(node, FaultNode) or node.asleep():
            return
        if node.id not in {*self.struck, *self.returning}:
            node.lease_ends = float("inf")

    def lists(self, node: SimNode) -> bool:
        """Whether this very process is a member."""
        member = self.members.get(node.id)
        return member is not None and member.incarnation == node.member.incarnation

    def strike(self, node: SimNode) -> None:
        """The others go on without it."""
        if node.alive and self.lists(node) and len(self.members) > 1:
            self.struck[node.id] = node
            self.isolated.add(node.id)
            del self.members[node.id]
            self.change()

    def readmit(self, node: SimNode) -> None:
        """It is heard of again, and let in as another incarnation."""
        self.isolated.discard(node.id)
        if self.struck.get(node.id) is not node or not node.alive:
            return
        del self.struck[node.id]
        if self.rng.random() < 0.5:
            assert self.view is not None
            assert self.placement is not None
            self._install(node, self.view, self.placement)
        node.member = msgspec.structs.replace(
            node.member, incarnation=node.member.incarnation + 1, state=MemberState.ACTIVE
        )
        self.members[node.id] = node.member
        self.incarnations[node.id, node.member.incarnation] = node
        self.returning.add(node.id)
        self.change()

    def kill(self, node: SimNode, *, detected: float = 0.0) -> None:
        self.struck.pop(node.id, None)
        super().kill(node, detected=detected or self.rng.uniform(0.2, 0.8))

    def _evict(self, node: SimNode) -> None:
        if self.lists(node):
            super()._evict(node)

    def change(self, *, skew: float = 0.0) -> None:
        super().change(skew=skew or self.skew)
        assert self.view is not None
        assert self.placement is not None
        self.views.append((self.view, self.placement))

    def _install(self, node: SimNode, view: View, placement: Placement) -> None:
        if node.id in self.isolated and self.nodes.get(node.id) is node:
            return  # it will hear of a later one
        if isinstance(node, FaultNode) and node.asleep():
            self.at(node.asleep_until, self._install, node, view, placement)
        else:
            if view.incarnations.get(node.id) == node.member.incarnation:
                self.returning.discard(node.id)
                if isinstance(node, FaultNode) and node.lease_ends <= self.now:
                    self.renew(node)
            super()._install(node, view, placement)

    # -- links ----------------------------------------------------------------------

    def block(self, left: set[NodeId], right: set[NodeId], *, both: bool) -> None:
        """Nothing gets from `left` to `right` any more; TCP holds it back for a while."""
        for one in sorted(left):
            for other in sorted(right):
                if one != other:
                    self.blocked.setdefault((one, other), [])
                    if both:
                        self.blocked.setdefault((other, one), [])
                    self.after(self.rng.uniform(0.4, 1.5), self._give_up, one, other)

    def _give_up(self, one: NodeId, other: NodeId) -> None:
        """Both ends find that there is no link; what was held back is lost."""
        if (one, other) not in self.blocked and (other, one) not in self.blocked:
            return
        link = (one, other) if one < other else (other, one)
        if link not in self._down:
            self._links[link] += 1
            self._down.add(link)
        for pair in ((one, other), (other, one)):
            if pair in self.blocked:
                self.blocked[pair].clear()
            self._closed(self.nodes[pair[0]], pair[1])

    def unblock(self) -> None:
        """All cuts are mended."""
        blocked, self.blocked = self.blocked, {}
        mended = set()
        for (one, other), held in blocked.items():
            mended.add((one, other) if one < other else (other, one))
            for sender, message in held:
                self.send(sender, other, message)
        # (Where one is being reset both ends have to hear of its end first.)
        for link in sorted((mended & self._down) - self._resetting):
            self._opened(link)

    def send(self, sender: SimNode, to: NodeId, message: Any) -> None:
        link = (sender.id, to) if sender.id < to else (to, sender.id)
        cut = (sender.id, to) in self.blocked or (to, sender.id) in self.blocked
        if cut and link in self._down and sender.alive:
            self._queued[link].append((sender, to, message))
            self.after(0.3, self._unreached, sender, to, link)
        elif (sender.id, to) in self.blocked and sender.alive:
            self.blocked[sender.id, to].append((sender, message))
        elif isinstance(sender, FaultNode) and sender.delay and sender.alive:
            fast = self.latency
            self.latency = (fast[0] + sender.delay, fast[1] + sender.delay)
            super().send(sender, to, message)
            self.latency = fast
        else:
            super().send(sender, to, message)

    def _unreached(self, sender: SimNode, to: NodeId, link: tuple[NodeId, NodeId]) -> None:
        """Nobody has come to the telephone: what waits for a link is lost."""
        if link in self._down and self._queued.get(link):
            self._queued[link] = [item for item in self._queued[link] if item[0] is not sender]
            self._closed(sender, to)

    def _arrive(self, sender: NodeId, target: SimNode, generation: int, message: Any) -> None:
        if isinstance(target, FaultNode) and target.asleep():
            self.at(target.asleep_until, self._arrive, sender, target, generation, message)
        else:
            super()._arrive(sender, target, generation, message)

    def _closed(self, node: SimNode, other: NodeId) -> None:
        if isinstance(node, FaultNode) and node.asleep():
            self.at(node.asleep_until, self._closed, node, other)
        else:
            super()._closed(node, other)

    def _hears_opened(self, node: SimNode, other: SimNode) -> None:
        """Of a new link as of all else, once awake: after the end of the old one."""
        if isinstance(node, FaultNode) and node.asleep():
            self.at(node.asleep_until, self._hears_opened, node, other)
        else:
            super()._hears_opened(node, other)

    # -- what must hold ---------------------------------------------------------------

    def processes(self, holders: Holders) -> list[SimNode]:
        """The processes that these are."""
        found = []
        for node, incarnation in holders:
            process = self.incarnations.get((node, incarnation))
            if process is not None:
                found.append(process)
        return found

    def look(self, node: FaultNode) -> None:
        """After each step of a node: is what it serves its to serve?"""
        core = node.engine._parts.core
        for number, slot in core.slots.items():
            if self.homes.get((number, slot.epoch)) is not node:
                self._begun(node, number, slot.epoch, slot.lineage)
            if node.leased(self.now):  # else it acknowledges nothing
                self.served_at[number] = self.now
        for number, slot in core.copies.items():
            self._attempted(number, slot.epoch, slot.holders)
            if slot.lineage in self.lineages[number]:
                self.before[node, number] = slot.epoch, slot.holders
        for number, pledges in core.pledges.items():
            if pledges:
                self._attempted(number, *pledges[-1])

    def _attempted(self, number: int, epoch: int, holders: Holders) -> None:
        if epoch not in self.attempts[number]:
            self.attempts[number][epoch] = self.processes(holders)

    def _begun(self, node: SimNode, number: int, epoch: int, lineage: int) -> None:
        home = self.homes.setdefault((number, epoch), node)
        assert home is node, f"slot {number} has two homes in epoch {epoch}"
        if lineage in self.lineages[number]:
            return
        self.lineages[number].add(lineage)
        if lineage == 1:
            return
        self.lossy.add(number)
        began = max((e for n, e in self.homes if n == number and e < epoch), default=0)
        # A reign that may have begun later, for all that anybody alive can know.
        unknown = any(
            began < attempt < epoch and not any(each.alive for each in processes)
            for attempt, processes in self.attempts[number].items()
        )
        steady = [
            each
            for each in self.living()
            if (copy := self.before.get((each, number))) is not None
            and copy[0] >= began
            and (each.id, each.member.incarnation) in copy[1]
        ]
        if not steady:
            # Who was struck off meanwhile was sealed for nothing: any view may have had a reign.
            unknown = unknown or any(
                began < view.number < epoch and not self._any_alive(view, placement, number)
                for view, placement in self.views
            )
        waited = self.now - self.served_at[number] >= self.limits.lossy_seconds
        alive = [
            each.member.peer
            for each in self.living()
            if (copy := self.before.get((each, number))) is not None and copy[0] >= began
        ]
        told = f"slot {number} was given up in {epoch}, though {alive} have it of {began}"
        assert waited or unknown or not alive, told

    def _any_alive(self, view: View, placement: Placement, number: int) -> bool:
        """Whether a process lives that was to hold the slot in that view."""
        if not view.active:
            return True  # nobody was
        alive = view.incarnations
        holders = tuple((node, alive[node]) for node in placement.holders(number))
        return any(each.alive for each in self.processes(holders))

    def check_forgotten(self, address: str) -> None:
        """A home has said that there is no such session."""
        assert slot_of(address) in self.lossy, f"{address} was forgotten"

    def check(self) -> None:
        super().check()
        for node in self.living():
            for slot in node.engine._parts.core.copies.values():
                for topic in (slot.topics or {}).values():
                    for entry in topic.log.after(0, len(topic.log)):
                        key = (topic.name, entry.epoch, entry.offset)
                        name = self.positions.setdefault(key, entry.message_id)
                        assert name == entry.message_id, f"{key} names two messages"

    def check_nothing_lost(self, topics: list[str]) -> None:
        """Where no slot was lost, nothing is missing, told to be missing, or there twice."""
        acked: dict[str, dict[str, Cursor]] = defaultdict(dict)
        for publication in self.publications:
            if isinstance(publication.result, Appended):
                acked[publication.topic][publication.message_id] = publication.result.cursor
        for topic in topics:
            if slot_of(topic) not in self.lossy:
                self._check_topic(topic, acked[topic])
        for session in self.sessions:
            if session.generation and slot_of(session.address) not in self.lossy:
                assert not session.breaks, f"a gap in {session.address}, where nothing is lost"
                assert len(set(session.ids)) == len(session.ids), "something came twice"
                got = set(session.ids)
                for message_id in acked[session.address]:
                    assert message_id in got, f"{session.address} has lost {message_id}"

    def _check_topic(self, topic: str, acked: dict[str, Cursor]) -> None:
        home = self.home(topic).engine._parts.core.topics.get(topic)
        held = [] if home is None else home.log.after(0, len(home.log))
        at = {entry.message_id: entry.offset for entry in held}
        assert len(at) == len(held), f"{topic} has something twice"
        for message_id, cursor in acked.items():
            assert at.get(message_id) == cursor.offset, f"{topic} has lost {message_id}"
        order = {(entry.epoch, entry.offset, entry.message_id) for entry in held}
        for reader in self.readers:
            if reader.topic == topic:
                assert not reader.breaks, f"a gap in {topic}, where nothing is lost"
                assert set(reader.seen) <= order, f"{topic}: seen what never was"
