"""Processes that the ring has struck off and let in again: what they hold, and what they miss."""

from __future__ import annotations

import msgspec

from dht.ids import slot_of
from dht.view import MemberState
from pubsub.effects import ReleaseSession, Reset, SessionLost
from pubsub.limits import Limits
from pubsub.messages import Appended, Cursor, Entries, Entry, Joined, Vacated
from pubsub.slot_messages import Claim, Sealed
from pubsub.verdict import weigh
from pubsub_rig import Node, Rig


def away_and_back(rig: Rig, node: Node, seconds: float = 1.0) -> None:
    """Struck off, and let in again as another incarnation."""
    rig.cut(node)
    rig.change()
    rig.tick(seconds)
    rig.heal(node)
    rig.change()
    rig.tick(1.0)


def ids(node: Node, topic: str) -> list[str]:
    feed = node.engine.feed(topic)
    return [] if feed is None else [entry.message_id for entry in feed.log.after(0, 99)]


def test_a_reader_that_was_away_reads_on() -> None:
    rig = Rig(4)
    home, reader = rig.home("/a"), rig.others("/a")[0]
    reader.join("/a")
    home.append("/a", "m1")
    rig.cut(reader)
    rig.change()
    home.append("/a", "m2")
    rig.heal(reader)
    rig.change()  # it has never seen the view without itself
    rig.tick(1.0)
    home.append("/a", "m3")
    rig.tick(1.0)
    assert ids(reader, "/a") == ["m1", "m2", "m3"]
    assert not reader.took(Reset)


def test_sessions_that_moved_meanwhile_are_let_go() -> None:
    rig = Rig(4)
    home, edge, newer = rig.nodes[:3]
    address = rig.address(home)
    edge.open(address)
    rig.cut(edge)
    rig.change()
    assert newer.attach(address).record.generation == 2
    rig.heal(edge)
    rig.change()
    rig.tick(1.0)
    assert edge.took(SessionLost) == [SessionLost(address)]
    assert edge.engine.statistics().held == 0
    assert not newer.took(SessionLost)


def test_an_edge_that_was_away_when_a_slot_moved_gets_what_came_meanwhile() -> None:
    rig = Rig(5)
    home, edge, sender = rig.nodes[0], rig.nodes[4], rig.nodes[3]
    address = rig.address(home)
    edge.open(address)
    rig.cut(edge)
    rig.change()
    sender.append(address, "m1")
    rig.kill(home)
    rig.change()
    rig.tick(1.0)
    rig.heal(edge)
    rig.change()
    rig.tick(1.0)
    assert ids(edge, address) == ["m1"]


def test_an_orphans_time_begins_anew() -> None:
    rig = Rig(4, limits=Limits(orphan_seconds=10.0))
    home, edge = rig.nodes[:2]
    address = rig.address(home)
    edge.open(address)
    away_and_back(rig, edge, 6.0)
    rig.cut(edge)
    rig.change()
    rig.tick(6.0)
    assert home.engine.record(address) is not None, "away for 6 s, and for 6 s once more"
    rig.tick(5.0)
    assert home.engine.record(address) is None


def test_another_edges_orphan_has_its_own_time() -> None:
    rig = Rig(5, limits=Limits(orphan_seconds=10.0))
    home, first, second = rig.nodes[:3]
    address = rig.address(home)
    first.open(address)
    rig.cut(first)
    rig.change()
    rig.tick(6.0)
    second.attach(address)
    rig.cut(second)
    rig.change()
    rig.tick(6.0)
    assert home.engine.record(address) is not None


def test_a_deposed_homes_entries_do_not_vacate_a_session_in_its_next_reign() -> None:
    rig = Rig()
    home, former = rig.nodes[:2]
    address = rig.address(home)
    home.open(address)
    entry = Entry(1, 1, "m", b"{}", 0.0, 0)
    assert home.says(former.id, Entries(address, 1, (entry,))) == []
    stranger = rig.nodes[2]
    assert stranger.says(former.id, Entries(address, 1, (entry,))) == [Vacated(address, 0)]


def test_the_last_active_members_return_is_waited_for() -> None:
    """Nobody is ACTIVE: but who was has been struck off, and needs what is here."""
    rig = Rig(2)
    home, other = rig.home("/a"), rig.others("/a")[0]
    home.append("/a", "m1")
    rig.set_state(home, MemberState.LEAVING)
    rig.hold = lambda message: True  # it cannot give anything away in time
    rig.change()
    rig.cut(other)
    rig.change()
    assert not home.engine.drained()
    rig.held.clear()
    rig.hold = lambda message: False
    rig.heal(other)
    rig.change()
    rig.tick(2.0)
    other.join("/a", Cursor(1, 0))
    assert ids(other, "/a") == ["m1"]


def test_a_late_answer_to_a_join_from_now_on_skips_nothing() -> None:
    rig = Rig()
    home, reader = rig.home("/a"), rig.others("/a")[0]
    reader.join("/a")
    for index in range(1, 4):
        home.append("/a", f"m{index}")
    feed = reader.engine.feed("/a")
    assert feed is not None
    feed.log.clear(1)
    feed.last = Cursor(1, 1)
    reader.do(reader.engine.receive(home.id, Joined("/a", Cursor(1, 3), False, 1, 1), rig.now))
    rig.carry()
    assert not reader.took(Reset)
    assert ids(reader, "/a") == ["m2", "m3"]


