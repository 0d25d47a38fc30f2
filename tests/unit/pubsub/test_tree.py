"""Joining, children, resets: what nodes of a tree say to each other."""

from __future__ import annotations

import pytest

from dht.view import MemberState
from pubsub.effects import Deliver, Reset
from pubsub.limits import Limits
from pubsub.messages import (
    Cursor,
    Entries,
    Entry,
    HighWater,
    Join,
    Joined,
    JoinRefused,
    Leave,
)
from pubsub_rig import Node, Rig


def ids(node: Node, topic: str) -> list[str]:
    feed = node.engine.feed(topic)
    assert feed is not None
    return [entry.message_id for entry in feed.log.after(0, 1_000)]


def deep_rig(topic: str) -> tuple[Rig, Node, Node, Node]:
    """A ring with a real tree: root, a forwarder, and a node below it."""
    rig = Rig(40, flat_limit=0)
    return rig, *rig.line(topic)


@pytest.mark.parametrize("knows", [True, False])
def test_who_was_struck_off_and_is_back_is_a_child_again(knows: bool) -> None:
    """Whether or not it has seen the view that it was not in; its links have held."""
    rig = Rig()
    home, (child, other) = rig.home("/a"), rig.others("/a")
    child.join("/a")
    del rig.members[child.id]
    rig.change(only=[home, other, *([child] if knows else [])])
    rig.heal(child)
    rig.change()
    rig.tick(0.5)
    child.took(Deliver)
    home.append("/a", "m")
    assert [deliver.feed.topic for deliver in child.took(Deliver)] == ["/a"]


def test_a_reader_at_the_home_shares_the_topics_log() -> None:
    rig = Rig()
    home = rig.home("/a")
    assert home.join("/a") == Joined("/a", Cursor(1, 0), False, 1, 0)
    home.append("/a", "m1")
    feed = home.engine.feed("/a")
    assert feed is not None
    assert feed.log is home.engine._parts.core.topics["/a"].log
    assert feed.parent is None
    assert home.took(Deliver) == [Deliver(feed, 0)]
    assert home.join("/a").cursor == Cursor(1, 1)


def test_a_feed_that_begins_at_a_mere_position_takes_what_follows_it() -> None:
    """Of an epoch that began after the entries that come next had been made."""
    rig = Rig(4)
    first = rig.home("/a")
    for name in ("m1", "m2", "m3"):
        first.append("/a", name)
    rig.kill(first)
    rig.change()
    rig.tick(2.0)
    home, other = rig.home("/a"), rig.others("/a")[0]
    late = home.append("/a", "m4")
    assert late.cursor.epoch > 1
    joined = other.join("/a", Cursor(late.cursor.epoch, 1))
    assert (joined.cursor.offset, joined.gap) == (1, False)
    assert ids(other, "/a") == ["m2", "m3", "m4"]
    home.append("/a", "m5")
    assert ids(other, "/a")[-1] == "m5"


def test_a_cursor_from_nowhere_is_told_of_a_gap_and_costs_no_more() -> None:
    """A client may show any position."""
    rig = Rig()
    home, (other, _) = rig.home("/a"), rig.others("/a")
    for name in ("m1", "m2", "m3"):
        home.append("/a", name)
    assert other.join("/a", Cursor(99, 1)) == Joined("/a", Cursor(1, 3), True, 1, 1)
    assert other.join("/a", Cursor(99, 0)).gap
    home.append("/a", "m4")
    assert ids(other, "/a")[-1] == "m4"


def test_a_reader_elsewhere_joins_the_home_and_gets_what_follows() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    home.append("/a", "before")
    home.join("/a")
    home.append("/a", "too")
    assert other.join("/a") == Joined("/a", Cursor(1, 2), False, 1, 1)
    home.append("/a", "after")
    assert ids(other, "/a") == ["after"]
    (deliver,) = other.took(Deliver)
    assert deliver.depth == 1


def test_a_reader_with_a_cursor_gets_what_it_lacks() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    home.join("/a")
    for index in range(1, 6):
        home.append("/a", f"m{index}")
    assert other.join("/a", Cursor(1, 2)) == Joined("/a", Cursor(1, 2), False, 1, 1)
    assert ids(other, "/a") == ["m3", "m4", "m5"]


def test_a_second_reader_is_answered_at_once() -> None:
    rig = Rig()
    other = rig.others("/a")[0]
    other.join("/a")
    rig.log.clear()
    assert other.join("/a").cursor == Cursor(1, 0)
    assert not rig.log


def test_the_last_reader_out_leaves_nothing_behind() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    other.join("/a")
    other.leave("/a")
    for node in (home, other):
        stats = node.engine.statistics()
        assert stats.feeds == stats.topics == stats.tree_children == 0
    assert rig.messages(Leave)
    other.leave("/a")  # nothing to leave


