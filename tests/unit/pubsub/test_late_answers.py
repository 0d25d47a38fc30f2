"""Answers and requests that come after what they are about has gone on."""

from __future__ import annotations

import msgspec

from dht.view import MemberState
from pubsub.effects import ReleaseSession, SessionLost
from pubsub.messages import (
    Consumed,
    Cursor,
    Entries,
    Join,
    Joined,
    Release,
    SessionDone,
    SessionMoved,
    Vacated,
)
from pubsub_rig import Node, Rig


def unread(edge: Node, address: str) -> list[str]:
    feed = edge.engine.feed(address)
    return [] if feed is None else [entry.message_id for entry in feed.log.after(0, 99)]


def test_what_a_session_had_unread_here_before_it_moved_away_is_not_served_again() -> None:
    """The edge never heard of the move; the client has read it all elsewhere since."""
    rig = Rig()
    home, edge, newer = rig.nodes
    address = rig.address(home)
    edge.open(address)
    home.append(address, "m1")
    assert unread(edge, address) == ["m1"]
    rig.hold = lambda message: isinstance(message, Release | SessionMoved)
    newer.attach(address)
    rig.tick(1.1)
    rig.held.clear()
    rig.hold = lambda message: False
    newer.consumed(address, 2, (address, Cursor(1, 1)))
    edge.attach(address)
    (release,) = newer.took(ReleaseSession)
    newer.released(address, release.generation)
    assert edge.results()[-1].record.generation == 3
    assert unread(edge, address) == []
    home.append(address, "m2")
    assert unread(edge, address) == ["m2"]


def test_a_late_answer_is_no_reason_to_let_go_while_the_node_asks_again() -> None:
    rig = Rig()
    home, edge = rig.nodes[:2]
    address = rig.address(home)
    home.open(address)
    home.released(address, 1)
    rig.hold = lambda message: isinstance(message, SessionDone)
    edge.attach(address)
    ((*_, late),) = rig.held
    rig.tick(10.1)
    assert edge.results(), "it was given up"
    rig.held.clear()
    edge.attach(address)
    assert edge.says(home.id, late) == []
    assert not rig.messages(Vacated)
    rig.let_go()
    record = home.engine.record(address)
    assert record is not None
    assert record.edge == edge.id
    home.append(address, "m1")
    assert unread(edge, address) == ["m1"]


def test_who_hears_that_what_it_holds_is_of_a_generation_that_is_over_lets_go_of_it() -> None:
    rig = Rig()
    home, edge = rig.nodes[:2]
    address = rig.address(home)
    record = edge.open(address).record
    late = SessionDone(99, msgspec.structs.replace(record, generation=2))
    assert edge.says(home.id, late) == [Vacated(address, 2)]
    assert edge.took(SessionLost) == [SessionLost(address)]
    assert edge.engine.statistics().held == 0


def test_an_edge_that_has_missed_what_was_consumed_is_told_where_to_go_on() -> None:
    """Else it would ask for it for ever: what comes next never follows what it has."""
    rig = Rig()
    home, edge = rig.nodes[:2]
    address = rig.address(home)
    edge.open(address)
    for name in ("m1", "m2", "m3"):
        home.append(address, name)
    # What another process had consumed, of the same id, with cursors that were lost with it.
    home.says(edge.id, Consumed(address, 1, ((address, Cursor(1, 2)),)))
    told, entries = home.says(edge.id, Join(address, Cursor(1, 0)))
    assert told == Joined(address, Cursor(1, 2), True, 1)
    assert isinstance(entries, Entries)
    assert [entry.message_id for entry in entries.entries] == ["m3"]


def test_who_hears_late_from_a_home_of_before_asks_the_present_one() -> None:
    """It was struck off and is back; its session has moved on, which it was told too early."""
    rig = Rig(5)
    home = rig.nodes[0]
    address = rig.address(home)
    successor = rig.holders(address)[1]
    edge, newer = [node for node in rig.nodes if node not in {home, successor}][:2]
    home.open(address)
    home.released(address, 1)
    rig.hold = lambda message: isinstance(message, SessionDone) and message.record.generation == 2
    assert edge.attach(address) is None
    rig.set_state(home, MemberState.LEAVING)
    rig.cut(edge)
    rig.change()
    assert newer.attach(address).record.generation == 3
    rig.heal(edge)
    rig.change()
    assert rig.home(address) is successor
    edge.says(successor.id, SessionMoved(address, 2))
    rig.let_go()
    assert edge.results()[-1].record.generation == 2
    assert edge.took(SessionLost) == [SessionLost(address)]
    assert edge.engine.statistics().held == 0
