"""Two nodes, any number of connections, any order of events: one link, the same for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from message_strategies import UNHURRIED
from node.cluster.greetings import Introduction, Verdict
from node.cluster.pairing import Decision, Pairing

ANNA = Introduction(b"a" * 20, 5, "a:1")
BERT = Introduction(b"b" * 20, 5, "b:1")


@dataclass(frozen=True)
class FakeLink:
    name: object
    incarnation: int = 5


def verdict(peer: Introduction, said: Verdict) -> Introduction:
    return msgspec.structs.replace(peer, verdict=said)


def with_link(me: Introduction, peer: Introduction, incarnation: int = 5) -> Pairing[FakeLink]:
    pairing: Pairing[FakeLink] = Pairing(me)
    pairing.links[peer.id] = FakeLink("old", incarnation)
    return pairing


def test_a_stranger_is_accepted_until_withdrawn() -> None:
    pairing: Pairing[FakeLink] = Pairing(ANNA)
    assert pairing.judge(BERT) is Verdict.ACCEPTED
    assert pairing.judge(BERT) is Verdict.ACCEPTED
    pairing.withdraw(BERT.id)
    pairing.withdraw(BERT.id)
    with pytest.raises(KeyError):
        pairing.withdraw(BERT.id)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Verdict.DUPLICATE),
        ({"replace": True}, Verdict.ACCEPTED),
        ({"incarnation": 6}, Verdict.ACCEPTED),
        ({"incarnation": 4}, Verdict.SAME_ID),
        ({"incarnation": 4, "replace": True}, Verdict.SAME_ID),
        ({"id": ANNA.id}, Verdict.MYSELF),
        ({"id": ANNA.id, "incarnation": 6}, Verdict.SAME_ID),
    ],
)
def test_an_acceptor_with_a_link(changes: dict[str, Any], expected: Verdict) -> None:
    pairing = with_link(ANNA, BERT)
    assert pairing.judge(msgspec.structs.replace(BERT, **changes)) is expected


@pytest.mark.parametrize(
    ("linked", "offered", "me", "answer", "expected"),
    [
        (False, False, ANNA, BERT, Decision.CONFIRM),
        (False, True, ANNA, BERT, Decision.CONFIRM),  # mine is the smaller id
        (False, True, BERT, ANNA, Decision.YIELD),
        (True, False, ANNA, BERT, Decision.KEEP),
        (False, False, ANNA, verdict(BERT, Verdict.DUPLICATE), Decision.REPLACE),
        (False, True, ANNA, verdict(BERT, Verdict.DUPLICATE), Decision.YIELD),
        (True, False, ANNA, verdict(BERT, Verdict.DUPLICATE), Decision.KEEP),
        (False, False, ANNA, verdict(BERT, Verdict.SAME_ID), Decision.SAME_ID),
        (False, False, ANNA, verdict(ANNA, Verdict.MYSELF), Decision.MYSELF),
        (False, False, ANNA, msgspec.structs.replace(ANNA, incarnation=9), Decision.SAME_ID),
        (True, False, ANNA, msgspec.structs.replace(BERT, incarnation=6), Decision.CONFIRM),
    ],
)
def test_a_diallers_decision(
    linked: bool, offered: bool, me: Introduction, answer: Introduction, expected: Decision
) -> None:
    pairing = with_link(me, answer) if linked else Pairing[FakeLink](me)
    if linked:
        pairing.links[answer.id] = FakeLink("old", 5)
    if offered:
        assert pairing.judge(verdict(answer, Verdict.ACCEPTED)) is Verdict.ACCEPTED
    assert pairing.decide(answer) is expected


class Side:
    """One node: its rules, and what it makes of them."""

    def __init__(self, me: Introduction) -> None:
        self.pairing: Pairing[FakeLink] = Pairing(me)
        self.replaced: list[object] = []

    @property
    def link(self) -> object:
        return next((link.name for link in self.pairing.links.values()), None)

    def open(self, peer: Introduction, name: object) -> None:
        if self.link is not None:
            self.replaced.append(self.link)
        self.pairing.links[peer.id] = FakeLink(name)


class World:
    """Connections as queues of events; the test draws which queue moves next."""

    def __init__(self) -> None:
        self.sides = {ANNA.id: Side(ANNA), BERT.id: Side(BERT)}
        self.events: dict[object, list[Any]] = {}
        self.yielded = 0
        self._names = 0

    def dial(self, me: Introduction, peer: Introduction, replace: bool = False) -> None:
        self._names += 1
        name = (self._names, me.peer)
        hello = msgspec.structs.replace(me, replace=replace)
        self.events[name] = [lambda: self.hello(name, hello, peer)]

    def hello(self, name: object, dialler: Introduction, acceptor: Introduction) -> None:
        said = self.sides[acceptor.id].pairing.judge(dialler)
        answer = verdict(acceptor, said)
        self.events[name] = [lambda: self.welcome(name, dialler, answer)]

    def welcome(self, name: object, dialler: Introduction, answer: Introduction) -> None:
        side, other = self.sides[dialler.id], self.sides[answer.id]
        decision = side.pairing.decide(answer)
        offered = answer.verdict is Verdict.ACCEPTED
        if decision is Decision.CONFIRM:
            side.open(answer, name)
            self.events[name] = [lambda: self.confirmed(name, dialler, answer)]
        else:
            withdraw = lambda: other.pairing.withdraw(dialler.id)  # noqa: E731
            self.events[name] = [withdraw] if offered else []
        if decision is Decision.REPLACE:
            self.dial(msgspec.structs.replace(dialler, replace=False), answer, replace=True)
        self.yielded += decision is Decision.YIELD

    def confirmed(self, name: object, dialler: Introduction, acceptor: Introduction) -> None:
        side = self.sides[acceptor.id]
        side.pairing.withdraw(dialler.id)
        side.open(dialler, name)

    def run(self, data: Any) -> None:
        while ready := [name for name, queue in self.events.items() if queue]:
            self.events[data.draw(st.sampled_from(ready))].pop(0)()


@settings(UNHURRIED, max_examples=400)
@given(st.lists(st.booleans(), min_size=1, max_size=6), st.data())
def test_any_crossing_ends_in_one_link(dials: list[bool], data: Any) -> None:
    world = World()
    for by_anna in dials:
        world.dial(ANNA, BERT) if by_anna else world.dial(BERT, ANNA)
    world.run(data)
    anna, bert = world.sides[ANNA.id], world.sides[BERT.id]
    assert anna.link == bert.link is not None
    assert not anna.replaced
    assert not bert.replaced
    assert not anna.pairing._offers
    assert not bert.pairing._offers


@settings(UNHURRIED, max_examples=200)
@given(st.lists(st.booleans(), min_size=1, max_size=4), st.data())
def test_a_link_that_one_side_has_lost_is_replaced(dials: list[bool], data: Any) -> None:
    world = World()
    anna, bert = world.sides[ANNA.id], world.sides[BERT.id]
    bert.pairing.links[ANNA.id] = FakeLink("half")  # anna's half has died
    for by_anna in dials:
        world.dial(ANNA, BERT) if by_anna else world.dial(BERT, ANNA)
    world.run(data)
    if any(dials):
        if anna.link is None:  # it yielded to a connection that was given up: it insists
            assert world.yielded
            world.dial(ANNA, BERT, replace=True)
            world.run(data)
        assert anna.link == bert.link is not None
        assert bert.link != "half"