def test_a_forwarder_stands_between_root_and_leaf() -> None:
    rig, root, forwarder, leaf = deep_rig("/deep")
    leaf.join("/deep")
    root.append("/deep", "m")
    assert ids(leaf, "/deep") == ["m"]
    assert [d.depth for d in leaf.took(Deliver)] == [2]
    assert not forwarder.took(Deliver)  # it has no readers
    feed = forwarder.engine.feed("/deep")
    assert feed is not None
    assert (feed.parent, feed.children, feed.depth) == (root.id, (leaf.id,), 1)
    assert leaf.engine.statistics().tree_depth == 2
    leaf.leave("/deep")
    assert forwarder.engine.feed("/deep") is None
    assert root.engine.feed("/deep") is None
    del rig


def test_a_child_waits_until_its_parent_has_joined() -> None:
    rig, root, forwarder, leaf = deep_rig("/deep")
    root.join("/deep")
    root.append("/deep", "m1")
    rig.hold = lambda message: isinstance(message, Joined)
    assert leaf.join("/deep") is None
    assert len(rig.messages(Joined)) == 1  # from the root to the forwarder only
    rig.hold = lambda message: False
    rig.let_go()
    assert leaf.results()[-1] == Joined("/deep", Cursor(1, 1), False, 1, 2)
    del forwarder


def test_a_join_is_refused_by_who_is_not_the_parent() -> None:
    rig = Rig(40, flat_limit=0)
    root = rig.home("/deep")
    for stranger in rig.others("/deep"):
        node = rig.others("/deep")[0]
        if stranger is node or rig.placement.parent(node.id, root.id) == stranger.id:
            continue
        assert stranger.says(node.id, Join("/deep", None)) == [JoinRefused("/deep", 1)]
        assert stranger.engine.feed("/deep") is None
    # nor is the root anybody's child, nor a node that the view does not list
    refused = [JoinRefused("/deep", 1)]
    assert rig.others("/deep")[0].says(root.id, Join("/deep", None)) == refused
    assert root.says(b"x" * 20, Join("/deep", None)) == refused


def test_a_refused_child_asks_again() -> None:
    rig = Rig(3)
    newcomer = rig.add(3, 4)
    # Only the newcomer knows the view that names it.
    rig.change(only=[newcomer])
    topic = next(t for t in ("/a", "/b", "/c", "/d", "/e") if rig.home(t) is not newcomer)
    assert newcomer.join(topic) is None
    assert rig.messages(JoinRefused)
    rig.install(rig.nodes)
    rig.tick(0.2)
    assert isinstance(newcomer.results()[-1], Joined)


def test_a_join_without_an_answer_is_sent_again() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    rig.hold = lambda message: isinstance(message, Join)
    other.join("/a")
    rig.held.clear()
    rig.hold = lambda message: False
    rig.tick(1.1)
    assert isinstance(other.results()[-1], Joined)
    assert home.engine.statistics().tree_children == 1


def test_who_gets_entries_of_nothing_it_reads_says_so() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    home.join("/a")
    home.append("/a", "m")
    entry = Entry(1, 1, "m", b"{}", 0.0, 0)
    for message in (Entries("/a", 1, (entry,)), HighWater("/a", Cursor(1, 1)),
                    Joined("/a", Cursor(1, 0), False, 1, 1)):  # fmt: skip
        assert other.says(home.id, message) == [Leave("/a")]


def test_a_lost_link_ends_leases_and_the_child_comes_back() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    other.join("/a")
    home.append("/a", "m1")
    rig.hold = lambda message: isinstance(message, Entries)
    home.append("/a", "m2")
    rig.hold = lambda message: False
    rig.relink(home, other)  # loses m2
    assert ids(other, "/a") == ["m1", "m2"]
    assert home.engine.statistics().tree_children == 1
    # The parent's side of a lost link: an only child is gone, and with it the feed.
    home.do(home.engine.link_closed(other.id, rig.now))
    assert home.engine.feed("/a") is None


def test_a_lost_link_drops_a_child_that_waits() -> None:
    rig, root, forwarder, leaf = deep_rig("/deep")
    rig.hold = lambda message: isinstance(message, Joined)
    leaf.join("/deep")
    forwarder.do(forwarder.engine.link_closed(leaf.id, rig.now))
    assert forwarder.engine.feed("/deep") is None
    del root


def test_a_missing_entry_is_asked_for() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    other.join("/a")
    rig.hold = lambda message: isinstance(message, Entries)
    home.append("/a", "m1")
    rig.held.clear()
    rig.hold = lambda message: False
    home.append("/a", "m2")
    assert ids(other, "/a") == ["m1", "m2"]
    assert other.engine.statistics().gap_repairs == 1
    assert not other.took(Reset)


def test_a_lost_tail_is_seen_after_traffic_has_stopped() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    other.join("/a")
    home.append("/a", "m1")
    rig.hold = lambda message: isinstance(message, Entries)
    home.append("/a", "m2")
    rig.held.clear()
    rig.hold = lambda message: False
    rig.tick(0.15)
    home.append("/a", "m3")
    rig.tick(1.0)
    assert len(rig.messages(HighWater)) == 1
    assert ids(other, "/a") == ["m1", "m2", "m3"]


