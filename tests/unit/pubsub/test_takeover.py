"""Slots move between homes: in order, whole, once, or told to be lost."""

from __future__ import annotations

import msgspec
import pytest

from dht.ids import slot_of
from dht.placement import Placement
from dht.view import MemberState, View
from pubsub.effects import Deliver, ReleaseSession, Reset, SessionLost
from pubsub.errors import Code
from pubsub.limits import Limits
from pubsub.messages import (
    Append,
    Appended,
    Consumed,
    Cursor,
    Failed,
    Joined,
    SessionDone,
    SessionPut,
)
from pubsub.slot_messages import (
    EntryPut,
    Install,
    Installed,
    Pull,
    Pulled,
    Replicate,
    Replicated,
    Retirable,
    Retire,
    Seal,
    Sealed,
)
from pubsub_rig import Node, Rig


def outcomes(*nodes: Node) -> dict[str, int]:
    total = {"taken_over": 0, "fresh": 0, "lossy": 0}
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
    edge = rig.nodes[1]
    edge.open(address)
    edge.update(address, 1, ((topic, Cursor(1, 0)),))
    for node in rig.nodes:
        node.join(topic)
    for index in range(1, 6):
        home.append(topic, f"m{index}", payload=bytes(100))
        home.append(address, f"d{index}", payload=bytes(100))
    return rig, home, topic, address


def kill(rig: Rig, *nodes: Node) -> None:
    for node in nodes:
        rig.kill(node)
    rig.change()


def spread(rig: Rig, topic: str) -> list[Node]:
    """The nodes that do not hold the topic's slot."""
    return [node for node in rig.nodes if node not in rig.holders(topic)]


# -- peaceful changes -------------------------------------------------------------------


def test_the_first_view_opens_everything_at_once() -> None:
    rig = Rig()
    assert outcomes(*rig.nodes) == {"taken_over": 0, "fresh": 4096, "lossy": 0}
    for node in rig.nodes:
        for slot in rig.placement.slots_of(node.id):
            assert node.engine.serving(slot)
    assert not rig.log


def test_idle_slots_cost_a_few_messages_and_no_copies() -> None:
    rig = Rig(3, room=4)
    newcomer = rig.add(3, 4)
    rig.change()
    assert outcomes(*rig.nodes, newcomer)["lossy"] == 0
    # A Seal and an Install, and their answers, from and to everybody; and no states at all.
    assert len(rig.messages(Seal)) == len(rig.messages(Sealed)) <= 4 * 3
    assert len(rig.messages(Install)) <= 24
    assert len(rig.messages(Installed)) <= 48
    assert not rig.messages(Pull)
    assert outcomes(newcomer)["taken_over"] == 1024


def test_a_polite_leaver_hands_everything_over() -> None:
    rig, home, topic, address = loaded()
    assert not home.engine.drained()
    home.do(home.engine.drain(rig.now))
    leave(rig, home)
    assert home.engine.drained()
    stats = home.engine.statistics()
    assert (stats.topics, stats.records) == (0, 0)
    assert set(stats.slots.values()) == {0}
    others = [node for node in rig.nodes if node is not home]
    assert outcomes(*others)["lossy"] == 0
    # Readers go on, the old home's own among them; offsets continue in a new epoch.
    assert rig.home(topic).append(topic, "m6").cursor == Cursor(2, 6)
    for node in rig.nodes:
        assert ids(node, topic) == [f"m{i}" for i in range(1, 7)]
        assert not node.took(Reset)
    record = rig.home(address).engine.record(address)
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
    assert outcomes(newcomer) == {"taken_over": 1024, "fresh": 0, "lossy": 0}
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
    kill(rig, home)
    heir = rig.home(topic)
    stranger = next(node for node in rig.nodes[1:] if node is not heir)
    repeat = Append(50, topic, "again", b"{}", 0.0, 1)
    assert heir.says(stranger.id, repeat) == [Appended(50, first.cursor, False, topic)]
    assert publisher.append(topic, "chosen", client_id=True).cursor == chosen.cursor
    assert publisher.append(address, "chosen", client_id=True).cursor == direct.cursor


