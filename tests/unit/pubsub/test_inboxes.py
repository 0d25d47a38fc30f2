"""Inboxes: straight to the edge, kept until consumed, and nothing when idle."""

from __future__ import annotations

import pytest

from dht.placement import Placement
from pubsub.effects import Deliver, Reset
from pubsub.limits import Limits
from pubsub.messages import Consumed, Cursor, Entries, Entry, Join, Joined, Vacated
from pubsub.sessions import address_of, session_id
from pubsub.slot_messages import Replicated
from pubsub_rig import Node, Rig
from pubsub_sim import make_view


def opened(rig: Rig, *, local: bool) -> tuple[Node, Node, Node, str]:
    home, edge, sender = rig.nodes[0], rig.nodes[0 if local else 1], rig.nodes[2]
    address = rig.address(home)
    edge.open(address)
    return home, edge, sender, address


def unread(edge: Node, address: str) -> list[str]:
    feed = edge.engine.feed(address)
    return [] if feed is None else [entry.message_id for entry in feed.log.after(0, 99)]


both = pytest.mark.parametrize("local", [True, False])


@both
def test_a_message_takes_two_links_at_most(local: bool) -> None:
    rig = Rig()
    _, edge, sender, address = opened(rig, local=local)
    assert sender.append(address, "m").connected
    (deliver,) = edge.took(Deliver)
    feed = deliver.feed
    assert feed.topic == address
    (entry,) = feed.log.after(feed.origin.offset, 9)
    assert entry.hops + deliver.depth == (1 if local else 2)


@both
def test_what_is_consumed_is_dropped_and_offsets_go_on(local: bool) -> None:
    rig = Rig()
    home, edge, sender, address = opened(rig, local=local)
    for index in range(1, 4):
        sender.append(address, f"m{index}")
    edge.consumed(address, 1, (address, Cursor(1, 2)))
    assert unread(edge, address) == ["m3"]
    assert home.engine.statistics().topics == 1
    edge.consumed(address, 1, (address, Cursor(1, 3)))
    for node in (home, edge):
        assert node.engine.statistics().topics == 0
        assert node.engine.feed(address) is None
    rig.tick(0.2)  # replicas hear of it a little later
    assert [node.engine.statistics().log_bytes for node in rig.nodes] == [0, 0, 0]
    assert sender.append(address, "m4").cursor == Cursor(1, 4)
    assert unread(edge, address) == ["m4"]


@both
def test_what_is_on_its_way_while_the_rest_is_consumed_leaves_no_gap(local: bool) -> None:
    """The feed goes on from what was consumed, so that a reader made anew misses nothing."""
    rig = Rig()
    _, edge, sender, address = opened(rig, local=local)
    sender.append(address, "m1")
    edge.took(Deliver)
    rig.hold = lambda message: isinstance(message, Replicated)
    assert sender.append(address, "m2") is None, "not committed yet"
    edge.consumed(address, 1, (address, Cursor(1, 1)))
    rig.let_go()
    feed = edge.took(Deliver)[-1].feed
    (entry,) = feed.log.after(feed.origin.offset, 9)
    assert (entry.message_id, entry.offset) == ("m2", feed.origin.offset + 1)


@both
def test_what_was_never_assigned_cannot_be_consumed(local: bool) -> None:
    rig = Rig()
    home, edge, sender, address = opened(rig, local=local)
    edge.consumed(address, 1, (address, Cursor(1, 9)))
    if local:
        assert sender.append(address, "m1").cursor == Cursor(1, 1)
    sender.append(address, "m2")
    edge.consumed(address, 1, (address, Cursor(1, 1000)))
    record = home.engine.record(address)
    assert record is not None
    assert record.cursors[0][1].offset <= 2


def test_the_id_leads_to_the_same_inbox() -> None:
    rig = Rig()
    home = rig.nodes[0]
    tag = rig.address(home).partition(".")[0]
    secret = session_id(tag, bytes(range(16)))
    home.open(address_of(secret))
    assert rig.nodes[2].append(secret, "m").topic == address_of(secret)
    assert unread(home, address_of(secret)) == ["m"]


def test_a_lost_link_loses_nothing_and_repeats_nothing() -> None:
    rig = Rig()
    home, edge, sender, address = opened(rig, local=False)
    sender.append(address, "m1")
    rig.hold = lambda message: isinstance(message, Entries)
    sender.append(address, "m2")
    rig.hold = lambda message: False
    rig.relink(home, edge)
    assert unread(edge, address) == ["m1", "m2"]


