"""The kernel's books of another process, against that process's own."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time

import pytest

from loadtest.accounting import cpu_of, machine, process_clock, resident_bytes


def gone() -> int:
    """A pid that was a process of ours and is none any more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_cpu_is_that_of_the_process_itself() -> None:
    before = cpu_of(os.getpid())
    began = time.process_time()
    while time.process_time() - began < 0.05:
        pass
    used = cpu_of(os.getpid()).since(before)
    assert 0.05 <= used.total < 0.2
    assert abs(used.user + used.system - used.total) < 0.05


def test_the_clock_is_the_process_s() -> None:
    assert time.clock_gettime(process_clock(os.getpid())) == pytest.approx(
        time.process_time(), abs=0.01
    )


def test_resident_bytes_grow_with_what_is_held() -> None:
    before = resident_bytes(os.getpid())
    # Pages of its own: a bytearray may be given memory that the process holds already.
    with mmap.mmap(-1, 16 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        for page in range(0, len(held), mmap.PAGESIZE):
            held[page] = 1
        assert resident_bytes(os.getpid()) - before > 15 << 20


def test_a_process_that_is_gone_is_said_to_be() -> None:
    pid = gone()
    with pytest.raises(ProcessLookupError):
        cpu_of(pid)
    with pytest.raises(ProcessLookupError):
        resident_bytes(pid)


def test_the_machine_is_named() -> None:
    assert {"processor", "cores", "memory_gib", "kernel", "python"} == machine().keys()
