"""Slots move between homes: in order, whole, once, or told to be lost."""

from __future__ import annotations

import msgspec
import pytest

from dht.ids import slot_of
from dht.placement import Placement
from dht.view import MemberState, View
from pubsub.effects import Deliver, Reset, SessionLost
from pubsub.errors import Code
from pubsub.limits import Limits
from pubsub.messages import (
    Append,
    Appended,
    Consumed,
    Cursor,
    Failed,
    Handoff,
    HandoffDone,
    HandoffNone,
    HandoffOffer,
    HandoffQuery,
    Joined,
    SessionPut,
)
from pubsub_rig import Node, Rig


def outcomes(*nodes: Node) -> dict[str, int]:
    total = {"handed_over": 0, "empty": 0, "lossy": 0}
    for node in nodes:
        for outcome, count in node.engine.statistics().takeovers.items():
            total[outcome] += count
    return total


def leave(rig: Rig, node: Node) -> None:
    rig.set_state(node, MemberState.LEAVING)
    rig.change()


def ids(node: Node, topic: str) -> list[str]:
    feed = node.engine.feed(topic)
    assert feed is not None
    return [entry.message_id for entry in feed.log.after(0, 1_000)]


def loaded(limits: Limits | None = None, nodes: int = 3) -> tuple[Rig, Node, str, str]:
    """A home with a channel that is read everywhere and a session held elsewhere."""
    rig = Rig(nodes, limits=limits or Limits())
    home = rig.nodes[0]
    (topic,) = rig.topics(home, 1)
    address = rig.address(home)
    rig.nodes[1].open(address)
    rig.nodes[1].update(address, 1, ((topic, Cursor(1, 0)),))
    for node in rig.nodes:
        node.join(topic)
    for index in range(1, 6):
        home.append(topic, f"m{index}", payload=bytes(100))
        home.append(address, f"d{index}", payload=bytes(100))
    return rig, home, topic, address


def test_the_first_view_opens_everything_at_once() -> None:
    rig = Rig()
    assert outcomes(*rig.nodes) == {"handed_over": 0, "empty": 4096, "lossy": 0}
    for node in rig.nodes:
        for slot in rig.placement.slots_of(node.id):
            assert node.engine.serving(slot)
    assert not rig.log


def test_a_polite_leaver_hands_everything_over() -> None:
    rig, home, topic, address = loaded()
    assert not home.engine.drained()
    home.do(home.engine.drain(rig.now))
    leave(rig, home)
    assert home.engine.drained()
    stats = home.engine.statistics()
    assert (stats.topics, stats.records) == (0, 0)
    assert stats.slots == {"home": 0, "opening": 0, "parting": 0}
    others = [node for node in rig.nodes if node is not home]
    assert outcomes(*others)["lossy"] == 0
    # Readers go on, the old home's own among them; offsets continue in a new epoch.
    assert rig.home(topic).append(topic, "m6").cursor == Cursor(2, 6)
    for node in rig.nodes:
        assert ids(node, topic) == [f"m{i}" for i in range(1, 7)]
        assert not node.took(Reset)
    heir = rig.home(address)
    record = heir.engine.record(address)
    assert record is not None
    assert record.edge == rig.nodes[1].id
    assert home.append(address, "d6").cursor == Cursor(2, 6)
    assert ids(rig.nodes[1], address) == [f"d{i}" for i in range(1, 7)]


def test_a_newcomer_gets_its_share() -> None:
    rig = Rig(3, room=4)
    topics = [topic for node in rig.nodes for topic in rig.topics(node, 5)]
    for topic in topics:
        for index in range(3):
            rig.home(topic).append(topic, f"{topic}{index}")
    newcomer = rig.add(3, 4, MemberState.JOINING)
    rig.change()
    rig.set_state(newcomer, MemberState.ACTIVE)
    rig.change()
    assert outcomes(newcomer) == {"handed_over": 1024, "empty": 0, "lossy": 0}
    for topic in topics:
        assert rig.home(topic).append(topic, "more").cursor.offset == 4
    assert all(node.engine.statistics().slots["parting"] == 0 for node in rig.nodes)


def test_repeats_are_recognised_after_the_move() -> None:
    rig, home, topic, address = loaded()
    publisher = rig.nodes[2]
    first = publisher.append(topic, "again")
    chosen = publisher.append(topic, "chosen", client_id=True)
    direct = publisher.append(address, "chosen", client_id=True)
    rig.nodes[1].consumed(address, 1, (address, direct.cursor))
    leave(rig, home)
    heir = rig.home(topic)
    repeat = Append(50, topic, "again", b"{}", 0.0, 1)
    stranger = next(node for node in rig.nodes if node is not heir)
    assert heir.says(stranger.id, repeat) == [Appended(50, first.cursor, False, topic)]
    assert publisher.append(topic, "chosen", client_id=True).cursor == chosen.cursor
    assert publisher.append(address, "chosen", client_id=True).cursor == direct.cursor