@pytest.mark.parametrize("limit", [400, 1_000])
def test_a_large_slot_goes_in_parts_and_windows(limit: int) -> None:
    rig, _, topic, _ = loaded(Limits(pull_bytes=limit, pull_window=2 * limit), nodes=4)
    kill(rig, rig.home(topic))
    pulled = rig.messages(Pulled)
    assert any(not state.final for message in pulled for state in message.states)
    assert limit > 400 or len(rig.messages(Pull)) >= 2
    rig.tick(1.0)
    newest = rig.holders(topic)[-1]
    copy = newest.engine._parts.core.copies[slot_of(topic)].topic(topic)
    assert copy is not None
    assert [entry.message_id for entry in copy.log.after(0, 9)] == [f"m{i}" for i in range(1, 6)]


@pytest.mark.parametrize("lost", [Seal, Sealed, Install, Installed, Pull, Pulled, Retire])
@pytest.mark.parametrize("by_link", [True, False])
def test_a_lost_message_of_a_takeover_loses_nothing(lost: type, by_link: bool) -> None:
    """With its link, or by itself where there was none to send it on."""
    rig, home, topic, _ = loaded(nodes=4)
    rig.hold = lambda message: isinstance(message, lost)
    leave(rig, home)
    rig.hold = lambda message: False
    rig.held.clear()
    if by_link:
        for left in rig.nodes:
            for right in rig.nodes:
                if left.id < right.id:
                    rig.relink(left, right)
    rig.tick(4.0)
    assert home.engine.drained(), lost
    assert outcomes(*rig.nodes)["lossy"] == 0
    assert ids(rig.home(topic), topic) == [f"m{i}" for i in range(1, 6)]
    assert all(rig.home(t).engine.serving(slot_of(t)) for t in rig.topics(rig.nodes[1], 9))


# -- requests meanwhile -------------------------------------------------------------------


def test_requests_wait_for_a_slot_that_is_about_to_open() -> None:
    rig, home, topic, address = loaded()
    rig.hold = lambda message: isinstance(message, Installed)
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
    rig.hold = lambda message: isinstance(message, Installed)
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
    rig.hold = lambda message: isinstance(message, Installed)
    leave(rig, home)
    heir = rig.home(topic)
    assert heir.join(topic, Cursor(1, 2)) is None
    rig.let_go()
    assert heir.results()[-1] == Joined(topic, Cursor(1, 2), False, 1, 0)
    assert ids(heir, topic) == [f"m{i}" for i in range(1, 6)]


def test_requests_that_wait_are_bounded() -> None:
    rig, home, topic, _ = loaded(Limits(queued=2, queued_bytes=500))
    rig.hold = lambda message: isinstance(message, Installed)
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
    rig, home, topic, _ = loaded(nodes=4)
    rig.hold = lambda message: isinstance(message, Installed)
    leave(rig, home)
    heir = rig.home(topic)
    third = next(node for node in rig.nodes[1:] if node is not heir)
    third.append(topic, "m6")
    rig.held.clear()
    rig.hold = lambda message: False
    leave(rig, heir)
    assert rig.messages(Failed)
    rig.tick(3.0)
    assert isinstance(third.results()[-1], Appended)
    assert outcomes(*rig.nodes)["lossy"] == 0
    assert ids(third, topic)[-2:] == ["m5", "m6"]


def test_requests_that_waited_while_others_had_struck_their_home_off_are_refused() -> None:
    """Another has answered them: served again, an attach would take the session from its edge."""
    rig = Rig(6)
    address = rig.address(rig.nodes[0])
    home, heir = rig.holders(address)[:2]
    edge, newer = [node for node in rig.nodes if node not in rig.holders(address)][:2]
    edge.open(address)
    rig.hold = lambda message: isinstance(message, Installed)
    leave(rig, home)
    assert rig.home(address) is heir
    assert newer.attach(address) is None
    assert heir.engine._parts.takeover._queued == 1
    rig.held.clear()
    rig.hold = lambda message: False
    rig.cut(heir)
    rig.change()
    rig.tick(0.5)
    edge.released(address, edge.took(ReleaseSession)[0].generation)
    assert newer.results()[-1].record.generation == 2
    answered = len(rig.messages(SessionDone))
    rig.heal(heir)
    rig.change()
    rig.tick(2.0)
    assert heir.engine.serving(slot_of(address))
    assert len(rig.messages(SessionDone)) == answered, "it was served again"
    record = heir.engine.record(address)
    assert record is not None
    assert (record.edge, record.generation) == (newer.id, 2)


