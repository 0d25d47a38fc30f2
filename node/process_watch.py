"""What the process may use, and what the garbage collector takes of its time."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from node.stats import Stats

PROC: Final = Path("/proc")
CGROUPS: Final = Path("/sys/fs/cgroup")


def memory_limit(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Bytes that this process may hold: the least of its control groups' limits and the machine's.

    Knows the unified hierarchy (cgroup v2), which containers and systemd services
    have; None where the system tells nothing.
    """
    found = [limit for group in _groups(proc, cgroups) if (limit := _number(group / "memory.max"))]
    found += [
        int(line.split()[1]) * 1024
        for line in _text(proc / "meminfo").splitlines()
        if line.startswith("MemTotal:")
    ]
    return min(found, default=None)


def _groups(proc: Path, cgroups: Path) -> Iterator[Path]:
    """The process's control group and those around it."""
    for line in _text(proc / "self" / "cgroup").splitlines():
        hierarchy, _, path = line.partition("::")
        if hierarchy == "0":
            group = cgroups / path.lstrip("/")
            while group.is_relative_to(cgroups):
                yield group
                group = group.parent


def _number(file: Path) -> int | None:
    """None where the file says ``max``, or is not there."""
    text = _text(file).strip()
    return int(text) if text.isdecimal() else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except OSError:
        return ""


async def watch_collector(stats: Stats) -> None:
    """Add the seconds of every garbage collection to `stats`, until cancelled."""
    began = 0.0

    def note(phase: str, _info: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
        else:
            stats.gc_seconds += time.perf_counter() - began

    gc.callbacks.append(note)
    try:
        await trio.sleep_forever()
    finally:
        gc.callbacks.remove(note)