@pytest.mark.parametrize("limit", [400, 1_000])
def test_a_large_slot_goes_in_parts_and_windows(limit: int) -> None:
    limits = Limits(handoff_bytes=limit, handoff_window=2 * limit)
    rig, home, topic, _ = loaded(limits)
    leave(rig, home)
    handoffs = rig.messages(Handoff)
    assert len(handoffs) > 10
    assert any(not state.final for handoff in handoffs for state in handoff.slots)
    assert len(rig.messages(HandoffQuery)) > 2
    assert home.engine.drained()
    assert ids(rig.home(topic), topic) == [f"m{i}" for i in range(1, 6)]


def test_a_lost_link_in_the_middle_loses_nothing() -> None:
    for lost in (HandoffQuery, Handoff, HandoffDone):
        rig, home, topic, _ = loaded(Limits(handoff_bytes=400, handoff_window=800))
        heir = rig.nodes[1]
        count = 0

        def hold(message: object, lost: type = lost) -> bool:
            nonlocal count
            count += isinstance(message, lost)
            return isinstance(message, lost) and count == 2

        rig.hold = hold
        leave(rig, home)
        rig.hold = lambda message: False
        for heir in rig.nodes[1:]:
            rig.relink(home, heir)
        rig.tick(2.0)
        assert home.engine.drained(), lost
        assert outcomes(*rig.nodes)["lossy"] == 0
        assert ids(rig.home(topic), topic) == [f"m{i}" for i in range(1, 6)]


def test_requests_wait_for_a_slot_that_is_about_to_open() -> None:
    rig, home, topic, address = loaded()
    rig.hold = lambda message: isinstance(message, Handoff)
    leave(rig, home)
    heir, edge = rig.home(topic), rig.nodes[1]
    assert heir.append(topic, "m6") is None
    other = next(node for node in rig.nodes[1:] if node is not heir)
    assert other.append(topic, "m7") is None
    edge.consumed(address, 1, (address, Cursor(1, 5)))
    assert heir.join(topic).cursor == Cursor(1, 5)  # a feed that has its place serves
    rig.let_go()
    assert [result.cursor for result in heir.results() + other.results()
            if isinstance(result, Appended) and result.topic == topic][-2:] == [
        Cursor(2, 6),
        Cursor(2, 7),
    ]  # fmt: skip
    assert rig.home(address).engine.statistics().topics <= 1  # the inbox was consumed


def test_a_request_that_waits_long_is_served_once() -> None:
    rig, home, topic, _ = loaded()
    rig.hold = lambda message: isinstance(message, Handoff)
    leave(rig, home)
    heir = rig.home(topic)
    other = next(node for node in rig.nodes[1:] if node is not heir)
    heir.append(topic, "mine")
    other.append(topic, "theirs")
    rig.tick(2.6)  # longer than a request waits before it is sent again
    rig.let_go()
    assert sorted(ids(heir, topic)[5:]) == ["mine", "theirs"]


def test_a_late_reader_waits_for_the_log_of_a_slot_that_is_about_to_open() -> None:
    rig = Rig(3)
    home = rig.nodes[0]
    (topic,) = rig.topics(home, 1)
    for index in range(1, 6):
        home.append(topic, f"m{index}")
    for node in rig.nodes[1:]:
        node.join(topic)  # their logs begin here
    rig.hold = lambda message: isinstance(message, Handoff)
    leave(rig, home)
    heir = rig.home(topic)
    assert heir.join(topic, Cursor(1, 2)) is None
    rig.let_go()
    assert heir.results()[-1] == Joined(topic, Cursor(1, 2), False, 1, 0)
    assert ids(heir, topic) == [f"m{i}" for i in range(1, 6)]


def test_requests_that_wait_are_bounded() -> None:
    rig, home, topic, _ = loaded(Limits(queued=2, queued_bytes=500))
    rig.hold = lambda message: isinstance(message, Handoff)
    leave(rig, home)
    heir = rig.home(topic)
    other = next(node for node in rig.nodes[1:] if node is not heir)
    small, large = (Append(1, topic, "m", bytes(size), 0.0, 1) for size in (10, 600))
    assert heir.says(other.id, large) == [Failed(1, Code.UNAVAILABLE)]
    assert heir.says(other.id, small) == heir.says(other.id, small) == []
    assert heir.says(other.id, small) == [Failed(1, Code.UNAVAILABLE)]
    # What cannot be answered is dropped without a word.
    assert heir.says(other.id, Consumed("t.x", 1, ())) == []


