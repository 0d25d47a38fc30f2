"""A seeded simulator of real pubsub engines: an event heap, virtual time, links that can break.

Links are like TCP: in order and without loss while they last; a reset loses
what is under way in both directions, and both ends hear of it, each in its own
time. Views are made by hand and reach every node at its own moment. Readers
and sessions are kept as a node's hub would keep them: by cursors over feeds.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from math import ceil, log
from random import Random
from typing import TYPE_CHECKING, Any

from dht.effects import Dial, Send
from dht.ids import slot_of, to_id
from dht.placement import Placement
from dht.view import Member, MemberState, View
from pubsub.effects import Answer, Deliver, ReleaseSession, Reset, SessionLost
from pubsub.engine import PubSubEngine
from pubsub.feed import NOWHERE
from pubsub.limits import Limits
from pubsub.messages import Append, Appended, Cursor, Entries, Failed, Joined, SessionDone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.feed import Feed

FAR = 1 << 40


def make_member(index: int, count: int, rng: Random, state: MemberState) -> Member:
    """Member `index` of `count`, with an evenly dealt id."""
    low = rng.getrandbits(140)
    node = to_id(((index * 2 + 1) << 159) // count ^ low)
    return Member(node, 1, f"n{index}:7400", f"n{index}:8080", f"zone{index}", state)


def make_view(number: int, members: Iterable[Member]) -> View:
    return View(number, b"simulated ring!!", tuple(sorted(members, key=lambda m: m.id)))


class FewSlots(Placement):
    """A placement in a world of few slots: the others have no home and cost nothing."""

    __slots__ = ("_few",)

    def __init__(self, view: View, flat_limit: int, few: frozenset[int]) -> None:
        super().__init__(view, flat_limit)
        self._few = few

    def slots_of(self, node: NodeId) -> tuple[int, ...]:
        return tuple(slot for slot in super().slots_of(node) if slot in self._few)

    def slots_held_by(self, node: NodeId) -> list[int]:
        return [slot for slot in self._few if self._ids and node in self.holders(slot)]

    def _all_slots(self) -> dict[NodeId, tuple[int, ...]]:
        slots: dict[NodeId, list[int]] = defaultdict(list)
        for slot in sorted(self._few) if self._ids else ():
            slots[self.home(slot)].append(slot)
        return {node: tuple(owned) for node, owned in slots.items()}


@dataclass
class Reader:
    """A reader of a channel at one node: a cursor, and what it has seen."""

    topic: str
    node: SimNode
    cursor: Cursor | None = None
    wanted: Cursor | None = None
    seen: list[tuple[int, int, str]] = field(default_factory=list)
    breaks: set[int] = field(default_factory=set)  # lengths of `seen` at which a gap was told
    start: Cursor | None = None
    failed: str | None = None
    hops: list[int] = field(default_factory=list)
    published: int | None = None  # how many publications had been begun when it was answered
    earlier: list[str] = field(default_factory=list)  # what it saw elsewhere before

    def gap(self, cursor: Cursor) -> None:
        self.breaks.add(len(self.seen))
        self.cursor = cursor

    def flush(self, feed: Feed, depth: int = 0) -> None:
        if self.cursor is None:
            return
        if self.cursor.offset < feed.log.first - 1:
            first = feed.log.after(0, 1)
            self.gap(Cursor(first[0].epoch if first else feed.last.epoch, feed.log.first - 1))
        for entry in feed.log.after(self.cursor.offset, FAR):
            self.seen.append((entry.epoch, entry.offset, entry.message_id))
            self.cursor = Cursor(entry.epoch, entry.offset)
            self.hops.append(entry.hops + depth)

    @property
    def ids(self) -> list[str]:
        return [message_id for _, _, message_id in self.seen]


@dataclass
class Session:
    """A session as its client sees it: it moves between nodes and keeps what it got."""

    address: str
    node: SimNode | None = None
    generation: int = 0
    cursor: Cursor = NOWHERE
    seen: list[tuple[int, int, str]] = field(default_factory=list)
    breaks: set[int] = field(default_factory=set)
    failed: str | None = None
    lost: int = 0
    slow: bool = False  # takes nothing
    connected: bool = False
    hops: list[int] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        return [message_id for _, _, message_id in self.seen]


@dataclass
class Publication:
    topic: str
    message_id: str
    request: int
    result: Appended | Failed | None = None
    answers: int = 0


class SimNode:
    """One engine and what a node would keep around it."""

    def __init__(self, sim: Simulation, member: Member) -> None:
        self.sim = sim
        self.member = member
        self.id = member.id
        self.engine = PubSubEngine(member.id, sim.limits)
        self.alive = True
        self.flushing = False
        self.readers: dict[str, list[Reader]] = defaultdict(list)
        self.sessions: dict[str, Session] = {}
        self.answers: dict[int, Callable[[Any], None]] = {}
        self.answered: set[int] = set()
        self.timer: float | None = None
        self.view = 0

    def call(self, effects: list[Effect]) -> None:
        """Perform effects in order, then see when the engine wants to be woken."""
        for effect in effects:
            self.perform(effect)
        if self.engine.unflushed and not self.flushing:
            self.flushing = True
            self.sim.after(self.sim.rng.choice([0.0, 0.0005]), self.end_turn)
        self.arm()

    def end_turn(self) -> None:
        """The turn of the loop is over."""
        self.flushing = False
        if self.alive:
            self.call(self.engine.flush(self.sim.now))

    def arm(self) -> None:
        due = self.engine.next_deadline()
        if (
            due is not None
            and not self.engine.unflushed
            and (self.timer is None or due < self.timer)
        ):
            self.timer = due
            self.sim.at(max(due, self.sim.now), self.wake, due)

    def wake(self, due: float) -> None:
        if self.alive and self.timer == due:
            self.timer = None
            self.call(self.engine.handle_timer(max(self.sim.now, due)))

    def perform(self, effect: Effect) -> None:
        match effect:
            case Send(to=to, message=message):
                self.sim.send(self, to, message)
            case Dial(address=address):
                self.sim.after(0.01, self.sim.dialled, self, address)
            case Answer(request=request, result=result):
                assert request not in self.answered, "answered twice"
                self.answered.add(request)
                callback = self.answers.pop(request, None)
                if callback is not None:
                    callback(result)
            case Deliver(feed=feed, depth=depth):
                self.deliver(feed, depth)
            case Reset(feed=feed):
                self.reset(feed)
            case ReleaseSession(address=address, generation=generation):
                self.release(address, generation)
            case SessionLost(address=address):
                session = self.sessions.pop(address, None)
                if session is not None and session.node is self:
                    session.lost += 1
                    session.node = None
            case _:
                raise AssertionError(effect)

    def deliver(self, feed: Feed, depth: int) -> None:
        for reader in self.readers.get(feed.topic, ()):
            reader.flush(feed, depth)
        session = self.sessions.get(feed.topic)
        if session is not None and session.node is self and not session.slow:
            self.serve(session, feed, depth)

    def serve(self, session: Session, feed: Feed, depth: int = 0) -> None:
        """Write what the inbox holds to the client, and tell the home later."""
        got = False
        for entry in feed.log.after(session.cursor.offset, FAR):
            session.seen.append((entry.epoch, entry.offset, entry.message_id))
            session.hops.append(entry.hops + depth)
            session.cursor = Cursor(entry.epoch, entry.offset)
            got = True
        if got:
            self.sim.after(self.sim.rng.uniform(0.0, 0.2), self.consume, session)

    def consume(self, session: Session) -> None:
        if self.alive and session.node is self:
            cursors = ((session.address, session.cursor),)
            self.call(
                self.engine.consumed(session.address, session.generation, cursors, self.sim.now)
            )

    def reset(self, feed: Feed) -> None:
        for reader in self.readers.get(feed.topic, ()):
            if reader.cursor is not None:
                reader.gap(feed.origin)
        session = self.sessions.get(feed.topic)
        if session is not None and session.node is self:
            session.breaks.add(len(session.seen))
            # A gap may be told again by the next edge: the client has gone on since.
            session.cursor = max(session.cursor, feed.origin)

    def release(self, address: str, generation: int) -> None:
        session = self.sessions.pop(address, None)
        cursors: tuple[tuple[str, Cursor], ...] = ()
        if session is not None and session.node is self:
            session.node = None
            cursors = ((address, session.cursor),)
        self.call(self.engine.released(address, generation, cursors, self.sim.now))

    # -- what a test does --------------------------------------------------------------

    def ask(self, callback: Callable[[Any], None]) -> int:
        request = self.sim.next_request()
        self.answers[request] = callback
        return request

    def publish(self, topic: str, message_id: str, *, client_id: bool = False) -> Publication:
        request = self.sim.next_request()
        publication = Publication(topic, message_id, request)
        self.sim.publications.append(publication)

        def done(result: Any) -> None:
            publication.result = result
            publication.answers += 1

        self.answers[request] = done
        payload = f'{{"channel":"{topic}","data":"{message_id}"}}'.encode()
        self.call(
            self.engine.append(
                request, topic, payload, message_id, 0.0, self.sim.now, client_id=client_id
            )
        )
        return publication

    def read(self, topic: str, cursor: Cursor | None = None) -> Reader:
        """A new reader, from `cursor` on or from now on."""
        reader = Reader(topic, self, wanted=cursor)
        self.sim.readers.append(reader)

        def done(result: Any) -> None:
            if isinstance(result, Failed):
                reader.failed = result.code
                return
            assert isinstance(result, Joined)
            self.readers[topic].append(reader)
            reader.start = reader.cursor = result.cursor
            if reader.published is None:
                reader.published = len(self.sim.publications)
            if result.gap:
                reader.breaks.add(0)
            feed = self.engine.feed(topic)
            assert feed is not None
            self.sim.after(0.0, self.flush, reader)

        self.call(self.engine.join(self.ask(done), topic, cursor, self.sim.now))
        return reader

    def flush(self, reader: Reader) -> None:
        feed = self.engine.feed(reader.topic)
        if self.alive and feed is not None and reader in self.readers[reader.topic]:
            reader.flush(feed)

    def unread(self, reader: Reader) -> None:
        """The reader goes."""
        readers = self.readers[reader.topic]
        if reader in readers:
            readers.remove(reader)
            if not readers:
                del self.readers[reader.topic]
                self.call(self.engine.leave(reader.topic, self.sim.now))

    def open(self, address: str, extra: bytes = b"") -> Session:
        session = Session(address)
        self.sim.sessions.append(session)
        request = self.ask(lambda result: self.opened(session, result))
        self.call(self.engine.open_session(request, address, extra, self.sim.now))
        return session

    def attach(self, session: Session) -> None:
        session.failed = None
        request = self.ask(lambda result: self.opened(session, result))
        self.call(self.engine.attach_session(request, session.address, self.sim.now))

    def opened(self, session: Session, result: Any) -> None:
        if isinstance(result, Failed):
            session.failed = result.code
            return
        assert isinstance(result, SessionDone)
        session.node = self
        session.generation = result.record.generation
        recorded = dict(result.record.cursors)[session.address]
        # The client acknowledges what it has: it never goes back.
        session.cursor = max(session.cursor, recorded)
        self.sessions[session.address] = session
        self.sim.after(0.0, self.look_at_inbox, session)  # it may have come before the answer

    def look_at_inbox(self, session: Session) -> None:
        feed = self.engine.feed(session.address)
        if self.alive and feed is not None and session.node is self and not session.slow:
            self.serve(session, feed)


class Simulation:
    """Nodes, links and time."""

    def __init__(
        self,
        seed: int,
        *,
        flat_limit: int = 32,
        limits: Limits | None = None,
        latency: tuple[float, float] = (0.0002, 0.003),
        names: Iterable[str] = (),
    ) -> None:
        """`names`: topics and addresses of the world; without any it has all slots."""
        self.seed = seed
        self.rng = Random(seed)
        self.flat_limit = flat_limit
        self.limits = limits or Limits()
        self.latency = latency
        self.few = frozenset(slot_of(name) for name in names)
        self.now = 100.0
        self.nodes: dict[NodeId, SimNode] = {}
        self.members: dict[NodeId, Member] = {}
        self.view: View | None = None
        self.placement: Placement | None = None
        self.readers: list[Reader] = []
        self.sessions: list[Session] = []
        self.publications: list[Publication] = []
        self.sent: dict[str, int] = defaultdict(int)
        self.drop: Callable[[NodeId, NodeId, Any], bool] | None = None
        self.steps = 0  # events of the heap
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0
        self._requests = 0
        self._links: dict[tuple[NodeId, NodeId], int] = defaultdict(int)  # generation of a link
        self._down: set[tuple[NodeId, NodeId]] = set()
        self._resetting: set[tuple[NodeId, NodeId]] = set()  # will be up again by themselves
        self._queued: dict[tuple[NodeId, NodeId], list[Any]] = defaultdict(list)
        self._arrival: dict[tuple[NodeId, NodeId], float] = defaultdict(float)

    # -- time ---------------------------------------------------------------------------

    def at(self, when: float, what: Callable[..., None], *args: Any) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, what, args))

    def after(self, seconds: float, what: Callable[..., None], *args: Any) -> None:
        self.at(self.now + seconds, what, *args)

    def run(self, seconds: float) -> None:
        """Let `seconds` of virtual time go by."""
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            when, _, what, args = heapq.heappop(self._heap)
            self.now = max(self.now, when)
            self.steps += 1
            what(*args)
        self.now = end

    def next_request(self) -> int:
        self._requests += 1
        return self._requests

    # -- links ----------------------------------------------------------------------------

    def send(self, sender: SimNode, to: NodeId, message: Any) -> None:
        if not sender.alive:
            return
        self.sent[type(message).__name__] += 1
        assert to != sender.id, f"sent to itself: {message}"
        link = _link(sender.id, to)
        target = self.nodes.get(to)
        if target is None or not target.alive:
            self.after(0.001, self._closed, sender, to)  # it could not be sent
            return
        if link in self._down:
            self._queued[link].append((sender, to, message))  # until there is a new link
            return
        if self.drop is not None and self.drop(sender.id, to, message):
            return
        arrival = self.now + self.rng.uniform(*self.latency)
        arrival = max(arrival, self._arrival[sender.id, to])
        self._arrival[sender.id, to] = arrival
        self.at(arrival, self._arrive, sender.id, target, self._links[link], message)

    def _arrive(self, sender: NodeId, target: SimNode, generation: int, message: Any) -> None:
        if target.alive and self._links[_link(sender, target.id)] == generation:
            target.call(target.engine.receive(sender, message, self.now))

    def _closed(self, node: SimNode, other: NodeId) -> None:
        if node.alive:
            node.call(node.engine.link_closed(other, self.now))

    def _opened(self, link: tuple[NodeId, NodeId]) -> None:
        self._down.discard(link)
        self._resetting.discard(link)
        for sender, to, message in self._queued.pop(link, ()):
            self.send(sender, to, message)
        left, right = (self.nodes[node] for node in link)
        self._hears_opened(left, right)
        self._hears_opened(right, left)

    def _hears_opened(self, node: SimNode, other: SimNode) -> None:
        if node.alive and other.alive:
            node.call(node.engine.link_opened(other.id, self.now))

    def reset_link(self, left: NodeId, right: NodeId) -> None:
        """What is under way is lost; a moment later there is a new link."""
        link = _link(left, right)
        if link in self._down:
            return
        self._links[link] += 1
        self._down.add(link)
        self._resetting.add(link)
        for node, other in ((left, right), (right, left)):
            self.after(self.rng.uniform(0.0, 0.01), self._closed, self.nodes[node], other)
        self.after(self.rng.uniform(0.011, 0.05), self._opened, link)

    # -- the ring ----------------------------------------------------------------------------

    def start(self, count: int, *, room: int | None = None) -> list[SimNode]:
        """A ring of `count` ACTIVE members on view 1; ids are spread as for `room` members."""
        made = [self.new_node(i, room or count, MemberState.ACTIVE) for i in range(count)]
        self.change()
        self.run(0.2)
        return made

    def make_node(self, member: Member) -> SimNode:
        return SimNode(self, member)

    def new_node(self, index: int, room: int, state: MemberState) -> SimNode:
        member = make_member(index, room, self.rng, state)
        node = self.nodes[member.id] = self.make_node(member)
        self.members[member.id] = member
        return node

    def change(self, *, skew: float = 0.02) -> None:
        """The next view, with the members as they are; each node installs it in its own time."""
        number = 1 if self.view is None else self.view.number + 1
        self.view = make_view(number, self.members.values())
        self.placement = (
            FewSlots(self.view, self.flat_limit, self.few)
            if self.few
            else Placement(self.view, self.flat_limit)
        )
        for node in self.nodes.values():
            if node.alive:
                wait = self.rng.uniform(0.0, skew)
                self.after(wait, self._install, node, self.view, self.placement)

    def _install(self, node: SimNode, view: View, placement: Placement) -> None:
        if node.alive:
            node.view = view.number
            node.call(node.engine.install_view(view, placement, self.now))

    def set_state(self, node: SimNode, state: MemberState) -> None:
        self.members[node.id] = self.members[node.id].with_state(state)
        self.change()

    def join(self, index: int, room: int) -> SimNode:
        """A node joins: first a view with it JOINING, then ACTIVE."""
        node = self.new_node(index, room, MemberState.JOINING)
        self.change()
        self.run(0.1)
        while node.alive and not node.view:  # it wishes to be ACTIVE once it knows that it is in
            self.run(0.05)
        self.set_state(node, MemberState.ACTIVE)
        return node

    def kill(self, node: SimNode, *, detected: float = 0.6) -> None:
        """`kill -9`: its links break now, the view follows after `detected` seconds."""
        node.alive = False
        for other in self.nodes.values():
            if other.alive:
                self._links[_link(node.id, other.id)] += 1
                self.after(self.rng.uniform(0.0, 0.005), self._closed, other, node.id)
                self.after(self.rng.uniform(0.0, 0.05), self._ended, other, node.member)
        self.after(detected, self._evict, node)

    def _ended(self, node: SimNode, member: Member) -> None:
        """A reconnect was refused: that process is no more."""
        if node.alive:
            node.call(node.engine.process_ended(member.id, member.incarnation, self.now))

    def dialled(self, node: SimNode, address: str) -> None:
        """Nobody listens where a process has ended."""
        refused = any(n.member.peer == address and not n.alive for n in self.nodes.values())
        if node.alive:
            node.call(node.engine.dial_failed(address, refused, self.now))

    def _evict(self, node: SimNode) -> None:
        del self.members[node.id]
        self.change()

    def remove(self, node: SimNode) -> None:
        """It has left politely: a view without it, and then its process ends."""
        del self.members[node.id]
        self.change()
        self.after(0.1, self._stop, node)

    def _stop(self, node: SimNode) -> None:
        node.alive = False
        for other in self.nodes.values():
            if other.alive:
                self._closed(other, node.id)

    def home(self, topic: str) -> SimNode:
        assert self.placement is not None
        return self.nodes[self.placement.home_of(topic)]

    def living(self) -> list[SimNode]:
        return [node for node in self.nodes.values() if node.alive]

    # -- what must hold --------------------------------------------------------------------------

    def check(self) -> None:
        """Every invariant that holds at any moment, for all readers and sessions so far."""
        named: dict[tuple[str, int, int], str] = {}
        for publication in self.publications:
            result = publication.result
            assert publication.answers <= 1, f"answered twice: {publication}"
            if isinstance(result, Appended):
                self._name(named, publication.topic, result.cursor, publication.message_id)
        for reader in self.readers:
            self._check_sequence(named, reader.topic, reader.seen, reader.breaks)
        for session in self.sessions:
            self._check_sequence(named, session.address, session.seen, session.breaks)

    def _name(
        self,
        named: dict[tuple[str, int, int], str],
        topic: str,
        cursor: Cursor,
        message_id: str,
    ) -> None:
        key = (topic, cursor.epoch, cursor.offset)
        assert named.setdefault(key, message_id) == message_id, f"{key} names two messages"

    def _check_sequence(
        self,
        named: dict[tuple[str, int, int], str],
        topic: str,
        seen: list[tuple[int, int, str]],
        breaks: set[int],
    ) -> None:
        """One total order, contiguous except where a gap was told, nothing twice.

        A publisher whose home died before it answered asks again, and a home
        that knows nothing of the old one's log commits it again: so a repeat
        after a gap is what this form of the system promises.
        """
        last: tuple[int, int] | None = None
        since_gap: set[str] = set()
        for index, (epoch, offset, message_id) in enumerate(seen):
            self._name(named, topic, Cursor(epoch, offset), message_id)
            if index in breaks:
                since_gap.clear()
            assert message_id not in since_gap, f"{topic}: {message_id} came twice"
            since_gap.add(message_id)
            if last is not None:
                assert (epoch, offset) > last, f"{topic}: {epoch}:{offset} after {last}"
                if index not in breaks:
                    assert offset == last[1] + 1, f"{topic}: {last} then {offset}, not told"
            last = (epoch, offset)

    def check_complete(self) -> None:
        """What was acknowledged has come to every reader, or it was told of a gap just there."""
        acked: dict[str, dict[str, Cursor]] = defaultdict(dict)
        for publication in self.publications:
            result = publication.result
            if isinstance(result, Appended):
                acked[publication.topic][publication.message_id] = result.cursor
        for reader in self.readers:
            if reader.start is None or not reader.node.alive:
                continue
            if reader not in reader.node.readers.get(reader.topic, ()):
                continue
            where = f"{reader.topic} at {reader.node.member.peer}"
            self._check_none_missing(where, acked[reader.topic], reader, reader.start)
        for session in self.sessions:
            if session.node is not None and session.node.alive and not session.slow:
                self._check_none_missing(session.address, acked[session.address], session, NOWHERE)

    def _check_none_missing(
        self, where: str, acked: dict[str, Cursor], reader: Reader | Session, start: Cursor
    ) -> None:
        seen = set(reader.ids)
        positions = [(epoch, offset) for epoch, offset, _ in reader.seen]
        for message_id, cursor in acked.items():
            if message_id in seen or cursor <= start:
                continue
            index = bisect_left(positions, (cursor.epoch, cursor.offset))
            told = index in reader.breaks
            assert told, f"{where} lacks {message_id} at {cursor.epoch}:{cursor.offset}, not told"

    def check_quiet(self) -> None:
        """After the last event: nothing pending, no ghosts, trees without cycles, budgets right."""
        living = {node.id: node for node in self.living()}
        for node in living.values():
            counts = node.engine.statistics()
            assert counts.pending == 0, counts
            assert counts.slots["opening"] == counts.slots["parting"] == 0, counts
            assert counts.staged == 0, counts
            core = node.engine._parts.core
            logs = {
                id(topic.log): topic.log
                for slot in core.copies.values()
                for topic in (slot.topics or {}).values()
            }
            logs |= {id(f.log): f.log for f in [*core.feeds.values(), *core.inboxes.values()]}
            assert counts.log_bytes == sum(log.size_bytes for log in logs.values()), node.member
            for topic, feed in core.feeds.items():
                assert feed.joined, feed
                assert feed.readers or feed.children, f"a ghost: {feed}"
                assert feed.readers == bool(node.readers.get(topic)), feed
                for child in feed.children:
                    below = living[child].engine.feed(topic)
                    assert below is not None, f"a ghost child: {feed}"
                    assert below.parent == node.id, f"a ghost child: {feed}"
                if feed.parent is not None:
                    above = living[feed.parent].engine.feed(topic)
                    assert above is not None, feed
                    assert node.id in above.children, feed
                    assert feed.last.offset == above.last.offset, (feed, above)
                self._check_rooted(living, topic, node)
            self._check_sessions(living, node)
            for address, topic_state in core.topics.items():
                if topic_state.record is not None:
                    assert topic_state.last > topic_state.record.inbox, f"kept: {address}"

    def _check_sessions(self, living: dict[NodeId, SimNode], node: SimNode) -> None:
        """Every record names a living edge that holds it, and what an edge holds is recorded."""
        parts = node.engine._parts
        for slot in parts.core.slots.values():
            for address, record in (slot.records or {}).items():
                assert record.edge in living, f"{address} waits for ever"
                held = living[record.edge].engine._parts.edge.find(address)
                assert held is not None, f"{address} is held by nobody"
                assert held.generation == record.generation, address
        for records in parts.edge._held.values():
            for address, held in records.items():
                wire = self.home(address).engine.record(address)
                assert wire is not None, f"{address} has no record"
                assert (wire.edge, wire.generation) == (node.id, held.generation), address

    def _check_rooted(self, living: dict[NodeId, SimNode], topic: str, node: SimNode) -> None:
        seen = set()
        current = node
        while True:
            assert current.id not in seen, f"a cycle in {topic}"
            seen.add(current.id)
            feed = current.engine.feed(topic)
            assert feed is not None
            if feed.parent is None:
                assert current is self.home(topic)
                assert len(seen) - 1 <= ceil(log(len(living), 8)) + 1, f"{topic} is too deep"
                return
            current = living[feed.parent]


def _link(left: NodeId, right: NodeId) -> tuple[NodeId, NodeId]:
    return (left, right) if left < right else (right, left)


__all__ = [
    "Append",
    "Entries",
    "Publication",
    "Reader",
    "Session",
    "SimNode",
    "Simulation",
    "make_member",
    "make_view",
]
