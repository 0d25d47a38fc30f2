"""Control groups of memory for drills."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from node.process_watch import memory_limit
from ops.drilling import confine
from ops.drilling.confine import can_confine, confined, resident
from ops.drilling.prometheus import DrillFailed

TOLD = "from node.process_watch import memory_limit as m; input(); print(m()); input()"


def test_what_this_process_holds() -> None:
    assert 1 << 20 < resident(os.getpid()) < 1 << 34


def test_where_there_are_no_groups_it_is_told(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confine, "CGROUPS", tmp_path_factory.mktemp("nothing"))
    assert not can_confine()
    with pytest.raises(DrillFailed, match="control group"), confined(os.getpid(), 1 << 30):
        pass


def place(pid: int) -> tuple[str, str]:
    return confine._place(pid, unified=False), confine._place(pid, unified=True)


def test_a_process_reads_its_groups_limit_and_is_let_go() -> None:
    """Where groups cannot be made, the drill leaves the step out."""
    with subprocess.Popen(
        [sys.executable, "-c", TOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        before = place(process.pid)
        if can_confine():
            with confined(process.pid, 512 << 20):
                process.stdin.write("\n")
                process.stdin.flush()
                assert int(process.stdout.readline()) == 512 << 20
        else:
            with pytest.raises(DrillFailed), confined(process.pid, 512 << 20):
                pass
        assert place(process.pid) == before
        process.kill()
    assert memory_limit() != 512 << 20
