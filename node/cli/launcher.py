"""Runs node processes, one a member of the ring, and ends them all together.

Nodes get a pipe whose other end only the launcher holds: should it be killed,
they see the end of it and leave by themselves.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from node.cli.errors import OperationFailed
from node.cli.handover import handed_over
from node.cli.report import fetch_ring
from node.cli.web import fetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from node.endpoint import Endpoint

READY_POLL = 0.05  # seconds between looks at nodes that form a ring
READY_SLOW = 30.0  # seconds after which a ring that has not formed is spoken of
RESPAWN_FIRST, RESPAWN_LAST = 0.2, 5.0  # seconds before a node is started again, doubling
STEADY = 10.0  # seconds of life after which a node's death is no start-up failure


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node to run: where it listens, and its words after ``cometring serve``."""

    index: int
    client: Endpoint
    peer: Endpoint
    ops: Endpoint
    arguments: tuple[str, ...]


class Launcher:
    """Runs `plans` under `environ` until SIGINT, SIGTERM, or until none is left.

    `respawn`: a node that dies is started again. `grace`: seconds that a node
    has between SIGTERM and SIGKILL. `passes_on_hangup`: SIGHUP goes on to the nodes
    (who reload their certificate). What happens is told on standard output.
    `secrets`: variable that names a file -> what nodes are to find there.
    """

    def __init__(
        self,
        plans: Sequence[NodePlan],
        environ: Mapping[str, str],
        *,
        respawn: bool = False,
        grace: float = 8.0,
        passes_on_hangup: bool = False,
        secrets: Mapping[str, str] | None = None,
        program: Sequence[str] = (sys.executable, "-m", "node.cli"),
    ) -> None:
        self._plans = plans
        self._environ = dict(environ)
        self._secrets = secrets or {}
        self._inherited: tuple[int, ...] = ()
        self._respawn = respawn
        self._grace = grace
        self._signals = [signal.SIGINT, signal.SIGTERM]
        if passes_on_hangup:
            self._signals.append(signal.SIGHUP)
        self._running: set[trio.Process] = set()
        self._program = program
        self._read_end, self._write_end = -1, -1

    async def run(self) -> int:
        """Run to the end; the exit status is 0 where a signal asked for it, else 1."""
        with handed_over(self._secrets) as (paths, self._inherited):
            self._environ |= paths
            return await self._run()

    async def _run(self) -> int:
        self._read_end, self._write_end = os.pipe()
        told = False

        async def end_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
            nonlocal told
            async for number in signals:
                if number == signal.SIGHUP:
                    for process in self._running:
                        process.send_signal(number)
                    continue
                told = True
                scope.cancel()

        try:
            with trio.open_signal_receiver(*self._signals) as signals:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(end_on_signal, signals, nursery.cancel_scope)
                    nursery.start_soon(self._announce_ring)
                    async with trio.open_nursery() as nodes:
                        for plan in self._plans:
                            await nodes.start(self._keep, plan)
                    nursery.cancel_scope.cancel()  # none is left
        finally:
            os.close(self._read_end)
            os.close(self._write_end)
        return 0 if told else 1

    async def _keep(
        self, plan: NodePlan, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run one node, again and again if it is to be respawned; started when it first is."""
        pause = RESPAWN_FIRST
        again = ""
        while True:
            began = trio.current_time()
            process = await self._start(plan)
            _say(
                f"node {plan.index}  http://{plan.client}/  peer {plan.peer}"
                f"  ops http://{plan.ops}/  pid {process.pid}{again}"
            )
            if not again:
                task_status.started()
            status = await self._wait(process)
            _say(f"node {plan.index}  {_obituary(status)}")
            if not self._respawn:
                return
            if trio.current_time() - began > STEADY:
                pause = RESPAWN_FIRST
            await trio.sleep(pause)
            pause = min(pause * 2, RESPAWN_LAST)
            again = "  started again"

    async def _start(self, plan: NodePlan) -> trio.Process:
        words = ("serve", *plan.arguments, "--launcher-fd", str(self._read_end))
        return await trio.lowlevel.open_process(
            (*self._program, *words),
            stdin=subprocess.DEVNULL,
            env=self._environ,
            pass_fds=(self._read_end, *self._inherited),
            # Ctrl-C goes to the launcher alone, which then ends each node once.
            start_new_session=True,
        )

    async def _wait(self, process: trio.Process) -> int:
        self._running.add(process)
        try:
            return await process.wait()
        finally:
            self._running.discard(process)
            if process.poll() is None:
                process.terminate()
                with trio.CancelScope(shield=True):
                    with trio.move_on_after(self._grace):
                        await process.wait()
                    process.kill()
                    await process.wait()

    async def _announce_ring(self) -> None:
        """Say `ready` when all nodes are, and agree on one view of them all."""
        slow_at = trio.current_time() + READY_SLOW
        while not await self._formed():
            if trio.current_time() > slow_at:
                slow_at = float("inf")
                print(
                    f"cometring: the ring has not formed after {READY_SLOW:g} s; still waiting",
                    file=sys.stderr,
                    flush=True,
                )
            await trio.sleep(READY_POLL)
        _say("ready")

    async def _formed(self) -> bool:
        views = set()
        for plan in self._plans:
            view = await trio.to_thread.run_sync(partial(_view_of, plan), abandon_on_cancel=True)
            if view is None:
                return False
            views.add(view)
        return len(views) == 1 and views.pop()[-1] >= len(self._plans)


def _view_of(plan: NodePlan) -> tuple[int, str, int] | None:
    """The view that a ready node is on: its number, its digest, how many members."""
    url = f"http://{plan.ops}"
    try:
        if fetch(url, "/readyz", timeout=2.0).status != 200:
            return None
        ring = fetch_ring(url, timeout=2.0)
    except OperationFailed:
        return None
    return (ring.view, ring.digest, len(ring.members))


def _obituary(status: int) -> str:
    if status >= 0:
        return f"died: ended with status {status}"
    try:
        return f"died: killed by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal
        return f"died: killed by signal {-status}"


def _say(line: str) -> None:
    print(line, flush=True)
