"""A session moves from edge to edge."""

from __future__ import annotations

import pytest

from pubsub.effects import Deliver, ReleaseSession, SessionLost
from pubsub.errors import Code
from pubsub.messages import (
    Cursor,
    Failed,
    Release,
    Released,
    SessionAttach,
    SessionDone,
    SessionMoved,
)
from pubsub_rig import Node, Rig


def held(rig: Rig, edge: Node) -> str:
    address = rig.address(rig.nodes[0])
    edge.open(address)
    edge.update(address, 1, (("/a", Cursor(1, 2)),))
    return address


def release(edge: Node, address: str, *cursors: tuple[str, Cursor]) -> None:
    """The node does as it is asked."""
    (effect,) = edge.took(ReleaseSession)
    assert effect.address == address
    edge.released(address, effect.generation, *cursors)


@pytest.mark.parametrize(("old", "new"), [(0, 1), (1, 0), (1, 2)])
def test_the_new_edge_has_the_session_once_the_old_one_has_let_go(old: int, new: int) -> None:
    rig = Rig()
    home, edge, newer = rig.nodes[0], rig.nodes[old], rig.nodes[new]
    address = held(rig, edge)
    assert newer.attach(address) is None
    release(edge, address, ("/a", Cursor(1, 8)))
    (done,) = [r for r in newer.results() if isinstance(r, SessionDone)][-1:]
    assert (done.record.edge, done.record.generation) == (newer.id, 2)
    assert dict(done.record.cursors)["/a"] == Cursor(1, 8)
    assert home.engine.record(address) == done.record
    assert edge.engine.statistics().held == 0
    assert newer.engine.statistics().held == (0 if newer is home else 1)
    assert newer.update(address, 2, (("/b", Cursor(1, 0)),)).record.generation == 2


def test_what_is_unread_goes_to_the_new_edge() -> None:
    rig = Rig()
    edge, newer = rig.nodes[1:3]
    address = held(rig, edge)
    for index in range(1, 4):
        rig.nodes[0].append(address, f"m{index}")
    newer.attach(address)
    release(edge, address, (address, Cursor(1, 1)))
    assert edge.engine.feed(address) is None
    feed = newer.engine.feed(address)
    assert feed is not None
    assert [entry.message_id for entry in feed.log.after(0, 9)] == ["m2", "m3"]
    assert newer.took(Deliver)


def test_what_one_edge_has_let_go_of_is_not_taken_from_the_next() -> None:
    """Of two requests the later would not know what the earlier's answer has brought."""
    rig = Rig()
    home, edge, newer = rig.nodes
    address = held(rig, edge)
    newer.attach(address)
    release(edge, address)
    assert home.says(edge.id, SessionAttach(5, address, edge.id))[0] == Failed(5, Code.UNAVAILABLE)
    assert not rig.messages(Release)[1:]
    record = home.engine.record(address)
    assert record is not None
    assert record.edge == newer.id
    rig.kill(newer)
    rig.change()
    said = home.says(edge.id, SessionAttach(6, address, edge.id))
    assert Failed(6, Code.UNAVAILABLE) not in said, "but it is from one that is gone"


def test_to_attach_where_it_is_changes_nothing() -> None:
    rig = Rig()
    for edge in rig.nodes[:2]:
        address = held(rig, edge)
        assert edge.attach(address).record.generation == 1
        edge.close(address, 1)


def test_an_old_edge_that_is_silent_is_done_without() -> None:
    rig = Rig()
    edge, newer = rig.nodes[1:3]
    address = held(rig, edge)
    rig.hold = lambda message: isinstance(message, Release)
    newer.attach(address)
    rig.tick(0.9)
    assert not [r for r in newer.results() if isinstance(r, SessionDone)]
    rig.tick(0.2)
    (done,) = newer.results()
    assert done.record.generation == 2
    assert rig.messages(SessionMoved) == [SessionMoved(address, 1)]
    # The old edge's late word changes nothing.
    rig.let_go()
    assert rig.nodes[0].says(edge.id, Released(address, 1, (("/a", Cursor(1, 9)),))) == []


def test_an_edge_that_was_overruled_is_told_until_it_answers() -> None:
    rig = Rig()
    home, edge, newer = rig.nodes
    address = held(rig, edge)
    rig.hold = lambda message: isinstance(message, Release | SessionMoved)
    newer.attach(address)
    rig.tick(1.1)
    for _ in range(3):
        rig.relink(home, edge)  # what was on its way is lost each time
    assert edge.engine.statistics().held == 1
    rig.hold = lambda message: False
    rig.relink(home, edge)
    assert edge.took(SessionLost) == [SessionLost(address)]
    assert edge.engine.statistics().held == 0
    told = len(rig.messages(SessionMoved))
    rig.relink(home, edge)
    assert len(rig.messages(SessionMoved)) == told


