"""A few pubsub engines whose messages are carried by hand: for tests of single steps.

No latency and no clock: `carry` delivers what was sent, in order, until nothing
is left, except what `hold` says to keep back. Other effects are kept per node.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from dht.effects import Send
from dht.ids import slot_of
from dht.placement import Placement
from dht.view import Member, MemberState
from pubsub.effects import Answer
from pubsub.engine import PubSubEngine
from pubsub.limits import Limits
from pubsub.slot_messages import SlotMessage
from pubsub_sim import make_member, make_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.view import View

T = TypeVar("T")
DEFAULTS = Limits()


class Node:
    """One engine, and the effects that it has asked for."""

    def __init__(self, rig: Rig, member: Member) -> None:
        self.rig = rig
        self.member = member
        self.id = member.id
        self.engine = PubSubEngine(member.id, rig.limits)
        self.effects: list[Effect] = []
        self.requests = 0

    def do(self, effects: list[Effect]) -> list[Effect]:
        """Keep effects; sends wait for `carry`."""
        for effect in effects:
            if isinstance(effect, Send):
                self.rig.sent.append((self.id, effect.to, effect.message))
            else:
                self.effects.append(effect)
        return effects

    def next_request(self) -> int:
        self.requests += 1
        return self.requests

    def results(self) -> list[Any]:
        """All answers so far, oldest first."""
        return [effect.result for effect in self.effects if isinstance(effect, Answer)]

    def took(self, kind: type[T]) -> list[T]:
        """Take out the effects of one kind."""
        found: list[T] = [effect for effect in self.effects if isinstance(effect, kind)]
        self.effects = [effect for effect in self.effects if not isinstance(effect, kind)]
        return found

    def says(self, sender: NodeId, message: Any) -> list[Any]:
        """What the node sends when it receives `message`; nobody gets it.

        But for what holders of slots say to each other, which is not among it.
        """
        rig = self.rig
        hold, held, rig.held = rig.hold, rig.held, []
        rig.hold = lambda message: not isinstance(message, SlotMessage)
        self.do(self.engine.receive(sender, message, rig.now))
        rig.carry()
        said = [message for node, _, message in rig.held if node == self.id]
        rig.hold, rig.held = hold, held
        return said

    # -- shorthand: each returns the answer, once everything was carried -----------------

    def append(
        self, topic: str, message_id: str, *, client_id: bool = False, payload: bytes = b"{}"
    ) -> Any:
        request = self.next_request()
        self.do(
            self.engine.append(
                request, topic, payload, message_id, 1.5, self.rig.now, client_id=client_id
            )
        )
        return self.answer(request)

    def join(self, topic: str, cursor: Any = None) -> Any:
        request = self.next_request()
        self.do(self.engine.join(request, topic, cursor, self.rig.now))
        return self.answer(request)

    def leave(self, topic: str) -> None:
        self.do(self.engine.leave(topic, self.rig.now))
        self.rig.carry()

    def open(self, address: str, extra: bytes = b"") -> Any:
        request = self.next_request()
        self.do(self.engine.open_session(request, address, extra, self.rig.now))
        return self.answer(request)

    def update(
        self, address: str, generation: int, subscribe: Any = (), unsubscribe: Any = ()
    ) -> Any:
        request = self.next_request()
        self.do(
            self.engine.update_session(
                request, address, generation, subscribe, unsubscribe, self.rig.now
            )
        )
        return self.answer(request)

    def attach(self, address: str) -> Any:
        request = self.next_request()
        self.do(self.engine.attach_session(request, address, self.rig.now))
        return self.answer(request)

    def close(self, address: str, generation: int) -> None:
        self.do(self.engine.close_session(address, generation, self.rig.now))
        self.rig.carry()

    def consumed(self, address: str, generation: int, *cursors: Any) -> None:
        self.do(self.engine.consumed(address, generation, cursors, self.rig.now))
        self.rig.carry()

    def released(self, address: str, generation: int, *cursors: Any) -> None:
        self.do(self.engine.released(address, generation, cursors, self.rig.now))
        self.rig.carry()

    def answer(self, request: int) -> Any:
        """What the request was answered with; None if it was not."""
        self.rig.carry()
        found = [e for e in self.effects if isinstance(e, Answer) and e.request == request]
        assert len(found) <= 1, "answered twice"
        return found[0].result if found else None


class Rig:
    """Some engines on one view."""

    def __init__(
        self, count: int = 3, *, flat_limit: int = 32, limits: Limits = DEFAULTS, room: int = 0
    ) -> None:
        self.now = 100.0
        self.limits = limits
        self.flat_limit = flat_limit
        self.rng = Random(count)
        self.sent: deque[tuple[NodeId, NodeId, Any]] = deque()
        self.held: list[tuple[NodeId, NodeId, Any]] = []
        self.log: list[tuple[NodeId, NodeId, Any]] = []
        self.hold: Callable[[Any], bool] = lambda message: False
        self.members: dict[NodeId, Member] = {}
        self.by_id: dict[NodeId, Node] = {}
        self.dead: set[NodeId] = set()
        self.view: View = make_view(0, ())
        self.placement = Placement(self.view, flat_limit)
        self.nodes = [self.add(index, room or count) for index in range(count)]
        self.change()

    def add(self, index: int, room: int, state: MemberState = MemberState.ACTIVE) -> Node:
        """Another node; it is in the next view."""
        member = make_member(index, room, self.rng, state)
        self.members[member.id] = member
        node = self.by_id[member.id] = Node(self, member)
        return node

    def change(self, *, only: list[Node] | None = None) -> None:
        """A new view for all that live, or for some: the others are late."""
        self.view = make_view(self.view.number + 1, self.members.values())
        self.placement = Placement(self.view, self.flat_limit)
        self.install(only or list(self.by_id.values()))

    def install(self, nodes: list[Node]) -> None:
        """The present view reaches these nodes."""
        for node in nodes:
            if node.id not in self.dead:
                node.do(node.engine.install_view(self.view, self.placement, self.now))
        self.carry()

    def set_state(self, node: Node, state: MemberState) -> None:
        self.members[node.id] = self.members[node.id].with_state(state)

    def kill(self, node: Node) -> None:
        """It is gone; the view does not know it yet."""
        self.kill_links(node)
        self.members.pop(node.id, None)
        for other in self.by_id.values():
            if other.id not in self.dead:
                ended = (node.id, node.member.incarnation)
                other.do(other.engine.process_ended(*ended, self.now))

    def cut(self, node: Node) -> None:
        """Nobody hears it any more, nor it anybody; the next view is without it."""
        self.kill_links(node)
        self.members.pop(node.id, None)

    def heal(self, node: Node) -> None:
        """It is let in again: the same process, which has found itself struck off."""
        self.dead.discard(node.id)
        node.member = msgspec.structs.replace(node.member, incarnation=node.member.incarnation + 1)
        self.members[node.id] = node.member

    def kill_links(self, node: Node) -> None:
        self.dead.add(node.id)
        self.sent = deque(item for item in self.sent if node.id not in item[:2])
        for other in self.by_id.values():
            if other.id not in self.dead:
                other.do(other.engine.link_closed(node.id, self.now))

    def carry(self) -> None:
        """Deliver everything that was sent, and what that leads to."""
        while self.sent or self.flush():
            if not self.sent:
                continue
            sender, to, message = self.sent.popleft()
            self.log.append((sender, to, message))
            assert sender != to
            if self.hold(message):
                self.held.append((sender, to, message))
            elif to in self.by_id and to not in self.dead:
                node = self.by_id[to]
                node.do(node.engine.receive(sender, message, self.now))

    def flush(self) -> bool:
        """The turn is over for everybody; whether anything came of it."""
        unflushed = [
            node
            for node in self.by_id.values()
            if node.id not in self.dead and node.engine.unflushed
        ]
        for node in unflushed:
            node.do(node.engine.flush(self.now))
        return bool(unflushed)

    def let_go(self) -> None:
        """Deliver what was held back."""
        self.hold = lambda message: False
        self.sent.extend(self.held)
        self.held = []
        self.carry()

    def relink(self, left: Node, right: Node) -> None:
        """Their link breaks, what was held on it is lost, and there is a new one."""
        ends = {left.id, right.id}
        self.held = [item for item in self.held if set(item[:2]) != ends]
        self.sent = deque(item for item in self.sent if set(item[:2]) != ends)
        for node, other in ((left, right), (right, left)):
            node.do(node.engine.link_closed(other.id, self.now))
        for node, other in ((left, right), (right, left)):
            node.do(node.engine.link_opened(other.id, self.now))
        self.carry()

    def tick(self, seconds: float) -> None:
        """Time goes by; every engine is woken when it asked to be."""
        end = self.now + seconds
        while True:
            due = [
                (deadline, node.member.peer, node)
                for node in self.by_id.values()
                if node.id not in self.dead
                and (deadline := node.engine.next_deadline()) is not None
                and deadline <= end
            ]
            if not due:
                break
            deadline, _, node = min(due)
            self.now = max(self.now, deadline)
            node.do(node.engine.handle_timer(self.now))
            self.carry()
        self.now = end

    def home(self, topic: str) -> Node:
        return self.by_id[self.placement.home_of(topic)]

    def holders(self, topic: str) -> list[Node]:
        """Who holds the topic's slot, home first."""
        return [self.by_id[node] for node in self.placement.holders(slot_of(topic))]

    def others(self, topic: str) -> list[Node]:
        """The living nodes that are not home to `topic`."""
        home = self.home(topic)
        return [n for n in self.by_id.values() if n is not home and n.id not in self.dead]

    def line(self, topic: str) -> tuple[Node, Node, Node]:
        """The root of a topic's tree, a forwarder right below it, and a node below that."""
        root = self.home(topic)
        for leaf in self.others(topic):
            forwarder = self.by_id[self.placement.parent(leaf.id, root.id)]
            if forwarder is root:
                continue
            if self.placement.parent(forwarder.id, root.id) == root.id:
                return root, forwarder, leaf
        raise AssertionError("the tree is too flat")

    def messages(self, kind: type[T]) -> list[T]:
        """All messages of one kind so far."""
        return [message for _, _, message in self.log if isinstance(message, kind)]

    def topics(self, home: Node, count: int) -> list[str]:
        """Channels with different slots that `home` is home to."""
        found: dict[int, str] = {}
        index = 0
        while len(found) < count:
            name = f"/t/{index}"
            if self.placement.home_of(name) == home.id:
                found.setdefault(slot_of(name), name)
            index += 1
        return list(found.values())

    def address(self, home: Node, index: int = 0) -> str:
        """A session address in a slot of `home`."""
        tag = next(f"t{i}" for i in range(10_000) if self.placement.home_of(f"t{i}") == home.id)
        return f"{tag}.{index:020d}"