# -- deaths ---------------------------------------------------------------------------------


def test_a_dead_homes_slots_lose_nothing() -> None:
    rig, home, topic, address = loaded()
    edge = rig.nodes[1]
    edge.consumed(address, 1, (address, Cursor(1, 2)))
    rig.tick(0.2)
    kill(rig, home)
    assert outcomes(*rig.nodes[1:])["lossy"] == 0
    heir = rig.home(topic)
    assert heir.append(topic, "m6").cursor == Cursor(2, 6)
    for node in rig.nodes[1:]:
        assert ids(node, topic) == [f"m{i}" for i in range(1, 7)]
        assert not node.took(Reset)
    record = rig.home(address).engine.record(address)
    assert record is not None
    assert dict(record.cursors) == {address: Cursor(1, 2), topic: Cursor(1, 0)}
    assert rig.nodes[2].append(address, "d6").cursor == Cursor(2, 6)
    assert ids(edge, address) == [f"d{i}" for i in range(3, 7)]


def test_two_of_three_copies_are_no_loss() -> None:
    rig, home, topic, address = loaded(nodes=6)
    home_too, second, third = rig.holders(topic)
    assert home_too is home
    kill(rig, home, second)
    assert outcomes(*rig.nodes)["lossy"] == 0
    assert rig.home(topic).append(topic, "m6").cursor == Cursor(2, 6)
    assert ids(third, topic) == [f"m{i}" for i in range(1, 7)]
    assert rig.home(address).engine.record(address) is not None


def test_all_copies_dead_is_told_and_others_are_unaffected() -> None:
    rig, _, topic, _ = loaded(nodes=7)
    holders = rig.holders(topic)
    safe = next(
        t
        for node in rig.nodes
        for t in rig.topics(node, 40)
        if not set(map(id, rig.holders(t))) & set(map(id, holders))
    )
    survivors = [node for node in rig.nodes if node not in holders]
    survivors[0].join(safe)
    survivors[0].append(safe, "safe")
    kill(rig, *holders)
    for node in survivors:
        resets = {reset.feed.topic: reset.feed for reset in node.took(Reset)}
        assert resets[topic].origin == Cursor(2, 0)
        assert safe not in resets
    assert rig.home(topic).append(topic, "new").cursor == Cursor(2, 1)
    for node in survivors:
        assert ids(node, topic) == ["new"]
    assert survivors[0].append(safe, "more").cursor.offset == 2
    # A cursor of the old epoch means nothing now.
    assert survivors[1].join(topic, Cursor(1, 1)).gap


def lost_session() -> tuple[Rig, Node, str]:
    """A session held by a node that does not hold its slot; the three that do are dead."""
    rig = Rig(7)
    home = rig.nodes[0]
    address = rig.address(home)
    edge = spread(rig, address)[0]
    edge.open(address)
    home.append(address, "d1")
    kill(rig, *rig.holders(address))
    return rig, edge, address


def test_an_edge_registers_its_sessions_again_where_all_copies_are_lost() -> None:
    rig, edge, address = lost_session()
    record = rig.home(address).engine.record(address)
    assert record is not None
    assert record.edge == edge.id
    assert [reset.feed.origin for reset in edge.took(Reset)] == [Cursor(2, 0)]
    assert edge.append(address, "d2").cursor == Cursor(2, 1)
    assert ids(edge, address) == ["d2"]


def test_unknown_is_not_said_before_edges_had_time_to_register() -> None:
    rig, edge, address = lost_session()
    ghost = f"{address[:-1]}9"
    assert edge.append(ghost, "m") is None
    rig.tick(2.5)
    assert not [r for r in edge.results() if isinstance(r, Failed)]
    rig.tick(1.5)
    assert edge.results()[-1].code == Code.UNKNOWN_SESSION


