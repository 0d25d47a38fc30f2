from __future__ import annotations

import random
from typing import Any

import pytest
import trio

from dht.effects import Departed, Dial
from dht.engine import RingEngine
from dht.view import Member, MemberState, View
from node.cluster.departure import Departure, Stage

ME, OTHER = (
    Member(letter * 20, 1, f"{letter.decode()}:1", "c:1", "z", MemberState.ACTIVE)
    for letter in (b"a", b"b")
)


class FakeRing:
    """A ring engine that keeps a log of what it is asked."""

    def __init__(self) -> None:
        self.me = ME
        self.view: View | None = None
        self.asked: list[str] = []

    def lists_me_as(self, state: MemberState | None) -> None:
        members = (OTHER,) if state is None else (ME.with_state(state), OTHER)
        self.view = View(1, b"r", members)

    def leave(self, now: float) -> list[Any]:
        self.asked.append("leave")
        return [Dial("left:1")]

    def handed_over(self, now: float) -> list[Any]:
        self.asked.append("handed_over")
        return [Dial("over:1")]


class FakePubSub:
    """A pubsub engine that is drained when the test says so."""

    def __init__(self) -> None:
        self.asked = 0
        self.done = False

    def drain(self, now: float) -> list[Any]:
        self.asked += 1
        return [Dial("drain:1")]

    def drained(self) -> bool:
        return self.done


@pytest.fixture
def ring() -> Any:
    return FakeRing()


def test_each_step_waits_for_the_one_before(ring: Any) -> None:
    pubsub: Any = FakePubSub()
    departure = Departure()
    assert departure.proceed(ring, pubsub, 0.0) == []
    assert departure.start(ring, 0.0) == [Dial("left:1")]
    assert departure.start(ring, 0.0) == []
    for state in (None, MemberState.ACTIVE):
        ring.lists_me_as(state)
        assert departure.proceed(ring, pubsub, 0.0) == []
        assert departure.stage is Stage.ASKED
    ring.lists_me_as(MemberState.LEAVING)
    assert departure.proceed(ring, pubsub, 0.0) == [Dial("drain:1")]
    assert departure.proceed(ring, pubsub, 0.0) == []
    assert pubsub.asked == 1
    pubsub.done = True
    assert departure.proceed(ring, pubsub, 0.0) == [Dial("over:1")]
    assert departure.proceed(ring, pubsub, 0.0) == []
    assert departure.stage is Stage.LEAVING
    assert ring.asked == ["leave", "handed_over"]


def test_a_node_without_topics_has_nothing_to_give(ring: Any) -> None:
    departure = Departure()
    departure.start(ring, 0.0)
    assert departure.proceed(ring, None, 0.0) == []
    ring.lists_me_as(MemberState.LEAVING)
    assert departure.proceed(ring, None, 0.0) == []
    assert departure.proceed(ring, None, 0.0) == [Dial("over:1")]


async def test_the_end_is_waited_for(autojump_clock: Any) -> None:
    ring = RingEngine(ME, (), 1, random.Random(1))
    ring.start(0.0)
    departure = Departure()
    assert departure.start(ring, 0.0) == [Departed()]
    with trio.move_on_after(1) as patience:
        await departure.wait_departed()
    assert patience.cancelled_caught
    departure.finish()
    await departure.wait_departed()
    assert departure.stage is Stage.DEPARTED
