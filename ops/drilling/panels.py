"""The queries of our dashboards, as Prometheus is asked them without Grafana."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[1] / "grafana" / "dashboards"
ZERO: Final = " or vector(0)"
"""What a panel shows where there is nothing: no data of the ring's."""

PROVOKED: Final = {
    "kill": ("ring-health", "Alerts"),
    "partition": ("traffic", "Told to retry"),
    "strangers": ("node", "TLS handshakes"),
}
"""Panels without data on a ring that is well (and has no TLS), by the step that gives them some."""


def panel_queries(dashboard: str, title: str, interval: str) -> list[str]:
    """`queries` of one panel; `dashboard` is a file's name without its ending."""
    panels = json.loads((FOLDER / f"{dashboard}.json").read_text())["panels"]
    (panel,) = [each for each in panels if each["title"] == title]
    return queries(panel, interval)


def queries(panel: dict[str, Any], interval: str) -> list[str]:
    """PromQL of a panel's targets, without `ZERO`; `interval` as in ``20s``."""
    return [
        target["expr"]
        .replace("$cluster", "main")
        .replace("$instance", ".*")
        .replace("$__rate_interval", interval)
        .replace(ZERO, "")
        for target in panel["targets"]
    ]