def test_the_next_home_tells_an_edge_that_was_overruled() -> None:
    rig = Rig(4)
    home, heir = rig.holders(rig.address(rig.nodes[0]))[:2]
    edge, newer = [node for node in rig.nodes if node not in (home, heir)]
    address = held(rig, edge)
    rig.hold = lambda message: isinstance(message, Release | SessionMoved)
    newer.attach(address)
    rig.tick(1.1)
    assert edge.engine.statistics().held == 1
    rig.kill(home)  # the edge is not told
    rig.hold = lambda message: False
    rig.change()
    assert edge.took(SessionLost) == [SessionLost(address)]
    assert edge.engine.statistics().held == 0
    record = rig.home(address).engine.record(address)
    assert record is not None
    assert (record.edge, record.generation, record.former) == (newer.id, 2, ())


def test_who_has_the_session_again_is_not_told_that_it_has_lost_it() -> None:
    rig = Rig(4)
    home, heir = rig.holders(rig.address(rig.nodes[0]))[:2]
    edge, newer = [node for node in rig.nodes if node not in (home, heir)]
    address = held(rig, edge)
    rig.hold = lambda message: isinstance(message, Release | SessionMoved)
    newer.attach(address)
    rig.tick(1.1)
    rig.held.clear()
    rig.hold = lambda message: False
    assert edge.attach(address) is None
    release(newer, address)
    assert edge.results()[-1].record.generation == 3
    assert edge.results()[-1].record.former == ()
    rig.kill(home)
    rig.change()
    assert not edge.took(SessionLost)
    assert edge.engine.statistics().held == 1


def test_an_old_edge_that_is_gone_is_not_asked() -> None:
    rig = Rig()
    edge, newer = rig.nodes[1:3]
    address = held(rig, edge)
    rig.kill(edge)
    rig.change()
    assert newer.attach(address).record.generation == 2
    assert not rig.messages(Release)


def test_an_old_edge_that_dies_meanwhile_is_done_without() -> None:
    rig = Rig()
    edge, newer = rig.nodes[1:3]
    address = held(rig, edge)
    rig.hold = lambda message: isinstance(message, Release)
    newer.attach(address)
    rig.kill(edge)
    rig.change()
    rig.tick(0.2)
    assert newer.results()[-1].record.generation == 2


def test_an_edge_that_does_not_hold_it_says_so() -> None:
    rig = Rig()
    home, stranger = rig.nodes[:2]
    said = stranger.says(home.id, Release(rig.address(home), 4))
    assert said == [Released(rig.address(home), 4, ())]


def test_a_release_that_is_lost_is_sent_again() -> None:
    rig = Rig()
    edge, newer = rig.nodes[1:3]
    address = held(rig, edge)
    rig.hold = lambda message: isinstance(message, Release)
    newer.attach(address)
    rig.hold = lambda message: False
    rig.relink(rig.nodes[0], edge)
    release(edge, address)
    assert newer.results()[-1].record.generation == 2


def test_only_one_at_a_time() -> None:
    rig = Rig(4)
    home, edge, newer, other = rig.nodes
    address = held(rig, edge)
    newer.attach(address)
    assert home.says(other.id, SessionAttach(5, address)) == [Failed(5, Code.UNAVAILABLE)]
    # A retry of the same node replaces its request.
    assert home.says(newer.id, SessionAttach(9, address)) == []
    (effect,) = edge.took(ReleaseSession)
    edge.do(edge.engine.released(address, effect.generation, (), rig.now))
    rig.hold = lambda message: isinstance(message, SessionDone)
    rig.carry()
    assert [message.request for _, _, message in rig.held] == [9]


def test_a_session_that_was_let_go_for_nothing_waits_for_an_edge() -> None:
    rig = Rig()
    home, edge, newer = rig.nodes
    address = held(rig, edge)
    edge.released(address, 1, ("/a", Cursor(1, 7)))
    record = home.engine.record(address)
    assert record is not None
    assert record.edge == b""
    done = newer.attach(address)
    assert done.record.generation == 2
    assert dict(done.record.cursors)["/a"] == Cursor(1, 7)


def test_a_move_ends_with_the_session() -> None:
    rig = Rig()
    home, edge, newer = rig.nodes
    address = held(rig, edge)
    newer.attach(address)
    edge.close(address, 1)
    rig.tick(11.0)
    assert newer.results()[-1] == Failed(1, Code.UNAVAILABLE) or (
        newer.results()[-1].code == Code.UNKNOWN_SESSION
    )
    assert home.engine.statistics().pending == 0
    rig.relink(home, edge)
    assert home.engine.next_deadline() is None


def test_a_move_is_asked_for_again_where_the_slot_has_gone() -> None:
    rig = Rig(3, room=12)
    home, edge, newer = rig.nodes
    address = held(rig, edge)
    newer.attach(address)
    heirs = [rig.add(index, 12) for index in range(3, 12)]
    for heir in heirs:
        heir.do(heir.engine.install_view(rig.view, rig.placement, rig.now))
    rig.change()
    if rig.home(address) is home:
        rig.members.pop(home.id)
        rig.change()
    release(edge, address, ("/a", Cursor(1, 9)))
    rig.tick(3.0)
    done = newer.results()[-1]
    assert isinstance(done, SessionDone)
    assert done.record.edge == newer.id
