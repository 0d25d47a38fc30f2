from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

import fake_node
from cluster_process import free_ports
from node.cli import launcher as launcher_module
from node.cli.cluster import plan_ring
from node.cli.launcher import Launcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

FAKE = (sys.executable, str(Path(fake_node.__file__)))
Lines = list[str]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    said: Lines = []
    monkeypatch.setattr(launcher_module, "_say", said.append)
    return said


async def until(lines: Lines, count: int) -> None:
    with trio.fail_after(20):
        while len(lines) < count:
            await trio.sleep(0.01)


def launcher(nodes: int = 2, kind: str = "", **options: Any) -> Launcher:
    plans = plan_ring(nodes, free_ports(nodes), free_ports(nodes), free_ports(nodes))
    return Launcher(plans, dict(os.environ, FAKE_NODE=kind), program=FAKE, **options)


@pytest.fixture
async def running(nursery: trio.Nursery) -> AsyncIterator[Callable[[Launcher], Awaitable[None]]]:
    """Starts launchers in the background; they have ended when the test has."""

    async def start(launcher: Launcher) -> None:
        nursery.start_soon(launcher.run)

    yield start
    nursery.cancel_scope.cancel()


def pid(line: str) -> int:
    return int(line.split("pid ")[1].split(maxsplit=1)[0])


def alive(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


async def test_one_line_a_node_then_ready_and_a_signal_ends_all(lines: Lines) -> None:
    statuses = []

    async def run() -> None:
        statuses.append(await launcher(2).run())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await until(lines, 3)
        assert sorted(line[:8] for line in lines[:2]) == ["node 0  ", "node 1  "]
        assert "http://127.0.0.1:" in lines[0]
        assert "peer 127.0.0.1:" in lines[0]
        assert "ops http://127.0.0.1:" in lines[0]
        assert lines[2] == "ready"
        signal.raise_signal(signal.SIGTERM)
    assert statuses == [0]
    assert not any(alive(pid(line)) for line in lines[:2])
    assert len(lines) == 3


async def test_a_dead_node_is_reported_and_the_others_go_on(
    lines: Lines, running: Callable[[Launcher], Awaitable[None]]
) -> None:
    await running(launcher(3))
    await until(lines, 4)
    victim = next(line for line in lines if line.startswith("node 1"))
    os.kill(pid(victim), signal.SIGKILL)
    await until(lines, 5)
    assert lines[4] == "node 1  died: killed by SIGKILL"
    assert sum(alive(pid(line)) for line in lines if "pid" in line) == 2


async def test_respawn(lines: Lines, running: Callable[[Launcher], Awaitable[None]]) -> None:
    await running(launcher(2, respawn=True))
    await until(lines, 3)
    os.kill(pid(lines[0]), signal.SIGKILL)
    await until(lines, 5)
    assert "died" in lines[3]
    assert lines[4].endswith("  started again")
    assert pid(lines[4]) != pid(lines[0])


async def test_when_all_have_died_so_has_the_launcher(lines: Lines) -> None:
    assert await launcher(2, kind="broken").run() == 1
    assert sum(line.endswith("died: ended with status 3") for line in lines) == 2


async def test_a_node_that_does_not_leave_is_killed(lines: Lines) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(launcher(1, kind="deaf", grace=0.2).run)
        await until(lines, 2)
        with trio.fail_after(5):
            signal.raise_signal(signal.SIGINT)
            while alive(pid(lines[0])):
                await trio.sleep(0.01)


async def test_a_ring_that_does_not_form_is_spoken_of(
    lines: Lines,
    running: Callable[[Launcher], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(launcher_module, "READY_SLOW", 0.1)
    await running(launcher(1, kind="lost"))
    await until(lines, 1)
    told = ""
    with trio.fail_after(10):
        while not told:
            told = capsys.readouterr().err
            await trio.sleep(0.02)
    assert "has not formed" in told
    assert "ready" not in lines


async def test_a_hangup_is_passed_on(lines: Lines) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(launcher(2, passes_on_hangup=True).run)
        await until(lines, 3)
        signal.raise_signal(signal.SIGHUP)
        await until(lines, 5)
    assert sorted(lines[3:]) == [f"node {n}  died: ended with status 7" for n in (0, 1)]


def test_what_ended_a_node_is_named() -> None:
    assert launcher_module._obituary(2) == "died: ended with status 2"
    assert launcher_module._obituary(-11) == "died: killed by SIGSEGV"
    assert launcher_module._obituary(-40) == "died: killed by signal 40"
