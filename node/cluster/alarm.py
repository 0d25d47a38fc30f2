"""When to call an engine's timer. One task sleeps until then; others bring it forward."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

TICK: Final = 0.001
"""Seconds between two calls, at least: an engine that is always due must not spin."""


class Engine(Protocol):
    """What an alarm is for."""

    def next_deadline(self) -> float | None: ...


def next_deadline(engine: Engine | None) -> float | None:
    """When `engine`, if there is one yet, wants to be called."""
    return engine.next_deadline() if engine is not None else None


class Alarm:
    """Calls `handle_timer(now)` when `next_deadline()` (monotonic seconds, or None) has come.

    `grain`: finding an engine's deadline can cost as much as a message does. With
    a grain of some seconds it is not looked for after each call but so long after
    the first; timers are late by that much at most.
    """

    def __init__(
        self,
        next_deadline: Callable[[], float | None],
        handle_timer: Callable[[float], None],
        grain: float = 0.0,
    ) -> None:
        self._next_deadline = next_deadline
        self._handle_timer = handle_timer
        self._grain = grain
        self._due = math.inf
        self._stale = True
        self._sleep = trio.CancelScope()

    def changed(self) -> None:
        """The engine was called: its deadline may be another."""
        if self._grain and self._stale:
            return
        if self._grain:
            self._stale = True
            self._advance(trio.current_time() + self._grain)
        else:
            self._due = self._find()
            self._advance(self._due)

    def _advance(self, deadline: float) -> None:
        if deadline >= self._sleep.deadline:
            return  # the usual case; setting it costs more than looking
        self._sleep.deadline = deadline

    def _find(self) -> float:
        due = self._next_deadline()
        return math.inf if due is None else due

    async def run(self) -> None:
        """Keep time until cancelled."""
        while True:
            if self._stale:
                self._due, self._stale = self._find(), False
            deadline = max(self._due, trio.current_time() + TICK)
            with trio.CancelScope(deadline=deadline) as self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            if self._due <= now:
                self._handle_timer(now)
                self._stale = True
