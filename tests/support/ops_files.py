"""Our rules and dashboards, read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from compose_file import ROOT
from ops.dashboards.__main__ import FOLDER

if TYPE_CHECKING:
    from pathlib import Path

RULES = ROOT / "ops" / "prometheus" / "rules"
DASHBOARDS = sorted(FOLDER.glob("*.json"))


def rules(kind: str) -> list[dict[str, Any]]:
    """All rules that are a `record` or an `alert`."""
    files = [yaml.safe_load(file.read_text()) for file in sorted(RULES.glob("*.yml"))]
    found = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    return [rule for rule in found if kind in rule]


def panels(file: Path) -> list[dict[str, Any]]:
    return [panel for panel in json.loads(file.read_text())["panels"] if panel["type"] != "row"]
