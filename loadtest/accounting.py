"""What a process has cost: CPU seconds and resident bytes, from the kernel's own books."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Final, NamedTuple

_KB: Final = 1024
_TICKS: Final = os.sysconf("SC_CLK_TCK")
# Fields of /proc/<pid>/stat counted after the command name's ")" (proc(5): 14 and 15).
_USER_FIELD: Final = 11
_SYSTEM_FIELD: Final = 12


class Cpu(NamedTuple):
    """CPU seconds of a process since it began: in all, and in user and kernel mode."""

    total: float
    user: float
    system: float

    def since(self, earlier: Cpu) -> Cpu:
        return Cpu(*(now - then for now, then in zip(self, earlier, strict=True)))


def process_clock(pid: int) -> int:
    """The clock id of another process's CPU time, as clock_getcpuclockid(3) computes it."""
    return (~pid << 3) | 2


def cpu_of(pid: int) -> Cpu:
    """CPU time of `pid` and its threads, not of its children.

    The total comes from the process's own clock (nanoseconds); /proc/<pid>/stat
    has the same sum in ticks of 10 ms and gives the split. Raises
    `ProcessLookupError` if the process is gone.
    """
    try:
        total = time.clock_gettime(process_clock(pid))
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError as error:
        raise ProcessLookupError(f"process {pid} is gone") from error
    fields = stat.rpartition(")")[2].split()
    user, system = int(fields[_USER_FIELD]), int(fields[_SYSTEM_FIELD])
    return Cpu(total, user / _TICKS, system / _TICKS)


def resident_bytes(pid: int) -> int:
    """Resident set of `pid`.

    From smaps_rollup, which walks the page tables: statm's counters may lag by
    some pages per thread. Raises `ProcessLookupError` if it is gone.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    except OSError as error:
        raise ProcessLookupError(f"process {pid} is gone") from error
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "Rss":
            return int(value.split()[0]) * _KB
    raise ProcessLookupError(f"process {pid} has no memory map")


def machine() -> dict[str, str | int | float]:
    """What the figures were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
            if line.startswith("model name")
        ),
        "unknown",
    )
    return {
        "processor": model,
        "cores": os.cpu_count() or 1,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": os.uname().release,
        "python": platform.python_version(),
    }
