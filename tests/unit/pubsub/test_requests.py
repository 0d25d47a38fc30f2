"""Requests of a node: retried until answered, and given up in time."""

from __future__ import annotations

from dht.view import MemberState
from pubsub.errors import Code
from pubsub.limits import Limits
from pubsub.messages import Append, Appended, Cursor, Failed
from pubsub_rig import Rig


def test_a_lost_answer_is_asked_for_again_and_nothing_is_done_twice() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    rig.hold = lambda message: isinstance(message, Appended)
    assert other.append("/a", "m") is None
    rig.hold = lambda message: False
    rig.relink(home, other)
    rig.tick(0.1)
    assert other.results() == [Appended(1, Cursor(1, 1), False, "/a")]
    assert home.append("/a", "next").cursor == Cursor(1, 2)


def test_a_request_that_was_dropped_without_a_lost_link_is_sent_again() -> None:
    rig = Rig()
    other = rig.others("/a")[0]
    rig.hold = lambda message: isinstance(message, Append)
    other.append("/a", "m")
    rig.held.clear()
    rig.hold = lambda message: False
    rig.tick(1.9)
    assert not other.results()
    rig.tick(0.2)
    assert isinstance(other.results()[0], Appended)


def test_a_home_that_cannot_serve_is_asked_again_less_and_less_often() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    times: list[float] = []

    def refuse(message: object) -> bool:
        if isinstance(message, Append):
            times.append(round(rig.now - 100.0, 3))
            other.do(other.engine.receive(home.id, Failed(1, Code.UNAVAILABLE), rig.now))
            return True
        return False

    rig.hold = refuse
    other.append("/a", "m")
    rig.tick(10.5)
    assert times[:7] == [0.0, 0.05, 0.15, 0.35, 0.75, 1.25, 1.75]
    assert other.results() == [Failed(1, Code.UNAVAILABLE)]
    assert 4.0 < times[-1] < 5.0
    assert other.engine.next_deadline() is None


def test_a_refusal_of_an_earlier_try_is_not_the_last_word() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    rig.hold = lambda message: isinstance(message, Append)
    other.append("/a", "m")
    third = next(node for node in rig.others("/a") if node is not other)
    other.do(other.engine.receive(third.id, Failed(1, Code.OVERLOADED), rig.now))
    assert not other.results()
    other.do(other.engine.receive(home.id, Failed(1, Code.OVERLOADED), rig.now))
    assert other.results() == [Failed(1, Code.OVERLOADED)]
    other.do(other.engine.receive(home.id, Appended(1, Cursor(1, 1), False, "/a"), rig.now))
    assert len(other.results()) == 1


def test_a_view_without_the_home_sends_it_to_the_next() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    rig.dead.add(home.id)
    assert other.append("/a", "m") is None
    rig.kill(home)
    rig.change()
    assert isinstance(other.results()[0], Appended)


def test_a_view_that_keeps_the_old_home_waits_for_its_answer() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    rig.hold = lambda message: isinstance(message, Appended)
    other.append("/a", "m")
    rig.set_state(home, MemberState.LEAVING)
    rig.change()
    assert len(rig.messages(Append)) == 1
    rig.let_go()
    assert other.results()[0].cursor == Cursor(1, 1)


def test_a_home_that_has_lost_the_slot_refuses_and_the_next_one_serves() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    rig.set_state(home, MemberState.LEAVING)
    rig.change(only=[node for node in rig.nodes if node is not other])
    assert other.append("/a", "m") is None  # its view still names the old home
    assert Failed(1, Code.UNAVAILABLE) in rig.messages(Failed)
    rig.install([other])
    rig.tick(0.1)
    assert isinstance(other.results()[0], Appended)


def test_requests_are_bounded_in_number_and_bytes() -> None:
    rig = Rig(limits=Limits(pending=3))
    rig.hold = lambda message: isinstance(message, Append)
    other = rig.others("/a")[0]
    for index in range(3):
        assert other.append("/a", f"m{index}") is None
    assert other.append("/a", "m3") == Failed(4, Code.OVERLOADED)
    rig = Rig(limits=Limits(pending_bytes=1_000))
    rig.hold = lambda message: isinstance(message, Append)
    other = rig.others("/a")[0]
    assert other.append("/a", "m", payload=bytes(500)) is None
    assert other.append("/a", "m", payload=bytes(500)) == Failed(2, Code.OVERLOADED)
    assert other.append("/a", "m", payload=bytes(50)) is None
    rig.let_go()
    assert other.append("/a", "m", payload=bytes(500)).cursor


def test_a_ring_without_active_members_serves_nobody() -> None:
    rig = Rig(2)
    for node in rig.nodes:
        rig.set_state(node, MemberState.LEAVING)
    rig.change()
    (one, _) = rig.nodes
    assert one.append("/a", "m") is None
    assert one.join("/a") is None
    rig.tick(10.1)
    assert {result.code for result in one.results()} == {Code.UNAVAILABLE}
    assert one.engine.drained()
