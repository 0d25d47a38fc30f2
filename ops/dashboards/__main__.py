"""Writes the dashboards' JSON; a test sees to it that what is committed is what this writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from ops.dashboards import channels, node, ring_health, traffic

FOLDER: Final = Path(__file__).parents[1] / "grafana" / "dashboards"


def rendered() -> dict[str, str]:
    """File names and their contents."""
    built = {
        "ring-health.json": ring_health.build(),
        "traffic.json": traffic.build(),
        "node.json": node.build(),
        "channels.json": channels.build(),
    }
    return {name: json.dumps(each, indent=1) + "\n" for name, each in built.items()}


if __name__ == "__main__":
    for name, text in rendered().items():
        (FOLDER / name).write_text(text)
