"""Histograms keep three digits, clamp outliers and merge."""

from __future__ import annotations

import pytest

from loadtest.latency import Latency


def test_percentiles() -> None:
    latency = Latency()
    for milliseconds in range(1, 101):
        latency.record_ns(milliseconds * 1_000_000)
    assert latency.count == 100
    assert latency.percentile_ms(50) == pytest.approx(50, rel=0.01)
    assert latency.percentile_ms(99) == pytest.approx(99, rel=0.01)
    assert latency.worst_ms() == pytest.approx(100, rel=0.01)


def test_outliers_are_clamped() -> None:
    latency = Latency()
    latency.record_ns(-5)
    latency.record_ns(10**15)
    assert latency.count == 2
    assert latency.worst_ms() == pytest.approx(120_000, rel=0.01)


def test_histograms_travel_and_merge() -> None:
    one, other = Latency(), Latency()
    one.record_ns(1_000_000)
    other.record_ns(3_000_000)
    one.add_encoded(other.encoded())
    one.add_encoded(Latency().encoded())
    assert one.count == 2
    assert one.worst_ms() == pytest.approx(3, rel=0.01)
