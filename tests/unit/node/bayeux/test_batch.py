"""Order within one request: barriers hold, publishes overlap, replies keep their places."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from node.bayeux.batch import Batch
from node.bayeux.messages import ClientMessage


class Sink:
    transport = "long-polling"

    def __init__(self) -> None:
        self.bodies: list[Any] = []

    def respond_json(self, body: bytes) -> None:
        self.bodies.append(json.loads(body))

    def respond(self, status: int, body: bytes) -> None:
        raise AssertionError(status)


def messages(channels: str) -> list[ClientMessage]:
    return [ClientMessage(channel=name) for name in channels]


def test_replies_come_once_all_are_in_and_in_the_order_of_the_messages() -> None:
    sink = Sink()
    batch = Batch(messages("abc"), None, lambda b, i, m: None, poll=sink)
    batch.run()
    batch.reply(2, b'"c"')
    batch.reply(0, b'"a"')
    assert sink.bodies == []
    batch.reply(1, b'"b"')
    assert sink.bodies == [["a", "b", "c"]]


def test_a_barrier_is_lifted_by_its_own_reply_alone() -> None:
    sink = Sink()
    seen: list[int] = []

    def dispatch(batch: Batch, index: int, message: ClientMessage) -> None:
        seen.append(index)
        if message.channel == "s":
            batch.block(index)

    batch = Batch(messages("psp"), None, dispatch, poll=sink)
    batch.run()
    assert seen == [0, 1]
    batch.reply(0, b"0")  # the publish before the barrier
    assert seen == [0, 1]
    batch.reply(1, b"1")
    assert seen == [0, 1, 2]
    batch.reply(2, b"2")
    assert sink.bodies == [[0, 1, 2]]


def test_a_postponed_message_waits_for_all_before_it() -> None:
    sink = Sink()
    connects: list[int] = []

    def dispatch(batch: Batch, index: int, message: ClientMessage) -> None:
        if message.channel != "c":
            return
        if batch.waiting:
            batch.postpone()
        else:
            connects.append(index)
            batch.reply(index, b'"connect"')

    batch = Batch(messages("ppc"), None, dispatch, poll=sink)
    batch.run()
    batch.reply(1, b"1")
    assert connects == []
    batch.reply(0, b"0")
    assert connects == [2]
    assert sink.bodies == [[0, 1, "connect"]]


def test_a_held_poll_is_not_answered_here() -> None:
    sink = Sink()

    def dispatch(batch: Batch, index: int, _message: ClientMessage) -> None:
        batch.held = True
        batch.skip(index)

    Batch(messages("c"), None, dispatch, poll=sink).run()
    assert sink.bodies == []


@given(st.text("psc", min_size=1, max_size=8), st.randoms(use_true_random=False), st.booleans())
def test_any_order_of_answers_gives_one_response(kinds: str, rng: Any, at_once: bool) -> None:
    """Whatever is answered when: once, complete, and no barrier is passed early."""
    sink = Sink()
    open_now: list[int] = []
    answered: set[int] = set()

    def dispatch(batch: Batch, index: int, message: ClientMessage) -> None:
        for earlier in range(index):
            if kinds[earlier] == "s":
                assert earlier in answered
        if message.channel == "s":
            batch.block(index)
        elif message.channel == "c" and batch.waiting:
            batch.postpone()
            return
        if at_once and rng.random() < 0.5:
            answered.add(index)
            batch.reply(index, str(index).encode())
        else:
            open_now.append(index)

    batch = Batch(messages(kinds), None, dispatch, poll=sink)
    batch.run()
    while open_now:
        index = open_now.pop(rng.randrange(len(open_now)))
        answered.add(index)
        batch.reply(index, str(index).encode())
    assert sink.bodies == [list(range(len(kinds)))]
