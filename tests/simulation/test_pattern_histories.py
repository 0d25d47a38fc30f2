"""Random histories of readers of patterns, and mutants that they must notice."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from pattern_histories import mortal, restless, rushed
from pubsub.dedupe import Window
from pubsub.patterns_forwarding import Forwarding
from pubsub.patterns_home import PatternHome
from pubsub.patterns_receiving import Receiving
from pubsub.replicas import Replicas

if TYPE_CHECKING:
    from collections.abc import Callable

# Seeds that failed once: news that was lost without its link, whole lists from another view,
# a new member that was a home before it knew.
KEPT_RESTLESS = [6, 20, 25]
KEPT_RUSHED = [7, 28]


@pytest.mark.parametrize("seed", [*KEPT_RESTLESS, *range(1_000, 1_005)])
def test_readers_of_patterns_get_everything_once(seed: int) -> None:
    restless(seed)


@pytest.mark.parametrize("seed", [*KEPT_RUSHED, *range(2_000, 2_004)])
def test_also_when_members_hurry(seed: int) -> None:
    rushed(seed)


@pytest.mark.parametrize("seed", range(5_000, 5_010))
def test_also_when_members_are_killed(seed: int) -> None:
    mortal(seed)


@pytest.mark.nightly
@pytest.mark.timeout(7_200)
def test_hundreds_of_histories_with_patterns() -> None:
    for seed in range(20_000, 20_500):
        restless(seed)
        rushed(seed)
        mortal(seed)


def nothing(*args: Any, **kwargs: Any) -> None:
    """A mutant that leaves something undone."""


def no_retry(self: Forwarding, now: float, out: Any) -> None:
    """What was lost is not said again."""
    self._retry_at = inf


def no_memory(self: Receiving, topic: Any, message: Any, now: float) -> int:
    """Whatever comes is taken."""
    self._window(topic, now)
    return int(message.after)


def nobody(self: PatternHome) -> list[Any]:
    """Readers are answered before members know."""
    return []


def no_rebuilding(self: Receiving, topic: Any, now: float) -> Window[str]:
    """A new home of a pattern does not know what the old one had taken."""
    return self._taken.setdefault(topic.name, Window(now))


# With the first seed to try: most histories do not need what is switched off.
MUTATIONS: dict[str, tuple[int, Callable[[int], Any], Any, str, Any]] = {
    "forwards are not repeated": (3_002, restless, Forwarding, "handle_timer", no_retry),
    "repeats are not dropped": (3_000, restless, Receiving, "_last", no_memory),
    "members are not waited for": (3_000, restless, PatternHome, "_behind", nobody),
    "a new home forgets what was taken": (3_007, rushed, Receiving, "_window", no_rebuilding),
    "a new home does not go on forwarding": (3_009, rushed, Forwarding, "topics_opened", nothing),
    "replicas do not hear how far it was": (3_001, mortal, Replicas, "_put_mark", nothing),
    "readers do not ask": (3_014, restless, PatternHome, "_tell", nothing),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutant_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, history, owner, attribute, mutant = MUTATIONS[name]
    monkeypatch.setattr(owner, attribute, mutant)
    for seed in range(first, first + 40):
        try:
            history(seed)
        except (AssertionError, ValueError, KeyError):
            return
    pytest.fail(f"no history noticed: {name}")
