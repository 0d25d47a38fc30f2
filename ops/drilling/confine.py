"""A control group with little memory for a process, as a container or a unit has it."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ops.drilling.prometheus import DrillFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

CGROUPS: Final = Path("/sys/fs/cgroup")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE


def can_confine() -> bool:
    """Whether memory groups can be made here: for root, where the controller is in use."""
    try:
        with _group("memory-try"):
            return True
    except DrillFailed:
        return False


@contextmanager
def confined(pid: int, limit: int) -> Iterator[None]:
    """Let a process hold `limit` bytes, for a `with` block. What it holds already is not counted.

    So the kernel kills nobody; but the process reads the limit as that of its group.
    """
    with _group(f"memory-{pid}") as (top, group, file):
        before = _place(pid, unified=file == "memory.max")
        (group / file).write_text(str(limit), encoding="ascii")
        (group / "cgroup.procs").write_text(str(pid), encoding="ascii")
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                home = top / before
                home = home if home.is_dir() else top
                (home / "cgroup.procs").write_text(str(pid), encoding="ascii")


@contextmanager
def _group(name: str) -> Iterator[tuple[Path, Path, str]]:
    """The hierarchy's top, a new group in it, and the file that holds its limit."""
    if (CGROUPS / "cgroup.controllers").exists():
        top, file = CGROUPS, "memory.max"
    else:
        top, file = CGROUPS / "memory", "memory.limit_in_bytes"
    group = top / f"cometring-drill-{name}"
    try:
        group.mkdir()
    except OSError as error:
        raise DrillFailed(f"cannot make a control group: {error}") from error
    try:
        if not (group / file).exists():
            raise DrillFailed(f"{top} does not limit memory")
        yield top, group, file
    finally:
        group.rmdir()


def _place(pid: int, *, unified: bool) -> str:
    """The process's group of memory, relative to the top."""
    for line in Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" if unified else "memory" in controllers.split(","):
            return path.lstrip("/")
    return ""
