"""Calls something once at the end of each turn of the loop in which it was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


class TurnEnds:
    """What is to be done after everything else that is ready to run now."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._wanted = trio.Event()

    def expect(self) -> None:
        """Call when the turn is over; asking more than once costs next to nothing."""
        self._wanted.set()

    async def run(self) -> None:
        """Make the calls, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            self._call()
