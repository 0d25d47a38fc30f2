"""Slots of which nobody has the latest copy: who may have it, and how long it is waited for."""

from __future__ import annotations

import msgspec
import pytest

from dht.effects import Send
from dht.ids import slot_of
from dht.view import MemberState
from pubsub import openings
from pubsub.limits import Limits
from pubsub.slot_messages import Claim, Pulled, Seal, Sealed
from pubsub.verdict import Verdict, weigh
from pubsub_rig import Node, Rig

A, B, C, D, E = (bytes([n]) * 20 for n in range(1, 6))
NONE = Claim(0, 0, 0, (), (), first=1)


def test_where_nobody_knows_all_views_anybody_may_have_the_copy() -> None:
    late = msgspec.structs.replace(NONE, seen=((7, ((B, 1), (C, 1))),), since=7)
    verdict = weigh(8, {A: late, D: late}, {A: 1, D: 1}, A)
    assert verdict.unknown
    assert verdict.doubtful
    early = msgspec.structs.replace(late, since=3, complete=True)
    verdict = weigh(8, {A: late, D: early}, {A: 1, D: 1}, A)
    assert not verdict.unknown
    assert verdict.gone == ((B, 1), (C, 1))


def test_what_nobody_can_have_held_is_fresh() -> None:
    begun = msgspec.structs.replace(NONE, since=8, complete=True)
    verdict = weigh(8, {A: begun, D: begun}, {A: 1, D: 1}, A)
    assert verdict.settled
    assert not verdict.doubtful


def test_after_a_reign_that_may_have_begun_there_may_have_been_others() -> None:
    """A lives on with its copy, and was sealed for view 2 alone: those of view 3 may have more."""
    copy = Claim(1, 9, 1, ((A, 1), (B, 1)), ((2, ((B, 1), (C, 1))),), (), 4, first=1)
    other = msgspec.structs.replace(NONE, seen=((3, ((C, 1), (E, 1))),), since=2)
    alive = {A: 1, D: 1}
    assert weigh(4, {A: copy}, alive, A).wait_for == (D,)
    verdict = weigh(4, {A: copy, D: other}, alive, A)
    assert verdict.doubtful
    assert verdict.gone == ((B, 1), (C, 1), (E, 1))
    assert not verdict.unknown
    late = msgspec.structs.replace(NONE, since=3)  # who was to hold the slot in view 2?
    assert weigh(4, {A: copy, D: late}, alive, A).unknown


def test_who_does_not_know_that_it_was_struck_off_does_not_speak_for_the_views_since() -> None:
    """A and B are back; A knows it. Nobody knows who held the slot in views 4 to 6."""
    held = ((A, 1), (B, 1), (C, 1))
    aware = Claim(1, 9, 1, held, (), (), 7, until=3, first=1)
    unaware = Claim(1, 9, 1, held, (), (), 7, first=1)
    verdict = weigh(7, {A: aware, B: unaware}, {A: 2, B: 2}, A)
    assert verdict.doubtful
    assert verdict.unknown
    assert not weigh(7, {A: aware, B: unaware}, {A: 2, B: 1}, A).doubtful, "it was there"
    knows_all = msgspec.structs.replace(NONE, since=4)
    assert not weigh(7, {A: aware, B: unaware, D: knows_all}, {A: 2, B: 2, D: 1}, A).doubtful


def test_the_last_seconds_are_enough_only_where_a_later_reign_is_in_doubt() -> None:
    copy = Claim(1, 9, 1, ((A, 1), (B, 1)), (), (), 8, until=3, first=1)
    recent = msgspec.structs.replace(NONE, since=6, complete=True)
    assert weigh(8, {A: copy, D: recent}, {A: 2, D: 1}, A).unknown
    in_doubt = msgspec.structs.replace(recent, seen=((6, ((C, 1), (E, 1))),))
    verdict = weigh(8, {A: copy, D: in_doubt}, {A: 2, D: 1}, A)
    assert verdict.gone == ((C, 1), (E, 1))
    assert not verdict.unknown


def test_who_is_views_behind_says_until_when_it_was_a_member() -> None:
    rig = Rig(3)
    home, holder, _ = rig.holders("/a")
    slot = slot_of("/a")
    home.append("/a", "m1")
    rig.change(only=[home])
    for view, until in ((2, 0), (3, 1), (9, 1)):
        (said,) = said_when_sealed(holder, home, slot, view)
        assert (said.epoch, said.until) == (1, until), view


def said_when_sealed(holder: Node, home: Node, slot: int, view: int) -> list[Claim]:
    """What a holder claims to have, asked by the home of a view."""
    holders = ((home.id, 1), (holder.id, 1))
    out = holder.engine.receive(home.id, Seal(view, ((holders, (slot,)),)), holder.rig.now)
    sent = [each.message for each in out if isinstance(each, Send)]
    return [claim for each in sent if isinstance(each, Sealed) for claim, _ in each.claims]


