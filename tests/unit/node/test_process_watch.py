from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
import trio.testing

from node.process_watch import memory_limit, watch_collector
from node.stats import Stats

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


def system(root: Path, group: str, limits: dict[str, str], total_kib: int | None) -> int | None:
    proc, cgroups = root / "proc", root / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text(f"0::{group}\n" if group else "3:memory:/x\n")
    if total_kib is not None:
        (proc / "meminfo").write_text(f"MemTotal: {total_kib} kB\nMemFree: 1 kB\n")
    for path, text in limits.items():
        (cgroups / path).mkdir(parents=True, exist_ok=True)
        (cgroups / path / "memory.max").write_text(text + "\n")
    return memory_limit(proc, cgroups)


@pytest.mark.parametrize(
    ("group", "limits", "limit"),
    [
        ("/", {"": str(256 * MIB)}, 256 * MIB),  # a container sees its own group as the root
        ("/system.slice/a.service", {"system.slice/a.service": str(64 * MIB)}, 64 * MIB),
        ("/a/b", {"a/b": "max", "a": str(8 * MIB)}, 8 * MIB),  # the slice around it
        ("/a/b", {"a/b": "max"}, 1024 * MIB),
        ("/a", {"a": str(4096 * MIB)}, 1024 * MIB),  # more than there is
        ("/gone", {}, 1024 * MIB),
        ("", {"": "1"}, 1024 * MIB),  # the old hierarchies only
    ],
)
def test_the_least_of_all_limits(
    tmp_path: Path, group: str, limits: dict[str, str], limit: int
) -> None:
    assert system(tmp_path, group, limits, 1024 * 1024) == limit


def test_the_old_hierarchy_of_memory(tmp_path: Path) -> None:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("9:cpu,cpuacct:/a\n4:memory:/a/b\n0::/\n")
    (proc / "meminfo").write_text(f"MemTotal: {1024 * 1024} kB\n")
    for path, limit in (("memory/a/b", 9223372036854771712), ("memory/a", 64 * MIB), ("a", 1)):
        (cgroups / path).mkdir(parents=True, exist_ok=True)
        (cgroups / path / "memory.limit_in_bytes").write_text(f"{limit}\n")
    assert memory_limit(proc, cgroups) == 64 * MIB


def test_unknown_where_the_system_tells_nothing(tmp_path: Path) -> None:
    assert memory_limit(tmp_path / "proc", tmp_path / "cgroup") is None


def test_a_group_that_leads_outside_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1\n")
    assert system(tmp_path, "/../..", {}, 1024) == 1024 * 1024


def test_this_machine_has_a_limit() -> None:
    limit = memory_limit()
    assert limit is not None
    assert limit > MIB


async def test_the_collectors_time_is_counted_while_it_is_watched() -> None:
    stats = Stats()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_collector, stats)
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        nursery.cancel_scope.cancel()
    counted = stats.gc_seconds
    assert counted > 0
    gc.collect()
    assert stats.gc_seconds == counted
