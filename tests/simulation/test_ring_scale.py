"""The figures of `make sim-ring`, at sizes that a test run can afford, and their bounds."""

from __future__ import annotations

from random import Random

import pytest

from ring_scale import NEVER, Load, agreement, calm, join_storm, load, mass_crash, table
from sim_ring import is_met, jobs


@pytest.mark.parametrize("fault", ["kill", "hang", "cut"])
@pytest.mark.parametrize(("count", "rounds"), [(10, 5), (60, 1)])
def test_survivors_agree_in_time(fault: str, count: int, rounds: int) -> None:
    row = agreement(count, fault, rounds)
    assert is_met(row)
    assert row.most < NEVER
    assert row.views == 1


def test_nobody_is_asked_by_all() -> None:
    small, large = load(40, 1.0), load(160, 1.0)
    assert is_met(small)
    assert is_met(large)
    assert large.sent < 1.3 * small.sent
    assert large.most_received < 2 * small.most_received


@pytest.mark.parametrize(("count", "seconds"), [(10, 60.0), (60, 6.0)])
def test_stalls_and_loss_evict_nobody(count: int, seconds: float) -> None:
    row = calm(count, seconds, seed=Random(count).randrange(1000))
    assert is_met(row)
    assert row.stalls > 0
    assert row.leased > 0.9


def test_a_tenth_dies_at_once() -> None:
    row = mass_crash(100)
    assert row.dead == 10
    assert is_met(row)
    assert row.seconds < 2


def test_a_hundred_join_three() -> None:
    row = join_storm(3, 100)
    assert is_met(row)
    assert row.seconds < 5
    assert row.views <= 6


def test_a_figure_that_misses_is_noticed() -> None:
    row = Load(10, 60.0, 100.0, 5000.0, 1.0)
    assert not is_met(row)
    assert len(list(table([row, row]))) == 4  # with two lines of heading
    assert len(jobs(10, 10_000, ["load", "calm"])) == 8