def test_requests_that_wait_for_a_slot_that_moves_on_are_refused() -> None:
    rig, home, topic, _ = loaded()
    rig.hold = lambda message: isinstance(message, Handoff)
    leave(rig, home)
    heir = rig.home(topic)
    third = next(node for node in rig.nodes[1:] if node is not heir)
    third.append(topic, "m6")
    rig.held = [item for item in rig.held if item[1] != heir.id]
    leave(rig, heir)
    assert rig.messages(Failed)
    rig.let_go()
    rig.tick(3.0)
    assert isinstance(third.results()[-1], Appended)
    assert outcomes(*rig.nodes)["lossy"] == 0
    assert ids(third, topic)[-2:] == ["m5", "m6"]


def test_a_dead_homes_slots_open_lossy_and_everybody_is_told() -> None:
    rig, home, topic, address = loaded()
    edge = rig.nodes[1]
    rig.kill(home)
    rig.change()
    heir = rig.home(topic)
    survivors = rig.nodes[1:]
    lost = len(rig.nodes[0].engine._parts.core.slots)
    assert outcomes(*survivors)["lossy"] == lost > 0
    for node in survivors:
        resets = {reset.feed.topic: reset.feed for reset in node.took(Reset)}
        assert resets[topic].origin == Cursor(2, 0)
        assert (address in resets) == (node is edge)
    assert heir.append(topic, "new").cursor == Cursor(2, 1)
    for node in survivors:
        assert ids(node, topic) == ["new"]
    # The edge has registered its session again: it is known, and offsets start anew.
    assert rig.home(address).engine.record(address) is not None
    assert rig.nodes[2].append(address, "new").cursor == Cursor(2, 1)
    assert ids(edge, address) == ["new"]
    # A cursor of the old epoch means nothing now.
    assert rig.nodes[2].join(topic, Cursor(1, 1)).gap


def test_unknown_is_not_said_before_edges_had_time_to_register() -> None:
    rig, home, _, _ = loaded()
    ghost = rig.address(home, 5)
    rig.kill(home)
    rig.change()
    node = rig.nodes[2]
    assert node.append(ghost, "m") is None
    rig.tick(2.5)
    assert not [r for r in node.results() if isinstance(r, Failed)]
    rig.tick(1.5)
    assert node.results()[-1].code == Code.UNKNOWN_SESSION


def test_a_session_held_by_the_new_home_itself_is_kept() -> None:
    rig = Rig(2)
    home, edge = rig.nodes
    address = rig.address(home)
    edge.open(address)
    home.append(address, "d1")
    rig.kill(home)
    rig.change()
    record = edge.engine.record(address)
    assert record is not None
    assert record.edge == edge.id
    assert [reset.feed.origin for reset in edge.took(Reset)] == [Cursor(2, 0)]
    assert edge.engine.feed(address) is None
    assert edge.append(address, "d2").cursor == Cursor(2, 1)
    assert ids(edge, address) == ["d2"]
    assert edge.engine.statistics().held == 0


def test_a_session_that_moved_while_the_home_was_lost_is_not_held_twice() -> None:
    rig = Rig(3)
    home, edge, other = rig.nodes
    address = rig.address(home)
    edge.open(address)
    rig.kill(home)
    # The other edge's copy is newer and comes first.
    rig.hold = lambda message: isinstance(message, SessionPut)
    rig.change()
    heir = rig.home(address)
    if heir is edge:
        assert heir.engine.record(address) is not None
        return
    (item,) = rig.held
    record = msgspec.structs.replace(item[2].record, edge=other.id, generation=2)
    newer = SessionPut(record, 99)
    heir.do(heir.engine.receive(other.id, newer, rig.now))
    rig.let_go()
    assert edge.took(SessionLost) == [SessionLost(address)]


def test_a_silent_old_home_is_not_waited_for_forever() -> None:
    rig, home, topic, _ = loaded()
    rig.hold = lambda message: isinstance(message, Handoff)
    leave(rig, home)
    heir = rig.home(topic)
    rig.tick(2.9)
    assert not heir.engine.serving(slot_of(topic))
    queries = len([1 for sender, _, m in rig.log if isinstance(m, HandoffQuery)])
    assert queries > 5  # it was asked again and again
    rig.tick(0.2)
    assert heir.engine.serving(slot_of(topic))
    assert outcomes(heir)["lossy"] > 0
    # Its late word is thanked for, and changes nothing.
    before = outcomes(*rig.nodes)
    rig.let_go()
    assert outcomes(*rig.nodes) == before
    assert home.engine.drained()


