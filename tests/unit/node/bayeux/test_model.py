"""Any messages from any number of clients, held against a small model of the protocol."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayeux_model import CHANNELS, MODES, PATTERNS, WAITS, WRONG, run
from message_strategies import UNHURRIED

CLIENTS = 4

indices = st.integers(0, CLIENTS - 1)
names = st.sampled_from([*CHANNELS, *PATTERNS])
channels = st.sampled_from(CHANNELS)
operations = st.one_of(
    st.tuples(st.just("handshake"), indices, st.sampled_from(MODES)),
    st.tuples(st.just("subscribe"), indices, names),
    st.tuples(st.just("publish"), indices, channels),
    st.tuples(st.just("api"), channels),
    st.tuples(st.just("connect"), indices, st.booleans()),
    st.tuples(st.just("lose"), indices),
    st.tuples(st.just("direct"), indices, indices),
    st.tuples(st.just("unsubscribe"), indices, names),
    st.tuples(st.just("wait"), st.sampled_from(WAITS)),
    st.tuples(st.just("disconnect"), indices),
    st.tuples(st.just("wrong"), indices, st.sampled_from(sorted(WRONG))),
    st.tuples(st.just("stranger"), indices, st.sampled_from(["/a", "/meta/connect"])),
)
beginnings = st.tuples(*[st.tuples(st.just("handshake"), st.just(i), st.sampled_from(MODES))
                         for i in range(CLIENTS)])  # fmt: skip


@settings(UNHURRIED, max_examples=60)
@given(beginnings, st.lists(operations, max_size=60))
def test_the_edge_does_what_the_model_says(begin: tuple[Any, ...], ops: list[Any]) -> None:
    run([*begin, *ops])


# -- a model that notices nothing proves nothing --------------------------------------------


def history(seed: int) -> list[tuple[Any, ...]]:
    rng = Random(seed)
    ops: list[tuple[Any, ...]] = [("handshake", i, rng.choice(MODES)) for i in range(CLIENTS)]
    names = [*CHANNELS, *PATTERNS]
    for _ in range(60):
        index = rng.randrange(CLIENTS)
        ops.append(
            rng.choice(
                [
                    ("subscribe", index, rng.choice(names)),
                    ("subscribe", index, rng.choice(names)),
                    ("publish", index, rng.choice(CHANNELS)),
                    ("api", rng.choice(CHANNELS)),
                    ("connect", index, rng.random() < 0.5),
                    ("lose", index),
                    ("direct", index, rng.randrange(CLIENTS)),
                    ("unsubscribe", index, rng.choice(names)),
                    ("wait", 3.0),
                ]
            )
        )
    return ops


def test_random_histories_pass() -> None:
    for seed in range(20):
        run(history(seed))


def test_what_a_wider_name_brought_and_was_lost_comes_first() -> None:
    """A history that failed once."""
    run(
        [
            ("handshake", 2, "acks"),
            ("subscribe", 2, "/a/**"),
            ("api", "/a/b"),
            ("lose", 2),
            ("subscribe", 2, "/a/b"),
            ("api", "/a/b"),
        ]
    )


def leave_nothing(_hub: object, *_: object) -> None:
    """A mutant of `Hub.leave`."""


MUTANTS = {
    "unsubscribing does nothing": ("node.hub.Hub.leave", leave_nothing),
    "sessions are not swept": ("node.timers.TimerWheel.advance", lambda *_: None),
    "what is owed is forgotten": ("node.session.Session.fall_behind", lambda *_: None),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, mutant = MUTANTS[name]
    monkeypatch.setattr(target, mutant)
    ops = [("handshake", 0, "polls"), ("wait", 31.0)]
    with pytest.raises((AssertionError, BaseExceptionGroup)):  # noqa: PT012
        run(ops)
        for seed in range(50):
            run(history(seed))
