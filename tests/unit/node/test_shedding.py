"""Load shedding: when it begins, how far it goes, and that it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from message_strategies import UNHURRIED
from node.config import load_config
from node.shedding import ENOUGH, FIRST, PERIOD, SETTLE, Shedding


class Load:
    """A `Shedding` and its clock."""

    def __init__(self, **settings: float) -> None:
        self.config = load_config(settings)
        self.shedding = Shedding(self.config)
        self.now = 0.0

    def lag(self, seconds: float, times: int = 1) -> bool:
        """Whether any of so many observations changed something."""
        changed = False
        for _ in range(times):
            self.now += PERIOD
            changed |= self.shedding.observe(seconds, self.now)
        return changed


def test_in_time_nobody_waits() -> None:
    load = Load()
    assert not load.lag(0.2, 100)
    assert load.shedding.interval == 0
    assert load.shedding.pause("a.b", 10_000_000) == 0


def test_a_single_stall_changes_nothing() -> None:
    load = Load(shed_lag=1)
    for _ in range(20):
        assert not load.lag(30, ENOUGH - 1)
        assert not load.lag(0)


def test_lag_raises_the_interval_step_by_step_up_to_the_longest() -> None:
    load = Load(shed_lag=1, shed_interval=10)
    steps = [load.shedding.interval for _ in range(200) if load.lag(1.5)]
    assert steps == [FIRST, 2, 4, 8, 10]
    assert load.shedding.raised == 1


def test_every_step_gets_the_time_to_take_effect() -> None:
    load = Load(shed_lag=1)
    load.lag(2, ENOUGH)
    begun = load.now
    while load.shedding.interval == FIRST:
        load.lag(2)
    assert load.now - begun >= SETTLE


def test_calm_takes_it_back() -> None:
    load = Load(shed_lag=1, shed_interval=8)
    load.lag(2, 100)
    assert load.shedding.interval == 8
    load.lag(0, 100)
    assert load.shedding.interval == 0
    assert load.shedding.pause("a.b", 0) == 0


def test_it_stays_where_the_load_is_just_borne() -> None:
    load = Load(shed_lag=1)
    load.lag(2, ENOUGH)
    assert not load.lag(0.8, 200)
    assert load.shedding.interval == FIRST


def test_surplus_polls_are_not_held() -> None:
    load = Load(shed_polls=100)
    assert load.shedding.pause("a.b", 99) == 0
    assert FIRST / 2 <= load.shedding.pause("a.b", 100) <= FIRST * 1.5


def test_clients_do_not_come_back_together() -> None:
    load = Load(shed_lag=1, shed_interval=16)
    load.lag(2, 100)
    names = [f"tag.{index}" for index in range(2_000)]
    pauses = [load.shedding.pause(name, 0) for name in names]
    assert min(pauses) >= 8
    assert max(pauses) <= 24 == load.config.longest_pause
    for low in range(8, 24, 4):  # a quarter of them in each quarter of the time
        assert 350 < sum(low <= pause < low + 4 for pause in pauses) < 650
    assert pauses == [load.shedding.pause(name, 0) for name in names]


def test_past_the_hard_limit_none_is_let_in_until_it_is_over() -> None:
    load = Load(shed_lag=1, refuse_lag=3)
    load.lag(2, 50)
    assert not load.shedding.refusing
    load.lag(4, ENOUGH)
    assert load.shedding.refusing
    load.lag(2)  # still late
    assert load.shedding.refusing
    load.lag(0.5)
    assert not load.shedding.refusing


@pytest.mark.parametrize("lag", [0.0, 5.0, 1000.0])
def test_what_is_set_to_nought_is_off(lag: float) -> None:
    load = Load(shed_lag=0, refuse_lag=0)
    load.lag(lag, 50)
    assert load.shedding.interval == 0
    assert not load.shedding.refusing


@UNHURRIED
@given(st.lists(st.floats(0, 100), max_size=200))
def test_whatever_happened_calm_ends_it(lags: list[float]) -> None:
    load = Load(shed_lag=1, refuse_lag=5, shed_interval=20)
    for lag in lags:
        load.lag(lag)
        assert 0 <= load.shedding.interval <= 20
    load.lag(0, 200)
    assert load.shedding.interval == 0
    assert not load.shedding.refusing
