"""Sessions that move from one edge to another, as their home sees it.

The home asks the old edge to let go, waits for its final cursors (or does
without, if it is gone or silent), commits the next generation with the new
edge, and only then tells the new one. From that commit on the old edge's
writes are refused.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dht.effects import Send
from dht.ids import slot_of
from pubsub.effects import ReleaseSession
from pubsub.errors import Code
from pubsub.messages import Failed, Release, Released, SessionAttach, SessionMoved

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.records import SessionRecord
    from pubsub.registry import Registry
    from pubsub.requests import Requests
    from pubsub.slot import Slot


_OVERRULED = 1_000  # words to edges that are remembered to be sent again


class _Move:
    """An attach that waits for the old edge. `request` is the new edge's."""

    __slots__ = ("deadline", "edge", "generation", "request")

    def __init__(self, edge: NodeId, request: int, generation: int, deadline: float) -> None:
        self.edge = edge
        self.request = request
        self.generation = generation
        self.deadline = deadline


class Moves:
    """The moves under way of sessions whose home this node is."""

    def __init__(self, core: Core, registry: Registry, requests: Requests) -> None:
        self._core = core
        self._registry = registry
        self._requests = requests
        self._moves: dict[str, _Move] = {}  # oldest first
        self._settling: dict[str, tuple[int, int]] = {}  # generations that are not committed yet
        # What edges that sessions have left without their word are told, the latest last.
        self._overruled: dict[tuple[NodeId, str], SessionMoved] = {}

    def receive_attach(
        self, sender: NodeId, message: SessionAttach, slot: Slot, now: float, out: list[Effect]
    ) -> None:
        """A node got a request of this session's client and wants to be its edge."""
        record = slot.record(message.address)
        if record is None:
            failed = Failed(message.request, self._registry.unknown(slot, now))
            self._requests.respond(sender, failed, now, out)
            return
        move = self._moves.get(record.address)
        if record.edge != sender and self._is_settling(slot, record):
            # The edge that it names does not know yet: it could not let go.
            failed = Failed(message.request, Code.UNAVAILABLE)
            self._requests.respond(sender, failed, now, out)
        elif move is not None:
            if move.edge == sender:
                move.request = message.request  # a retry
            else:
                failed = Failed(message.request, Code.UNAVAILABLE)
                self._requests.respond(sender, failed, now, out)
        elif record.edge == sender:
            # It is the edge: a retry whose answer was lost, or a client that came back to it.
            self._commit(slot, record, sender, message.request, now, out)
        elif message.edge not in {b"", record.edge} and record.edge in self._core.members:
            # Another has been faster. It may have sent what its client has not acknowledged
            # yet: whoever brings a request of that client is to ask it.
            failed = Failed(message.request, Code.UNAVAILABLE)
            self._requests.respond(sender, failed, now, out)
        elif record.edge in self._core.members:
            deadline = now + self._core.limits.release_seconds
            move = _Move(sender, message.request, record.generation, deadline)
            self._moves[record.address] = move
            self._release(record, out)
        else:
            self._move_to(slot, record, sender, message.request, now, out)

    def _release(self, record: SessionRecord, out: list[Effect]) -> None:
        if record.edge == self._core.me:
            out.append(ReleaseSession(record.address, record.generation))
        else:
            out.append(Send(record.edge, Release(record.address, record.generation)))

    def receive_released(
        self, sender: NodeId, message: Released, slot: Slot, now: float, out: list[Effect]
    ) -> None:
        """The old edge has let go; these are its last cursors.

        One that was overruled says so too, and need not be told again.
        """
        moved = self._overruled.get((sender, message.address))
        if moved is not None and moved.generation <= message.generation:
            del self._overruled[sender, message.address]
        record = slot.record(message.address)
        if record is not None and sender != record.edge:
            record.settle_with(sender)  # (the copies learn of it with the next change)
        if record is None or not self._registry.writes(sender, message.generation, record):
            return
        self._registry.consume(record, message.cursors, now)
        if record.address in self._moves:
            self._finish(slot, record, now, out)
        else:
            self._registry.vacate(
                slot, record, now, out
            )  # the move that asked for it came to nothing

    def _finish(self, slot: Slot, record: SessionRecord, now: float, out: list[Effect]) -> None:
        move = self._moves.pop(record.address)
        self._move_to(slot, record, move.edge, move.request, now, out)

    def _move_to(
        self,
        slot: Slot,
        record: SessionRecord,
        edge: NodeId,
        request: int,
        now: float,
        out: list[Effect],
    ) -> None:
        """The next generation, with its edge: from here on the old edge's writes are refused.

        An old edge that is no member may hear of it all the same, before it is one again.
        """
        if record.edge and record.edge not in self._core.members:
            self._overrule(record, out)
        self._registry.rename_edge(record, edge)
        record.generation += 1
        self._commit(slot, record, edge, request, now, out)

    def _commit(
        self,
        slot: Slot,
        record: SessionRecord,
        edge: NodeId,
        request: int,
        now: float,
        out: list[Effect],
    ) -> None:
        """Tell the edge once the record is committed, and send it what is unread."""
        generation = record.generation
        self._settling[record.address] = (slot.epoch, generation)

        def committed(now: float, out: list[Effect]) -> None:
            del now
            if self._settling.get(record.address) == (slot.epoch, generation):
                del self._settling[record.address]
            topic = self._core.topics.get(record.address)
            if topic is not None and (record.edge, record.generation) == (edge, generation):
                self._registry.inboxes.push(topic, record, out)

        self._registry.commit(slot, record, (edge, request), now, out, committed)

    def _is_settling(self, slot: Slot, record: SessionRecord) -> bool:
        """Whether its generation is on its way: it is everywhere once a new reign has begun."""
        return self._settling.get(record.address, (0, 0))[0] == slot.epoch

    def install_view(self, now: float, out: list[Effect]) -> None:
        """Moves of slots that went elsewhere are asked for there again; dead edges let go."""
        core = self._core
        for address, (epoch, _) in list(self._settling.items()):
            slot = core.slots.get(slot_of(address))
            if slot is None or slot.epoch != epoch:
                del self._settling[address]
        for address, move in list(self._moves.items()):
            slot = core.slots.get(slot_of(address))
            record = None if slot is None else slot.record(address)
            if record is None or record.generation != move.generation:
                del self._moves[address]
                failed = Failed(move.request, Code.UNAVAILABLE)
                self._requests.respond(move.edge, failed, now, out)
            elif slot is not None and record.edge not in core.members:
                self._finish(slot, record, now, out)

    def _overrule(self, record: SessionRecord, out: list[Effect]) -> None:
        """Tell an edge that has not let go; the record has it for homes to come."""
        self._tell(record.edge, SessionMoved(record.address, record.generation), out)
        record.overrule()

    def slots_opened(self, slots: Iterable[Slot], out: list[Effect]) -> None:
        """Edges that a home of before has overruled may not have heard of it."""
        for slot in slots:
            for record in (slot.records or {}).values():
                for edge in record.former:
                    if edge != self._core.me:
                        moved = SessionMoved(record.address, record.generation - 1)
                        self._tell(edge, moved, out)

    def _tell(self, edge: NodeId, moved: SessionMoved, out: list[Effect]) -> None:
        """And again over each new link to it, until it answers."""
        out.append(Send(edge, moved))
        self._overruled.pop((edge, moved.address), None)
        self._overruled[edge, moved.address] = moved
        if len(self._overruled) > _OVERRULED:
            del self._overruled[next(iter(self._overruled))]

    def link_opened(self, node: NodeId, out: list[Effect]) -> None:
        """A Release, or its answer, may have been lost with the old link."""
        for (edge, _), moved in self._overruled.items():
            if edge == node:
                out.append(Send(node, moved))
        for address in self._moves:
            slot = self._core.slots.get(slot_of(address))
            record = None if slot is None else slot.record(address)
            if record is not None and record.edge == node:
                self._release(record, out)

    def next_deadline(self) -> float:
        return next((move.deadline for move in self._moves.values()), inf)

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        """Old edges that do not answer are done without."""
        while self._moves:
            address, move = next(iter(self._moves.items()))
            if move.deadline > now:
                return
            slot = self._core.slots.get(slot_of(address))
            record = None if slot is None else slot.record(address)
            if slot and record is not None and record.generation == move.generation:
                if record.edge != self._core.me:
                    self._overrule(record, out)
                self._finish(slot, record, now, out)
            else:
                del self._moves[address]