def test_one_high_water_mark_after_the_last_of_many() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    other.join("/a")
    for index in range(10):
        home.append("/a", f"m{index}")
        rig.tick(0.1)
    assert not rig.messages(HighWater)
    rig.tick(2.0)
    assert rig.messages(HighWater) == [HighWater("/a", Cursor(1, 10))]
    assert other.engine.statistics().gap_repairs == 0


def test_children_and_readers_are_told_of_a_reset() -> None:
    rig, root, forwarder, leaf = deep_rig("/deep")
    leaf.join("/deep")
    forwarder.join("/deep")
    root.append("/deep", "m1")
    joined = Joined("/deep", Cursor(5, 3), True, 5, 1)
    forwarder.do(forwarder.engine.receive(root.id, joined, rig.now))
    rig.carry()
    for node in (forwarder, leaf):
        (reset,) = node.took(Reset)
        assert reset.feed.origin == reset.feed.last == Cursor(5, 3)
        assert len(reset.feed.log) == 0
        assert node.engine.statistics().gaps_reported == 1


def test_a_parent_that_is_behind_takes_nothing_away() -> None:
    rig, root, forwarder, leaf = deep_rig("/deep")
    leaf.join("/deep")
    root.append("/deep", "m1")
    root.append("/deep", "m2")
    stale = Joined("/deep", Cursor(1, 1), True, 1, 2)
    leaf.do(leaf.engine.receive(forwarder.id, stale, rig.now))
    assert ids(leaf, "/deep") == ["m1", "m2"]
    assert not leaf.took(Reset)


def test_a_child_that_is_ahead_of_its_parent_keeps_its_place() -> None:
    _rig, root, forwarder, leaf = deep_rig("/deep")
    forwarder.join("/deep")
    root.append("/deep", "m1")
    said = forwarder.says(leaf.id, Join("/deep", Cursor(1, 3)))
    assert said == [Joined("/deep", Cursor(1, 1), False, 1, 2)]


def test_a_long_catch_up_comes_in_batches() -> None:
    rig = Rig(limits=Limits(batch_bytes=1_000))
    home, other = rig.home("/a"), rig.others("/a")[0]
    home.join("/a")
    for index in range(20):
        home.append("/a", f"m{index}", payload=bytes(300))
    other.join("/a", Cursor(1, 0))
    assert [len(message.entries) for message in rig.messages(Entries)] == [3] * 6 + [2]
    assert len(ids(other, "/a")) == 20


def test_feeds_are_bounded() -> None:
    rig = Rig(2, limits=Limits(feeds=1))
    home, other = rig.nodes
    one, two = rig.topics(home, 2)
    assert isinstance(other.join(one), Joined)
    assert other.join(two).code == "overloaded"
    home.leave(one)
    assert home.join(two).code == "overloaded"  # it forwards the first
    assert home.says(other.id, Join(two, None)) == [JoinRefused(two, 1)]


def test_a_view_moves_everybody_to_their_new_parents() -> None:
    rig = Rig(20, flat_limit=0, room=40)
    root = rig.home("/deep")
    for node in rig.nodes:
        node.join("/deep")
    newcomers = [rig.add(index, 40, MemberState.JOINING) for index in range(20, 40)]
    rig.change()
    for node in newcomers:
        rig.set_state(node, MemberState.ACTIVE)
        node.join("/deep")
    rig.change()
    new_root = rig.home("/deep")
    for node in rig.by_id.values():
        feed = node.engine.feed("/deep")
        assert feed is not None
        assert feed.joined
        if node is new_root:
            assert feed.parent is None
        else:
            assert feed.parent == rig.placement.parent(node.id, new_root.id)
            parent = rig.by_id[feed.parent].engine.feed("/deep")
            assert parent is not None
            assert node.id in parent.children
    root.append("/deep", "m")
    for node in rig.by_id.values():
        assert ids(node, "/deep")[-1] == "m"
        assert not node.took(Reset)


def test_members_that_have_gone_are_no_children() -> None:
    rig = Rig(3)
    home = rig.home("/a")
    child, other = rig.others("/a")
    child.join("/a")
    other.join("/a")
    del rig.members[child.id]
    rig.change(only=[home, other])
    feed = home.engine.feed("/a") or rig.home("/a").engine.feed("/a")
    assert feed is not None
    assert child.id not in feed.children


def test_a_leaving_node_still_reads() -> None:
    rig = Rig(3)
    home, other = rig.home("/a"), rig.others("/a")[0]
    other.join("/a")
    rig.set_state(other, MemberState.LEAVING)
    rig.change()
    home.append("/a", "m")
    assert ids(other, "/a") == ["m"]


def test_without_a_view_a_reader_waits() -> None:
    rig = Rig(3)
    late = rig.add(3, 4)
    request = late.next_request()
    late.do(late.engine.join(request, "/a", None, rig.now))
    late.do(late.engine.append(late.next_request(), "/a", b"{}", "m", 0.0, rig.now))
    assert not late.results()
    rig.change()
    rig.tick(3.0)
    assert len(late.results()) == 2
    assert {type(result).__name__ for result in late.results()} == {"Joined", "Appended"}
