"""Session records as nodes keep them in memory: one slotted object a session.

A node keeps up to a million of these, so what sessions have in common is
shared: the tuple of cursors (sessions with the same subscriptions that have
read equally far), the cursor of an untouched inbox, the edge's id, `extra`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from pubsub.messages import Cursor, Record

if TYPE_CHECKING:
    from dht.ids import NodeId

Cursors: TypeAlias = tuple[tuple[str, Cursor], ...]
_SHARED: Final = 8_192
_FORMER: Final = 8  # edges that may not know that they have lost a session; the latest


class Sharer:
    """Hands out one object for equal cursor tuples; forgets all of them now and then."""

    __slots__ = ("_known", "_step")

    def __init__(self) -> None:
        self._known: dict[Cursors, Cursors] = {}
        self._step: tuple[Cursors, Cursors, Cursors] = ((), (), ())  # the last one of `advanced`

    def share(self, cursors: Cursors) -> Cursors:
        if not cursors:
            return ()
        if len(self._known) >= _SHARED:
            self._known.clear()
        return self._known.setdefault(cursors, cursors)

    def advanced(self, held: Cursors, to: Cursors) -> Cursors:
        """Cursors moved forward to those of `to`; never back, and none that were not there.

        Readers of a group stand together and move together: the answer for the very same
        two objects is known already.
        """
        before, step, after = self._step
        if before is held and step is to:
            return after
        positions = dict(held)
        for topic, cursor in to:
            position = positions.get(topic)
            if position is not None and cursor > position:
                positions[topic] = cursor
        after = self.share(tuple(positions.items()))
        self._step = (held, to, after)
        return after


class SessionRecord:
    """A session at its home, or the edge's own copy. `inbox` is the consumed position.

    While the inbox has no log at the home, `inbox` is also the last position
    assigned in it, so that offsets go on from there.
    """

    __slots__ = ("address", "cursors", "edge", "extra", "former", "generation", "inbox")

    def __init__(
        self, address: str, edge: NodeId, generation: int, inbox: Cursor, extra: bytes = b""
    ) -> None:
        self.address = address
        self.edge = edge
        self.generation = generation
        self.inbox = inbox
        self.cursors: Cursors = ()  # without the inbox
        self.extra = extra
        self.former: tuple[NodeId, ...] = ()

    def copy(self) -> SessionRecord:
        """A record of its own, as this one is now."""
        twin = SessionRecord(self.address, self.edge, self.generation, self.inbox, self.extra)
        twin.cursors = self.cursors
        twin.former = self.former
        return twin

    def to_wire(self) -> Record:
        cursors = ((self.address, self.inbox), *self.cursors)
        return Record(self.address, self.edge, self.generation, cursors, self.extra, self.former)

    @classmethod
    def from_wire(cls, record: Record, sharer: Sharer) -> SessionRecord:
        inbox = Cursor(0, 0)
        others = []
        for pair in record.cursors:
            if pair[0] == record.address:
                inbox = pair[1]
            else:
                others.append(pair)
        made = cls(record.address, record.edge, record.generation, inbox, record.extra)
        made.cursors = sharer.share(tuple(others))
        made.former = record.former
        return made

    def overrule(self) -> None:
        """The session is taken from its edge without its word."""
        self.former = (*(node for node in self.former if node != self.edge), self.edge)[-_FORMER:]

    def settle_with(self, node: NodeId) -> None:
        """`node` knows that it has not got the session, or has got it again."""
        if node in self.former:
            self.former = tuple([each for each in self.former if each != node])

    def advance(self, cursors: Cursors, sharer: Sharer) -> None:
        """Move subscriptions forward to `cursors`; never back, and none that it does not have."""
        self.cursors = sharer.advanced(self.cursors, cursors)

    def subscribe(self, added: Cursors, dropped: tuple[str, ...], sharer: Sharer) -> None:
        """Add subscriptions at their cursors and drop others. A repeat changes nothing."""
        positions = dict(self.cursors)
        for topic in dropped:
            positions.pop(topic, None)
        for topic, cursor in added:
            if topic != self.address:
                positions[topic] = max(cursor, positions.get(topic, cursor))
        self.cursors = sharer.share(tuple(positions.items()))