def test_a_lost_consumption_is_said_again() -> None:
    rig = Rig()
    home, edge, sender, address = opened(rig, local=False)
    sender.append(address, "m1")
    rig.hold = lambda message: isinstance(message, Consumed)
    edge.consumed(address, 1, (address, Cursor(1, 1)))
    assert edge.engine.feed(address) is None
    assert home.engine.statistics().topics == 1
    rig.hold = lambda message: False
    edge.took(Deliver)
    rig.relink(home, edge)
    assert home.engine.statistics().topics == 0
    assert not edge.took(Deliver)


def test_a_hole_is_asked_for() -> None:
    rig = Rig()
    _, edge, sender, address = opened(rig, local=False)
    rig.hold = lambda message: isinstance(message, Entries)
    sender.append(address, "m1")
    rig.held.clear()
    rig.hold = lambda message: False
    sender.append(address, "m2")
    assert rig.messages(Join) == [Join(address, Cursor(1, 0))]
    assert unread(edge, address) == ["m1", "m2"]
    assert edge.engine.statistics().gap_repairs == 1


def test_only_the_edge_is_sent_an_inbox() -> None:
    rig = Rig()
    home, _, sender, address = opened(rig, local=False)
    sender.append(address, "m1")
    assert home.says(sender.id, Join(address, Cursor(1, 0))) == []


def test_who_does_not_hold_the_session_says_so() -> None:
    rig = Rig()
    home, edge, sender, address = opened(rig, local=False)
    entry = Entry(1, 1, "m", b"{}", 0.0, 0)
    for message in (Entries(address, 1, (entry,)), Joined(address, Cursor(1, 3), True, 1, 1)):
        assert sender.says(home.id, message) == [Vacated(address, 0)]
    assert edge.says(home.id, Entries(address, 1, ())) == []


@both
def test_an_inbox_that_outgrew_its_log_tells_of_the_gap(local: bool) -> None:
    rig = Rig(limits=Limits(log_entries=8))
    home, _, sender, address = opened(rig, local=local)
    rig.hold = lambda message: isinstance(message, Entries)
    for index in range(1, 21):
        sender.append(address, f"m{index}")
    first = home.engine._parts.core.topics[address].log.first
    rig.held.clear()
    newer = rig.nodes[1] if local else home
    rig.hold = lambda message: type(message).__name__ == "Release"
    newer.attach(address)
    if local:
        home.released(address, 1)
    else:
        rig.tick(1.1)
    (reset,) = newer.took(Reset)
    assert reset.feed.origin == Cursor(1, first - 1)
    assert unread(newer, address)[-1] == "m20"


def test_a_gap_that_is_known_already_is_not_told_twice() -> None:
    rig = Rig()
    home, edge, sender, address = opened(rig, local=False)
    for index in range(1, 4):
        sender.append(address, f"m{index}")
    edge.took(Reset)
    gone = Joined(address, Cursor(1, 2), True, 1, 1)
    assert edge.says(home.id, gone) == []
    assert unread(edge, address) == ["m1", "m2", "m3"]
    edge.do(edge.engine.receive(home.id, Joined(address, Cursor(1, 5), True, 1, 1), rig.now))
    (reset,) = edge.took(Reset)
    assert reset.feed.origin == Cursor(1, 5)
    assert not unread(edge, address)
    assert edge.engine.statistics().gaps_reported == 1


def test_a_gap_is_told_to_the_next_edge_where_the_first_died_with_the_news() -> None:
    rig = Rig(7)
    home = rig.nodes[0]
    address = rig.address(home)
    holders = rig.holders(address)
    others = [node for node in rig.nodes if node not in holders]
    without = Placement(make_view(9, [node.member for node in others]))
    heir = rig.by_id[without.home_of(address)]
    edge, newer, _ = (node for node in others if node is not heir)
    edge.open(address)
    home.append(address, "m1")
    edge.consumed(address, 1, (address, Cursor(1, 1)))
    for node in holders:
        rig.kill(node)
    rig.change()
    assert edge.took(Reset)
    rig.kill(edge)
    rig.change()
    assert newer.attach(address).record.generation == 2
    heir.append(address, "m2")
    (reset,) = newer.took(Reset)
    assert reset.feed.origin == Cursor(3, 0)
    assert unread(newer, address) == ["m2"]
    newer.consumed(address, 2, (address, Cursor(3, 1)))
    assert heir.engine.statistics().topics == 0
    heir.append(address, "m3")
    assert unread(newer, address) == ["m3"]
    assert not newer.took(Reset)


def test_an_idle_session_costs_its_record_only() -> None:
    rig = Rig(1)
    (home,) = rig.nodes
    for index in range(100):
        address = rig.address(home, index)
        home.open(address)
        home.append(address, f"m{index}")
        home.consumed(address, 1, (address, Cursor(1, 1)))
    core = home.engine._parts.core
    assert not core.topics
    assert not core.inboxes
    assert core.budget.used == 0
    assert home.engine.next_deadline() is None
