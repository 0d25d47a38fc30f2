"""What a check finds."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"  # it runs, but not as well or as safely as it should
    FAIL = "fail"  # it will not run, or not with others


class Finding(NamedTuple):
    """One line of the report. `advice` says what to change; empty where all is well."""

    level: Level
    subject: str
    found: str
    advice: str = ""


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level among them."""
    order = list(Level)
    return max((finding.level for finding in findings), key=order.index, default=Level.OK)
