"""Latency histograms: microseconds in HDR form, mergeable between processes.

Latency is counted from when a message was *meant* to be sent, not from when
the generator got round to it, so a server that stalls the generator does not
hide its stall (Gil Tene's "coordinated omission").
"""

from __future__ import annotations

from typing import Final

_LOWEST_US: Final = 1
_HIGHEST_US: Final = 120_000_000
_DIGITS: Final = 3
_NS_PER_US: Final = 1_000
_QUANTILES: Final = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
_US_PER_MS: Final = 1_000.0


class Latency:
    """Delays between 1 µs and 2 minutes, to three significant digits."""

    __slots__ = ("_histogram",)

    def __init__(self) -> None:
        from hdrh.histogram import HdrHistogram  # noqa: PLC0415 - only who measures has the extra

        self._histogram = HdrHistogram(_LOWEST_US, _HIGHEST_US, _DIGITS)

    def record_ns(self, delay_ns: int) -> None:
        """Count one delay, in nanoseconds; outliers are clamped to the range."""
        delay_us = max(_LOWEST_US, min(delay_ns // _NS_PER_US, _HIGHEST_US))
        self._histogram.record_value(delay_us)

    @property
    def count(self) -> int:
        return int(self._histogram.get_total_count())

    def percentile_ms(self, percentile: float) -> float:
        """The delay, in milliseconds, that `percentile` per cent stay at or under."""
        return float(self._histogram.get_value_at_percentile(percentile)) / _US_PER_MS

    def worst_ms(self) -> float:
        return float(self._histogram.get_max_value()) / _US_PER_MS

    def encoded(self) -> str:
        """The histogram as text, for another process to `add_encoded`."""
        text: bytes = self._histogram.encode()
        return text.decode("ascii")

    def add_encoded(self, text: str) -> None:
        self._histogram.decode_and_add(text.encode("ascii"))

    def curve(self) -> list[tuple[float, float]]:
        """For a plot: 1 / (1 - quantile), and the delay in milliseconds that it has."""
        return [(1 / (1 - q), self.percentile_ms(q * 100)) for q in _QUANTILES]


def merged(*texts: str) -> Latency:
    """One histogram of several that were `encoded`."""
    whole = Latency()
    for text in texts:
        whole.add_encoded(text)
    return whole
