"""Rates: bursts, the long run, and that memory stays bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.identity.rates import BURST, LEAST_BURST, Rates


def test_without_a_rate_everything_goes() -> None:
    rates = Rates(0)
    assert not rates
    assert all(rates.take("a", 0.0) for _ in range(10_000))
    assert len(rates) == 0


def test_a_burst_then_the_rate() -> None:
    rates = Rates(10)
    assert sum(rates.take("a", 0.0) for _ in range(1_000)) == 10 * BURST
    assert sum(rates.take("a", 1.0) for _ in range(1_000)) == 10
    assert sum(rates.take("a", 1_000.0) for _ in range(1_000)) == 10 * BURST


def test_a_low_rate_lets_a_few_through_at_once() -> None:
    rates = Rates(0.1)
    assert sum(rates.take("a", 0.0) for _ in range(1_000)) == LEAST_BURST


def test_one_takes_nothing_from_another() -> None:
    rates = Rates(1)
    while rates.take("a", 0.0):
        pass
    assert rates.take("b", 0.0)


@given(
    st.floats(0.1, 1_000),
    st.lists(st.floats(0, 0.5), max_size=300),
)
def test_never_more_than_the_burst_and_the_rate(rate: float, gaps: list[float]) -> None:
    rates = Rates(rate)
    now, taken = 0.0, 0
    for gap in gaps:
        now += gap
        taken += rates.take("a", now)
    assert taken <= max(BURST * rate, LEAST_BURST) + rate * now + 1


def test_who_has_been_quiet_is_forgotten_and_a_flood_of_names_is_refused() -> None:
    rates = Rates(1, most=100)
    assert all(rates.take(f"n{n}", 0.0) for n in range(100))
    assert not rates.take("one more", 0.0)
    assert rates.take("n5", 0.0)  # who is known is served
    assert rates.take("one more", 1.5)
    assert len(rates) <= 3
