"""The edge's own corner cases: late answers, lost homes, rings that change."""

from __future__ import annotations

from dht.view import MemberState
from pubsub.effects import ReleaseSession, SessionLost
from pubsub.errors import Code
from pubsub.messages import (
    Consumed,
    Cursor,
    Entries,
    Entry,
    Failed,
    Released,
    SessionDone,
    SessionMoved,
    SessionPut,
    SessionUpdate,
    Vacated,
)
from pubsub.slot_messages import Installed
from pubsub_rig import Rig


def test_an_open_at_this_home_that_was_given_up_does_not_stay() -> None:
    rig = Rig()
    home = rig.nodes[0]
    address = rig.address(home)
    rig.set_state(home, MemberState.LEAVING)
    rig.hold = lambda message: isinstance(message, Installed)
    rig.change()
    heir = rig.home(address)
    assert heir.open(address) is None  # its slot is about to open
    rig.now += 10.1
    heir.engine._parts.requests.handle_timer(rig.now, heir.effects)
    assert heir.results() == [Failed(1, Code.UNAVAILABLE)]
    rig.let_go()
    record = heir.engine.record(address)
    assert record is None or record.edge == b""


def test_a_release_of_something_that_is_not_here_is_answered_too() -> None:
    rig = Rig()
    home, edge = rig.nodes[:2]
    edge.released(rig.address(home), 3)
    assert rig.messages(Released) == [Released(rig.address(home), 3, ())]
    late = rig.add(3, 4)  # it has no view, and nobody to tell
    late.do(late.engine.released(rig.address(home), 3, (), rig.now))
    late.do(late.engine.consumed(rig.address(home), 3, (), rig.now))
    assert len(rig.messages(Released)) == 1


def test_a_newer_generation_is_not_lost_to_an_older_word() -> None:
    rig = Rig()
    home, edge, other = rig.nodes
    address = rig.address(home)
    edge.open(address)
    other.attach(address)
    (effect,) = edge.took(ReleaseSession)
    edge.released(address, effect.generation)
    edge.attach(address)
    (effect,) = other.took(ReleaseSession)
    other.released(address, effect.generation)
    assert edge.results()[-1].record.generation == 3
    edge.do(edge.engine.receive(home.id, SessionMoved(address, 1), rig.now))
    assert not edge.took(SessionLost)
    assert edge.engine.statistics().held == 1


def test_an_update_that_is_answered_after_the_session_went_does_not_bring_it_back() -> None:
    rig = Rig()
    home, edge = rig.nodes[:2]
    address = rig.address(home)
    edge.open(address)
    rig.hold = lambda message: isinstance(message, SessionDone)
    edge.update(address, 1, (("/a", Cursor(1, 1)),))
    edge.close(address, 1)
    rig.let_go()
    assert isinstance(edge.results()[-1], SessionDone)
    assert edge.engine.statistics().held == 0


def test_an_update_keeps_what_was_consumed_meanwhile() -> None:
    rig = Rig()
    home, edge = rig.nodes[:2]
    address = rig.address(home)
    edge.open(address)
    home.append(address, "m1")
    rig.hold = lambda message: isinstance(message, SessionUpdate | Consumed)
    edge.update(address, 1, (("/a", Cursor(1, 1)),))
    edge.consumed(address, 1, (address, Cursor(1, 1)))
    rig.let_go()
    held = edge.engine._parts.edge.find(address)
    assert held is not None
    assert held.inbox == Cursor(1, 1)


def test_entries_before_the_answer_to_an_attach_are_no_reason_to_let_go() -> None:
    rig = Rig()
    home, edge, newer = rig.nodes
    address = rig.address(home)
    edge.open(address)
    rig.hold = lambda message: isinstance(message, SessionDone)
    newer.attach(address)
    (effect,) = edge.took(ReleaseSession)
    edge.released(address, effect.generation)
    entry = Entry(1, 1, "m", b"{}", 0.0, 0)
    assert newer.says(home.id, Entries(address, 1, (entry,))) == []
    rig.let_go()
    assert newer.says(home.id, Entries(address, 1, (entry,))) == []
    assert edge.says(home.id, Entries(address, 1, (entry,))) == [Vacated(address, 0)]


def test_any_of_the_homes_that_passed_a_slot_on_may_die() -> None:
    """The home dies unnoticed, the slot moves twice, and only then is the death seen."""
    rig = Rig(6)
    home, edge = rig.nodes[0], rig.nodes[5]
    address = rig.address(home)
    edge.open(address)
    member = rig.members[home.id]
    rig.kill(home)
    rig.members[home.id] = member
    for _ in range(2):  # the dead node is still listed
        rig.set_state(rig.home(address), MemberState.LEAVING)
        rig.change()
        rig.tick(0.05)
    assert not rig.messages(SessionPut)
    del rig.members[home.id]
    rig.change()
    rig.tick(0.5)
    assert rig.home(address).engine.record(address) is not None


def test_registering_again_gives_way_to_a_newer_edge() -> None:
    rig = Rig(4)
    home, edge, newer = rig.nodes[:3]
    address = rig.address(home)
    edge.open(address)
    rig.hold = lambda message: isinstance(message, SessionPut)
    rig.kill(home)
    rig.change()
    heir = rig.home(address)
    if heir in (edge, newer):
        return
    record = rig.held[0][2].record
    moved = SessionPut(type(record)(address, newer.id, 5, record.cursors), 1)
    heir.do(heir.engine.receive(newer.id, moved, rig.now))
    rig.let_go()
    assert edge.took(SessionLost) == [SessionLost(address)]
    assert edge.engine.statistics().held == 0