def test_copies_that_may_live_are_waited_for() -> None:
    """They were cut off, not killed: nobody has proven that they are dead."""
    rig, _, topic, _ = loaded(Limits(lossy_seconds=20.0), nodes=7)
    holders = rig.holders(topic)
    for node in holders:
        rig.cut(node)
    rig.change()
    heir = rig.home(topic)
    assert not heir.engine.serving(slot_of(topic))
    assert heir.append(topic, "m") is None
    rig.tick(15.0)
    assert heir.results()[-1] == Failed(2, Code.UNAVAILABLE)
    assert outcomes(*rig.nodes)["lossy"] == 0
    # One of them is let in again, as another incarnation: what it holds is the last.
    back = holders[1]
    rig.heal(back)
    rig.change()
    rig.tick(1.0)
    assert outcomes(*rig.nodes)["lossy"] == 0
    assert rig.home(topic).append(topic, "m6").cursor.offset == 6
    assert not [node for node in rig.nodes if node.took(Reset)]


def test_but_not_for_ever() -> None:
    rig, _, topic, _ = loaded(Limits(lossy_seconds=20.0), nodes=7)
    for node in rig.holders(topic):
        rig.cut(node)
    rig.change()
    rig.tick(21.5)
    heir = rig.home(topic)
    assert heir.engine.serving(slot_of(topic))
    assert outcomes(heir)["lossy"] > 0


def test_nor_where_they_turn_out_to_be_dead() -> None:
    rig, _, topic, _ = loaded(nodes=7)
    holders = rig.holders(topic)
    for node in holders:
        rig.cut(node)
    rig.change()
    heir = rig.home(topic)
    assert not heir.engine.serving(slot_of(topic))
    for node in holders:
        heir.do(heir.engine.dial_failed(node.member.peer, False, rig.now))
    assert not heir.engine.serving(slot_of(topic))
    for node in holders:
        heir.do(heir.engine.dial_failed(node.member.peer, True, rig.now))
    rig.carry()
    assert heir.engine.serving(slot_of(topic))


def test_a_restarted_process_is_no_copy() -> None:
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
    assert outcomes(*rig.nodes)["lossy"] == 0
    assert new.engine.record(address) is not None
    assert new.append(topic, "m6").cursor.offset == 6


def test_three_restarted_processes_have_lost_everything() -> None:
    rig, _, topic, _ = loaded()
    for index, node in enumerate(list(rig.nodes)):
        rig.kill(node)
        rig.members[node.id] = msgspec.structs.replace(node.member, incarnation=2)
        rig.nodes[index] = rig.by_id[node.id] = Node(rig, rig.members[node.id])
    rig.dead.clear()
    rig.change()
    rig.tick(1.0)
    assert rig.home(topic).append(topic, "new").cursor == Cursor(2, 1)


def test_who_lives_on_proves_what_came_later() -> None:
    """The next reign's holders are all dead: an old copy is not passed for the last."""
    rig, home, topic, _ = loaded(nodes=8)
    old = rig.holders(topic)
    rig.hold = lambda message: isinstance(message, Retire | Retirable)
    for node in old:
        rig.set_state(node, MemberState.LEAVING)
    rig.change()
    rig.home(topic).append(topic, "m6")
    later = rig.holders(topic)
    assert not set(map(id, later)) & set(map(id, old))
    for node in later:
        rig.kill(node)
    rig.set_state(home, MemberState.ACTIVE)
    rig.change()
    rig.tick(2.0)
    assert rig.home(topic) is home
    assert home.engine.statistics().takeovers["lossy"] > 0
    assert any(reset.feed.topic == topic for node in rig.nodes for reset in node.took(Reset))
    assert home.append(topic, "m7").cursor.epoch == 3


def test_a_reign_that_never_began_costs_nothing() -> None:
    rig, home, topic, _ = loaded(nodes=6)
    rig.hold = lambda message: isinstance(message, Install)
    leave(rig, home)
    heir = rig.home(topic)
    rig.held.clear()
    rig.hold = lambda message: False
    kill(rig, heir)
    rig.tick(1.0)
    assert outcomes(*rig.nodes)["lossy"] == 0
    assert rig.home(topic).append(topic, "m6").cursor.offset == 6


# -- fences ---------------------------------------------------------------------------------