def test_what_nobody_asks_for_is_dropped_in_time() -> None:
    rig, home, _, _ = loaded()
    rig.hold = lambda message: isinstance(message, HandoffQuery)
    leave(rig, home)
    assert not home.engine.drained()
    rig.tick(31.0)
    assert home.engine.drained()
    assert home.engine.statistics().abandoned > 0
    assert home.engine.statistics().log_bytes == sum(
        feed.log.size_bytes for feed in home.engine._parts.core.feeds.values()
    )
    rig.tick(120.0)
    assert home.engine._parts.takeover.giving.next_deadline() == float("inf")


def test_a_question_from_a_newer_view_waits_for_it() -> None:
    rig, home, topic, _ = loaded()
    rig.set_state(home, MemberState.LEAVING)
    rig.change(only=rig.nodes[1:])
    heir = rig.home(topic)
    assert not heir.engine.serving(slot_of(topic))
    assert home.engine.serving(slot_of(topic))
    home.append(topic, "m6")  # it is home until it knows better
    rig.install([home])
    assert heir.engine.serving(slot_of(topic))
    assert ids(heir, topic)[-1] == "m6"


def test_an_old_view_is_not_installed_again() -> None:
    rig = Rig()
    node = rig.nodes[0]
    old, placement = rig.view, rig.placement
    rig.change()
    assert node.engine.install_view(old, placement, rig.now) == []
    assert node.engine.install_view(rig.view, rig.placement, rig.now) == []


@pytest.mark.parametrize("late", ["heir", "last", "both", "none"])
def test_views_that_come_too_fast_lose_nothing(late: str) -> None:
    """Two leave in a row; some nodes never see the first of the two views."""
    rig, home, topic, _ = loaded(nodes=4)
    rig.set_state(home, MemberState.LEAVING)
    rig.hold = lambda message: isinstance(message, Handoff | HandoffQuery)
    rig.change(only=[home])
    heir = rig.home(topic)
    seen = {"heir": [n for n in rig.nodes[1:] if n is not heir],
            "last": [heir],
            "both": [],
            "none": rig.nodes[1:]}[late]  # fmt: skip
    rig.install(seen)
    rig.set_state(heir, MemberState.LEAVING)
    rig.change()
    rig.let_go()
    rig.tick(3.0)
    new_home = rig.home(topic)
    assert outcomes(*rig.nodes)["lossy"] == 0
    assert new_home.engine.serving(slot_of(topic))
    assert ids(new_home, topic) == [f"m{i}" for i in range(1, 6)]
    assert home.engine.drained()
    assert heir.engine.drained()


def test_a_slot_that_comes_back_before_anybody_asked_is_taken_back() -> None:
    rig, home, topic, address = loaded()
    rig.hold = lambda message: isinstance(message, HandoffQuery | HandoffNone)
    leave(rig, home)
    rig.set_state(home, MemberState.ACTIVE)
    rig.change()
    rig.let_go()
    rig.tick(3.0)
    assert rig.home(topic) is home
    assert home.engine.serving(slot_of(topic))
    assert outcomes(*rig.nodes)["lossy"] == 0
    assert home.append(topic, "m6").cursor.offset == 6
    assert home.engine.record(address) is not None
    assert rig.nodes[2].append(address, "d6").cursor.offset == 6


def test_a_slot_that_comes_back_from_an_heir_has_what_it_added() -> None:
    rig, home, topic, _ = loaded()
    leave(rig, home)
    heir = rig.home(topic)
    heir.append(topic, "m6")
    rig.set_state(home, MemberState.ACTIVE)
    rig.change()
    assert home.append(topic, "m7").cursor == Cursor(3, 7)
    assert ids(home, topic) == [f"m{i}" for i in range(1, 8)]
    assert outcomes(*rig.nodes)["lossy"] == 0


def test_what_an_heir_may_have_added_to_is_not_passed_for_the_last_state() -> None:
    """The heir got the slot, served it, and died before it could say so."""
    rig, home, topic, _ = loaded()
    rig.hold = lambda message: isinstance(message, HandoffDone)
    leave(rig, home)
    rig.held.clear()
    rig.hold = lambda message: False
    heir = rig.home(topic)
    heir.append(topic, "m6")
    rig.kill(heir)
    rig.set_state(home, MemberState.ACTIVE)
    rig.change()
    rig.tick(4.0)
    new_home = rig.home(topic)
    assert new_home.engine.statistics().takeovers["lossy"] > 0
    assert new_home.append(topic, "m7").cursor.offset == 1  # a new lineage
    assert any(reset.feed.topic == topic for node in rig.nodes for reset in node.took(Reset))


