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

    Knows the unified hierarchy (cgroup v2) and the older one of memory alone (v1);
    None where the system tells nothing.
    """
    found = [limit for file in _limits(proc, cgroups) if (limit := _number(file))]
    found += [
        int(line.split()[1]) * 1024
        for line in _text(proc / "meminfo").splitlines()
        if line.startswith("MemTotal:")
    ]
    return min(found, default=None)


def _limits(proc: Path, cgroups: Path) -> Iterator[Path]:
    """Files with the limits of the process's control group and of those around it."""
    for line in _text(proc / "self" / "cgroup").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0":
            top, name = cgroups, "memory.max"
        elif "memory" in controllers.split(","):
            top, name = cgroups / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = top / path.lstrip("/")
        while group.is_relative_to(top):
            yield group / name
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
