"""A gap in an inbox is owed to the client until it has got something that came after it."""

from __future__ import annotations

import pytest

from dht.ids import slot_of
from dht.placement import Placement
from pubsub.effects import ReleaseSession, Reset
from pubsub.messages import Cursor, Entries, Entry, Joined, SessionPut
from pubsub.slot_messages import Reregister
from pubsub_rig import Node, Rig
from pubsub_sim import make_view

START = Cursor(2, 0)  # of what came after the gap


def lossy(rig: Rig, *, local: bool, read: int = 0) -> tuple[Node, Node, Node, str]:
    """All holders of a session's slot have died: its heir, its edge and another node."""
    address = rig.address(rig.nodes[0])
    holders = rig.holders(address)
    others = [node for node in rig.nodes if node not in holders]
    without = Placement(make_view(9, [node.member for node in others]))
    heir = rig.by_id[without.home_of(address)]
    rest = [node for node in others if node is not heir]
    edge = heir if local else rest[0]
    edge.open(address)
    for index in range(read):
        edge.append(address, f"old{index}")
    edge.consumed(address, 1, (address, Cursor(1, read)))
    for node in holders:
        rig.kill(node)
    rig.change()
    (reset,) = edge.took(Reset)
    assert reset.feed.origin == START
    return heir, edge, rest[1], address


def unread(edge: Node, address: str) -> list[str]:
    feed = edge.engine.feed(address)
    return [] if feed is None else [entry.message_id for entry in feed.log.after(0, 99)]


def moves(rig: Rig, edge: Node, newer: Node, address: str) -> None:
    """The session's client comes to another edge, and the first has told it nothing."""
    newer.attach(address)
    (release,) = edge.took(ReleaseSession)
    edge.released(address, release.generation)


both = pytest.mark.parametrize("local", [True, False])


@both
@pytest.mark.parametrize("read", [0, 1])
def test_an_edge_that_was_told_lets_go_and_the_next_is_told(local: bool, read: int) -> None:
    rig = Rig(7)
    heir, edge, newer, address = lossy(rig, local=local, read=read)
    moves(rig, edge, newer, address)
    heir.append(address, "m")
    resets = newer.took(Reset)
    assert resets
    assert all(reset.feed.origin == START for reset in resets)
    assert unread(newer, address) == ["m"]
    newer.consumed(address, 2, (address, Cursor(2, 1)))
    assert heir.engine.statistics().topics == 0


def test_what_an_edge_was_told_of_is_not_consumed_when_it_registers_again() -> None:
    rig = Rig(7)
    heir, edge, newer, address = lossy(rig, local=False, read=1)
    heir.append(address, "m")
    puts = len(rig.messages(SessionPut))
    edge.do(edge.engine.receive(heir.id, Reregister((slot_of(address),)), rig.now))
    rig.carry()
    assert len(rig.messages(SessionPut)) == puts + 1
    moves(rig, edge, newer, address)
    assert newer.took(Reset)
    assert unread(newer, address) == ["m"]


def test_a_client_that_comes_back_to_the_edge_that_was_told_is_told() -> None:
    rig = Rig(7)
    heir, edge, _, address = lossy(rig, local=False, read=1)
    heir.append(address, "m")
    assert not edge.took(Reset), "once is enough while it stays"
    edge.attach(address)
    assert edge.took(Reset)
    assert unread(edge, address) == ["m"]


@both
def test_a_gap_that_the_client_was_told_of_is_told_to_nobody_else(local: bool) -> None:
    rig = Rig(7)
    heir, edge, newer, address = lossy(rig, local=local, read=1)
    edge.consumed(address, 1, (address, START))
    assert heir.engine.statistics().topics == 0
    assert edge.engine.feed(address) is None
    moves(rig, edge, newer, address)
    heir.append(address, "m")
    assert not newer.took(Reset)
    assert unread(newer, address) == ["m"]


def test_what_was_read_before_a_gap_is_not_taken_for_what_came_after() -> None:
    rig = Rig()
    home, edge = rig.nodes[:2]
    address = rig.address(home)
    edge.open(address)
    for name in ("m1", "m2"):
        home.append(address, name)
    edge.says(home.id, Joined(address, Cursor(3, 0), True, 3, 1))
    edge.says(home.id, Entries(address, 1, (Entry(3, 1, "m3", b"{}", 0.0, 0),)))
    edge.consumed(address, 1, (address, Cursor(1, 2)))
    assert unread(edge, address) == ["m3"]
