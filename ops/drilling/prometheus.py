"""Prometheus' HTTP API, as far as a drill needs it."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Callable

POLL: Final = 0.5  # seconds between looks
ALWAYS: Final = "CometringWatchdog"


class DrillFailed(Exception):
    """What was to be seen was not; the message says what."""


class Prometheus:
    """One server; `url` without a path."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def get(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - whatever the page has
        """The ``data`` of an API page. Raises DrillFailed where there is none."""
        target = f"{self.url}/api/v1/{path}?{urlencode(parameters)}"
        try:
            with urllib.request.urlopen(target, timeout=10) as answer:  # noqa: S310 - the operator's
                return json.load(answer)["data"]
        except HTTPError as error:
            raise DrillFailed(f"Prometheus says {error.code} to {path}") from error
        except (URLError, OSError, ValueError) as error:
            raise DrillFailed(f"no answer from Prometheus at {self.url}: {error}") from error

    def value(self, promql: str) -> float | None:
        """The first value of an instant query; None without data."""
        found = self.get("query", query=promql)["result"]
        return float(found[0]["value"][1]) if found else None

    def alerts(self, *states: str) -> set[str]:
        """Names of alerts in one of these states (``pending``, ``firing``)."""
        found = self.get("alerts")["alerts"]
        names = {each["labels"]["alertname"] for each in found if each["state"] in states}
        return names - {ALWAYS}

    def wait_for_alerts(self, wanted: set[str], timeout: float) -> dict[str, float]:
        """Seconds until each of `wanted` fired; DrillFailed if one does not within `timeout`."""
        began = time.monotonic()
        seen: dict[str, float] = {}
        while wanted - set(seen):
            passed = time.monotonic() - began
            for name in (self.alerts("firing") & wanted) - set(seen):
                seen[name] = passed
            if passed > timeout:
                missing = ", ".join(sorted(wanted - set(seen)))
                raise DrillFailed(f"not firing after {timeout:.0f} s: {missing}")
            time.sleep(POLL)
        return seen

    def wait_until_quiet(self, timeout: float, allowed: frozenset[str] = frozenset()) -> float:
        """Seconds until nothing fires but `allowed`."""

        def loud() -> set[str]:
            return self.alerts("firing") - allowed

        return wait_for(lambda: not loud(), timeout, lambda: f"still firing: {sorted(loud())}")

    def wait_for_value(self, promql: str, wanted: float, timeout: float) -> float:
        """Seconds until an instant query says `wanted`."""
        return wait_for(
            lambda: self.value(promql) == wanted,
            timeout,
            lambda: f"{promql} is {self.value(promql)}, not {wanted:g}",
        )


def wait_for(condition: Callable[[], bool], timeout: float, what: Callable[[], str]) -> float:
    """Seconds until `condition()`; DrillFailed with `what()` after `timeout`."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout:
            raise DrillFailed(f"after {timeout:.0f} s: {what()}")
        time.sleep(POLL)
    return time.monotonic() - began