def entries(rig: Rig) -> list[EntryPut]:
    ops = [op for message in rig.messages(Replicate) for op in message.ops]
    return [op for op in ops if isinstance(op, EntryPut)]


def test_a_deposed_home_commits_nothing_more() -> None:
    """It does not know yet; one holder that does is enough."""
    rig, home, topic, _ = loaded(nodes=4)
    rig.set_state(home, MemberState.LEAVING)
    rig.change(only=[rig.holders(topic)[1]])
    assert home.append(topic, "late") is None
    assert not home.engine.serving(slot_of(topic))  # it was told, and stopped
    rig.install(rig.nodes)
    rig.tick(1.0)
    assert [type(r) for r in home.results()][-1] is Appended
    assert ids(rig.home(topic), topic)[-1] == "late"


def test_a_sealed_holder_takes_no_changes_of_an_earlier_reign() -> None:
    rig, home, topic, _ = loaded(nodes=5)
    before = rig.holders(topic)
    rig.set_state(home, MemberState.LEAVING)
    rig.hold = lambda message: isinstance(message, Install)
    rig.change(only=[node for node in rig.nodes if node not in before])
    heir = rig.home(topic)
    if heir in before:
        rig.install([heir])
    assert home.append(topic, "late") is None
    assert all(not node.engine.serving(slot_of(topic)) for node in rig.nodes)
    refused = [m for m in rig.messages(Replicated) if m.refused]
    assert refused or not [op for op in entries(rig) if op.entry.message_id == "late"]


def test_an_answer_that_is_late_commits_nothing_in_the_next_reign() -> None:
    rig, home, topic, _ = loaded(nodes=4)
    rig.hold = lambda message: isinstance(message, Replicated)
    assert home.append(topic, "m6") is None
    rig.hold = lambda message: False
    kill(rig, rig.holders(topic)[2])
    assert home.results()[-1].cursor == Cursor(1, 6)  # it is in the state that was installed
    before = ids(home, topic)
    rig.let_go()
    assert ids(home, topic) == before == [f"m{i}" for i in range(1, 7)]


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
    rig, home, topic, _ = loaded(nodes=5)
    rig.set_state(home, MemberState.LEAVING)
    rig.hold = lambda message: isinstance(message, Pulled | Installed)
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


def test_a_slot_that_comes_back_has_what_was_added_meanwhile() -> None:
    rig, home, topic, _ = loaded()
    leave(rig, home)
    rig.home(topic).append(topic, "m6")
    rig.set_state(home, MemberState.ACTIVE)
    rig.change()
    assert home.append(topic, "m7").cursor == Cursor(3, 7)
    assert ids(home, topic) == [f"m{i}" for i in range(1, 8)]
    assert outcomes(*rig.nodes)["lossy"] == 0


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


def test_a_ring_that_an_operator_has_saved_goes_on_with_its_copies() -> None:
    rig, _, topic, _ = loaded(nodes=4)
    alive = rig.nodes[:2]
    for node in rig.nodes[2:]:
        rig.kill(node)
    members = tuple(sorted((n.member for n in alive), key=lambda m: m.id))
    view = View(100, b"the ring it saved", members, (), rig.view.ring)
    for node in alive:
        node.do(node.engine.install_view(view, Placement(view), rig.now))
    rig.carry()
    rig.tick(2.0)
    assert outcomes(*alive)["lossy"] == 0
    home = next(n for n in alive if n.id == Placement(view).home_of(topic))
    assert home.append(topic, "m6").cursor.offset == 6


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


def test_a_session_that_moved_while_its_home_was_lost_is_not_held_twice() -> None:
    rig, edge, address = lost_session()
    other = next(n for n in rig.nodes if n is not edge and n.id not in rig.dead)
    home = rig.home(address)
    record = home.engine.record(address)
    assert record is not None
    newer = msgspec.structs.replace(record, edge=other.id, generation=2)
    home.do(home.engine.receive(other.id, SessionPut(newer, 99), rig.now))
    rig.carry()
    edge.consumed(address, 1, (address, Cursor(2, 0)))
    if edge is not home:
        assert edge.took(SessionLost) == [SessionLost(address)]
    assert home.engine.record(address).generation == 2  # type: ignore[union-attr]
