"""Histories in which everything breaks, and what protects the data taken away, one by one.

`make soak-sim` runs thousands of histories; here is a sample, with the seeds
that failed once. Each mutant has to be noticed within two hundred histories:
a simulation that cannot fail proves nothing.
"""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from fault_histories import faulty
from pubsub.flow import Flow
from pubsub.homes import Homes
from pubsub.ids import MessageIds
from pubsub.lanes import Lane, Lanes
from pubsub.sealing import Sealing
from pubsub.slot import Slot
from pubsub.slot_messages import Claim
from pubsub.staging import StagedEntry

# Seeds that failed once: a process that was let in again and did not join its trees anew, an old
# orphan's time for a new one, a repeat that another home had been asked for, holders of a view
# before the last forgotten, a session given back that another request wanted.
KEPT = [21, 37, 68, 139, 169, 275, 296, 349, 384, 397]
SEEDS = range(5_000, 5_200)


@pytest.mark.parametrize("seed", [*KEPT, *range(1_000, 1_025)])
def test_nothing_acknowledged_is_lost_while_a_copy_lives(seed: int) -> None:
    faulty(seed)


def test_the_histories_contain_what_they_are_for() -> None:
    accounts = [faulty(seed) for seed in range(2_000, 2_010)]
    assert sum(account.acknowledged for account in accounts) > 500
    assert sum(account.takeovers for account in accounts) > 100
    assert sum(account.lossy for account in accounts) > 2
    assert any(not account.lossy for account in accounts)


@pytest.mark.nightly
@pytest.mark.timeout(36_000)
def test_many_histories() -> None:
    """What `make soak-sim` runs: `COMETRING_SOAK` is the first seed and how many follow."""
    first, count = map(int, os.environ.get("COMETRING_SOAK", "100000 10000").split())
    steps, lost, acknowledged = 0, 0, 0
    began = time.monotonic()
    for seed in range(first, first + count):
        account = faulty(seed)
        steps += account.steps
        lost += account.lossy
        acknowledged += account.acknowledged
    minutes = (time.monotonic() - began) / 60.0
    print(
        f"\n{count} histories from seed {first}: {steps:,} steps, {steps / minutes:,.0f} a minute;"
        f" {acknowledged:,} acknowledged, {lost} slots lost with all their copies and told so"
    )


# -- mutants --------------------------------------------------------------------------------


def nothing(*args: Any, **kwargs: Any) -> None:
    """A mutant that leaves something undone."""


def anybody(*args: Any) -> bool:
    return True


def peek(self: Sealing, number: int, view: int, holders: Any) -> Claim:
    """Tell what is here, and promise nothing."""
    slot = self._core.copies.get(number)
    if slot is None:
        return Claim(0, 0, 0, (), (), self._seen(number, view))
    return Claim(slot.epoch, slot.seq, slot.lineage, slot.holders, ())


def pretend(self: Sealing, number: int, view: int, holders: Any) -> Claim | None:
    """A new process passes for the one that it replaces, and what it has for a copy."""
    core = self._core
    me = (core.me, core.incarnation)
    if number not in core.copies and core.first > 1 and me in holders:
        core.copies[number] = Slot(number, view - 1, 1, holders)
    return seal(self, number, view, holders)


seal = Sealing.seal


def any_holder(lane: Lane) -> int:
    """One copy is enough."""
    return max(lane.acked.values())


def shown(self: Lanes, lane: Lane, item: Any, now: float) -> None:
    """Readers see an entry before all copies have it."""
    stage(self, lane, item, now)
    if isinstance(item, StagedEntry):
        item.homes.committed(item)


def committed_once(self: Homes, staged: StagedEntry) -> None:
    if staged.entry.offset > staged.topic.log.last:
        committed(self, staged)


stage, committed = Lanes.stage, Homes.committed

MUTANTS: dict[str, list[tuple[Any, str, Any]]] = {
    "no seal": [(Sealing, "seal", peek)],
    "acknowledged before all copies": [(Lanes, "_everywhere", staticmethod(any_holder))],
    "delivered before commit": [(Lanes, "stage", shown), (Homes, "committed", committed_once)],
    "no gap repair": [(Flow, "_repair", nothing)],
    "no dedupe": [(MessageIds, "known", nothing)],
    "an amnesiac counts as a copy": [(Sealing, "seal", pretend)],
    "no promise is remembered": [(Sealing, "_seen", lambda *args: ())],
}


@pytest.mark.parametrize("name", MUTANTS)
@pytest.mark.timeout(400)
def test_a_mutant_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, attribute, mutant in MUTANTS[name]:
        monkeypatch.setattr(owner, attribute, mutant)
    for index, seed in enumerate(SEEDS):
        try:
            faulty(seed)
        except AssertionError as error:
            print(f"{name}: noticed by history {index + 1}: {str(error)[:120]}")
            return
    pytest.fail(f"{len(SEEDS)} histories did not notice: {name}")