def without_founders(limits: Limits) -> tuple[Rig, Node, Node, str]:
    """One founder is cut off; a newcomer is all that is left of the others."""
    rig = Rig(3, limits=limits)
    home, other, away = rig.nodes
    address = rig.address(home)
    home.open(address)
    rig.cut(away)
    newcomer = rig.add(4, 8, MemberState.JOINING)
    rig.change()
    rig.kill(home)
    rig.kill(other)
    rig.set_state(newcomer, MemberState.ACTIVE)
    rig.change()
    rig.tick(1.5)
    return rig, newcomer, away, address


def test_who_was_struck_off_before_all_members_came_is_waited_for() -> None:
    rig, newcomer, away, address = without_founders(Limits(lossy_seconds=20.0))
    assert not newcomer.engine.serving(slot_of(address))
    rig.heal(away)
    rig.change()
    rig.tick(2.0)
    assert rig.home(address).engine.record(address) is not None


def test_but_as_long_as_any_copy_only() -> None:
    rig, newcomer, _, address = without_founders(Limits(lossy_seconds=20.0))
    rig.tick(20.0)
    assert newcomer.engine.serving(slot_of(address))


@pytest.mark.parametrize("number", [1, 7])
def test_a_ring_that_begins_waits_for_nobody(number: int) -> None:
    """After a full stop its number may be any; all members are ACTIVE at once."""
    rig = Rig(0)
    rig.view = msgspec.structs.replace(rig.view, number=number - 1)
    rig.nodes = [rig.add(index, 3) for index in range(3)]
    rig.change()
    rig.tick(0.1)
    assert all(node.engine.serving(slot) for slot in (1, 4000) for node in rig.nodes
               if rig.placement.home(slot) == node.id)  # fmt: skip


def test_a_home_to_be_that_holds_a_later_reign_begins_none() -> None:
    """It was sealed for the later one, and has installed it, before its own answers came."""
    rig = Rig(5)
    home, heir, _ = rig.holders("/a")
    rig.hold = lambda message: isinstance(message, Sealed) and message.view == 2
    rig.set_state(home, MemberState.LEAVING)
    rig.change(only=[heir])
    assert rig.home("/a") is heir
    rig.set_state(home, MemberState.ACTIVE)
    rig.change(only=[node for node in rig.nodes if node is not heir])
    assert rig.home("/a") is home
    assert home.append("/a", "m1").cursor.epoch == 3
    rig.let_go()
    copy = heir.engine._parts.core.copies[slot_of("/a")]
    assert (copy.epoch, copy.seq) == (3, 1)
    assert not heir.engine.serving(slot_of("/a"))


def test_who_came_before_the_last_active_member_was_struck_off_begins_no_ring() -> None:
    rig = Rig(1)
    (founder,) = rig.nodes
    founder.append("/a", "m1")
    newcomer = rig.add(1, 2, MemberState.JOINING)
    rig.change()
    rig.cut(founder)
    rig.change()
    rig.set_state(newcomer, MemberState.ACTIVE)
    rig.change()
    rig.tick(2.0)
    assert not newcomer.engine.serving(slot_of("/a"))
    rig.heal(founder)
    rig.change()
    rig.tick(2.0)
    assert rig.home("/a").append("/a", "m2").cursor.offset == 2


def test_a_home_that_was_struck_off_waits_anew() -> None:
    """Another may have served meanwhile."""
    rig = Rig(3, limits=Limits(lossy_seconds=20.0))
    address = rig.address(rig.nodes[0])
    rig.nodes[0].open(address)
    rig.cut(rig.nodes[2])
    newcomers = [rig.add(index, 16, MemberState.JOINING) for index in (9, 11)]
    rig.change()
    rig.kill(rig.nodes[0])
    rig.kill(rig.nodes[1])
    for newcomer in newcomers:
        rig.set_state(newcomer, MemberState.ACTIVE)
    rig.change()
    rig.tick(15.0)
    home = rig.home(address)
    rig.cut(home)
    rig.change()
    rig.tick(1.0)
    rig.heal(home)
    rig.set_state(home, MemberState.ACTIVE)
    rig.change()
    assert rig.home(address) is home
    rig.tick(10.0)
    assert not home.engine.serving(slot_of(address)), "26 s, but 10 since it is back"
    rig.tick(11.0)
    assert home.engine.serving(slot_of(address))


def test_a_copy_that_comes_when_others_have_spoken_is_not_adopted_before_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(5)
    rig.home("/a").append("/a", "m1")
    rig.hold = lambda message: isinstance(message, Pulled)
    for holder in rig.holders("/a"):
        rig.set_state(holder, MemberState.LEAVING)
    rig.change()
    heir = rig.home("/a")
    doubt = Verdict(settled=True, source=rig.nodes[0].id, doubtful=True, unknown=True)
    monkeypatch.setattr(openings, "weigh", lambda *args: doubt)  # what was said meanwhile
    rig.let_go()
    assert not heir.engine.serving(slot_of("/a"))
    assert heir.engine.statistics().takeovers["lossy"] == 0
    monkeypatch.undo()
    rig.tick(2.0)
    assert heir.append("/a", "m2").cursor.offset == 2