def test_a_repeat_is_known_in_a_ring_of_one_too() -> None:
    """The home that was asked first has committed it, and died without an answer."""
    rig = Rig(2)
    home, heir = rig.home("/a"), rig.others("/a")[0]
    rig.hold = lambda message: isinstance(message, Appended)
    heir.append("/a", "m")
    rig.held.clear()
    rig.hold = lambda message: False
    rig.kill(home)
    rig.change()
    rig.tick(2.0)
    assert len(heir.results()) == 1
    feed_join = heir.join("/a", Cursor(1, 0))
    assert isinstance(feed_join, Joined)
    assert ids(heir, "/a") == ["m"]


# -- the verdict ----------------------------------------------------------------------------

A, B, C, D = (bytes([n]) * 20 for n in range(1, 5))


def test_a_copy_of_one_that_was_away_is_no_proof() -> None:
    """View 2 may have had a reign of others, who are all gone: that is said."""
    copy = Claim(1, 9, 1, ((A, 1), (B, 1)), (), ((2, ((B, 1), (C, 1))),), 1, 1, 1)
    verdict = weigh(3, {A: copy}, {A: 2}, A)
    assert verdict.doubtful
    assert not verdict.unknown
    assert verdict.gone == ((B, 1), (C, 1))


def test_views_that_nobody_knows_are_unknown() -> None:
    copy = Claim(1, 9, 1, ((A, 1),), (), (), 5, 1, 1)  # it knows views from 5 on only
    verdict = weigh(6, {A: copy}, {A: 2}, A)
    assert verdict.unknown
    assert weigh(6, {A: msgspec.structs.replace(copy, since=2)}, {A: 2}, A).doubtful is False


def test_a_process_answers_for_its_earlier_incarnations() -> None:
    """It was to hold the slot in view 2, and has not got it: that reign has not begun."""
    copy = Claim(1, 9, 1, ((B, 1),), ((2, ((A, 1), (D, 1))),), (), 1, 0, 1)
    none = Claim(0, 0, 0, (), (), (), 1, 0, 1)
    verdict = weigh(4, {A: none, B: copy}, {A: 3, B: 1}, A)
    assert verdict.settled
    assert not verdict.doubtful
    restarted = Claim(0, 0, 0, (), (), (), 1, 0, 3)  # another process: it knows nothing
    assert weigh(4, {A: restarted, B: copy}, {A: 3, B: 1}, A).doubtful


def test_holders_of_a_view_before_the_last_are_waited_for() -> None:
    """A view that came to nothing lies between: who held the slot before it may come back."""
    rig = Rig(7)
    before = rig.holders("/a")
    before[0].append("/a", "m1")
    for holder in before:
        rig.cut(holder)
    rig.hold = lambda message: True
    rig.change()
    heir = rig.home("/a")
    rig.held.clear()
    rig.kill(heir)
    rig.hold = lambda message: False
    rig.change()
    rig.tick(1.0)
    for holder in before:
        rig.heal(holder)
    rig.change()
    rig.tick(2.0)
    reader = next(node for node in rig.nodes if node not in (heir, *before))
    joined = reader.join("/a", Cursor(1, 0))
    assert not joined.gap
    assert ids(reader, "/a") == ["m1"]


def test_a_session_that_comes_to_an_edge_before_it_is_let_in_gets_what_came_meanwhile() -> None:
    rig = Rig(5)
    home = rig.nodes[0]
    address = rig.address(home)
    edge, newer = (node for node in rig.nodes if node not in rig.holders(address))
    edge.open(address)
    rig.cut(newer)
    rig.dead.discard(newer.id)  # it hears of the others again, and they of it, but it is no member
    rig.change(only=[node for node in rig.nodes if node is not newer])
    newer.attach(address)
    (release,) = edge.took(ReleaseSession)
    edge.released(address, release.generation)
    assert newer.results()[-1].record.generation == 2
    home.append(address, "m1")
    assert ids(newer, address) == []
    rig.heal(newer)
    rig.change()
    assert ids(newer, address) == ["m1"]


def test_another_process_does_not_speak_for_the_one_that_a_late_view_lists() -> None:
    """A home that is behind believes in a copy whose process has ended, and another has its id."""
    rig = Rig(4)
    home = rig.home("/a")
    home.append("/a", "m1")
    rig.hold = lambda message: isinstance(message, Sealed)
    rig.set_state(home, MemberState.LEAVING)
    rig.change()
    heir = rig.home("/a")
    answers = [(sender, message) for sender, to, message in rig.held if to == heir.id]
    for first in (0, 2):  # a process without a view yet, and a later one
        for sender, message in answers:
            claims = tuple(
                (msgspec.structs.replace(claim, first=first), numbers)
                for claim, numbers in message.claims
            )
            heir.do(heir.engine.receive(sender, Sealed(message.view, claims), rig.now))
            rig.carry()
        assert slot_of("/a") not in heir.engine._parts.core.slots
    rig.let_go()
    reader = next(node for node in rig.nodes if node not in (heir, home))
    reader.join("/a", Cursor(1, 0))
    assert ids(reader, "/a") == ["m1"]
