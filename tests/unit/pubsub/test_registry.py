"""Session records at their home: who may write them, and how long they last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from dht.ids import slot_of
from pubsub.effects import SessionLost
from pubsub.errors import Code
from pubsub.limits import Limits
from pubsub.messages import (
    Consumed,
    Cursor,
    Failed,
    Record,
    SessionClose,
    SessionClosed,
    SessionDone,
    SessionMoved,
    SessionOpen,
    SessionPut,
    SessionUpdate,
    Vacated,
)
from pubsub.records import SessionRecord
from pubsub_rig import Node, Rig

if TYPE_CHECKING:
    from dht.effects import Effect


def session(rig: Rig, *, local: bool) -> tuple[Node, Node, str]:
    """A home, the edge of a new session (the home itself or not), and its address."""
    home = rig.nodes[0]
    edge = home if local else rig.nodes[1]
    address = rig.address(home)
    done = edge.open(address, b"extra")
    assert done.record == Record(
        address, edge.id, 1, ((address, Cursor(rig.view.number, 0)),), b"extra"
    )
    return home, edge, address


both = pytest.mark.parametrize("local", [True, False])


@both
def test_a_session_is_opened_once(local: bool) -> None:
    rig = Rig()
    home, edge, address = session(rig, local=local)
    assert home.engine.record(address) == edge.results()[0].record
    assert rig.nodes[2].engine.record(address) is None
    again = edge.open(address)  # a retry of the same edge
    assert again.record.extra == b"extra"
    assert home.engine.statistics().records == 1
    assert home.engine.statistics().held == 0
    assert edge.engine.statistics().held == (0 if local else 1)
    other = rig.nodes[2]
    assert other.open(address).code == Code.MOVED


@both
def test_subscriptions_come_and_go(local: bool) -> None:
    rig = Rig()
    home, edge, address = session(rig, local=local)
    done = edge.update(address, 1, (("/a", Cursor(1, 3)), ("/b", Cursor(1, 4))))
    assert dict(done.record.cursors)["/a"] == Cursor(1, 3)
    done = edge.update(address, 1, (("/c", Cursor(1, 5)),), ("/a", "/none"))
    assert [topic for topic, _ in done.record.cursors] == [address, "/b", "/c"]
    assert home.engine.record(address) == done.record


@both
def test_cursors_move_forward_only(local: bool) -> None:
    rig = Rig()
    home, edge, address = session(rig, local=local)
    edge.update(address, 1, (("/a", Cursor(1, 3)),))
    edge.consumed(address, 1, ("/a", Cursor(1, 9)), ("/none", Cursor(1, 1)))
    edge.consumed(address, 1, ("/a", Cursor(1, 5)))
    record = home.engine.record(address)
    assert record is not None
    assert record.cursors == ((address, Cursor(1, 0)), ("/a", Cursor(1, 9)))
    # What the edge itself does not hold is not sent.
    rig.log.clear()
    edge.consumed(address, 2, ("/a", Cursor(1, 10)))
    rig.nodes[2].consumed(address, 1, ("/a", Cursor(1, 10)))
    assert not rig.log
    assert home.engine.record(address) == record


@both
def test_a_closed_session_leaves_nothing(local: bool) -> None:
    rig = Rig()
    home, edge, address = session(rig, local=local)
    edge.append(address, "m")
    edge.close(address, 1)
    for node in (home, edge):
        stats = node.engine.statistics()
        assert (stats.records, stats.held, stats.topics, stats.pending) == (0, 0, 0, 0)
        assert stats.log_bytes == 0
        assert node.engine.feed(address) is None
    assert edge.append(address, "m2").code == Code.UNKNOWN_SESSION
    assert edge.update(address, 1).code == Code.UNKNOWN_SESSION
    assert edge.attach(address).code == Code.UNKNOWN_SESSION
    edge.close(address, 1)  # again


def test_a_close_that_is_lost_is_sent_again() -> None:
    rig = Rig()
    home, edge, address = session(rig, local=False)
    rig.hold = lambda message: isinstance(message, SessionClose)
    edge.close(address, 1)
    rig.hold = lambda message: False
    rig.relink(home, edge)
    rig.tick(1.0)
    assert home.engine.statistics().records == 0
    assert len(rig.messages(SessionClosed)) == 1


def test_writes_of_an_older_generation_are_refused() -> None:
    rig = Rig()
    home, edge, address = session(rig, local=False)
    newer = rig.nodes[2]
    rig.hold = lambda message: type(message).__name__ == "Release"
    newer.attach(address)
    rig.tick(1.1)  # the old edge does not answer
    rig.held.clear()
    rig.hold = lambda message: False
    record = home.engine.record(address)
    assert record is not None
    assert (record.edge, record.generation) == (newer.id, 2)
    stale = (("/a", Cursor(1, 1)),)
    assert home.says(edge.id, SessionUpdate(9, address, 1, stale, ())) == [Failed(9, Code.MOVED)]
    moved = [SessionMoved(address, 1)]
    assert home.says(edge.id, Consumed(address, 1, stale)) == moved
    assert home.says(edge.id, SessionClose(address, 1, 8)) == [SessionClosed(8)]
    # Nor may a stranger write with the right generation.
    assert home.says(edge.id, SessionUpdate(9, address, 2, stale, ())) == [Failed(9, Code.MOVED)]
    assert home.engine.record(address) == record


def test_a_stale_edge_learns_that_it_has_lost_the_session() -> None:
    rig = Rig()
    home, edge, address = session(rig, local=False)
    newer = rig.nodes[2]
    rig.hold = lambda message: type(message).__name__ in {"Release", "SessionMoved"}
    newer.attach(address)
    rig.tick(1.1)
    rig.held.clear()
    rig.hold = lambda message: False
    assert edge.update(address, 1, (("/a", Cursor(1, 1)),)).code == Code.MOVED
    assert edge.took(SessionLost) == [SessionLost(address)]
    assert edge.engine.statistics().held == 0
    # The same for a write that has no answer.
    edge.do(edge.engine.receive(home.id, SessionMoved(address, 1), rig.now))
    assert not edge.took(SessionLost)  # it is not here any more


def test_consumption_of_a_session_that_nobody_knows_is_ignored() -> None:
    rig = Rig()
    home, edge = rig.nodes[:2]
    assert home.says(edge.id, Consumed(rig.address(home), 1, ())) == []


def test_a_session_whose_edge_does_not_hold_it_waits_a_minute_for_another() -> None:
    rig = Rig()
    home, edge, address = session(rig, local=False)
    home.says(rig.nodes[2].id, Vacated(address, 0))  # not the edge's word
    assert home.engine.record(address).edge == edge.id  # type: ignore[union-attr]
    home.says(edge.id, Vacated(address, 0))
    assert home.engine.record(address).edge == b""  # type: ignore[union-attr]
    assert not edge.append(address, "m").connected
    rig.tick(59.0)
    assert home.engine.record(address) is not None
    rig.tick(2.0)
    assert home.engine.record(address) is None
    assert home.engine.statistics().topics == 0


def test_a_session_whose_edge_died_waits_too_and_can_be_had() -> None:
    rig = Rig()
    home, edge, address = session(rig, local=False)
    kept = rig.address(home, 1)
    edge.open(kept)
    rig.kill(edge)
    rig.change()
    assert not rig.nodes[2].append(kept, "m").connected
    assert rig.nodes[2].attach(kept).record.generation == 2
    rig.tick(61.0)
    assert home.engine.record(address) is None
    assert home.engine.record(kept) is not None


def test_an_edge_that_was_out_of_the_view_for_a_moment_gets_what_it_missed() -> None:
    rig = Rig()
    home, edge, address = session(rig, local=False)
    member = rig.members.pop(edge.id)
    rig.change(only=[home])
    home.append(address, "m")
    assert edge.engine.feed(address) is None
    rig.members[edge.id] = member
    rig.change(only=[home])
    assert edge.engine.feed(address) is not None
    rig.tick(61.0)
    assert home.engine.record(address) is not None


def test_records_and_subscriptions_are_bounded() -> None:
    rig = Rig(limits=Limits(records=2, subscriptions=3))
    home = rig.nodes[0]
    for index in range(2):
        assert isinstance(home.open(rig.address(home, index)), SessionDone)
    assert home.open(rig.address(home, 2)).code == Code.OVERLOADED
    address = rig.address(home, 0)
    some = tuple((f"/{index}", Cursor(1, 0)) for index in range(3))
    assert isinstance(home.update(address, 1, some), SessionDone)
    assert home.update(address, 1, (("/more", Cursor(1, 0)),)).code == Code.OVERLOADED


def put(address: str, edge: Node, generation: int, *cursors: tuple[str, Cursor]) -> SessionPut:
    return SessionPut(Record(address, edge.id, generation, cursors), 77)


def begun_anew() -> Rig:
    """A ring whose homes know nothing of the reigns before view 7."""
    rig = Rig(0)
    rig.view = msgspec.structs.replace(rig.view, number=6)
    rig.nodes = [rig.add(index, 3) for index in range(3)]
    rig.change()
    return rig


def test_an_edges_copy_becomes_the_record_where_that_may_be_lost() -> None:
    rig = begun_anew()
    home, edge = rig.nodes[:2]
    address = rig.address(home)
    cursors = ((address, Cursor(1, 4)), ("/a", Cursor(1, 2)))
    said = home.says(edge.id, put(address, edge, 3, *cursors))  # the gap, too
    (done,) = (message for message in said if isinstance(message, SessionDone))
    assert done == SessionDone(77, Record(address, edge.id, 3, cursors))
    assert home.engine.record(address) == done.record
    edge.engine._parts.edge.adopt(home.id, done.record, rig.now, [], is_new=True)
    assert rig.nodes[2].append(address, "m").cursor == Cursor(7, 1)


def test_an_edges_copy_does_not_bring_back_a_session_that_is_over() -> None:
    """The home has lost nothing: if it has no record, it has closed the session."""
    rig = Rig()
    home, edge, address = session(rig, local=False)
    record = home.engine.record(address)
    assert record is not None
    edge.close(address, 1)
    assert home.says(edge.id, SessionPut(record, 77)) == [Failed(77, Code.MOVED)]
    assert home.engine.record(address) is None


def test_a_copy_that_a_home_finds_at_itself_is_on_its_copies_too() -> None:
    """It is home and edge, and had to begin without the record."""
    rig = begun_anew()
    home = rig.nodes[0]
    address = rig.address(home)
    parts = home.engine._parts
    record = SessionRecord.from_wire(Record(address, home.id, 3, ()), parts.core.sharer)
    slot = parts.core.slots[slot_of(address)]
    parts.edge._held[slot.number] = {address: record}
    out: list[Effect] = []
    parts.edge.slots_opened([slot], rig.now, out)
    home.do(out)
    rig.carry()
    for holder in rig.holders(address):
        copy = holder.engine._parts.core.copies[slot.number]
        assert copy.record(address) is not None


def test_an_edges_copy_is_merged_into_the_record() -> None:
    rig = Rig()
    home, edge, address = session(rig, local=False)
    edge.update(address, 1, (("/a", Cursor(1, 2)),))
    (done,) = home.says(edge.id, put(address, edge, 1, ("/a", Cursor(1, 6))))
    assert dict(done.record.cursors)["/a"] == Cursor(1, 6)
    other = rig.nodes[2]
    assert home.says(other.id, put(address, other, 1)) == [Failed(77, Code.MOVED)]
    moved, done = home.says(other.id, put(address, other, 2))
    assert moved == SessionMoved(address, 1), "the edge that was sooner is told"
    assert (done.record.edge, done.record.generation) == (other.id, 2)
    assert home.says(edge.id, put(address, edge, 1)) == [Failed(77, Code.MOVED)]


def test_an_answer_to_a_request_that_was_given_up_does_not_hold_the_session() -> None:
    rig = Rig()
    home, edge = rig.nodes[:2]
    address = rig.address(home)
    rig.hold = lambda message: isinstance(message, SessionDone)
    edge.open(address)
    rig.tick(10.1)
    assert edge.results() == [Failed(1, Code.UNAVAILABLE)]
    rig.let_go()
    assert home.engine.record(address).edge == b""  # type: ignore[union-attr]
    # An answer that comes twice is no reason to let go.
    kept = rig.address(home, 1)
    done = edge.open(kept)
    assert edge.says(home.id, done) == []
    assert home.says(edge.id, SessionOpen(5, kept, b"")) != []