def test_nor_for_a_third_home() -> None:
    rig, home, topic, _ = loaded(nodes=5)
    rig.hold = lambda message: isinstance(message, HandoffDone)
    leave(rig, home)
    rig.held.clear()
    rig.hold = lambda message: False
    heir = rig.home(topic)
    heir.append(topic, "m6")
    rig.kill(heir)
    rig.change()
    rig.tick(4.0)
    assert rig.home(topic) not in (home, heir)
    assert rig.home(topic).engine.statistics().takeovers["lossy"] > 0
    assert rig.home(topic).append(topic, "m7").cursor.offset == 1
    assert home.engine.drained()


def test_an_heir_that_died_before_it_asked_cost_nothing() -> None:
    rig, home, topic, _ = loaded(nodes=4)
    rig.hold = lambda message: isinstance(message, HandoffQuery)
    leave(rig, home)
    heir = rig.home(topic)
    rig.held.clear()
    rig.hold = lambda message: False
    rig.kill(heir)
    rig.change()
    rig.tick(1.0)
    new_home = rig.home(topic)
    assert new_home.engine.serving(slot_of(topic))
    assert ids(new_home, topic) == [f"m{i}" for i in range(1, 6)]


def test_a_heirs_heir_confirms_for_it() -> None:
    rig, home, topic, _ = loaded(nodes=4)
    rig.hold = lambda message: isinstance(message, HandoffDone) and bool(rig.now)
    rig.set_state(home, MemberState.LEAVING)
    rig.change()
    heir = rig.home(topic)
    rig.held = [item for item in rig.held if item[0] != heir.id]  # the heir's word is lost
    rig.let_go()
    assert not home.engine.drained()
    leave(rig, heir)
    del rig.members[heir.id]
    rig.change()
    rig.tick(1.0)
    assert rig.messages(HandoffOffer)
    assert home.engine.drained()


def test_a_restarted_home_has_nothing_and_edges_know_it() -> None:
    rig, home, topic, address = loaded()
    rig.kill(home)
    reborn = msgspec.structs.replace(home.member, incarnation=2)
    rig.members[home.id] = reborn
    rig.dead.discard(home.id)
    new = Node(rig, reborn)
    rig.by_id[home.id] = rig.nodes[0] = new
    rig.change()
    rig.tick(1.0)
    assert rig.home(topic) is new
    assert new.engine.statistics().takeovers["lossy"] > 0
    assert new.engine.record(address) is not None
    for node in rig.nodes[1:]:
        assert any(reset.feed.topic == topic for reset in node.took(Reset))


def test_another_ring_is_another_world() -> None:
    rig, home, topic, address = loaded()
    edge = rig.nodes[1]
    edge.took(Deliver)
    for node in rig.nodes:
        other = View(7, b"some other ring!", rig.view.members)
        node.do(node.engine.install_view(other, Placement(other), rig.now))
    rig.carry()
    assert edge.took(SessionLost) == [SessionLost(address)]
    rig.tick(4.0)
    for node in rig.nodes:
        assert topic in [reset.feed.topic for reset in node.took(Reset)]
    assert home.append(topic, "m").cursor == Cursor(7, 1)
    for node in rig.nodes:
        assert ids(node, topic) == ["m"]


def test_an_offer_is_confirmed_only_by_who_does_not_wait() -> None:
    rig, home, topic, _ = loaded()
    rig.hold = lambda message: isinstance(message, Handoff)
    leave(rig, home)
    heir = rig.home(topic)
    assert heir.says(home.id, HandoffOffer((slot_of(topic),))) == []
    rig.let_go()
    (done,) = heir.says(home.id, HandoffOffer((slot_of(topic),)))
    assert done == HandoffDone(2, (slot_of(topic),))


def test_the_last_one_out_has_nobody_to_give_to() -> None:
    rig = Rig(1)
    (node,) = rig.nodes
    node.append("/a", "m")
    leave(rig, node)
    assert node.engine.drained()
    assert node.engine.statistics().log_bytes == 0
    # Of a ring that had no home there is nothing to lose.
    rig.set_state(node, MemberState.ACTIVE)
    rig.change()
    assert outcomes(node)["lossy"] == 0
